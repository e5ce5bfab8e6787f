//! Who may act: facts of a lease and the present moment in, the next step out. Pure.
//!
//! No clock but the own one counts. A holder counts as gone when its lease has stood unchanged for
//! the whole of its duration in the sight of this process, whatever times are written in it; and
//! this process gives up earlier than any other can take over, because it counts from before the
//! request that renewed the lease was sent.

use std::time::Duration;

/// A point in time of this machine, since it was started: it never jumps, and goes on while the
/// machine sleeps.
pub type Moment = Duration;

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a lease is good for after its last change.
    pub duration: Duration,
    /// When a holder that cannot renew its lease gives up; well before others may take it.
    pub renew_deadline: Duration,
    /// Pause between two renewals.
    pub renew_every: Duration,
    /// Pause after a renewal that failed, and between two looks at the lease of another.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            renew_every: Duration::from_secs(5),
            retry: Duration::from_secs(2),
        }
    }
}

/// A lease as it was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who holds it; empty once it was given back.
    pub holder: String,
    /// How long it is good for, by its own words.
    pub duration: Duration,
    /// Since when it has stood unchanged in the sight of this process.
    pub since: Moment,
}

/// What this process knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The lease; none where there is none.
    pub seen: Option<Seen>,
    /// When the request was sent that made this process the holder or kept it so; none for one
    /// that does not lead.
    pub renewed: Option<Moment>,
    /// When anything was asked of the API server last.
    pub asked: Option<Moment>,
    /// Nothing was tried on the lease since it was seen.
    pub fresh: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// See who holds the lease.
    Look,
    /// Become the holder, on the state of the lease that was seen.
    Acquire,
    /// Stay the holder.
    Renew,
    /// Nothing, for this time.
    Wait(Duration),
    /// Stop acting at once: others may act now, or soon.
    Lost(Loss),
}

/// Why a holder is none any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The API server did not take a renewal in time.
    #[error("the lease could not be renewed for {0:?}")]
    Expired(Duration),
    /// Somebody else has it.
    #[error("the lease was taken by {0}")]
    Taken(String),
}

/// The next step of the candidate `me`.
pub fn next(me: &str, timing: &Timing, facts: &Facts, now: Moment) -> Step {
    match facts.renewed {
        Some(renewed) => keep(me, timing, facts, renewed, now),
        None => follow(me, timing, facts, now),
    }
}

fn keep(me: &str, timing: &Timing, facts: &Facts, renewed: Moment, now: Moment) -> Step {
    if now >= expiry(timing, renewed) {
        return Step::Lost(Loss::Expired(timing.renew_deadline));
    }
    if let Some(other) = facts.seen.as_ref().filter(|seen| seen.holder != me) {
        return Step::Lost(Loss::Taken(if other.holder.is_empty() { "nobody".into() } else { other.holder.clone() }));
    }
    // An attempt after the last renewal failed.
    let due = match facts.asked.filter(|asked| *asked > renewed) {
        Some(asked) => asked + timing.retry,
        None => renewed + timing.renew_every,
    };
    match due.checked_sub(now).filter(|left| !left.is_zero()) {
        Some(left) => Step::Wait(left.min(expiry(timing, renewed).saturating_sub(now))),
        // A lease that somebody removed is made again.
        None if facts.seen.is_none() => Step::Acquire,
        None => Step::Renew,
    }
}

fn follow(me: &str, timing: &Timing, facts: &Facts, now: Moment) -> Step {
    let free_in = match &facts.seen {
        None => Duration::ZERO,
        Some(seen) if seen.holder.is_empty() || seen.holder == me => Duration::ZERO,
        // A holder that promises to renew more rarely is believed.
        Some(seen) => (seen.since + seen.duration.max(timing.duration)).saturating_sub(now),
    };
    if facts.fresh && free_in.is_zero() {
        return Step::Acquire;
    }
    let look_in = facts.asked.map_or(Duration::ZERO, |asked| (asked + timing.retry).saturating_sub(now));
    match look_in {
        Duration::ZERO => Step::Look,
        look_in if facts.fresh => Step::Wait(look_in.min(free_in)),
        look_in => Step::Wait(look_in),
    }
}

/// When a holder that renewed at that moment stops.
pub fn expiry(timing: &Timing, renewed: Moment) -> Moment {
    renewed + timing.renew_deadline
}

#[cfg(test)]
#[path = "term/tests.rs"]
mod tests;
