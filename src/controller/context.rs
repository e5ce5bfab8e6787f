//! What every controller works with.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch as JsonPatch, PatchOperation};
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::changes::Changes;
use super::pulse::Pulses;
use super::references::References;
use super::resources::Resources;
use super::written::Written;
use super::{Caches, Wakes, Watched};
use crate::api::FINALIZER;
use crate::args::Config;
use crate::kube_ext::recorder::Reporter;
use crate::metrics::Metrics;
use crate::traces::{Queue, Span};

/// Everything a controller needs, cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The API server, with the operator's own identity.
    pub client: Client,
    /// Flags.
    pub config: Arc<Config>,
    /// Every object that is watched.
    pub caches: Caches,
    /// Changes of Secrets and `ConfigMap`s.
    pub references: References,
    /// Objects that a webhook asks to look at.
    pub wakes: Wakes,
    /// Log lines and events.
    pub reporter: Reporter,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Signs of life.
    pub pulses: Pulses,
    /// Commits on their way to ready releases.
    pub changes: Arc<Changes>,
    /// Where spans are left, if anybody wants them.
    pub traces: Option<Arc<Queue>>,
    /// Cancelled when the operator is asked to end: take no new work.
    pub shutdown: CancellationToken,
    /// The releases (namespace and name) that were this operator's when it began to lead: nobody else
    /// is at work on them, whatever their status says. One that comes from another shard later may
    /// still be worked on there. A release is none any more after its first pass.
    pub inheritance: Arc<Mutex<HashSet<(String, String)>>>,
    /// What the watch does not show yet.
    pub written: Written,
}

impl Context {
    /// A context with empty caches.
    pub fn new(
        client: Client,
        config: Arc<Config>,
        reporter: Reporter,
        metrics: Arc<Metrics>,
        pulses: Pulses,
        traces: Option<Arc<Queue>>,
        shutdown: CancellationToken,
    ) -> Self {
        let caches = Caches::default();
        metrics.look_up(Box::new(Resources::new(caches.clone(), Arc::clone(&config))));
        Self {
            client,
            config,
            caches,
            references: References::default(),
            wakes: Wakes::default(),
            reporter,
            metrics,
            pulses,
            changes: Arc::new(if traces.is_some() { Changes::traced() } else { Changes::default() }),
            traces,
            shutdown,
            inheritance: Arc::default(),
            written: Written::default(),
        }
    }

    /// Why an object in the namespace `own` may not refer to another one, by the operator's flags.
    pub fn denied(&self, own: &str, kind: &str, namespace: &str, name: &str) -> Option<String> {
        let denied = self.config.no_cross_namespace_refs && own != namespace;
        denied.then(|| format!("cross-namespace references are not allowed: cannot access {kind} {namespace}/{name}"))
    }

    /// Whether this operator looks after an object, by its labels.
    pub fn is_own<K: Resource>(&self, object: &K) -> bool {
        self.config.shard.as_ref().is_none_or(|shard| shard.chooses(object.labels()))
    }

    /// This operator leads from now on.
    pub fn inherit(&self) {
        let own = self.caches.helm_releases.all().into_iter().filter(|release| self.is_own(release.as_ref()));
        let names = own.map(|release| super::namespaced_name(release.as_ref())).collect();
        *self.inheritance.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Objects of a kind in a namespace.
    pub fn api<K: Watched + Resource<Scope = NamespaceResourceScope>>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Objects of a kind where the operator watches.
    pub fn watched_api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match &self.config.watch_namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// Hands spans over to be sent, where anybody wants them.
    pub fn trace(&self, spans: Vec<Span>) {
        if let Some(queue) = &self.traces {
            queue.push(spans);
        }
    }

    /// Replaces the whole status; no request when it is equal. Returns the object as stored, or, when somebody else has
    /// changed it meanwhile, as it was with the new status: a pass ends with the spec that it began with, and the next one
    /// is on its way.
    pub async fn put_status<K>(&self, object: &K, status: K::Status) -> Result<Arc<K>, kube::Error>
    where
        K: Watched + Resource<Scope = NamespaceResourceScope> + HasStatus,
        K::Status: Serialize + Clone + PartialEq,
    {
        if object.status() == Some(&status) {
            return Ok(Arc::new(object.clone()));
        }
        let value = serde_json::to_value(status).map_err(kube::Error::SerdeError)?;
        let path = PointerBuf::from_tokens(["status"]);
        let replacement = JsonPatch(vec![PatchOperation::Add(AddOperation { path, value })]);
        let api = self.api::<K>(&object.namespace().unwrap_or_default());
        let stored =
            api.patch_status(&object.name_any(), &PatchParams::default(), &Patch::Json::<()>(replacement)).await?;
        let stored = Arc::new(stored);
        self.written.keep(stored.clone());
        if is_as_it_was(object, stored.as_ref()) {
            return Ok(stored);
        }
        let mut object = object.clone();
        *object.status_mut() = stored.status().cloned();
        Ok(Arc::new(object))
    }

    /// Adds the finalizer; a conflict with another writer is an error, to be tried again.
    pub async fn add_finalizer<K>(&self, object: &K) -> Result<Arc<K>, kube::Error>
    where
        K: Watched + Resource<Scope = NamespaceResourceScope>,
    {
        let mut finalizers = object.finalizers().to_vec();
        if finalizers.iter().any(|known| known == FINALIZER) {
            return Ok(Arc::new(object.clone()));
        }
        finalizers.push(FINALIZER.to_owned());
        self.put_finalizers(object, &finalizers).await
    }

    /// Removes the finalizer; an object that is gone is what was wanted.
    pub async fn remove_finalizer<K>(&self, object: &K) -> Result<(), kube::Error>
    where
        K: Watched + Resource<Scope = NamespaceResourceScope>,
    {
        let kept: Vec<_> = object.finalizers().iter().filter(|known| *known != FINALIZER).cloned().collect();
        if kept.len() == object.finalizers().len() {
            return Ok(());
        }
        match self.put_finalizers(object, &kept).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }

    async fn put_finalizers<K>(&self, object: &K, finalizers: &[String]) -> Result<Arc<K>, kube::Error>
    where
        K: Watched + Resource<Scope = NamespaceResourceScope>,
    {
        let patch = json!({"metadata": {
            "finalizers": finalizers, "resourceVersion": object.resource_version(), "uid": object.uid(),
        }});
        let api = self.api::<K>(&object.namespace().unwrap_or_default());
        let stored = api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        let stored = Arc::new(stored);
        self.written.keep(stored.clone());
        Ok(stored)
    }

    /// Forgets an object that is gone: what was written to it, and what was counted of it.
    pub fn forget<K: Watched>(&self, object: &K) {
        self.written.forget(object);
        let (namespace, name) = super::namespaced_name(object);
        self.wakes.forget(object);
        self.trace(self.changes.forget((&K::kind(&()), &namespace, &name), Timestamp::now()));
    }
}

/// Whether nobody changed what a pass goes by.
fn is_as_it_was<K: Resource>(before: &K, after: &K) -> bool {
    before.meta().generation == after.meta().generation && before.meta().annotations == after.meta().annotations
}
