//! What a pass leaves in the status of a Kustomization. Pure.

use super::history::{self, ORIGIN_REVISION};
use super::inventory::Inventory;
use super::problem::{Hold, Problem, Severity, summary};
use crate::api::annotation;
use crate::api::condition::{BEHIND, HEALTHY, READY, RECONCILING, STALLED, reason};
use crate::api::kustomize::v1::{Kustomization, KustomizationStatus};
use crate::api::meta::Artifact;
use crate::controller::conditions::{self, Truth};
use jiff::Timestamp;
use kube::ResourceExt as _;
use std::time::Duration;

/// How a pass ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Everything is applied (and healthy, where that was asked for).
    Applied {
        /// What a person should still know.
        warnings: String,
    },
    /// Applied, and waiting for health.
    Waiting {
        /// What is waited for.
        message: String,
    },
    /// Something could not be done; it is tried again.
    Failed {
        /// Reason of the conditions.
        reason: &'static str,
        /// What failed.
        message: String,
    },
    /// Nothing can be done until somebody changes something.
    Stalled {
        /// Reason of the conditions.
        reason: &'static str,
        /// What has to change.
        message: String,
    },
}

/// What a pass worked with, as far as it got.
#[derive(Debug, Default)]
pub struct Facts<'a> {
    /// The artifact, once it was read.
    pub artifact: Option<&'a Artifact>,
    /// The new inventory, once something was applied.
    pub inventory: Option<&'a Inventory>,
    /// Whether the applied objects are looked after (`wait`).
    pub checks_health: bool,
    /// Fields of the spec that are set and not acted on.
    pub not_acted_on: &'a [&'a str],
    /// Checksum of the manifests, once they were read.
    pub digest: Option<&'a str>,
    /// How long it took.
    pub took: Duration,
}

/// The ending that problems lead to; `applied` of `total` objects are as wanted.
pub fn ending(problems: &[Problem], applied: usize, total: usize) -> Ending {
    let errors: Vec<_> = problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
    if errors.is_empty() {
        return Ending::Applied { warnings: summary(problems) };
    }
    let unreadable = errors.iter().any(|problem| problem.hold == Hold::Everything);
    let reason = if unreadable { reason::BUILD_FAILED } else { reason::RECONCILIATION_FAILED };
    let noun = if errors.len() == 1 { "problem" } else { "problems" };
    let message = format!("{} {noun}, {applied} of {total} objects applied: {}", errors.len(), summary(problems));
    Ending::Failed { reason, message }
}

/// The status after a pass.
pub fn after(object: &Kustomization, ending: &Ending, facts: &Facts<'_>, now: Timestamp) -> KustomizationStatus {
    let mut status = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation;
    if let Some(requested) = object.annotations().get(annotation::REQUESTED_AT) {
        status.last_handled_reconcile_at = Some(requested.clone());
    }
    if let Some(inventory) = facts.inventory {
        status.inventory = Some(inventory.write());
    }
    if let Some(artifact) = facts.artifact {
        status.last_attempted_revision = Some(artifact.revision.clone());
    }
    if let (Ending::Applied { .. }, Some(artifact)) = (ending, facts.artifact) {
        status.last_applied_revision = Some(artifact.revision.clone());
        status.last_applied_origin_revision = artifact.metadata.get(ORIGIN_REVISION).cloned();
    }
    if matches!(ending, Ending::Applied { .. } | Ending::Stalled { .. }) {
        status.observed_generation = generation;
    }
    let behind = behind(&mut status, ending, facts, generation, now);
    let mut set = |type_, truth, reason, message: &str| {
        conditions::set(&mut status.conditions, type_, truth, reason, message, generation, now);
    };
    match ending {
        Ending::Applied { warnings } => {
            let message = ready_message(facts.artifact, warnings);
            set(READY, Truth::True, reason::RECONCILIATION_SUCCEEDED, &message);
            if facts.checks_health {
                set(HEALTHY, Truth::True, reason::SUCCEEDED, "every applied object is healthy");
            }
        }
        Ending::Waiting { message } => {
            set(READY, Truth::Unknown, reason::PROGRESSING, "Reconciliation in progress");
            set(RECONCILING, Truth::True, reason::PROGRESSING, message);
            set(HEALTHY, Truth::Unknown, reason::PROGRESSING, message);
        }
        Ending::Failed { reason, message } => {
            set(READY, Truth::False, reason, &format!("{message}{behind}"));
            set(RECONCILING, Truth::True, reason::PROGRESSING_WITH_RETRY, message);
            if *reason == reason::HEALTH_CHECK_FAILED {
                set(HEALTHY, Truth::False, reason, message);
            }
        }
        Ending::Stalled { reason, message } => {
            set(READY, Truth::False, reason, &format!("{message}{behind}"));
            set(STALLED, Truth::True, reason, message);
        }
    }
    if matches!(ending, Ending::Applied { .. } | Ending::Stalled { .. }) {
        conditions::remove(&mut status.conditions, RECONCILING);
    }
    if !matches!(ending, Ending::Stalled { .. }) {
        conditions::remove(&mut status.conditions, STALLED);
    }
    if !facts.checks_health {
        conditions::remove(&mut status.conditions, HEALTHY);
    }
    conditions::set_not_acted_on(&mut status.conditions, facts.not_acted_on, generation, now);
    note(&mut status, ending, facts, now);
    status
}

