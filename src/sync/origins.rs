//! Where changes come from, as the watch caches know it: for traces alone.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::changes::{Name, Sighting};
use super::{Cache, Context, Watched, namespaced_name};
use crate::api::kustomize::v1::Kustomization;
use crate::traces::Span;
use crate::traces::stages::{Origin, address};

/// Kind, namespace and name of the source that a Kustomization follows.
fn source_of(object: &Kustomization) -> (&'static str, String, String) {
    let reference = &object.spec.source_ref;
    let namespace = reference.namespace.clone().filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or_else(|| object.namespace().unwrap_or_default());
    (reference.kind.as_str(), namespace, reference.name.clone())
}

fn uid_of<K: Watched>(cache: &Cache<K>, namespace: &str, name: &str) -> Option<String> {
    cache.get(namespace, name)?.meta().uid.clone()
}

impl Context {
    /// Hands spans over to be sent, where anybody wants them.
    pub fn trace(&self, spans: Vec<Span>) {
        if let Some(queue) = &self.traces {
            queue.push(spans);
        }
    }

    /// A source at a revision; none where nobody wants traces.
    pub fn origin(&self, (kind, namespace, name): (&str, &str, &str), revision: &str) -> Option<Origin> {
        self.traces.as_ref()?;
        let caches = &self.caches;
        let uid = match kind {
            "GitRepository" => uid_of(&caches.git_repositories, namespace, name),
            "OCIRepository" => uid_of(&caches.oci_repositories, namespace, name),
            "Bucket" => uid_of(&caches.buckets, namespace, name),
            "ExternalArtifact" => uid_of(&caches.external_artifacts, namespace, name),
            _ => None,
        };
        let repository = (kind == "GitRepository").then(|| caches.git_repositories.get(namespace, name)).flatten();
        Some(Origin {
            kind: kind.to_owned(),
            name: (namespace.to_owned(), name.to_owned()),
            uid: uid?,
            url: repository.and_then(|repository| address(&repository.spec.url)),
            revision: revision.to_owned(),
        })
    }

    /// The Kustomizations that are to apply a revision of a source and have not done so.
    pub fn followers(&self, source: (&str, &str, &str), revision: &str) -> BTreeSet<Name> {
        let applied = |object: &Kustomization| {
            object.status.as_ref().is_some_and(|status| status.last_applied_revision.as_deref() == Some(revision))
        };
        let follows = |object: &Kustomization| {
            let (kind, namespace, name) = source_of(object);
            (kind, namespace.as_str(), name.as_str()) == source
                && self.is_own(object)
                && !object.spec.suspend
                && object.metadata.deletion_timestamp.is_none()
                && !applied(object)
        };
        let all = self.caches.kustomizations.all();
        all.iter().filter(|object| follows(object)).map(|object| namespaced_name(object.as_ref())).collect()
    }

    /// A source has a new revision, that began to be fetched at `asked`.
    pub fn seen(&self, source: (&str, &str, &str), revision: &str, committed: Option<Timestamp>, asked: Timestamp) {
        let sighting = self.origin(source, revision).map(|origin| Sighting {
            origin,
            asked,
            followers: self.followers(source, revision),
        });
        self.trace(self.changes.seen(source, revision, committed, sighting, Timestamp::now()));
    }

    /// What a Kustomization applied last, or tried to, where that is what its source holds.
    pub fn attempted(&self, (namespace, name): &Name) -> Option<(Origin, Timestamp)> {
        let object = self.caches.kustomizations.get(namespace, name)?;
        let revision = object.status.as_ref()?.last_attempted_revision.clone()?;
        let (kind, namespace, name) = source_of(&object);
        let caches = &self.caches;
        macro_rules! updated_in {
            ($cache:ident) => {
                caches.$cache.get(&namespace, &name)?.status.as_ref()?.artifact.clone()?
            };
        }
        let artifact = match kind {
            "GitRepository" => updated_in!(git_repositories),
            "OCIRepository" => updated_in!(oci_repositories),
            "Bucket" => updated_in!(buckets),
            _ => updated_in!(external_artifacts),
        };
        let origin = self.origin((kind, &namespace, &name), &revision)?;
        (artifact.revision == revision).then_some((origin, artifact.last_update_time.0))
    }
}
