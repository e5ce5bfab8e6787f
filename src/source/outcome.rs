//! What one pass over a source came to, and how its status tells it: the conditions, reasons and
//! generations that Flux's users know. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::condition::{self, reason};
use crate::api::meta::Artifact;
use crate::controller::conditions::{self, Truth};

/// A pass that ended with the artifact in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Reason of `Ready` and `ArtifactInStorage`.
    pub reason: &'static str,
    /// Message of both.
    pub message: String,
    /// Reason of the event about a new artifact.
    pub event_reason: &'static str,
    /// Message of that event.
    pub event: String,
}

/// A pass that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The condition that is True because of it; `SourceVerified` is False.
    pub condition: &'static str,
    /// Its reason, and that of `Ready`.
    pub reason: &'static str,
    /// What is wrong, in words, without secrets.
    pub message: String,
    /// Whether nothing but a change of the object or of what it refers to can help.
    pub terminal: bool,
}

impl Failure {
    /// Something that may pass by itself.
    pub fn transient(condition: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition, reason, message: message.into(), terminal: false }
    }

    /// Something that only a change can help.
    pub fn terminal(condition: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition, reason, message: message.into(), terminal: true }
    }
}

/// The parts of a status that every source has.
pub struct Common<'s> {
    /// `conditions`.
    pub conditions: &'s mut Vec<Condition>,
    /// `observedGeneration`.
    pub observed_generation: &'s mut Option<i64>,
    /// `lastHandledReconcileAt`.
    pub last_handled_reconcile_at: &'s mut Option<String>,
}

/// A status of a source.
pub trait SourceStatus {
    /// Its common parts.
    fn common(&mut self) -> Common<'_>;
    /// Its artifact.
    fn artifact(&self) -> Option<&Artifact>;
    /// Replaces its artifact.
    fn set_artifact(&mut self, artifact: Option<Artifact>);
    /// The URL of a fixed name of the artifact, where the kind tells one.
    fn url(&mut self) -> Option<&mut Option<String>>;
}

/// Implements [`SourceStatus`] for statuses that have the fields under their usual names.
macro_rules! source_status {
    ($($status:ty: $url:expr),+) => {$(
        impl SourceStatus for $status {
            fn common(&mut self) -> Common<'_> {
                Common {
                    conditions: &mut self.conditions,
                    observed_generation: &mut self.observed_generation,
                    last_handled_reconcile_at: &mut self.last_handled_reconcile_at,
                }
            }

            fn artifact(&self) -> Option<&Artifact> {
                self.artifact.as_ref()
            }

            fn set_artifact(&mut self, artifact: Option<Artifact>) {
                self.artifact = artifact;
            }

            fn url(&mut self) -> Option<&mut Option<String>> {
                let url: fn(&mut Self) -> Option<&mut Option<String>> = $url;
                url(self)
            }
        }
    )+};
}

source_status!(
    crate::api::source::v1::GitRepositoryStatus: |_| None,
    crate::api::source::v1::HelmRepositoryStatus: |status| Some(&mut status.url),
    crate::api::source::v1::HelmChartStatus: |status| Some(&mut status.url),
    crate::api::source::v1::OCIRepositoryStatus: |status| Some(&mut status.url),
    crate::api::source::v1::BucketStatus: |status| Some(&mut status.url)
);

const FAILURES: &[&str] = &[
    condition::FETCH_FAILED,
    condition::BUILD_FAILED,
    condition::STORAGE_OPERATION_FAILED,
    condition::INCLUDE_UNAVAILABLE,
    condition::SOURCE_VERIFIED,
];

/// How a condition tells of a failure: by being True, but for the one about signatures.
fn truth_of(failure: &str) -> Truth {
    if failure == condition::SOURCE_VERIFIED { Truth::False } else { Truth::True }
}

fn tells(conditions: &[Condition], failure: &str) -> bool {
    conditions::get(conditions, failure).is_some_and(|found| found.status == truth_of(failure).as_str())
}

/// Whether the conditions tell of a failure.
pub fn has_failed(conditions: &[Condition]) -> bool {
    FAILURES.iter().any(|failure| tells(conditions, failure))
}

/// Whether the conditions tell of just this failure already.
pub fn is_known(conditions: &[Condition], failure: &Failure) -> bool {
    tells(conditions, failure.condition)
        && conditions::get(conditions, failure.condition)
            .is_some_and(|known| known.reason == failure.reason && known.message == failure.message)
}

