//! A queue per provider: one that is slow or dead holds up nothing but its own notifications.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::deliver::{Deliverer, Job};
use crate::controller::{Context, namespaced_name};

/// Notifications that wait for one provider; more are dropped.
const LONGEST_QUEUE: usize = 256;

/// Namespace and name of a provider.
type Key = (String, String);

/// The queues, and the one delivery that is under way for each.
pub struct Lanes {
    deliverer: Arc<Deliverer>,
    waiting: HashMap<Key, VecDeque<Job>>,
    under_way: JoinSet<Key>,
}

impl Lanes {
    /// Without any queue.
    pub fn new(deliverer: Deliverer) -> Self {
        Self { deliverer: Arc::new(deliverer), waiting: HashMap::new(), under_way: JoinSet::new() }
    }

    /// Sends the event after all others that wait for its provider.
    pub fn put(&mut self, context: &Context, job: Job) {
        let key = namespaced_name(job.provider.as_ref());
        match self.waiting.entry(key.clone()) {
            Entry::Vacant(queue) => {
                queue.insert(VecDeque::new());
                self.begin(key, job);
            }
            Entry::Occupied(mut queue) if queue.get().len() < LONGEST_QUEUE => queue.get_mut().push_back(job),
            Entry::Occupied(_) => {
                context.metrics.notification(job.kind(), "dropped");
                let (namespace, provider) = key;
                tracing::warn!(namespace, provider, "a notification was dropped: too many wait for this provider");
            }
        }
    }

    /// Waits for the end of a delivery and begins the next one; for ever while there is none.
    pub async fn advance(&mut self) -> Result<(), JoinError> {
        let Some(ended) = self.under_way.join_next().await else { return std::future::pending().await };
        let key = ended?;
        match self.waiting.get_mut(&key).and_then(VecDeque::pop_front) {
            Some(job) => self.begin(key, job),
            None => drop(self.waiting.remove(&key)),
        }
        Ok(())
    }

    fn begin(&mut self, key: Key, job: Job) {
        let deliverer = Arc::clone(&self.deliverer);
        self.under_way.spawn(async move {
            deliverer.deliver(&job).await;
            key
        });
    }
}
