//! The present moment of a release: what was written down is dated by a clock that may be set, what
//! goes by meanwhile is measured by one that may not.

use std::time::Duration;

use jiff::Timestamp;

use super::observed::Observed;

/// Where a release stood when it was seen to change last. Until it changes again its time goes on
/// from there, wherever the machine's clock is set: no wait ends early, and no lock of somebody who
/// is alive counts as stale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    dates: Dates,
    wall: Timestamp,
    /// By a clock that never jumps.
    steady: Duration,
}

/// What waits are counted from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dates {
    generation: i64,
    version: Option<i64>,
    known: [Option<Timestamp>; 5],
}

impl Dates {
    fn of(facts: &Observed) -> Self {
        let (newest, record) = (facts.newest(), &facts.record);
        Self {
            generation: facts.desired.generation,
            version: newest.map(|newest| newest.version),
            known: [
                newest.and_then(|newest| newest.last_deployed),
                newest.and_then(|newest| newest.deleted),
                record.released.map(|released| released.since),
                record.remediated.map(|remediated| remediated.since),
                record.failed_since,
            ],
        }
    }
}

impl Anchor {
    /// The known anchor while nothing has changed, else one at `facts.now`.
    pub fn renewed(known: Option<Self>, facts: &Observed, steady: Duration) -> Self {
        let dates = Dates::of(facts);
        match known {
            Some(known) if known.dates == dates => known,
            _ => Self { dates, wall: facts.now, steady },
        }
    }

    /// The present moment.
    pub fn now(&self, steady: Duration) -> Timestamp {
        self.wall.checked_add(steady.saturating_sub(self.steady)).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::observed::{Phase, Verdict};
    use crate::release::plan::tests::{at, in_sync, revision, waiting};
    use crate::release::plan::{Decision, decide};

    const HOUR: i64 = 3600;

    /// What is decided `passed` seconds after the facts were first seen, when the clock was set by
    /// `jump` seconds meanwhile. Waits take five minutes here.
    fn decided(change: impl Fn(&mut Observed), passed: u32, jump: i64) -> Decision {
        let mut facts = in_sync();
        change(&mut facts);
        let (begun, now) = (Duration::from_secs(1_000_000), facts.now);
        let anchor = Anchor::renewed(None, &facts, begun);
        let steady = begun + Duration::from_secs(passed.into());
        facts.now = now + jiff::SignedDuration::from_secs(i64::from(passed) + jump);
        facts.now = Anchor::renewed(Some(anchor), &facts, steady).now(steady);
        decide(&facts)
    }

    #[test]
    fn a_clock_that_is_set_ends_no_wait_early_and_makes_none_longer() {
        let held = |facts: &mut Observed| facts.revisions = vec![revision(2, Phase::Pending, "b")];
        let unhealthy = |facts: &mut Observed| {
            waiting(facts);
            facts.verdict = Some(Verdict::InProgress("0 of 1".to_owned()));
        };
        for jump in [-HOUR, 0, HOUR] {
            assert!(matches!(decided(held, 60, jump), Decision::AwaitLock { .. }), "{jump}");
            assert_eq!(decided(held, 300, jump), Decision::Unlock { version: 2 }, "{jump}");
            assert!(matches!(decided(unhealthy, 60, jump), Decision::Wait { .. }), "{jump}");
            assert!(matches!(decided(unhealthy, 300, jump), Decision::Fail { .. }), "{jump}");
        }
    }

    #[test]
    fn what_changes_is_dated_by_the_clock_as_it_is() {
        let mut facts = in_sync();
        let first = Anchor::renewed(None, &facts, Duration::ZERO);
        facts.now = at(HOUR);
        assert_eq!(first.now(Duration::from_secs(5)), at(15));
        facts.revisions = vec![revision(3, Phase::Deployed, "a")];
        let second = Anchor::renewed(Some(first), &facts, Duration::from_secs(5));
        assert_eq!(second.now(Duration::from_secs(6)), at(HOUR + 1));
    }
}