/// Says that the signature that the object asks for is good.
pub fn tell_verified(conditions: &mut Vec<Condition>, message: &str, generation: Option<i64>, now: Timestamp) {
    let (type_, reason) = (condition::SOURCE_VERIFIED, reason::SUCCEEDED);
    conditions::set(conditions, type_, Truth::True, reason, message, generation, now);
}

/// Says that there is a newer revision than that of the artifact, for as long as it cannot be had.
pub fn tell_outdated(status: &mut impl SourceStatus, message: &str, generation: Option<i64>, now: Timestamp) {
    if status.artifact().is_none() {
        return;
    }
    let (type_, reason) = (condition::ARTIFACT_OUTDATED, reason::NEW_REVISION);
    conditions::set(status.common().conditions, type_, Truth::True, reason, message, generation, now);
}

/// Removes the conditions that tell of these failures.
fn clear(conditions: &mut Vec<Condition>, failures: impl Fn(&str) -> bool) {
    for failure in FAILURES.iter().filter(|failure| failures(failure)) {
        if tells(conditions, failure) {
            conditions::remove(conditions, failure);
        }
    }
}

/// How a status tells of a pass that takes long: one for a new generation, or without an artifact to
/// show. None where what it says still holds: the artifact of this generation, or why the last pass
/// for it failed. `was_lost` says that there was an artifact before this pass.
pub fn progress<S: SourceStatus + Clone>(
    status: &S,
    was_lost: bool,
    generation: Option<i64>,
    now: Timestamp,
) -> Option<S> {
    let mut shown = status.clone();
    let has_artifact = shown.artifact().is_some();
    let Common { conditions, observed_generation, .. } = shown.common();
    let failed = conditions::get(conditions, condition::READY)
        .is_some_and(|ready| ready.status == Truth::False.as_str() && ready.observed_generation == generation);
    let message = match has_artifact {
        false if was_lost => "building artifact: disappeared from storage".to_owned(),
        _ if failed => return None,
        false => "building artifact".to_owned(),
        true if *observed_generation == generation => return None,
        true => {
            let (old, new) = (observed_generation.unwrap_or(-1), generation.unwrap_or_default());
            format!("processing object: new generation {old} -> {new}")
        }
    };
    if !has_artifact {
        conditions::remove(conditions, condition::ARTIFACT_IN_STORAGE);
    }
    conditions::remove(conditions, condition::STALLED);
    for (type_, truth) in [(condition::RECONCILING, Truth::True), (condition::READY, Truth::Unknown)] {
        conditions::set(conditions, type_, truth, reason::PROGRESSING, &message, generation, now);
    }
    Some(shown)
}

/// Whether the artifact was made for this generation. One that stalled was looked at, too, and left the artifact of
/// a generation before.
pub fn is_made_for(status: &mut impl SourceStatus, generation: Option<i64>) -> bool {
    let Common { conditions, observed_generation, .. } = status.common();
    *observed_generation == generation && !conditions::is_true(conditions, condition::STALLED)
}

