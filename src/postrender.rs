//! Post-rendering: what a `HelmRelease` changes about the objects that its chart renders.
//!
//! ```text
//! helm ── rendered stream ──► fairlead post-render ──► stream ──► helm stores and applies it
//!                                  │ hooks apart, as spec.postRenderStrategy says
//!                                  │ spec.postRenderers, in order, by the kustomize binary
//!                                  └ spec.commonMetadata and origin labels, in the text itself
//! ```
//!
//! The operator writes [`Instructions`] into a private [`Workplace`] that lives as long as the one
//! helm action; [`command`] is the child of helm that reads them. Without post-renderers no
//! further process is started, and no byte changes but for the labels and annotations.

pub mod command;
mod digest;
mod document;
pub(crate) mod kustomize;
mod metadata;
mod stream;
pub(crate) mod workplace;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use crate::api::helm::v2::{HelmRelease, Kustomize, PostRenderStrategy};
use crate::api::kustomize::CommonMetadata;

pub use digest::rendering;
pub use stream::{RenderError, render};
pub use workplace::{Plugin, Workplace, WorkplaceError};

/// Name of the hidden subcommand that helm runs.
pub const SUBCOMMAND: &str = "post-render";

/// Labels of this group name the `HelmRelease` that an object comes from.
const ORIGIN_GROUP: &str = "helm.toolkit.fluxcd.io";

/// The longest value that a label may have, in bytes.
const LONGEST_LABEL: usize = 63;

/// What to do to a rendered stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instructions {
    /// `spec.postRenderers`, those that do something.
    pub steps: Vec<Step>,
    /// `spec.postRenderStrategy`; Flux's and helm 4's default is `combined`.
    pub strategy: PostRenderStrategy,
    /// `spec.commonMetadata`, and over it the origin labels.
    pub metadata: CommonMetadata,
    /// The object asks for changes itself, so that a document which cannot be read is an error.
    pub strict: bool,
    /// The kustomize binary.
    pub kustomize: PathBuf,
}

/// One post-renderer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its place in `spec.postRenderers`, from 0.
    pub index: usize,
    /// What it does.
    pub kustomize: Kustomize,
}

impl Instructions {
    /// What an object asks for.
    pub fn of(object: &HelmRelease, kustomize: &Path) -> Self {
        let spec = &object.spec;
        let steps = spec.post_renderers.iter().enumerate().filter_map(|(index, renderer)| {
            let kustomize = renderer.kustomize.clone()?;
            let works = !kustomize.patches.is_empty() || !kustomize.images.is_empty();
            works.then_some(Step { index, kustomize })
        });
        let mut metadata = spec.common_metadata.clone().unwrap_or_default();
        metadata.labels.extend(origin(object));
        Self {
            steps: steps.collect(),
            strategy: spec.post_render_strategy.unwrap_or_default(),
            metadata,
            strict: spec.common_metadata.is_some(),
            kustomize: kustomize.to_owned(),
        }
    }
}

/// Flux's origin labels; one that is too long for a label is left out, for no API server takes it.
fn origin(object: &HelmRelease) -> BTreeMap<String, String> {
    let labels = [("name", object.name_any()), ("namespace", object.namespace().unwrap_or_default())];
    let fits = |(_, value): &(&str, String)| value.len() <= LONGEST_LABEL;
    labels.into_iter().filter(fits).map(|(key, value)| (format!("{ORIGIN_GROUP}/{key}"), value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(name: &str, mut spec: Value) -> Instructions {
        spec["interval"] = json!("1m");
        let object = json!({"metadata": {"name": name, "namespace": "apps"}, "spec": spec,
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease"});
        Instructions::of(&serde_json::from_value(object).expect("a release"), Path::new("kustomize"))
    }

    #[test]
    fn origin_labels_are_always_there_and_win() {
        let plain = of("ui", json!({}));
        let labels = json!({"helm.toolkit.fluxcd.io/name": "ui", "helm.toolkit.fluxcd.io/namespace": "apps"});
        assert_eq!(json!(plain.metadata.labels), labels);
        assert!(plain.steps.is_empty() && !plain.strict && plain.strategy == PostRenderStrategy::Combined);
        let common = json!({"labels": {"helm.toolkit.fluxcd.io/name": "no", "team": "a"}, "annotations": {"b": "c"}});
        let both = of("ui", json!({"commonMetadata": common}));
        assert_eq!(both.metadata.labels["helm.toolkit.fluxcd.io/name"], "ui");
        assert_eq!((both.metadata.labels["team"].as_str(), both.metadata.annotations["b"].as_str()), ("a", "c"));
        assert!(both.strict);
        let long = of(&"x".repeat(64), json!({}));
        assert_eq!(long.metadata.labels.keys().collect::<Vec<_>>(), ["helm.toolkit.fluxcd.io/namespace"]);
    }

    #[test]
    fn steps_keep_their_place() {
        let image = json!([{"name": "nginx", "newTag": "2"}]);
        let renderers = json!([{}, {"kustomize": {}}, {"kustomize": {"images": image}}]);
        let found = of("ui", json!({"postRenderers": renderers, "postRenderStrategy": "nohooks"}));
        assert_eq!(found.steps.iter().map(|step| step.index).collect::<Vec<_>>(), [2]);
        assert_eq!(found.strategy, PostRenderStrategy::NoHooks);
    }
}
