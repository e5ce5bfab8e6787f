//! The runtime's own sign of life, and a look at the machine's clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::controller::pulse::{BEAT, Pulses};
use crate::steady_clock;

/// A difference that is worth a line in the log.
const JUMP: SignedDuration = SignedDuration::from_secs(5);

/// A moment by the clock on the wall, and by one that never jumps.
#[derive(Clone, Copy, Debug)]
struct Moment {
    wall: Timestamp,
    steady: Duration,
}

impl Moment {
    fn now() -> Self {
        Self { wall: Timestamp::now(), steady: steady_clock::now() }
    }
}

/// How far the clock on the wall was set forward (or back) between two moments, if it was.
fn jump(before: Moment, after: Moment) -> Option<SignedDuration> {
    let passed = SignedDuration::try_from(after.steady.saturating_sub(before.steady)).unwrap_or_default();
    let jump = after.wall.duration_since(before.wall) - passed;
    (jump.abs() >= JUMP).then_some(jump)
}

/// Gives a sign of life for as long as the runtime runs tasks.
pub async fn run(pulses: Pulses) {
    let pulse = pulses.part("the runtime");
    let mut before = Moment::now();
    loop {
        tokio::time::sleep(BEAT).await;
        pulse.beat();
        let now = Moment::now();
        if let Some(jump) = jump(before, now) {
            tracing::warn!(%jump, "this machine's clock was set; a wait that goes on after a restart ends that much sooner or later");
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_and_one_that_runs_is_not() {
        let at = |wall: i64, steady: u64| Moment {
            wall: Timestamp::from_second(1_000_000 + wall).unwrap(),
            steady: Duration::from_secs(steady),
        };
        assert_eq!(jump(at(0, 0), at(5, 5)), None);
        assert_eq!(jump(at(0, 0), at(8, 5)), None, "a busy machine");
        assert_eq!(jump(at(0, 0), at(3605, 5)), Some(SignedDuration::from_hours(1)));
        assert_eq!(jump(at(0, 0), at(-3595, 5)), Some(SignedDuration::from_hours(-1)));
        assert_eq!(jump(at(0, 0), at(3600, 3600)), None, "it was asleep");
    }
}
