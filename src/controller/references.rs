//! Changes of Secrets and ConfigMaps, so that the objects that refer to one wake at once. Only
//! names pass through; nothing is kept.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher as watch};
use kube::{Api, Resource};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::cache::CacheError;

/// Kind of an object that others take values or credentials from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReferenceKind {
    /// A `Secret`.
    Secret,
    /// A `ConfigMap`.
    ConfigMap,
}

/// A `Secret` or `ConfigMap` was made, changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReferenceChange {
    /// Its kind.
    pub kind: ReferenceKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Who wants to hear of changes. Cheap to clone.
#[derive(Clone, Default)]
pub struct References(Arc<Mutex<Vec<UnboundedSender<ReferenceChange>>>>);

impl References {
    /// Every change from now on; after a lost watch every object counts as changed once.
    pub fn changes(&self) -> UnboundedReceiver<ReferenceChange> {
        let (sender, receiver) = unbounded_channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Follows both kinds for ever, by metadata only. Helm's own release Secrets are left out.
    pub async fn drive(
        &self,
        secrets: Api<PartialObjectMeta<Secret>>,
        config_maps: Api<PartialObjectMeta<ConfigMap>>,
    ) -> CacheError {
        let not_releases = watcher::Config::default().fields("type!=helm.sh/release.v1");
        let secrets = watch(secrets, not_releases).default_backoff();
        let config_maps = watch(config_maps, watcher::Config::default()).default_backoff();
        tokio::join!(self.follow(secrets, ReferenceKind::Secret), self.follow(config_maps, ReferenceKind::ConfigMap));
        CacheError::Ended { kind: "Secret and ConfigMap".to_owned() }
    }

    async fn follow<K>(
        &self,
        events: impl Stream<Item = Result<Event<PartialObjectMeta<K>>, watcher::Error>>,
        kind: ReferenceKind,
    ) where
        PartialObjectMeta<K>: Resource,
    {
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) => {
                    let (namespace, name) = super::namespaced_name(&object);
                    self.publish(&ReferenceChange { kind, namespace, name });
                }
                Ok(Event::Init | Event::InitDone) => {}
                Err(error) => tracing::debug!(?kind, %error, "the watch is broken, trying again"),
            }
        }
    }

    fn publish(&self, change: &ReferenceChange) {
        let mut subscribers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| subscriber.send(change.clone()).is_ok());
    }
}
