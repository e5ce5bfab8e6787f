//! What this run of the operator remembers of each Kustomization, to do no work twice. Losing it
//! costs one full pass.

use super::inventory::ObjectId;
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
    digest: String,
    revision: String,
    material: u64,
    cluster: String,
}

impl Input {
    /// The input of a pass over this object with this artifact, and what has this digest, in this
    /// cluster.
    pub fn of(object: &Kustomization, artifact: &Artifact, material: u64, cluster: &Cluster) -> Self {
        Self {
            uid: object.metadata.uid.clone(),
            generation: object.metadata.generation,
            requested_at: object.annotations().get(annotation::REQUESTED_AT).cloned(),
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
    /// When every object was applied last, whether it had changed or not.
    pub full_at: Instant,
    /// Digests of the manifests that are applied.
    pub digests: BTreeMap<ObjectId, u64>,
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
