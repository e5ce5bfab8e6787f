//! One watch of a kind, shared by all controllers.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt as _};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, ResourceExt as _};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Watched;

/// A change of a watched object. After a lost watch, every object shows as applied once more.
#[derive(Debug)]
pub enum Change<K> {
    /// Made or changed.
    Applied(Arc<K>),
    /// Gone; the last known state.
    Deleted(Arc<K>),
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Applied(object) => Self::Applied(object.clone()),
            Self::Deleted(object) => Self::Deleted(object.clone()),
        }
    }
}

impl<K> Change<K> {
    /// The object, in its new or its last state.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Applied(object) | Self::Deleted(object) => object,
        }
    }
}

/// All objects of a kind, as of the last watch event. Cheap to clone.
pub struct Cache<K: Watched> {
    store: Store<K>,
    writer: Arc<Mutex<Option<Writer<K>>>>,
    subscribers: Arc<Mutex<Vec<UnboundedSender<Change<K>>>>>,
    /// Not the store's own readiness: that wakes only the last of several tasks that wait for it.
    ready: Arc<tokio::sync::watch::Sender<bool>>,
}

impl<K: Watched> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            writer: self.writer.clone(),
            subscribers: self.subscribers.clone(),
            ready: self.ready.clone(),
        }
    }
}

impl<K: Watched> Default for Cache<K> {
    fn default() -> Self {
        let writer = Writer::default();
        Self {
            store: writer.as_reader(),
            writer: Arc::new(Mutex::new(Some(writer))),
            subscribers: Arc::default(),
            ready: Arc::new(tokio::sync::watch::Sender::new(false)),
        }
    }
}

/// Why a cache stopped following its kind.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The watch ended, which it never does by itself.
    #[error("the watch of {kind} ended")]
    Ended {
        /// The watched kind.
        kind: String,
    },
    /// It was started twice.
    #[error("the watch of {kind} runs already")]
    Running {
        /// The watched kind.
        kind: String,
    },
}

impl<K: Watched> Cache<K> {
    /// The object of that name, if it exists.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// Every object, in no order.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// The store behind the cache.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// Every known object as applied, then every change.
    pub fn changes(&self) -> UnboundedReceiver<Change<K>> {
        let (sender, receiver) = unbounded_channel();
        // The store is read under the lock that every publication takes: what is not in it yet is
        // published to this subscriber too.
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        for object in self.store.state() {
            // The receiver is at hand, so this cannot fail.
            let _ = sender.send(Change::Applied(object));
        }
        subscribers.push(sender);
        receiver
    }

    /// Whether every object is known.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until every object is known.
    pub async fn ready(&self) {
        // The sender lives in this very cache, so this cannot fail.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Follows the kind for ever. An object that does not parse is logged and left out (or left
    /// at its last good state); all others go on. A lost watch is taken up again with backoff.
    pub async fn drive(&self, api: Api<DeserializeGuard<K>>) -> CacheError {
        let kind = K::kind(&()).into_owned();
        let Some(mut writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return CacheError::Running { kind };
        };
        let events = watch(api, watcher::Config::default()).default_backoff();
        self.follow(events, &mut writer, &kind).await;
        CacheError::Ended { kind }
    }

    async fn follow(
        &self,
        events: impl Stream<Item = Result<Event<DeserializeGuard<K>>, watcher::Error>>,
        writer: &mut Writer<K>,
        kind: &str,
    ) {
        let mut events = pin!(events);
        let mut listed = HashSet::new();
        let mut failing = false;
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    if !failing {
                        tracing::warn!(kind, %error, "the watch is broken, trying again");
                    }
                    failing = true;
                    continue;
                }
            };
            if failing && matches!(event, Event::InitDone | Event::Apply(_)) {
                tracing::info!(kind, "the watch is back");
                failing = false;
            }
            let Some(event) = self.parsed(event, kind) else { continue };
            self.track(&event, &mut listed, writer);
        }
    }

    /// The event with its object parsed; none when it does not parse and never did.
    fn parsed(&self, event: Event<DeserializeGuard<K>>, kind: &str) -> Option<Event<K>> {
        Some(match event {
            Event::Init => Event::Init,
            Event::InitDone => Event::InitDone,
            Event::Delete(DeserializeGuard(Ok(object))) => Event::Delete(slim(object)),
            Event::Delete(DeserializeGuard(Err(bad))) => {
                Event::Delete((*self.get(&bad.metadata.namespace?, &bad.metadata.name?)?).clone())
            }
            Event::Apply(DeserializeGuard(Ok(object))) => Event::Apply(slim(object)),
            Event::InitApply(DeserializeGuard(Ok(object))) => Event::InitApply(slim(object)),
            Event::Apply(DeserializeGuard(Err(bad))) => {
                warn_unparsable(kind, &bad);
                return None;
            }
            Event::InitApply(DeserializeGuard(Err(bad))) => {
                warn_unparsable(kind, &bad);
                Event::InitApply((*self.get(&bad.metadata.namespace?, &bad.metadata.name?)?).clone())
            }
        })
    }

    fn track(&self, event: &Event<K>, listed: &mut HashSet<ObjectRef<K>>, writer: &mut Writer<K>) {
        let mut changes = Vec::new();
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                listed.insert(ObjectRef::from_obj(object));
            }
            Event::InitDone => {
                let gone = self.store.state_filter(|known| !listed.contains(&ObjectRef::from_obj(known)));
                changes.extend(gone.into_iter().map(Change::Deleted));
            }
            Event::Delete(object) => changes.extend(self.stored(object).map(Change::Deleted)),
            Event::Apply(_) => {}
        }
        writer.apply_watcher_event(event);
        if let Event::Apply(object) = event {
            changes.extend(self.stored(object).map(Change::Applied));
        }
        if matches!(event, Event::InitDone) {
            listed.clear();
            changes.extend(self.store.state().into_iter().map(Change::Applied));
            self.ready.send_replace(true);
        }
        self.publish(changes);
    }

    /// What the store holds of an object: one copy of it in memory is enough.
    fn stored(&self, object: &K) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::from_obj(object))
    }

    fn publish(&self, changes: Vec<Change<K>>) {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| !subscriber.is_closed());
        for change in changes {
            for subscriber in subscribers.iter() {
                // A subscriber that closed since is dropped at the next change.
                let _ = subscriber.send(change.clone());
            }
        }
    }
}

