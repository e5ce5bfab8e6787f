//! What wakes a Kustomization: a new artifact of its source, and news of what it depends on.

use super::source::{SourceId, dependencies, source_id};
use crate::api::kustomize::v1::{Kustomization, SourceKind};
use crate::api::meta::Artifact;
use crate::controller::wake::stream_of;
use crate::controller::{Cache, Caches, Change, Watched, namespaced_name};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use kube::runtime::reflector::ObjectRef;
use std::collections::HashMap;

/// Every Kustomization to look at, as changes arrive.
pub fn triggers(caches: &Caches) -> BoxStream<'static, ObjectRef<Kustomization>> {
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

fn followers(all: &Cache<Kustomization>, follows: impl Fn(&Kustomization) -> bool) -> Vec<ObjectRef<Kustomization>> {
    let found = all.all().into_iter().filter(|object| follows(object));
    found.map(|object| ObjectRef::from_obj(object.as_ref())).collect()
}
