//! What is the case with a release, told from the facts alone.

use jiff::Timestamp;

use super::observed::{Action, Drift, Observed, Phase, Released, Rendering, Revision, Tests};

/// The state of a release compared with what is desired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No release in storage, or only a deleted one.
    Absent,
    /// The newest revision is held by an action.
    Locked {
        /// The held revision.
        version: i64,
        /// Our own action held it, and is gone.
        ours: bool,
        /// When an action of somebody else counts as gone.
        until: Timestamp,
    },
    /// A deletion was begun and is not finished.
    Uninstalling {
        /// The newest revision.
        version: i64,
        /// Our own action began it, and is gone.
        ours: bool,
        /// When whoever else began it counts as gone.
        until: Timestamp,
    },
    /// The newest revision failed.
    Failed {
        /// The failed revision.
        version: i64,
        /// The failure is on the object's status.
        recorded: bool,
    },
    /// What is deployed is not what is desired.
    OutOfSync {
        /// The difference in words.
        why: String,
    },
    /// What is desired is deployed, but the status does not know this revision.
    Unrecorded {
        /// The unknown revision.
        version: i64,
    },
    /// What is desired is deployed and not yet seen healthy.
    Waiting {
        /// The revision that is waited for.
        version: i64,
        /// When the wait began.
        since: Timestamp,
        /// When it ends as a failure.
        deadline: Timestamp,
    },
    /// What is desired is deployed, and its objects were changed by somebody else since.
    Drifted {
        /// The revision in force.
        version: i64,
        /// The changes are to be undone, not only told.
        correct: bool,
    },
    /// What is desired is deployed and healthy, and its tests are to be run.
    Untested {
        /// The revision in force.
        version: i64,
    },
    /// What is desired is deployed and healthy, and its tests failed, which counts.
    TestsFailed {
        /// The revision in force.
        version: i64,
    },
    /// What is desired is deployed and was seen healthy.
    InSync {
        /// The revision in force.
        version: i64,
    },
}

/// Tells the state of a release.
pub fn determine(facts: &Observed) -> State {
    let Some(newest) = facts.newest() else {
        return State::Absent;
    };
    let version = newest.version;
    match newest.status {
        Phase::Uninstalled => State::Absent,
        Phase::Pending => locked(facts, newest),
        Phase::Uninstalling => State::Uninstalling {
            version,
            ours: facts.uninstall_begun_by_us(),
            until: counts_as_gone(facts, newest.deleted),
        },
        Phase::Failed => State::Failed { version, recorded: is_recorded_as_failed(facts, version) },
        Phase::Superseded => State::OutOfSync { why: format!("the newest revision, {version}, is superseded") },
        Phase::Unknown => {
            State::OutOfSync { why: format!("revision {version} is in a state unknown to this operator") }
        }
        Phase::Deployed if is_being_rolled_back(facts, version) => remediating(facts, newest),
        Phase::Deployed => match difference(facts, newest) {
            Some(why) => State::OutOfSync { why },
            None => deployed(facts, newest),
        },
    }
}

fn locked(facts: &Observed, newest: &Revision) -> State {
    let until = counts_as_gone(facts, newest.last_deployed);
    State::Locked { version: newest.version, ours: facts.begun_by_us(newest.version), until }
}

/// When an action that began then has had all the time that any action on this release may take.
fn counts_as_gone(facts: &Observed, begun: Option<Timestamp>) -> Timestamp {
    let timeout = facts.desired.install.timeout.max(facts.desired.upgrade.timeout);
    begun.unwrap_or(Timestamp::MIN).checked_add(timeout).unwrap_or(Timestamp::MAX)
}

fn is_recorded_as_failed(facts: &Observed, version: i64) -> bool {
    facts.recorded(version).is_some_and(|latest| latest.failed)
}

/// The difference between what is deployed and what is desired, in words; values are only said to
/// differ, for they may be secret.
fn difference(facts: &Observed, deployed: &Revision) -> Option<String> {
    let desired = &facts.desired;
    if (&deployed.chart_name, &deployed.chart_version) != (&desired.chart_name, &desired.chart_version) {
        return Some(format!(
            "chart {}@{} replaces {}@{}",
            desired.chart_name, desired.chart_version, deployed.chart_name, deployed.chart_version
        ));
    }
    let same = deployed.config_digest == desired.config_digest || was_made_of_it(facts, deployed.version);
    if !same {
        return Some("values changed".to_owned());
    }
    rendering_difference(facts, deployed.version)
}

