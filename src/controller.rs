//! The shared frame of every controller: one watch a kind, passes over objects with backoff,
//! finalizers, status, events, metrics.

pub mod cache;
pub mod caches;
pub mod changes;
pub mod conditions;
pub mod context;
pub mod dependencies;
pub mod frame;
pub mod pace;
pub mod pulse;
pub mod references;
pub mod resources;
pub mod wake;
pub mod wakes;
pub mod written;

pub use cache::{Cache, Change};
pub use caches::Caches;
pub use context::Context;
pub use frame::{Reconciler, run};
pub use pace::{DUE_AFTER, Requeue, jittered};
pub use wakes::Wakes;

use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// What an object must be to be watched and reconciled.
pub trait Watched:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
}

/// Namespace and name, which is how every cache and log line identifies an object of a kind.
pub fn namespaced_name<K: Resource>(object: &K) -> (String, String) {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}
