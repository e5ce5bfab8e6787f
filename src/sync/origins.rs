//! Where changes come from, as the watch caches know it: for traces alone.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::source::{artifact, source_id};
use crate::api::kustomize::v1::Kustomization;
use crate::controller::changes::{Name, Sighting};
use crate::controller::{Cache, Context, Watched, namespaced_name};
use crate::traces::stages::{Origin, address};

fn uid_of<K: Watched>(cache: &Cache<K>, namespace: &str, name: &str) -> Option<String> {
    cache.get(namespace, name)?.meta().uid.clone()
}

impl Context {
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
            source_id(object).parts() == source
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
        let artifact = artifact(&self.caches, &object).ok()?;
        let origin = self.origin(source_id(&object).parts(), &revision)?;
        (artifact.revision == revision).then_some((origin, artifact.last_update_time.0))
    }
}
