//! A clock that nobody can set.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time since the machine was started, sleep included.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
