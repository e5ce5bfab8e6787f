//! Which objects of a kind wait for a pass, and since when; which are in one.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// The queue of one controller. Objects are known by a hash of their names: a few bytes each.
#[derive(Debug, Default)]
pub struct Queue(Mutex<HashMap<u64, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    /// When a pass is due, in the future too.
    due: Option<Instant>,
    /// When the pass under way began.
    running: Option<Instant>,
}

/// A queue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Objects whose pass is due and has not begun.
    pub waiting: usize,
    /// For how long the one of them waits that waits longest.
    pub oldest: Duration,
    /// Passes under way.
    pub running: usize,
    /// For how long the longest of them runs.
    pub longest: Duration,
}

/// The key of an object in its kind's queue.
pub fn key(namespace: &str, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, name).hash(&mut hasher);
    hasher.finish()
}

impl Queue {
    /// A pass over an object is due, at once or later. An earlier time stands.
    pub fn due(&self, key: u64, at: Instant) {
        let mut entries = self.locked();
        let due = &mut entries.entry(key).or_default().due;
        *due = Some(due.map_or(at, |known| known.min(at)));
    }

    /// A pass begins; gives how long it was due.
    pub fn begin(&self, key: u64, now: Instant) -> Duration {
        let mut entries = self.locked();
        let entry = entries.entry(key).or_default();
        entry.running = Some(now);
        entry.due.take().map_or(Duration::ZERO, |due| now.saturating_duration_since(due))
    }

    /// The pass has ended.
    pub fn end(&self, key: u64) {
        let mut entries = self.locked();
        match entries.get_mut(&key) {
            Some(entry) if entry.due.is_some() => entry.running = None,
            _ => drop(entries.remove(&key)),
        }
    }

    /// The object is gone; a pass over it may still be under way.
    pub fn forget(&self, key: u64) {
        let mut entries = self.locked();
        match entries.get_mut(&key) {
            Some(entry) if entry.running.is_some() => entry.due = None,
            _ => drop(entries.remove(&key)),
        }
    }

    /// How the queue stands.
    pub fn look(&self, now: Instant) -> Look {
        let mut look = Look::default();
        for entry in self.locked().values() {
            if let Some(due) = entry.due.filter(|due| *due <= now) {
                look.waiting += 1;
                look.oldest = look.oldest.max(now - due);
            }
            if let Some(began) = entry.running {
                look.running += 1;
                look.longest = look.longest.max(now.saturating_duration_since(began));
            }
        }
        look
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queues of all controllers, by the controllers' names.
#[derive(Debug, Default)]
pub struct Queues(Mutex<BTreeMap<String, Arc<Queue>>>);

impl Queues {
    /// The queue of a controller.
    pub fn of(&self, controller: &str) -> Arc<Queue> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(queues.entry(controller.to_owned()).or_default())
    }

    fn looks(&self) -> Vec<(String, Look)> {
        let now = Instant::now();
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.iter().map(|(controller, queue)| (controller.clone(), queue.look(now))).collect()
    }
}

/// A gauge of a queue: its name, its description, whether it goes by `name` too, and its value.
type Gauge = (&'static str, &'static str, bool, fn(&Look) -> f64);

#[allow(clippy::cast_precision_loss, reason = "no queue holds 2^52 objects")]
const GAUGES: [Gauge; 4] = [
    ("workqueue_depth", "Objects whose pass is due and has not begun.", true, |look| look.waiting as f64),
    (
        "workqueue_longest_running_processor_seconds",
        "For how long the longest of the passes under way runs.",
        true,
        |look| look.longest.as_secs_f64(),
    ),
    ("controller_runtime_active_workers", "Passes under way.", false, |look| look.running as f64),
    ("fairlead_queue_oldest_seconds", "For how long the object waits that waits longest.", false, |look| {
        look.oldest.as_secs_f64()
    }),
];

impl Collector for Queues {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let looks = self.looks();
        for (name, help, named, value) in GAUGES {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (controller, look) in &looks {
                let labels = [("name", controller.as_str()), ("controller", controller.as_str())];
                let labels = if named { &labels[..] } else { &labels[1..] };
                ConstGauge::new(value(look)).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_due_waits_and_what_has_begun_runs() {
        let (queue, start) = (Queue::default(), Instant::now());
        let (a, b) = (key("x", "a"), key("x", "b"));
        assert_ne!(a, b);
        queue.due(a, start);
        queue.due(a, start + SECOND);
        queue.due(b, start + 5 * SECOND);
        let two = start + 2 * SECOND;
        assert_eq!(queue.look(two), Look { waiting: 1, oldest: 2 * SECOND, ..Look::default() });
        assert_eq!(queue.begin(a, two), 2 * SECOND);
        queue.due(a, start + 3 * SECOND);
        let look = queue.look(start + 6 * SECOND);
        assert_eq!(look, Look { waiting: 2, oldest: 3 * SECOND, running: 1, longest: 4 * SECOND });
        queue.end(a);
        assert_eq!(queue.look(two), Look::default());
    }

    #[test]
    fn what_is_gone_waits_no_more() {
        let (queue, start) = (Queue::default(), Instant::now());
        queue.due(1, start);
        queue.begin(1, start);
        queue.due(1, start);
        queue.forget(1);
        assert_eq!(queue.look(start), Look { running: 1, ..Look::default() });
        queue.end(1);
        assert!(queue.locked().is_empty());
    }
}
