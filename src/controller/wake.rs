//! Which changes are worth a pass: of an object those that a person or a client asked for, not the
//! operator's own status writes; and those of a Secret that an object names.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream, Stream};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt as _};
use tokio::sync::mpsc::UnboundedReceiver;

use super::references::{ReferenceKind, References};
use super::{Cache, Change, Watched, namespaced_name};
use crate::api::annotation;

/// Annotations that ask for a pass when they change.
const REQUESTS: [&str; 5] = [
    annotation::REQUESTED_AT,
    annotation::FORCE_AT,
    annotation::RESET_AT,
    annotation::ALLOW_PRUNE,
    annotation::PROVENANCE_KEYS,
];

/// What of an object wakes its controller, as a hash that holds within one process.
pub fn fingerprint<K: Resource>(object: &K) -> u64 {
    let meta = object.meta();
    let annotation = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key));
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, meta.deletion_timestamp.is_some()).hash(&mut hasher);
    meta.finalizers.as_deref().unwrap_or_default().hash(&mut hasher);
    REQUESTS.map(annotation).hash(&mut hasher);
    hasher.finish()
}

/// A receiver as a stream.
pub fn stream_of<T: Send + 'static>(receiver: UnboundedReceiver<T>) -> BoxStream<'static, T> {
    stream::unfold(receiver, |mut receiver| async move {
        let item = receiver.recv().await?;
        Some((item, receiver))
    })
    .boxed()
}

/// The objects of which a Secret of their own namespace changed; `names` tells whether an object
/// names a Secret.
pub fn by_secrets<K: Watched>(
    references: &References,
    cache: &Cache<K>,
    names: impl Fn(&K, &str) -> bool + Send + 'static,
) -> BoxStream<'static, ObjectRef<K>> {
    let cache = cache.clone();
    stream_of(references.changes())
        .filter(|change| std::future::ready(change.kind == ReferenceKind::Secret))
        .flat_map(move |change| {
            let affected = cache.all().into_iter().filter(|object| {
                object.namespace().as_ref() == Some(&change.namespace) && names(object.as_ref(), &change.name)
            });
            stream::iter(affected.map(|object| ObjectRef::from_obj(object.as_ref())).collect::<Vec<_>>())
        })
        .boxed()
}

/// The objects, among those that are this operator's, whose fingerprint changed; calls `gone` for
/// those that were deleted, or are another one's now.
pub fn worth_a_pass<K: Watched>(
    changes: impl Stream<Item = Change<K>> + Send + 'static,
    is_own: impl Fn(&K) -> bool + Send + 'static,
    gone: impl Fn(&K) + Send + 'static,
) -> BoxStream<'static, Arc<K>> {
    let mut seen: HashMap<(String, String), u64> = HashMap::new();
    changes
        .filter_map(move |change| {
            let key = namespaced_name(change.object().as_ref());
            let woken = match change {
                Change::Deleted(object) => {
                    seen.remove(&key);
                    gone(&object);
                    None
                }
                Change::Applied(object) if !is_own(&object) => {
                    seen.remove(&key);
                    gone(&object);
                    None
                }
                Change::Applied(object) => {
                    let new = fingerprint(object.as_ref());
                    (seen.insert(key, new) != Some(new)).then_some(object)
                }
            };
            std::future::ready(woken)
        })
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use tokio::sync::mpsc::unbounded_channel;

    fn object(generation: i64, request: Option<&str>, version: &str) -> Arc<ConfigMap> {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("a".to_owned());
        object.metadata.generation = Some(generation);
        object.metadata.resource_version = Some(version.to_owned());
        object.metadata.annotations = request.map(|at| [(REQUESTS[0].to_owned(), at.to_owned())].into());
        Arc::new(object)
    }

    #[tokio::test]
    async fn only_what_was_asked_for_wakes() {
        let (sender, receiver) = unbounded_channel();
        for change in [
            Change::Applied(object(1, None, "1")),
            Change::Applied(object(1, None, "2")),
            Change::Applied(object(1, Some("now"), "3")),
            Change::Applied(object(2, Some("now"), "4")),
            Change::Deleted(object(2, Some("now"), "5")),
            Change::Applied(object(2, Some("now"), "6")),
        ] {
            sender.send(change).unwrap();
        }
        drop(sender);
        let woken: Vec<_> = worth_a_pass(stream_of(receiver), |_| true, |_| ()).collect().await;
        let versions: Vec<_> = woken.iter().map(|o| o.metadata.resource_version.clone().unwrap()).collect();
        assert_eq!(versions, ["1", "3", "4", "6"]);
    }

    #[tokio::test]
    async fn an_object_that_comes_back_from_another_operator_wakes() {
        let (sender, receiver) = unbounded_channel();
        for version in ["1", "2", "3"] {
            sender.send(Change::Applied(object(1, None, version))).unwrap();
        }
        drop(sender);
        let own = |object: &ConfigMap| object.metadata.resource_version.as_deref() != Some("2");
        let (left, gone) = unbounded_channel();
        let left = move |object: &ConfigMap| drop(left.send(object.metadata.resource_version.clone()));
        let woken: Vec<_> = worth_a_pass(stream_of(receiver), own, left).collect().await;
        let versions: Vec<_> = woken.iter().map(|o| o.metadata.resource_version.clone().unwrap()).collect();
        assert_eq!(versions, ["1", "3"]);
        assert_eq!(stream_of(gone).collect::<Vec<_>>().await, [Some("2".to_owned())]);
    }
}
