//! One watch of all of helm's release Secrets, which keeps a summary of each revision.
//!
//! A Secret's body goes as soon as it is summarised: 5,000 revisions take under 6 MB.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::storage::SECRET_TYPE;

use super::summary::{ReleaseKey, ReleaseSummary, summary};

/// Secrets per page of the first list: each may weigh 1 MiB until it is summarised.
const PAGE_SIZE: u32 = 20;

/// Pause after a failed watch, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The revisions of every release, as of the last watch event. Cheap to clone.
#[derive(Clone)]
pub struct ReleaseCache {
    state: Arc<Mutex<State>>,
    ready: Arc<watch::Sender<bool>>,
}

#[derive(Default)]
struct State {
    /// Oldest first: a map of two or three would take ten times the memory.
    releases: HashMap<ReleaseKey, Vec<ReleaseSummary>>,
    /// Which revision a Secret holds, to remove it without decoding it again.
    secrets: HashMap<SecretKey, (ReleaseKey, i64)>,
    /// Secrets that were reported as unreadable.
    unreadable: HashSet<SecretKey>,
    /// Secrets seen since a list began; none between lists.
    listed: Option<HashSet<SecretKey>>,
    subscribers: Vec<UnboundedSender<ReleaseKey>>,
}

/// Namespace and name of a Secret.
type SecretKey = (String, String);

impl Default for ReleaseCache {
    fn default() -> Self {
        Self { state: Arc::default(), ready: Arc::new(watch::Sender::new(false)) }
    }
}

impl ReleaseCache {
    /// The revisions of a release, newest first.
    pub fn get(&self, namespace: &str, name: &str) -> Vec<ReleaseSummary> {
        let key = ReleaseKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let state = self.lock();
        state.releases.get(&key).map(|revisions| revisions.iter().rev().cloned().collect()).unwrap_or_default()
    }

    /// The releases whose revisions change from now on.
    pub fn changes(&self) -> UnboundedReceiver<ReleaseKey> {
        let (sender, receiver) = unbounded_channel();
        self.lock().subscribers.push(sender);
        receiver
    }

    /// Whether the first list is complete.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until the first list is complete.
    pub async fn ready(&self) {
        // The sender lives in `self`, so that the wait cannot end otherwise.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Watches a namespace, or all of them, for ever. A lost watch is taken up again; what
    /// changed meanwhile shows as changes.
    pub async fn run(self, client: Client, namespace: Option<&str>) {
        let api = match namespace {
            Some(namespace) => Api::<Secret>::namespaced(client, namespace),
            None => Api::all(client),
        };
        let config =
            watcher::Config::default().fields(&format!("type={SECRET_TYPE}")).labels("owner=helm").page_size(PAGE_SIZE);
        let mut pause = FIRST_PAUSE;
        let mut events = pin!(watcher::watcher(api, config));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    pause = FIRST_PAUSE;
                    self.handle(event);
                }
                Err(error) => {
                    tracing::warn!(%error, "the watch of helm releases was lost; taking it up again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Takes one watch event in.
    fn handle(&self, event: Event<Secret>) {
        let mut state = self.lock();
        match event {
            Event::Init => state.listed = Some(HashSet::new()),
            Event::InitApply(secret) => {
                let key = secret_key(&secret);
                state.apply(key.clone(), &secret);
                if let Some(listed) = &mut state.listed {
                    listed.insert(key);
                }
            }
            Event::InitDone => {
                state.forget_unlisted();
                drop(state);
                self.ready.send_replace(true);
            }
            Event::Apply(secret) => state.apply(secret_key(&secret), &secret),
            Event::Delete(secret) => state.remove(&secret_key(&secret)),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply(&mut self, place: SecretKey, secret: &Secret) {
        match summary(secret) {
            Ok((key, summary)) => {
                self.unreadable.remove(&place);
                let version = summary.version;
                if take_in(self.releases.entry(key.clone()).or_default(), summary) {
                    self.notify(&key);
                }
                self.secrets.insert(place, (key, version));
            }
            Err(error) => {
                self.remove(&place);
                if !self.unreadable.contains(&place) {
                    let (namespace, name) = &place;
                    tracing::warn!(secret = %format_args!("{namespace}/{name}"), %error, "a helm release cannot be read and is left alone");
                    self.unreadable.insert(place);
                }
            }
        }
    }

    fn remove(&mut self, place: &SecretKey) {
        let Some((key, version)) = self.secrets.remove(place) else {
            return;
        };
        if let Some(revisions) = self.releases.get_mut(&key) {
            revisions.retain(|known| known.version != version);
            if revisions.is_empty() {
                self.releases.remove(&key);
            }
        }
        self.notify(&key);
    }

    fn forget_unlisted(&mut self) {
        let listed = self.listed.take().unwrap_or_default();
        let gone: Vec<SecretKey> = self.secrets.keys().filter(|place| !listed.contains(*place)).cloned().collect();
        for place in gone {
            self.remove(&place);
        }
        self.unreadable.retain(|place| listed.contains(place));
    }

    fn notify(&mut self, key: &ReleaseKey) {
        self.subscribers.retain(|subscriber| subscriber.send(key.clone()).is_ok());
    }
}

/// Whether a revision is new, or not as it was.
fn take_in(revisions: &mut Vec<ReleaseSummary>, summary: ReleaseSummary) -> bool {
    match revisions.binary_search_by_key(&summary.version, |known| known.version) {
        Ok(at) if revisions[at] == summary => return false,
        Ok(at) => revisions[at] = summary,
        Err(at) => {
            revisions.reserve_exact(1);
            revisions.insert(at, summary);
        }
    }
    true
}

fn secret_key(secret: &Secret) -> SecretKey {
    (secret.metadata.namespace.clone().unwrap_or_default(), secret.metadata.name.clone().unwrap_or_default())
}

#[cfg(test)]
#[path = "release_cache/tests.rs"]
mod tests;