/// What changes the rendered objects differently now. Helm's storage does not say by what they
/// were changed; the status does, and the journal does after a sudden death.
fn rendering_difference(facts: &Observed, version: i64) -> Option<String> {
    let (desired, record) = (&facts.desired.rendering, &facts.record);
    let journal = facts.journal.as_ref().filter(|_| facts.begun_by_us(version));
    if journal.is_some_and(|entry| entry.rendering == *desired) {
        return None;
    }
    // A revision that somebody else made knows nothing of our post-renderers.
    let none = Rendering::default();
    let known = facts.recorded(version).is_some();
    let was = if known { &record.rendering } else { &none };
    // An older Flux kept no digest of the common metadata: what it brought into force stays.
    let settled =
        known && record.generation == Some(facts.desired.generation) && record.released.is_some_and(|r| r.done);
    let same = |was: &Option<String>, now: &Option<String>| was == now || (was.is_none() && settled);
    if !same(&was.post_renderers, &desired.post_renderers) {
        return Some("post-renderers changed".to_owned());
    }
    (!same(&was.common_metadata, &desired.common_metadata)).then(|| "common metadata changed".to_owned())
}

/// Whether a revision was made of the desired values, whatever its stored ones look like: helm's
/// storage is JSON, and an odd number that changes on the way must not cause upgrades for ever.
fn was_made_of_it(facts: &Observed, version: i64) -> bool {
    let desired = &facts.desired;
    let recorded = facts.recorded(version).is_some_and(|latest| latest.config_digest == desired.config_digest);
    let begun = facts.journal.as_ref().filter(|_| facts.begun_by_us(version));
    recorded || begun.is_some_and(|entry| entry.config_digest == desired.config_digest)
}

/// Whether the revision is a rollback of these inputs that has not come to its end. Other inputs
/// supersede it.
fn is_being_rolled_back(facts: &Observed, version: i64) -> bool {
    // The condition is gone once another try has begun.
    let done = facts.record.remediated.is_none_or(|remediated| remediated.done);
    let ended = facts.recorded(version).is_some() && done;
    facts.same_attempt() && facts.action_of(version) == Action::Rollback && !ended
}

fn remediating(facts: &Observed, newest: &Revision) -> State {
    if facts.recorded(newest.version).is_none() {
        return State::Unrecorded { version: newest.version };
    }
    waiting(facts, newest, facts.record.remediated)
}

fn deployed(facts: &Observed, newest: &Revision) -> State {
    let version = newest.version;
    let Some(recorded) = facts.recorded(version) else {
        return State::Unrecorded { version };
    };
    if !facts.record.released.is_some_and(|released| released.done) {
        return waiting(facts, newest, facts.record.released);
    }
    match recorded.tests {
        _ if !facts.desired.tests => settled(facts, version),
        Tests::Pending => State::Untested { version },
        Tests::Failed if tests_count(facts) => State::TestsFailed { version },
        Tests::Failed | Tests::Passed => settled(facts, version),
    }
}

/// What is desired is deployed, healthy and tested; somebody may have changed it since.
fn settled(facts: &Observed, version: i64) -> State {
    match facts.drift {
        Some(Drift::Found { correct }) => State::Drifted { version, correct },
        Some(Drift::Unseen) | None => State::InSync { version },
    }
}

/// Failed tests count against the action that was attempted; a release that was only taken over
/// has none.
fn tests_count(facts: &Observed) -> bool {
    let action = facts.record.attempted.as_ref().and_then(|attempt| attempt.action);
    action.is_some_and(|action| facts.desired.on_failure(action).counts_tests())
}

fn waiting(facts: &Observed, newest: &Revision, condition: Option<Released>) -> State {
    let since = newest.last_deployed.max(condition.map(|condition| condition.since)).unwrap_or(facts.now);
    let timeout = facts.desired.settings(facts.action_of(newest.version)).timeout;
    State::Waiting { version: newest.version, since, deadline: since.checked_add(timeout).unwrap_or(Timestamp::MAX) }
}