/// Who wrote which field is of no use here and is most of a small object's size.
fn slim<K: Watched>(mut object: K) -> K {
    object.managed_fields_mut().clear();
    object
}

fn warn_unparsable(kind: &str, bad: &kube::core::error_boundary::InvalidObject) {
    tracing::warn!(
        kind,
        namespace = bad.metadata.namespace.as_deref(),
        name = bad.metadata.name.as_deref(),
        error = %bad.error,
        "the object does not parse and is left as it was; all others go on"
    );
}

/// A cache whose watch has shown these states, one after the other.
#[cfg(test)]
pub(super) fn after<K: Watched>(states: impl IntoIterator<Item = K>) -> Cache<K> {
    let cache = Cache::default();
    let mut writer = cache.writer.lock().expect("no panic under the lock").take().expect("not driven yet");
    states.into_iter().for_each(|state| cache.track(&Event::Apply(state), &mut HashSet::new(), &mut writer));
    cache
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::error_boundary::InvalidObject;

    fn config_map(name: &str) -> ConfigMap {
        serde_json::from_value(serde_json::json!({"metadata": {"name": name, "namespace": "default"}})).unwrap()
    }

    fn bad(name: &str) -> DeserializeGuard<ConfigMap> {
        DeserializeGuard(Err(InvalidObject { error: "no".to_owned(), metadata: config_map(name).metadata }))
    }

    fn good(name: &str) -> DeserializeGuard<ConfigMap> {
        DeserializeGuard(Ok(config_map(name)))
    }

    async fn changes(events: Vec<Event<DeserializeGuard<ConfigMap>>>) -> (Vec<String>, Cache<ConfigMap>) {
        let cache = Cache::<ConfigMap>::default();
        let mut receiver = cache.changes();
        let mut writer = cache.writer.lock().unwrap().take().unwrap();
        cache.follow(stream::iter(events.into_iter().map(Ok)), &mut writer, "ConfigMap").await;
        let mut seen = Vec::new();
        while let Ok(change) = receiver.try_recv() {
            let sign = if matches!(change, Change::Applied(_)) { '+' } else { '-' };
            seen.push(format!("{sign}{}", change.object().name_any()));
        }
        seen.sort();
        (seen, cache)
    }

    #[tokio::test]
    async fn one_bad_object_stops_no_other() {
        let events = vec![Event::Init, Event::InitApply(bad("a")), Event::InitApply(good("b")), Event::InitDone];
        let (seen, cache) = changes(events).await;
        assert_eq!(seen, ["+b"]);
        assert!(cache.get("default", "a").is_none() && cache.get("default", "b").is_some());
    }

    #[tokio::test]
    async fn everyone_who_waits_for_the_list_is_woken() {
        let cache = Cache::<ConfigMap>::default();
        let waiting: Vec<_> =
            (0..3).map(|_| cache.clone()).map(|c| tokio::spawn(async move { c.ready().await })).collect();
        tokio::task::yield_now().await;
        let mut writer = cache.writer.lock().unwrap().take().unwrap();
        cache.follow(stream::iter([Ok(Event::Init), Ok(Event::InitDone)]), &mut writer, "ConfigMap").await;
        for task in waiting {
            tokio::time::timeout(std::time::Duration::from_secs(10), task).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_late_subscriber_sees_what_is_there() {
        let (_, cache) = changes(vec![Event::Init, Event::InitApply(good("a")), Event::InitDone]).await;
        let change = cache.changes().try_recv().unwrap();
        assert_eq!(change.object().name_any(), "a");
    }

    #[tokio::test]
    async fn an_object_that_turns_bad_keeps_its_last_good_state() {
        let first = [Event::Init, Event::InitApply(good("a")), Event::InitDone];
        let second = [Event::Apply(bad("a")), Event::Init, Event::InitApply(bad("a")), Event::InitDone];
        let (seen, cache) = changes(first.into_iter().chain(second).collect()).await;
        assert_eq!(seen, ["+a", "+a"]);
        assert!(cache.get("default", "a").is_some());
    }

    #[tokio::test]
    async fn what_vanished_while_the_watch_was_lost_is_deleted() {
        let first = [Event::Init, Event::InitApply(good("a")), Event::InitApply(good("b")), Event::InitDone];
        let second = [Event::Init, Event::InitApply(good("b")), Event::InitDone];
        let (seen, _) = changes(first.into_iter().chain(second).collect()).await;
        assert_eq!(seen, ["+a", "+b", "+b", "-a"]);
    }
}
