//! What wakes a Kustomization: a new artifact of its source, and news of what it depends on or
//! takes variables or keys from.

use super::source::{SourceId, dependencies, source_id};
use crate::api::kustomize::v1::{Kustomization, SourceKind};
use crate::api::meta::{Artifact, ValuesReferenceKind};
use crate::controller::references::{ReferenceChange, ReferenceKind, References};
use crate::controller::wake::stream_of;
use crate::controller::{Cache, Change, Context, Watched, namespaced_name};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use kube::runtime::reflector::ObjectRef;
use std::collections::HashMap;

/// Every Kustomization to look at, as changes arrive.
pub fn triggers(context: &Context) -> BoxStream<'static, ObjectRef<Kustomization>> {
    let caches = &context.caches;
    let all = &caches.kustomizations;
    macro_rules! artifacts {
        ($cache:ident, $kind:ident) => {
            on_artifact(&caches.$cache, all, SourceKind::$kind, |source| source.status.as_ref()?.artifact.as_ref())
        };
    }
    stream::select_all([
        artifacts!(git_repositories, GitRepository),
        artifacts!(oci_repositories, OciRepository),
        artifacts!(buckets, Bucket),
        artifacts!(external_artifacts, ExternalArtifact),
        on_dependency(all),
        on_reference(&context.references, all),
    ])
    .boxed()
}

fn on_artifact<K: Watched>(
    sources: &Cache<K>,
    all: &Cache<Kustomization>,
    kind: SourceKind,
    artifact: impl Fn(&K) -> Option<&Artifact> + Send + 'static,
) -> BoxStream<'static, ObjectRef<Kustomization>> {
    let all = all.clone();
    // What the last change showed of each source; nothing at all for one that is gone.
    let mut seen: HashMap<(String, String), Option<(String, String)>> = HashMap::new();
    stream_of(sources.changes())
        .flat_map(move |change| {
            let key = namespaced_name(change.object().as_ref());
            let news = match &change {
                Change::Deleted(_) => seen.remove(&key).is_some(),
                Change::Applied(source) => {
                    let state = artifact(source).map(|artifact| (artifact.revision.clone(), artifact.digest.clone()));
                    seen.insert(key.clone(), state.clone()) != Some(state)
                }
            };
            let id = SourceId { kind, namespace: key.0, name: key.1 };
            stream::iter(if news { followers(&all, |object| source_id(object) == id) } else { Vec::new() })
        })
        .boxed()
}

fn on_dependency(all: &Cache<Kustomization>) -> BoxStream<'static, ObjectRef<Kustomization>> {
    let all = all.clone();
    stream_of(all.changes())
        .flat_map(move |change| {
            let key = namespaced_name(change.object().as_ref());
            stream::iter(followers(&all, |object| dependencies(object).any(|dependency| dependency == key)))
        })
        .boxed()
}

fn on_reference(references: &References, all: &Cache<Kustomization>) -> BoxStream<'static, ObjectRef<Kustomization>> {
    let all = all.clone();
    stream_of(references.changes())
        .flat_map(move |change| stream::iter(followers(&all, |object| refers_to(object, &change))))
        .boxed()
}

/// Whether an object takes variables, or the way to its cluster, from what changed.
fn refers_to(object: &Kustomization, change: &ReferenceChange) -> bool {
    let spec = &object.spec;
    let variables = spec.post_build.iter().flat_map(|post_build| &post_build.substitute_from);
    let variables = variables.map(|reference| match reference.kind {
        ValuesReferenceKind::Secret => (ReferenceKind::Secret, &reference.name),
        ValuesReferenceKind::ConfigMap => (ReferenceKind::ConfigMap, &reference.name),
    });
    let secrets = spec.kube_config.iter().flat_map(|reference| &reference.secret_ref);
    let maps = spec.kube_config.iter().flat_map(|reference| &reference.config_map_ref);
    let mut named = variables
        .chain(secrets.map(|secret| (ReferenceKind::Secret, &secret.name)))
        .chain(maps.map(|map| (ReferenceKind::ConfigMap, &map.name)));
    let keys = object.spec.decryption.as_ref().and_then(|decryption| decryption.secret_ref.as_ref());
    object.metadata.namespace.as_deref() == Some(change.namespace.as_str())
        && (named.any(|named| named == (change.kind, &change.name))
            || keys.is_some_and(|keys| change.kind == ReferenceKind::Secret && keys.name == change.name))
}

fn followers(all: &Cache<Kustomization>, follows: impl Fn(&Kustomization) -> bool) -> Vec<ObjectRef<Kustomization>> {
    let found = all.all().into_iter().filter(|object| follows(object));
    found.map(|object| ObjectRef::from_obj(object.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_variable_of_the_own_namespace_wakes() {
        let object: Kustomization = serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "flux"},
            "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "x"},
                     "decryption": {"provider": "sops", "secretRef": {"name": "keys"}},
                     "postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": "vars"}]}},
        }))
        .unwrap();
        let woken = |kind, namespace: &str, name: &str| {
            refers_to(&object, &ReferenceChange { kind, namespace: namespace.to_owned(), name: name.to_owned() })
        };
        assert!(woken(ReferenceKind::ConfigMap, "flux", "vars"));
        assert!(!woken(ReferenceKind::Secret, "flux", "vars"));
        assert!(woken(ReferenceKind::Secret, "flux", "keys"));
        assert!(!woken(ReferenceKind::ConfigMap, "other", "vars"));
        assert!(!woken(ReferenceKind::ConfigMap, "flux", "other"));
    }

    #[test]
    fn what_describes_the_cluster_wakes() {
        let object: Kustomization = serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "tenant"},
            "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "a"},
                     "kubeConfig": {"secretRef": {"name": "prod"}}},
        }))
        .unwrap();
        let change = |kind, namespace: &str, name: &str| ReferenceChange {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        assert!(refers_to(&object, &change(ReferenceKind::Secret, "tenant", "prod")));
        for other in [
            change(ReferenceKind::ConfigMap, "tenant", "prod"),
            change(ReferenceKind::Secret, "other", "prod"),
            change(ReferenceKind::Secret, "tenant", "else"),
        ] {
            assert!(!refers_to(&object, &other), "{other:?}");
        }
    }
}