/// Notes since when the newest revision is not applied in full, and returns that in words for
/// behind a message. It outlives every attempt until one succeeds.
fn behind(
    status: &mut KustomizationStatus,
    ending: &Ending,
    facts: &Facts<'_>,
    generation: Option<i64>,
    now: Timestamp,
) -> String {
    let (reason, artifact) = match (ending, facts.artifact) {
        (Ending::Applied { .. }, _) => {
            conditions::remove(&mut status.conditions, BEHIND);
            return String::new();
        }
        (Ending::Failed { reason, .. } | Ending::Stalled { reason, .. }, Some(artifact)) => (*reason, artifact),
        _ => return String::new(),
    };
    let known = conditions::get(&status.conditions, BEHIND).map(|condition| condition.message.clone());
    let message = known.unwrap_or_else(|| {
        let applied = match &status.last_applied_revision {
            Some(applied) => format!("{applied} is the last revision that was applied in full"),
            None => "no revision was applied in full yet".to_owned(),
        };
        format!("since {} (revision {}); {applied}", conditions::whole_second(now), artifact.revision)
    });
    conditions::set(&mut status.conditions, BEHIND, Truth::True, reason, &message, generation, now);
    format!("; behind {message}")
}

/// Notes the outcome in the history, once there is one.
fn note(status: &mut KustomizationStatus, ending: &Ending, facts: &Facts<'_>, now: Timestamp) {
    let reason = match ending {
        Ending::Applied { .. } => reason::RECONCILIATION_SUCCEEDED,
        Ending::Failed { reason, .. } => reason,
        Ending::Waiting { .. } | Ending::Stalled { .. } => return,
    };
    if let (Some(artifact), Some(digest)) = (facts.artifact, facts.digest) {
        history::note(&mut status.history, &history::Pass { digest, artifact, took: facts.took, reason }, now);
    }
}

fn ready_message(artifact: Option<&Artifact>, warnings: &str) -> String {
    let revision = artifact.map_or("none", |artifact| artifact.revision.as_str());
    let mut message = format!("Applied revision: {revision}");
    if !warnings.is_empty() {
        message = format!("{message}; {warnings}");
    }
    message
}

/// The status while a new revision or spec is being applied.
pub fn begun(object: &Kustomization, revision: &str, now: Timestamp) -> KustomizationStatus {
    let mut status = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation;
    let mut set = |type_, truth, message: &str| {
        conditions::set(&mut status.conditions, type_, truth, reason::PROGRESSING, message, generation, now);
    };
    set(READY, Truth::Unknown, "Reconciliation in progress");
    set(RECONCILING, Truth::True, &format!("Building and applying revision {revision}"));
    conditions::remove(&mut status.conditions, STALLED);
    status.last_attempted_revision = Some(revision.to_owned());
    status
}

/// Whether the `Ready` condition says something else than before, so that an event is due.
pub fn is_news(before: Option<&KustomizationStatus>, after: &KustomizationStatus) -> bool {
    let ready = |status: &KustomizationStatus| {
        conditions::get(&status.conditions, READY)
            .map(|ready| (ready.status.clone(), ready.reason.clone(), ready.message.clone()))
    };
    let attempted = |status: &KustomizationStatus| status.last_attempted_revision.clone();
    before.is_none_or(|before| ready(before) != ready(after) || attempted(before) != attempted(after))
}

#[cfg(test)]
mod tests {
    use super::super::problem::Place;
    use super::*;
    use crate::api::kustomize::v1::KustomizationSpec;
    use crate::api::meta::Time;

    fn object() -> Kustomization {
        let mut object = Kustomization::new("apps", KustomizationSpec::default());
        object.metadata.generation = Some(3);
        object.metadata.annotations = Some([(annotation::REQUESTED_AT.to_owned(), "now".to_owned())].into());
        object
    }

    fn artifact() -> Artifact {
        Artifact {
            path: String::new(),
            url: String::new(),
            revision: "main@sha1:abc".to_owned(),
            digest: String::new(),
            last_update_time: Time(Timestamp::UNIX_EPOCH),
            size: None,
            metadata: [(ORIGIN_REVISION.to_owned(), "origin".to_owned())].into(),
        }
    }

