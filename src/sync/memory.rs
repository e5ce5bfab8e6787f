//! What this run of the operator remembers of each Kustomization, to do no work twice. Losing it
//! costs one full pass.

use super::inventory::ObjectId;
use crate::api::annotation;
use crate::api::kustomize::v1::Kustomization;
use crate::api::meta::Artifact;
use crate::controller::namespaced_name;
use kube::ResourceExt as _;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Everything that makes a pass a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    uid: Option<String>,
    generation: Option<i64>,
    requested_at: Option<String>,
    digest: String,
    revision: String,
    material: u64,
}

impl Input {
    /// The input of a pass over this object with this artifact and what has this digest.
    pub fn of(object: &Kustomization, artifact: &Artifact, material: u64) -> Self {
        Self {
            uid: object.metadata.uid.clone(),
            generation: object.metadata.generation,
            requested_at: object.annotations().get(annotation::REQUESTED_AT).cloned(),
            digest: artifact.digest.clone(),
            revision: artifact.revision.clone(),
            material,
        }
    }
}

/// What the last pass left.
#[derive(Debug, Clone)]
pub struct Memory {
    /// What it worked with.
    pub input: Input,
    /// When every object was applied last, whether it had changed or not.
    pub full_at: Instant,
    /// Digests of the manifests that are applied.
    pub digests: BTreeMap<ObjectId, u64>,
    /// Since when health is waited for.
    pub waiting_since: Option<Instant>,
    /// Warnings of the pass whose health is waited for.
    pub warnings: String,
}

/// Memories by namespace and name.
#[derive(Debug, Default)]
pub struct Memories(Mutex<HashMap<(String, String), Memory>>);

impl Memories {
    /// The memory of an object.
    pub fn get(&self, object: &Kustomization) -> Option<Memory> {
        self.locked().get(&namespaced_name(object)).cloned()
    }

    /// Replaces the memory of an object.
    pub fn put(&self, object: &Kustomization, memory: Memory) {
        self.locked().insert(namespaced_name(object), memory);
    }

    /// Drops the memory of an object.
    pub fn forget(&self, object: &Kustomization) {
        self.locked().remove(&namespaced_name(object));
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
