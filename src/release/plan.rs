//! What to do about a release: facts in, one decision out.

use std::time::Duration;

use jiff::Timestamp;

use super::observed::{Action, Drift, Observed, Target, Verdict};
use super::remediation::{OnFailure, Remediation, Strategy};
use super::state::{State, determine};

/// The shortest pause between two looks at a release's objects.
pub const SHORTEST_POLL: Duration = Duration::from_millis(150);
/// The longest pause between two looks at a release's objects.
pub const LONGEST_POLL: Duration = Duration::from_secs(2);

/// The next step for a release. Every step is safe to repeat: one that was interrupted is either
/// decided again or seen to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// What is desired is in force.
    Nothing,
    /// Run helm.
    Release {
        /// Install or upgrade.
        action: Action,
        /// The reason in words.
        why: String,
    },
    /// Take the deployed revision onto the record, and begin to wait for it.
    Record {
        /// The revision.
        version: i64,
    },
    /// Look at the objects of the revision, then decide again.
    Verify {
        /// The revision.
        version: i64,
    },
    /// Come back later: the objects are on their way.
    Wait {
        /// The revision.
        version: i64,
        /// When to look again.
        again: Duration,
        /// What is waited for.
        why: String,
    },
    /// Look whether somebody else changed the objects of the revision, then decide again.
    DetectDrift {
        /// The revision.
        version: i64,
    },
    /// Set the objects right that somebody else changed.
    CorrectDrift {
        /// The revision.
        version: i64,
    },
    /// Tell about the objects that somebody else changed, and leave them.
    WarnDrift {
        /// The revision.
        version: i64,
    },
    /// The objects are healthy, or nobody wants to wait for them: the release is made.
    Succeed {
        /// The revision.
        version: i64,
    },
    /// Mark the revision failed in helm's storage and on the record.
    Fail {
        /// The revision.
        version: i64,
        /// What is wrong.
        why: String,
    },
    /// Helm's storage says failed: take that onto the record.
    RecordFailure {
        /// The revision.
        version: i64,
    },
    /// Remove the revision that a dead action of ours left half made; the action is begun anew.
    Discard {
        /// The revision.
        version: i64,
    },
    /// Mark a revision failed that somebody else's action left held for too long.
    Unlock {
        /// The revision.
        version: i64,
    },
    /// Somebody else's action holds the release.
    AwaitLock {
        /// The revision.
        version: i64,
        /// When the lock counts as stale.
        until: Timestamp,
    },
    /// Delete a release: another one replaces it, or its deletion was interrupted.
    Uninstall {
        /// The release to delete.
        target: Target,
        /// The reason in words.
        why: String,
    },
    /// Forget the history of a release that is gone.
    Forget {
        /// The reason in words.
        why: String,
    },
    /// Go back to an earlier revision.
    Rollback {
        /// The revision to go back to.
        to: i64,
    },
    /// Remove a release that failed.
    Remove {
        /// The failed revision.
        version: i64,
    },
    /// Run the chart's tests.
    Test {
        /// The revision.
        version: i64,
    },
    /// Come back later: a failure is tried again after a pause.
    AwaitRetry {
        /// When.
        until: Timestamp,
    },
    /// Do nothing until an input changes: this one has failed.
    Stall {
        /// What failed.
        action: Action,
        /// How often.
        attempts: i64,
    },
    /// Do nothing until an input changes: there is no revision to go back to.
    NoRollbackTarget,
}

/// Decides the next step.
pub fn decide(facts: &Observed) -> Decision {
    if let Some(step) = leave_previous_target(facts) {
        return step;
    }
    let state = determine(facts);
    if facts.desired.forced
        && let Some(step) = forced(&state)
    {
        return step;
    }
    match state {
        State::InSync { version } if facts.drift == Some(Drift::Unseen) => Decision::DetectDrift { version },
        State::InSync { .. } => Decision::Nothing,
        State::Drifted { version, correct: true } => Decision::CorrectDrift { version },
        State::Drifted { version, correct: false } => Decision::WarnDrift { version },
        State::Absent => attempt(facts, Action::Install, "no release in storage".to_owned()),
        State::OutOfSync { why } => attempt(facts, Action::Upgrade, why),
        State::Locked { version, ours: true, .. } => Decision::Discard { version },
        State::Locked { version, until, .. } if facts.now < until => Decision::AwaitLock { version, until },
        State::Locked { version, .. } => Decision::Unlock { version },
        State::Uninstalling { version, ours, until } if !ours && facts.now < until => {
            Decision::AwaitLock { version, until }
        }
        State::Uninstalling { version, .. } => finish_uninstall(facts, version),
        State::Failed { version, recorded } => after_failure(facts, version, recorded),
        State::TestsFailed { version } => remediate(facts, version, "its tests failed"),
        State::Untested { version } => Decision::Test { version },
        State::Unrecorded { version } => Decision::Record { version },
        State::Waiting { version, since, deadline } => wait(facts, version, since, deadline),
    }
}

/// The time between two looks: short while the wait is young, never past the deadline.
pub fn poll_interval(since: Timestamp, deadline: Timestamp, now: Timestamp) -> Duration {
    let elapsed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let left = Duration::try_from(deadline.duration_since(now)).unwrap_or_default();
    (elapsed / 4).clamp(SHORTEST_POLL, LONGEST_POLL).min(left)
}