    fn shown(status: &KustomizationStatus) -> Vec<(String, String, String)> {
        let conditions = status.conditions.iter();
        conditions.map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone())).collect()
    }

    fn triple(type_: &str, status: &str, reason: &str) -> (String, String, String) {
        (type_.to_owned(), status.to_owned(), reason.to_owned())
    }

    #[test]
    fn a_failure_keeps_the_last_applied_revision_and_a_success_moves_it() {
        let mut object = object();
        let artifact = artifact();
        let facts = Facts { artifact: Some(&artifact), digest: Some("sha256:a"), ..Facts::default() };
        let failed = Ending::Failed { reason: reason::RECONCILIATION_FAILED, message: "x".to_owned() };
        let now = Timestamp::UNIX_EPOCH;
        let status = after(&object, &failed, &facts, now);
        assert_eq!(status.last_attempted_revision.as_deref(), Some("main@sha1:abc"));
        assert_eq!((status.last_applied_revision.clone(), status.observed_generation), (None, None));
        assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("now"));
        assert_eq!(
            shown(&status),
            [
                triple("Behind", "True", "ReconciliationFailed"),
                triple("Ready", "False", "ReconciliationFailed"),
                triple("Reconciling", "True", "ProgressingWithRetry"),
            ]
        );
        let said = "x; behind since 1970-01-01T00:00:00Z (revision main@sha1:abc); no revision was applied in full yet";
        assert_eq!(conditions::get(&status.conditions, "Ready").unwrap().message, said);
        object.status = Some(status);
        let applied = Ending::Applied { warnings: String::new() };
        let status = after(&object, &applied, &facts, now);
        assert_eq!(status.last_applied_revision.as_deref(), Some("main@sha1:abc"));
        assert_eq!(status.last_applied_origin_revision.as_deref(), Some("origin"));
        assert_eq!(status.observed_generation, Some(3));
        assert_eq!(shown(&status), [triple("Ready", "True", "ReconciliationSucceeded")]);
        assert_eq!(status.conditions[0].message, "Applied revision: main@sha1:abc");
        let history: Vec<_> = status.history.iter().map(|one| one.last_reconciled_status.as_str()).collect();
        assert_eq!(history, ["ReconciliationSucceeded", "ReconciliationFailed"]);
        assert!(is_news(object.status.as_ref(), &status));
        assert!(!is_news(Some(&status), &status));
    }

    #[test]
    fn since_when_a_folder_is_behind_outlives_every_attempt_until_one_succeeds() {
        let mut object = object();
        let mut ended = |ending: Ending, revision: &str, second: i64| {
            let artifact = Artifact { revision: revision.to_owned(), ..artifact() };
            let facts = Facts { artifact: Some(&artifact), ..Facts::default() };
            let now = Timestamp::from_second(second).unwrap();
            let status = after(&object, &ending, &facts, now);
            // As the next attempt finds it, and as it leaves it while it is under way.
            object.status = Some(status.clone());
            object.status = Some(begun(&object, revision, now));
            conditions::get(&status.conditions, "Behind").map(|condition| condition.message.clone())
        };
        let applied = || Ending::Applied { warnings: String::new() };
        let failed = || Ending::Failed { reason: reason::BUILD_FAILED, message: "x".to_owned() };
        assert_eq!(ended(applied(), "r1", 1), None);
        let since = "since 1970-01-01T00:00:02Z (revision r2); r1 is the last revision that was applied in full";
        assert_eq!(ended(failed(), "r2", 2).as_deref(), Some(since));
        assert_eq!(ended(failed(), "r3", 3).as_deref(), Some(since));
        assert_eq!(ended(Ending::Waiting { message: String::new() }, "r4", 4).as_deref(), Some(since));
        assert_eq!(ended(applied(), "r5", 5), None);
        assert!(ended(failed(), "r6", 6).is_some_and(|message| message.starts_with("since 1970-01-01T00:00:06Z")));
    }

    #[test]
    fn a_stall_and_a_wait_show_in_their_conditions() {
        let mut object = object();
        let now = Timestamp::UNIX_EPOCH;
        let stalled = Ending::Stalled { reason: reason::INVALID_PATH, message: "x".to_owned() };
        object.status = Some(after(&object, &stalled, &Facts::default(), now));
        let expected = [triple("Ready", "False", "InvalidPath"), triple("Stalled", "True", "InvalidPath")];
        assert_eq!(shown(object.status.as_ref().unwrap()), expected);
        let waiting = Ending::Waiting { message: "y".to_owned() };
        let facts = Facts { checks_health: true, ..Facts::default() };
        let status = after(&object, &waiting, &facts, now);
        assert_eq!(
            shown(&status),
            [
                triple("Ready", "Unknown", "Progressing"),
                triple("Reconciling", "True", "Progressing"),
                triple("Healthy", "Unknown", "Progressing"),
            ]
        );
    }

    #[test]
    fn problems_choose_the_ending() {
        let place = Place { file: "a.yaml".into(), line: Some(2) };
        let warning = Problem::error(place.clone(), "odd").warning();
        assert_eq!(
            ending(std::slice::from_ref(&warning), 1, 1),
            Ending::Applied { warnings: "a.yaml:2: odd".to_owned() }
        );
        let refused = Problem::error(place.clone(), "refused");
        assert_eq!(
            ending(&[warning, refused], 1, 2),
            Ending::Failed {
                reason: reason::RECONCILIATION_FAILED,
                message: "1 problem, 1 of 2 objects applied: a.yaml:2: refused; a.yaml:2: odd".to_owned(),
            }
        );
        let unreadable = ending(&[Problem::unreadable(place, "broken")], 0, 0);
        assert!(matches!(unreadable, Ending::Failed { reason: reason::BUILD_FAILED, .. }));
    }
}
