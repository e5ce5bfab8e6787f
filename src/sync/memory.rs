//! What this run of the operator remembers of each Kustomization, to do no work twice. Losing it
//! costs one full pass.

use super::hold::Held;
use super::inventory::{Inventory, ObjectId};
use super::wait::Awaited;
use crate::api::annotation;
use crate::api::kustomize::v1::Kustomization;
use crate::api::meta::Artifact;
use crate::controller::namespaced_name;
use crate::kube_ext::cluster::Cluster;
use crate::redact::Redactor;
use kube::ResourceExt as _;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Everything that makes a pass a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    uid: Option<String>,
    generation: Option<i64>,
    requested_at: Option<String>,
    /// When somebody outside of the cluster, such as a webhook, asked for it last.
    asked: Option<Instant>,
    digest: String,
    revision: String,
    material: u64,
    cluster: String,
}

impl Input {
    /// The input of a pass over this object, `asked` for then, with this artifact, and what has this
    /// digest, in this cluster.
    pub fn of(
        object: &Kustomization,
        asked: Option<Instant>,
        artifact: &Artifact,
        material: u64,
        cluster: &Cluster,
    ) -> Self {
        Self {
            uid: object.metadata.uid.clone(),
            generation: object.metadata.generation,
            requested_at: object.annotations().get(annotation::REQUESTED_AT).cloned(),
            asked,
            digest: artifact.digest.clone(),
            revision: artifact.revision.clone(),
            material,
            cluster: format!("{} {}", cluster.label, cluster.identity.user.as_deref().unwrap_or_default()),
        }
    }
}

/// What the last pass left.
#[derive(Debug, Clone)]
pub struct Memory {
    /// What it worked with.
    pub input: Input,
    /// When every object was applied last, whether it had changed or not; none while they could not even be read.
    pub full_at: Option<Instant>,
    /// Digests of the manifests that are applied.
    pub digests: BTreeMap<ObjectId, u64>,
    /// What was kept from being deleted, and why.
    pub held: Option<Held>,
    /// Checksum of all manifests that were read.
    pub digest: Option<String>,
    /// Knows what of the manifests must not be told.
    pub redactor: Redactor,
    /// Since when health is waited for.
    pub waiting_since: Option<Instant>,
    /// The objects whose health is waited for.
    pub awaited: Arc<Vec<Awaited>>,
    /// They did not become healthy in time: from now on it only counts whether they are.
    pub gave_up: bool,
    /// Warnings of the pass whose health is waited for.
    pub warnings: String,
}

/// What is known of the objects of earlier passes, whatever they worked with.
#[derive(Debug, Default)]
pub struct Known {
    /// Digests of the manifests that are applied.
    pub digests: BTreeMap<ObjectId, u64>,
    /// What was kept from being deleted, and why.
    pub held: Option<Held>,
}

impl From<Memory> for Known {
    fn from(Memory { digests, held, .. }: Memory) -> Self {
        Self { digests, held }
    }
}

/// Memories by namespace and name.
#[derive(Debug, Default)]
pub struct Memories {
    known: Mutex<HashMap<Key, Memory>>,
    /// Inventories that are not on the status, because writing it failed.
    unstored: Mutex<HashMap<Key, (Option<String>, Inventory)>>,
}

/// Namespace and name.
type Key = (String, String);

impl Memories {
    /// The memory of an object.
    pub fn get(&self, object: &Kustomization) -> Option<Memory> {
        self.locked().get(&namespaced_name(object)).cloned()
    }

    /// Replaces the memory of an object.
    pub fn put(&self, object: &Kustomization, memory: Memory) {
        self.locked().insert(namespaced_name(object), memory);
    }

    /// Notes that nothing is waited for any more, whatever it was that ended the wait.
    pub fn end_wait(&self, object: &Kustomization) {
        if let Some(memory) = self.locked().get_mut(&namespaced_name(object)) {
            memory.waiting_since = None;
        }
    }

    /// Drops the memory of an object.
    pub fn forget(&self, object: &Kustomization) {
        self.locked().remove(&namespaced_name(object));
        self.unstored().remove(&namespaced_name(object));
    }

    /// What an object has applied: as its status says, and what could not be stored there. An entry too many does no harm:
    /// whose an object is counts when it is deleted.
    pub fn inventory(&self, object: &Kustomization) -> Inventory {
        let mut inventory = Inventory::read(object.status.as_ref().and_then(|status| status.inventory.as_ref()));
        if let Some((uid, unstored)) = self.unstored().get(&namespaced_name(object))
            && *uid == object.metadata.uid
        {
            unstored.iter().for_each(|(id, version)| inventory.insert(id.clone(), version));
        }
        inventory
    }

    /// Notes whether an inventory is on the status.
    pub fn wrote(&self, object: &Kustomization, inventory: &Inventory, stored: bool) {
        let (key, uid) = (namespaced_name(object), object.metadata.uid.clone());
        if stored {
            self.unstored().remove(&key);
        } else {
            self.unstored().insert(key, (uid, inventory.clone()));
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Memory>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unstored(&self) -> std::sync::MutexGuard<'_, HashMap<Key, (Option<String>, Inventory)>> {
        self.unstored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kustomize::v1::{KustomizationSpec, KustomizationStatus};

    fn inventory(names: &[&str]) -> Inventory {
        let mut inventory = Inventory::default();
        for name in names {
            inventory.insert(ObjectId::parse(&format!("apps_{name}__ConfigMap")).unwrap(), "v1");
        }
        inventory
    }

    fn names(inventory: &Inventory) -> Vec<String> {
        inventory.iter().map(|(id, _)| id.name.clone()).collect()
    }

    #[test]
    fn what_was_applied_is_known_though_the_status_could_not_be_written() {
        let mut object = Kustomization::new("apps", KustomizationSpec::default());
        object.metadata.uid = Some("1".to_owned());
        object.status =
            Some(KustomizationStatus { inventory: Some(inventory(&["a", "b"]).write()), ..Default::default() });
        let memories = Memories::default();
        memories.wrote(&object, &inventory(&["b", "c"]), false);
        assert_eq!(names(&memories.inventory(&object)), ["a", "b", "c"]);
        let mut anew = object.clone();
        anew.metadata.uid = Some("2".to_owned());
        assert_eq!(names(&memories.inventory(&anew)), ["a", "b"], "another object of that name");
        memories.wrote(&object, &inventory(&["b", "c"]), true);
        assert_eq!(names(&memories.inventory(&object)), ["a", "b"], "as the status says");
    }
}
