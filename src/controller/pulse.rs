//! Which parts of the operator still turn: each has to give a sign of life from time to time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a part gives a sign of life.
pub const BEAT: Duration = Duration::from_secs(5);

/// Without a sign of life for this long, a part is stuck.
const LIMIT: Duration = Duration::from_secs(30);

/// When each part gave its last sign of life. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pulses(Arc<Mutex<BTreeMap<&'static str, Instant>>>);

/// One part's sign of life; a part that drops it has ended, which is no trouble.
pub struct Pulse {
    part: &'static str,
    pulses: Pulses,
}

impl Pulses {
    /// A part that lives from now on.
    pub fn part(&self, part: &'static str) -> Pulse {
        self.locked().insert(part, Instant::now());
        Pulse { part, pulses: self.clone() }
    }

    /// The parts that are stuck, and for how long.
    pub fn stuck(&self) -> Vec<(&'static str, Duration)> {
        stuck(&self.locked(), Instant::now())
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<&'static str, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// The part lives.
    pub fn beat(&self) {
        self.pulses.locked().insert(self.part, Instant::now());
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.pulses.locked().remove(self.part);
    }
}

fn stuck(beats: &BTreeMap<&'static str, Instant>, now: Instant) -> Vec<(&'static str, Duration)> {
    let silent = beats.iter().map(|(part, beat)| (*part, now.saturating_duration_since(*beat)));
    silent.filter(|(_, silence)| *silence >= LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_without_a_sign_of_life_is_named() {
        let begun = Instant::now();
        let beats = BTreeMap::from([("a", begun), ("b", begun + LIMIT / 2)]);
        assert_eq!(stuck(&beats, begun), []);
        assert_eq!(stuck(&beats, begun + LIMIT), [("a", LIMIT)]);
        assert_eq!(stuck(&beats, begun + LIMIT * 2), [("a", LIMIT * 2), ("b", LIMIT * 3 / 2)]);
    }

    #[test]
    fn a_part_that_ended_is_not_missed() {
        let pulses = Pulses::default();
        let pulse = pulses.part("a");
        pulses.locked().insert("a", Instant::now().checked_sub(LIMIT * 2).expect("a time"));
        assert_eq!(pulses.stuck().len(), 1);
        pulse.beat();
        assert_eq!(pulses.stuck(), []);
        drop(pulse);
        assert!(pulses.locked().is_empty());
    }
}