/// Writes what a pass came to into the status.
pub fn record(
    status: &mut impl SourceStatus,
    outcome: &Result<Stored, Failure>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let has_artifact = status.artifact().is_some();
    let Common { conditions, observed_generation, .. } = status.common();
    match outcome {
        Ok(stored) => {
            clear(conditions, |_| true);
            for stale in [condition::RECONCILING, condition::STALLED, condition::ARTIFACT_OUTDATED] {
                conditions::remove(conditions, stale);
            }
            for type_ in [condition::READY, condition::ARTIFACT_IN_STORAGE] {
                conditions::set(conditions, type_, Truth::True, stored.reason, &stored.message, generation, now);
            }
            *observed_generation = generation;
        }
        Err(failure) => {
            clear(conditions, |other| other != failure.condition);
            let Failure { condition: type_, reason, message, terminal } = failure;
            conditions::set(conditions, type_, truth_of(type_), reason, message, generation, now);
            conditions::set(conditions, condition::READY, Truth::False, reason, message, generation, now);
            if *reason == reason::CHART_VERIFICATION_ERROR {
                // Of a chart, Flux tells it by both conditions.
                let (type_, reason) = (condition::SOURCE_VERIFIED, reason::VERIFICATION_ERROR);
                conditions::set(conditions, type_, Truth::False, reason, message, generation, now);
            }
            if !has_artifact {
                conditions::remove(conditions, condition::ARTIFACT_IN_STORAGE);
            }
            if *terminal {
                conditions::remove(conditions, condition::RECONCILING);
                conditions::set(conditions, condition::STALLED, Truth::True, reason, message, generation, now);
                *observed_generation = generation;
            } else {
                if conditions::is_true(conditions, condition::STALLED) {
                    // It was only looked at: the artifact may be of a generation before, and is not to pass for this one's.
                    *observed_generation = None;
                }
                conditions::remove(conditions, condition::STALLED);
                let retry = reason::PROGRESSING_WITH_RETRY;
                conditions::set(conditions, condition::RECONCILING, Truth::True, retry, message, generation, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::source::v1::GitRepositoryStatus;

    fn truth<'s>(status: &'s GitRepositoryStatus, type_: &str) -> Option<(&'s str, &'s str)> {
        conditions::get(&status.conditions, type_).map(|found| (found.status.as_str(), found.reason.as_str()))
    }

    fn stored() -> Stored {
        Stored {
            reason: reason::SUCCEEDED,
            message: "stored artifact for revision 'main@sha1:1'".into(),
            event_reason: "NewArtifact",
            event: "stored artifact for commit 'x'".into(),
        }
    }

    #[test]
    fn a_failure_is_told_and_healed() {
        let now = Timestamp::UNIX_EPOCH;
        let mut status = GitRepositoryStatus::default();
        let failure = Failure::transient(condition::FETCH_FAILED, "GitOperationFailed", "gone");
        record(&mut status, &Err(failure.clone()), Some(2), now);
        assert!(is_known(&status.conditions, &failure));
        assert_eq!(truth(&status, "Ready"), Some(("False", "GitOperationFailed")));
        assert_eq!(truth(&status, "Reconciling"), Some(("True", "ProgressingWithRetry")));
        assert_eq!(status.observed_generation, None, "not yet in a final state");
        record(&mut status, &Ok(stored()), Some(2), now);
        assert!(!has_failed(&status.conditions));
        assert_eq!(truth(&status, "Ready"), Some(("True", "Succeeded")));
        assert_eq!(truth(&status, "ArtifactInStorage"), Some(("True", "Succeeded")));
        assert_eq!(truth(&status, "Reconciling"), None);
        assert_eq!(status.observed_generation, Some(2));
    }

    #[test]
    fn a_long_pass_is_told_where_nothing_better_is_known() {
        let now = Timestamp::UNIX_EPOCH;
        let artifact = || {
            let artifact = serde_json::json!({
                "path": "p", "url": "u", "revision": "r", "digest": "d", "lastUpdateTime": "2026-01-01T00:00:00Z",
            });
            serde_json::from_value(artifact).unwrap()
        };
        let good = |generation| {
            let mut status = GitRepositoryStatus { artifact: artifact(), ..GitRepositoryStatus::default() };
            record(&mut status, &Ok(stored()), Some(generation), now);
            status
        };
        let bad = |mut status: GitRepositoryStatus, terminal| {
            let failure = Failure { terminal, ..Failure::transient(condition::FETCH_FAILED, "X", "y") };
            record(&mut status, &Err(failure), Some(2), now);
            status
        };
        let without = |status: GitRepositoryStatus| GitRepositoryStatus { artifact: None, ..status };
        let new = GitRepositoryStatus::default;
        let gone = "building artifact: disappeared from storage";
        for (what, status, was_lost, generation, expected) in [
            ("new", new(), false, 1, Some("building artifact")),
            ("good", good(2), false, 2, None),
            ("changed", good(1), false, 2, Some("processing object: new generation 1 -> 2")),
            ("failed", bad(new(), false), false, 2, None),
            ("failed with an artifact", bad(good(1), false), false, 2, None),
            ("failed, then changed", bad(good(1), true), false, 3, Some("processing object: new generation 2 -> 3")),
            ("lost", without(good(2)), true, 2, Some(gone)),
            ("failed, then lost", without(bad(good(1), false)), true, 2, Some(gone)),
        ] {
            let shown = progress(&status, was_lost, Some(generation), now);
            let told = |type_| conditions::get(&shown.as_ref()?.conditions, type_);
            assert_eq!(told("Ready").map(|ready| ready.message.as_str()), expected, "{what}");
            let Some(shown) = &shown else { continue };
            assert_eq!(truth(shown, "Ready"), Some(("Unknown", "Progressing")), "{what}");
            assert_eq!(truth(shown, "Reconciling"), Some(("True", "Progressing")), "{what}");
            assert_eq!(truth(shown, "Stalled"), None, "{what}");
            assert_eq!(truth(shown, "ArtifactInStorage").is_some(), shown.artifact.is_some(), "{what}");
            assert_eq!(shown.observed_generation, status.observed_generation, "{what}: that is for the end");
        }
    }

    #[test]
    fn what_cannot_heal_by_itself_is_stalled() {
        let mut status = GitRepositoryStatus::default();
        let failure = Failure::terminal(condition::FETCH_FAILED, "URLInvalid", "no");
        record(&mut status, &Err(failure), Some(3), Timestamp::UNIX_EPOCH);
        assert_eq!(truth(&status, "Stalled"), Some(("True", "URLInvalid")));
        assert_eq!(truth(&status, "Reconciling"), None);
        assert_eq!(status.observed_generation, Some(3));
    }

    #[test]
    fn an_artifact_is_not_made_for_a_generation_that_stalled() {
        let now = Timestamp::UNIX_EPOCH;
        let mut status = GitRepositoryStatus::default();
        let failure = |terminal| Err(Failure { terminal, ..Failure::transient(condition::FETCH_FAILED, "X", "y") });
        for (outcome, generation, expected) in [
            (Ok(stored()), 1, true),
            (failure(false), 1, true),
            (Ok(stored()), 1, true),
            (failure(true), 2, false),
            (failure(false), 2, false),
            (failure(false), 2, false),
            (Ok(stored()), 2, true),
        ] {
            record(&mut status, &outcome, Some(generation), now);
            assert_eq!(is_made_for(&mut status, Some(generation)), expected, "{outcome:?} {generation}");
        }
        assert!(!is_made_for(&mut status, Some(3)));
    }

    #[test]
    fn a_bad_signature_is_told_by_a_condition_that_is_false() {
        let now = Timestamp::UNIX_EPOCH;
        let mut status = GitRepositoryStatus::default();
        let verified = |status: &mut GitRepositoryStatus| {
            conditions::set(&mut status.conditions, "SourceVerified", Truth::True, "Succeeded", "by a", Some(1), now);
        };
        verified(&mut status);
        record(&mut status, &Ok(stored()), Some(1), now);
        assert_eq!(truth(&status, "SourceVerified"), Some(("True", "Succeeded")), "a good one stays");
        let failure = Failure::transient(condition::SOURCE_VERIFIED, "InvalidCommitSignature", "no");
        record(&mut status, &Err(failure.clone()), Some(1), now);
        assert_eq!(truth(&status, "SourceVerified"), Some(("False", "InvalidCommitSignature")));
        assert_eq!(truth(&status, "Ready"), Some(("False", "InvalidCommitSignature")));
        assert!(is_known(&status.conditions, &failure) && has_failed(&status.conditions));
        let failure = Failure::transient(condition::FETCH_FAILED, "GitOperationFailed", "gone");
        record(&mut status, &Err(failure.clone()), Some(1), now);
        assert_eq!(truth(&status, "SourceVerified"), None, "not known any more");
        verified(&mut status);
        record(&mut status, &Err(failure), Some(1), now);
        assert_eq!(truth(&status, "SourceVerified"), Some(("True", "Succeeded")), "of the artifact that is kept");
    }

    #[test]
    fn a_chart_that_is_not_signed_is_told_by_two_conditions() {
        let mut status = GitRepositoryStatus::default();
        let failure = Failure::transient(condition::BUILD_FAILED, reason::CHART_VERIFICATION_ERROR, "no");
        record(&mut status, &Err(failure.clone()), Some(1), Timestamp::UNIX_EPOCH);
        assert_eq!(truth(&status, "SourceVerified"), Some(("False", "VerificationError")));
        assert_eq!(truth(&status, "BuildFailed"), Some(("True", "ChartVerificationError")));
        assert_eq!(truth(&status, "Ready"), Some(("False", "ChartVerificationError")));
        assert!(is_known(&status.conditions, &failure));
        record(&mut status, &Ok(stored()), Some(1), Timestamp::UNIX_EPOCH);
        assert!(!has_failed(&status.conditions));
    }

    #[test]
    fn one_failure_replaces_another() {
        let mut status = GitRepositoryStatus::default();
        for condition in [condition::FETCH_FAILED, condition::STORAGE_OPERATION_FAILED] {
            let failure = Failure::transient(condition, "X", "y");
            record(&mut status, &Err(failure), Some(1), Timestamp::UNIX_EPOCH);
        }
        assert_eq!(truth(&status, "FetchFailed"), None);
        assert_eq!(truth(&status, "StorageOperationFailed"), Some(("True", "X")));
    }
}
