//! How often something may happen: a token bucket. Pure but for its lock.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// So many at once, and so many a second over time.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// A second, over time.
    pub per_second: u32,
}

/// Counts.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    level: Mutex<(f64, Option<Instant>)>,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        Self { rate, level: Mutex::new((f64::from(rate.burst), None)) }
    }

    /// Whether one more may happen now; it is counted then.
    pub fn take(&self, now: Instant) -> bool {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *level;
        let passed = since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        let left = (left + passed * f64::from(self.rate.per_second)).min(f64::from(self.rate.burst));
        let allowed = left >= 1.0;
        *level = (if allowed { left - 1.0 } else { left }, Some(now));
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_is_allowed_then_a_rate() {
        let bucket = Bucket::new(Rate { burst: 3, per_second: 2 });
        let start = Instant::now();
        let allowed = |after: u64| bucket.take(start + Duration::from_millis(after));
        assert_eq!([0, 0, 0, 0, 400, 600, 600].map(allowed), [true, true, true, false, false, true, false]);
        // No more than the burst is ever saved up.
        assert_eq!([90_000, 90_000, 90_000, 90_000].map(allowed), [true, true, true, false]);
    }
}
