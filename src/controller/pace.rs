//! When an object is looked at again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::Resource;

use super::wake;

/// First pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// No pause is longer than this, whatever the caller allows.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

/// What a pass over an object asks of the frame. A change of the object or of what it refers to
/// wakes it earlier in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// Nothing to do until something changes.
    OnChange,
    /// Look again after this time, as it is.
    After(Duration),
    /// It failed: look again after a pause that starts at 0.5 s and doubles with every failure of
    /// the same input, with jitter, up to `max`.
    Backoff {
        /// The longest pause.
        max: Duration,
    },
}

/// The part of an interval after which what is done once an interval is due: less than [`jittered`] leaves of it.
pub const DUE_AFTER: f64 = 0.9;

/// The interval, longer or shorter by up to a twentieth, so that objects made together do not
/// stay together.
pub fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.95 + 0.1 * rand::random::<f64>())
}

/// The pause after the `failures`-th failure in a row; `chance` is in 0..1.
fn pause(failures: u32, max: Duration, chance: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(max.max(FIRST_PAUSE)).min(LONGEST_PAUSE).mul_f64(0.8 + 0.2 * chance)
}

struct Attempts {
    input: u64,
    failures: u32,
}

/// Failures in a row, per object.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<(String, String), Attempts>>);

impl Failures {
    /// Turns the outcome of a pass into the pause before the next one; none means until a change.
    pub fn next<K: Resource>(&self, object: &K, requeue: Requeue) -> Option<Duration> {
        let key = super::namespaced_name(object);
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Requeue::Backoff { max } = requeue else {
            attempts.remove(&key);
            return match requeue {
                Requeue::After(after) => Some(after),
                Requeue::OnChange | Requeue::Backoff { .. } => None,
            };
        };
        let input = wake::fingerprint(object);
        let known = attempts.entry(key).or_insert(Attempts { input, failures: 0 });
        if known.input != input {
            *known = Attempts { input, failures: 0 };
        }
        known.failures += 1;
        Some(pause(known.failures, max, rand::random()))
    }

    /// Forgets an object that is gone.
    pub fn forget<K: Resource>(&self, object: &K) {
        let key = super::namespaced_name(object);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn object(generation: i64) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("a".to_owned());
        object.metadata.generation = Some(generation);
        object
    }

    #[test]
    fn pauses_double_up_to_the_bound() {
        let max = Duration::from_secs(3);
        let pauses: Vec<_> = (1..=5).map(|n| pause(n, max, 1.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 3000, 3000]);
        assert_eq!(pause(1_000, Duration::MAX, 1.0), LONGEST_PAUSE);
        assert!(pause(1, max, 0.0) >= Duration::from_millis(400));
    }

    #[test]
    fn a_new_input_starts_afresh_and_success_forgets() {
        let failures = Failures::default();
        let backoff = Requeue::Backoff { max: Duration::from_mins(1) };
        for _ in 0..4 {
            failures.next(&object(1), backoff);
        }
        assert!(failures.next(&object(1), backoff).unwrap() > Duration::from_secs(2));
        assert!(failures.next(&object(2), backoff).unwrap() <= FIRST_PAUSE);
        assert_eq!(failures.next(&object(2), Requeue::OnChange), None);
        assert!(failures.next(&object(2), backoff).unwrap() <= FIRST_PAUSE);
    }

    #[test]
    fn jitter_stays_within_a_twentieth() {
        let interval = Duration::from_secs(100);
        for _ in 0..100 {
            let jittered = jittered(interval).as_secs_f64();
            assert!((95.0..=105.0).contains(&jittered), "{jittered}");
        }
    }
}
