//! Which objects a receiver is about. Pure.

use std::collections::BTreeMap;

use kube::ResourceExt as _;

use super::filter;
use crate::api::condition::reason;
use crate::api::notification::v1::{Receiver, ReceiverResource, ReceiverResourceKind as Kind};
use crate::cel::Expression;

/// Why a spec cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The reason of the condition.
    pub reason: &'static str,
    /// What is wrong, with its field.
    pub message: String,
}

/// One entry of `spec.resources`.
#[derive(Clone, Debug)]
pub struct Target {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: Kind,
    /// Namespace.
    pub namespace: String,
    /// Which objects there.
    pub which: Which,
    /// Its own filter.
    pub filter: Option<Expression>,
}

/// Which objects of a kind in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one of this name.
    Named(String),
    /// All that have these labels.
    Labelled(BTreeMap<String, String>),
}

impl Target {
    /// The group of its kind.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

impl Which {
    /// Whether an object that has these labels is among those wanted, its name aside.
    pub fn accepts(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Named(_) => true,
            Self::Labelled(wanted) => wanted.iter().all(|(key, value)| labels.get(key) == Some(value)),
        }
    }
}

/// The targets of a receiver. `denied` says why an object may not be referred to.
pub fn targets(
    receiver: &Receiver,
    denied: impl Fn(&str, &str, &str) -> Option<String>,
) -> Result<Vec<Target>, Invalid> {
    let own = receiver.namespace().unwrap_or_default();
    let resources = receiver.spec.resources.iter().enumerate();
    resources.map(|(number, resource)| target(number, resource, &own, &denied)).collect()
}

fn target(
    number: usize,
    resource: &ReceiverResource,
    own: &str,
    denied: impl Fn(&str, &str, &str) -> Option<String>,
) -> Result<Target, Invalid> {
    let invalid = |reason, what: String| Invalid { reason, message: format!("spec.resources[{number}]{what}") };
    let namespace = resource.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(own);
    if let Some(why) = denied(resource.kind.as_str(), namespace, &resource.name) {
        return Err(invalid(reason::ACCESS_DENIED, format!(": {why}")));
    }
    let which = match (resource.name.as_str(), resource.match_labels.is_empty()) {
        ("*", true) => {
            let what = ": the name '*' needs matchLabels".to_owned();
            return Err(invalid(reason::VALIDATION_FAILED, what));
        }
        ("*", false) => Which::Labelled(resource.match_labels.clone()),
        (name, _) => Which::Named(name.to_owned()),
    };
    let filter = filter::read(resource.filter.as_ref())
        .map_err(|error| invalid(reason::INVALID_CEL_EXPRESSION, format!(".filter: {error}")))?;
    let given = resource.api_version.as_deref().filter(|version| !version.is_empty());
    let api_version = given.unwrap_or_else(|| served(resource.kind)).to_owned();
    if !is_api_version(&api_version) {
        let what = format!(".apiVersion: `{api_version}` is no `group/version`");
        return Err(invalid(reason::VALIDATION_FAILED, what));
    }
    Ok(Target { api_version, kind: resource.kind, namespace: namespace.to_owned(), which, filter })
}

/// It becomes a part of a request's path.
fn is_api_version(text: &str) -> bool {
    let part =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    text.split_once('/').is_some_and(|(group, version)| part(group) && part(version) && group.contains('.'))
}

/// Group and version of a kind as Flux serves it.
fn served(kind: Kind) -> &'static str {
    match kind {
        Kind::Bucket
        | Kind::GitRepository
        | Kind::HelmChart
        | Kind::HelmRepository
        | Kind::OciRepository
        | Kind::ExternalArtifact => "source.toolkit.fluxcd.io/v1",
        Kind::Kustomization => "kustomize.toolkit.fluxcd.io/v1",
        Kind::HelmRelease => "helm.toolkit.fluxcd.io/v2",
        Kind::ImageRepository | Kind::ImagePolicy | Kind::ImageUpdateAutomation => "image.toolkit.fluxcd.io/v1",
        Kind::ArtifactGenerator => "source.extensions.fluxcd.io/v1beta1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn receiver(resources: &serde_json::Value) -> Receiver {
        serde_json::from_value(json!({
            "apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver",
            "metadata": {"name": "push", "namespace": "apps"},
            "spec": {"type": "generic", "resources": resources},
        }))
        .expect("a receiver")
    }

    fn read(resources: &serde_json::Value) -> Result<Vec<Target>, Invalid> {
        let denied = |_: &str, namespace: &str, _: &str| (namespace == "secret").then(|| "no".to_owned());
        targets(&receiver(resources), denied)
    }

    #[test]
    fn a_target_is_in_the_receiver_s_namespace_and_of_flux_s_version_by_default() {
        let all = read(&json!([
            {"kind": "GitRepository", "name": "a"},
            {"kind": "HelmRelease", "name": "*", "namespace": "web", "matchLabels": {"team": "x"}},
            {"apiVersion": "image.toolkit.fluxcd.io/v1beta2", "kind": "ImageRepository", "name": "c"},
        ]))
        .unwrap();
        let shown: Vec<_> = all
            .iter()
            .map(|target| format!("{} {} {}", target.api_version, target.namespace, target.group()))
            .collect();
        assert_eq!(
            shown,
            [
                "source.toolkit.fluxcd.io/v1 apps source.toolkit.fluxcd.io",
                "helm.toolkit.fluxcd.io/v2 web helm.toolkit.fluxcd.io",
                "image.toolkit.fluxcd.io/v1beta2 apps image.toolkit.fluxcd.io",
            ]
        );
        assert_eq!(all[0].which, Which::Named("a".to_owned()));
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert!(all[1].which.accepts(&labels(&[("team", "x"), ("more", "y")])));
        assert!(!all[1].which.accepts(&labels(&[("team", "y")])) && !all[1].which.accepts(&labels(&[])));
    }

    #[test]
    fn what_cannot_be_a_target_is_named_by_its_field() {
        for (resource, reason, message) in [
            (json!({"kind": "Bucket", "name": "*"}), "ValidationFailed", ": the name '*' needs matchLabels"),
            (json!({"kind": "Bucket", "name": "a", "namespace": "secret"}), "AccessDenied", ": no"),
            (json!({"apiVersion": "v1", "kind": "Bucket", "name": "a"}), "ValidationFailed", ".apiVersion: `v1` is no"),
            (
                json!({"apiVersion": "a.b/../v1", "kind": "Bucket", "name": "a"}),
                "ValidationFailed",
                ".apiVersion: `a.b/.",
            ),
            (json!({"kind": "Bucket", "name": "a", "filter": "1"}), "InvalidCELExpression", ".filter: column 1"),
        ] {
            let error = read(&json!([{"kind": "GitRepository", "name": "fine"}, resource])).unwrap_err();
            assert_eq!(error.reason, reason);
            assert!(error.message.starts_with(&format!("spec.resources[1]{message}")), "{}", error.message);
        }
    }
}
