//! Chooses objects as Flux and Kustomize do: by regular expressions over what an object is called,
//! and by selectors over its labels and annotations. Pure.

mod labels;

use regex::Regex;
use serde_json::Value;

pub use labels::{LabelSelector, LabelSelectorError};

use crate::api::kustomize;

/// Why a selector cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SelectorError {
    /// A field is no regular expression.
    #[error("{field}: `{pattern}` is no regular expression: {source}")]
    Pattern {
        /// The field of the selector.
        field: &'static str,
        /// What it holds.
        pattern: String,
        /// What is wrong with it.
        source: regex::Error,
    },
    /// A field is no label selector.
    #[error("{field}: {source}")]
    Labels {
        /// The field of the selector.
        field: &'static str,
        /// What is wrong with it.
        source: LabelSelectorError,
    },
}

/// A selector, ready to be used. Every part that is given has to match.
#[derive(Debug)]
pub struct ObjectSelector {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
    labels: Option<LabelSelector>,
    annotations: Option<LabelSelector>,
}

impl ObjectSelector {
    /// Reads a selector. An empty field is one that is not given.
    pub fn new(selector: &kustomize::Selector) -> Result<Self, SelectorError> {
        Ok(Self {
            group: pattern("group", selector.group.as_deref())?,
            version: pattern("version", selector.version.as_deref())?,
            kind: pattern("kind", selector.kind.as_deref())?,
            name: pattern("name", selector.name.as_deref())?,
            namespace: pattern("namespace", selector.namespace.as_deref())?,
            labels: labels("labelSelector", selector.label_selector.as_deref())?,
            annotations: labels("annotationSelector", selector.annotation_selector.as_deref())?,
        })
    }

    /// Whether an object, given as JSON with its type, is chosen.
    pub fn matches(&self, object: &Value) -> bool {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let api_version = text("/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let fits = |pattern: &Option<Regex>, text: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
        let chosen = |selector: &Option<LabelSelector>, pointer: &str| {
            selector
                .as_ref()
                .is_none_or(|selector| selector.matches(object.pointer(pointer).and_then(Value::as_object)))
        };
        fits(&self.group, group)
            && fits(&self.version, version)
            && fits(&self.kind, text("/kind"))
            && fits(&self.name, text("/metadata/name"))
            && fits(&self.namespace, text("/metadata/namespace"))
            && chosen(&self.labels, "/metadata/labels")
            && chosen(&self.annotations, "/metadata/annotations")
    }
}

/// A pattern has to match from the first to the last character.
fn pattern(field: &'static str, pattern: Option<&str>) -> Result<Option<Regex>, SelectorError> {
    let compile = |pattern: &str| {
        Regex::new(&format!("^(?:{pattern})$")).map_err(|source| SelectorError::Pattern {
            field,
            pattern: pattern.to_owned(),
            source,
        })
    };
    pattern.filter(|pattern| !pattern.is_empty()).map(compile).transpose()
}

fn labels(field: &'static str, selector: Option<&str>) -> Result<Option<LabelSelector>, SelectorError> {
    let parse = |text: &str| text.parse().map_err(|source| SelectorError::Labels { field, source });
    selector.filter(|selector| !selector.is_empty()).map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selector(fields: Value) -> Result<ObjectSelector, SelectorError> {
        ObjectSelector::new(&serde_json::from_value(fields).expect("a selector"))
    }

    #[test]
    fn every_given_part_has_to_match_as_a_whole() {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "ui", "namespace": "web", "labels": {"tier": "front"}, "annotations": {"team": "a"}},
        });
        let core = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ui"}});
        let table = [
            (json!({}), true, true),
            (json!({"kind": ""}), true, true),
            (json!({"group": "apps"}), true, false),
            (json!({"group": "app"}), false, false),
            (json!({"group": ".*"}), true, true),
            (json!({"version": "v[0-9]"}), true, true),
            (json!({"version": "v2"}), false, false),
            (json!({"kind": "Deployment|ConfigMap"}), true, true),
            (json!({"kind": "Deploy"}), false, false),
            (json!({"name": "u."}), true, true),
            (json!({"name": "i"}), false, false),
            (json!({"namespace": "w.*"}), true, false),
            (json!({"labelSelector": "tier=front"}), true, false),
            (json!({"annotationSelector": "team in (a, b)"}), true, false),
            (json!({"annotationSelector": "tier"}), false, false),
            (json!({"kind": "Deployment", "name": "api"}), false, false),
        ];
        for (fields, of_object, of_core) in table {
            let selector = selector(fields.clone()).expect("readable");
            assert_eq!((selector.matches(&object), selector.matches(&core)), (of_object, of_core), "{fields}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let said = |fields: Value| selector(fields).expect_err("unreadable").to_string();
        assert!(said(json!({"name": "a("})).starts_with("name: `a(` is no regular expression: "));
        assert!(said(json!({"labelSelector": "a in b"})).starts_with("labelSelector: "));
        assert!(said(json!({"annotationSelector": "a in b"})).starts_with("annotationSelector: "));
    }
}