fn leave_previous_target(facts: &Observed) -> Option<Decision> {
    let latest = facts.record.latest.as_ref()?;
    let desired = &facts.desired;
    let renamed_chart = desired.reinstall_renamed_chart && latest.chart_name != desired.chart_name;
    let why = if latest.target.storage != desired.target.storage {
        format!("helm's records move from namespace {} to {}", latest.target.storage, desired.target.storage)
    } else if latest.target.namespace != desired.target.namespace {
        format!("the release moves from namespace {} to {}", latest.target.namespace, desired.target.namespace)
    } else if latest.target.name != desired.target.name {
        format!("release {} takes the place of {}", desired.target.name, latest.target.name)
    } else if renamed_chart {
        format!("chart {} takes the place of {}", desired.chart_name, latest.chart_name)
    } else {
        return None;
    };
    if facts.record.previous_target_exists {
        return Some(Decision::Uninstall { target: latest.target.clone(), why });
    }
    Some(Decision::Forget { why })
}

fn forced(state: &State) -> Option<Decision> {
    let action = match state {
        State::Locked { .. } | State::Uninstalling { .. } => return None,
        State::Absent => Action::Install,
        _ => Action::Upgrade,
    };
    Some(Decision::Release { action, why: "forced by annotation".to_owned() })
}

fn attempt(facts: &Observed, action: Action, why: String) -> Decision {
    let attempts = facts.failures(action);
    if facts.desired.on_failure(action).is_exhausted(attempts) {
        return Decision::Stall { action, attempts };
    }
    again(facts, action, attempts, why)
}

/// Another try, after the pause that so many failures ask for.
fn again(facts: &Observed, action: Action, failures: i64, why: String) -> Decision {
    let pause = facts.desired.on_failure(facts.attempted().unwrap_or(action)).pause(failures);
    // A failure that follows a failure leaves the condition's time as it was.
    let failed = facts.record.failed_since.max(facts.newest().and_then(|newest| newest.last_deployed));
    let until = failed.map(|failed| failed.checked_add(pause).unwrap_or(Timestamp::MAX));
    match until.filter(|until| failures > 0 && facts.now < *until) {
        Some(until) => Decision::AwaitRetry { until },
        None => Decision::Release { action, why },
    }
}

/// Goes on with a deletion; one that set a failure back must not make the failure forgotten.
fn finish_uninstall(facts: &Observed, version: i64) -> Decision {
    if facts.attempted().is_some_and(|action| facts.failures(action) > 0) {
        return Decision::Remove { version };
    }
    let why = "its deletion was begun and not finished".to_owned();
    Decision::Uninstall { target: facts.desired.target.clone(), why }
}

fn after_failure(facts: &Observed, version: i64, recorded: bool) -> Decision {
    if !recorded && (facts.begun_by_us(version) || made_by_last_attempt(facts, version)) {
        return Decision::RecordFailure { version };
    }
    remediate(facts, version, "it failed")
}

/// What follows a failure that is on the record.
fn remediate(facts: &Observed, version: i64, what: &str) -> Decision {
    let Some(action) = facts.attempted().filter(|action| facts.failures(*action) > 0) else {
        let why =
            format!("revision {version}: {what}, and its inputs have changed since, or it was made by somebody else");
        return Decision::Release { action: Action::Upgrade, why };
    };
    let failures = facts.failures(action);
    match facts.desired.on_failure(action) {
        OnFailure::Retry { .. } => again(facts, Action::Upgrade, failures, format!("revision {version}: {what}")),
        OnFailure::Remediate(_) if facts.action_of(version) == Action::Rollback => {
            attempt(facts, Action::Upgrade, format!("revision {version}, a rollback: {what}"))
        }
        OnFailure::Remediate(remediation) => set_back(facts, version, action, remediation),
    }
}

fn set_back(facts: &Observed, version: i64, action: Action, remediation: Remediation) -> Decision {
    let attempts = facts.failures(action);
    let exhausted = remediation.is_exhausted(attempts);
    if exhausted && !remediation.last_failure {
        return Decision::Stall { action, attempts };
    }
    match (remediation.strategy, facts.rollback_target) {
        (Strategy::Uninstall, _) => Decision::Remove { version },
        (Strategy::Rollback, Some(target)) if target.stored => Decision::Rollback { to: target.version },
        (Strategy::Rollback, Some(_)) if !exhausted => {
            let why = format!("revision {version} failed, and the one to go back to is gone");
            again(facts, Action::Upgrade, attempts, why)
        }
        (Strategy::Rollback, _) => Decision::NoRollbackTarget,
    }
}

/// Without a journal (its directory is gone) the status still tells an attempt of ours from a
/// failure of somebody else: it names these very inputs.
fn made_by_last_attempt(facts: &Observed, version: i64) -> bool {
    let newest = facts.newest().filter(|newest| newest.version == version);
    facts.journal.is_none()
        && facts.same_attempt()
        && facts.record.attempted.as_ref().is_some_and(|attempt| attempt.action.is_some())
        && newest.is_some_and(|newest| !newest.description.starts_with(UNLOCKED))
}

/// How the description of an unlocked revision begins, as Flux writes it.
pub const UNLOCKED: &str = "Release unlocked from stale";

fn wait(facts: &Observed, version: i64, since: Timestamp, deadline: Timestamp) -> Decision {
    let settings = facts.desired.settings(facts.action_of(version));
    if !settings.wait {
        return Decision::Succeed { version };
    }
    match &facts.verdict {
        None => Decision::Verify { version },
        Some(Verdict::Healthy) => Decision::Succeed { version },
        Some(Verdict::Failed(why)) => Decision::Fail { version, why: why.clone() },
        Some(Verdict::InProgress(why)) if facts.now < deadline => {
            Decision::Wait { version, again: poll_interval(since, deadline, facts.now), why: why.clone() }
        }
        Some(Verdict::InProgress(why)) => Decision::Fail { version, why: format!("timed out: {why}") },
    }
}

#[cfg(test)]
mod drift_tests;
#[cfg(test)]
mod remediation_tests;
#[cfg(test)]
mod rendering_tests;
#[cfg(test)]
pub(in crate::release) mod tests;
