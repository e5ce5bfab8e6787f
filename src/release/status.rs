//! What is written on the object: conditions with Flux's types, reasons and messages, counters,
//! and the inputs of the last attempt. Each function is one event in the life of a release.

mod drift;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::condition::{READY, RECONCILING, RELEASED, REMEDIATED, STALLED, TEST_SUCCESS, reason};
use crate::api::helm::v2::{AttemptedAction, HelmReleaseStatus, Snapshot};
use crate::api::meta::Duration;
use crate::controller::conditions::{self, Truth};

use super::history;
use super::observed::{Action, Attempt, Desired, Record, Recorded, Released, Rendering, Target};

/// What tests mean for a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestPolicy {
    /// They are run.
    pub enabled: bool,
    /// Their failure leaves the release ready.
    pub ignored: bool,
    /// Their failure is no reason for a remediation.
    pub ignored_by_remediation: bool,
}

/// A status under change, with what every condition needs.
#[derive(Debug)]
pub struct Editor<'a> {
    /// The status; written to the cluster by the caller.
    pub status: &'a mut HelmReleaseStatus,
    /// The object's generation.
    pub generation: i64,
    /// The present moment.
    pub now: Timestamp,
}

impl Editor<'_> {
    fn set(&mut self, type_: &str, truth: Truth, reason: &str, message: &str) {
        let generation = Some(self.generation);
        conditions::set(&mut self.status.conditions, type_, truth, reason, message, generation, self.now);
    }

    fn remove(&mut self, type_: &str) {
        conditions::remove(&mut self.status.conditions, type_);
    }

    /// Something is under way: `Reconciling` says what, and `Ready` is unknown.
    pub fn progressing(&mut self, message: &str) {
        self.set(RECONCILING, Truth::True, reason::PROGRESSING, message);
        self.set(READY, Truth::Unknown, reason::PROGRESSING, message);
        self.remove(STALLED);
    }

    /// Something outside has to come first: `Ready` is false for that reason, and work goes on.
    pub fn waits_for(&mut self, why: &str, message: &str) {
        self.set(RECONCILING, Truth::True, reason::PROGRESSING, "Fulfilling prerequisites");
        self.set(READY, Truth::False, why, message);
        self.remove(STALLED);
    }

    /// An attempt left nothing behind and is repeated.
    pub fn retries(&mut self, message: &str) {
        self.set(RECONCILING, Truth::True, reason::PROGRESSING_WITH_RETRY, message);
        self.remove(STALLED);
    }

    /// Nothing more happens until an input changes. `Ready` keeps the message of the failure, or
    /// gets this one where it has none.
    pub fn stalled(&mut self, why: &str, message: &str) {
        self.set(STALLED, Truth::True, why, message);
        self.remove(RECONCILING);
        let ready = conditions::get(&self.status.conditions, READY);
        if ready.is_none_or(|ready| ready.status != Truth::False.as_str()) {
            self.set(READY, Truth::False, why, message);
        }
        self.status.observed_generation = Some(self.generation);
    }

    /// The object asks for what this operator cannot do: `Ready` and `Stalled` say so.
    pub fn refused(&mut self, why: &str, message: &str) {
        self.set(READY, Truth::False, why, message);
        self.stalled(why, message);
    }

    /// A helm action begins: remembers its inputs, and forgets the failures of other inputs.
    pub fn begins(&mut self, desired: &Desired, action: Action, same_attempt: bool, timeout: Duration) {
        if !same_attempt {
            self.clear_failures();
        }
        if action == Action::Install {
            self.status.history.clear();
        }
        self.remove(TEST_SUCCESS);
        self.remove(REMEDIATED);
        self.status.last_attempted_generation = Some(desired.generation);
        self.status.last_attempted_revision = Some(desired.chart_version.clone());
        self.status.last_attempted_revision_digest = None;
        self.status.last_attempted_config_digest = Some(desired.config_digest.clone());
        self.status.last_attempted_values_checksum = None;
        self.status.last_release_revision = 0;
        self.status.last_attempted_release_action = Some(attempted(action));
        self.status.storage_namespace = Some(desired.target.storage.clone());
        self.progressing(&running(action.as_str(), timeout));
    }

    /// A revision is made; whether its objects become healthy is open.
    pub fn made(&mut self, snapshot: Snapshot) {
        let message = format!(
            "Waiting for the objects of release {} with chart {}",
            history::full_name(&snapshot),
            history::chart(&snapshot)
        );
        history::put(&mut self.status.history, snapshot);
        self.set(RELEASED, Truth::Unknown, reason::PROGRESSING, &message);
        self.progressing(&message);
    }

    /// The objects in force were changed by this: what is desired is deployed.
    pub fn rendered(&mut self, rendering: &Rendering) {
        self.status.observed_post_renderers_digest.clone_from(&rendering.post_renderers);
        self.status.observed_common_metadata_digest.clone_from(&rendering.common_metadata);
    }

    /// The release is made and healthy. Returns the message, which is also the event's. Failures
    /// before it are forgotten once its tests have passed too.
    pub fn succeeded(&mut self, snapshot: Snapshot, action: Action, tests: TestPolicy) -> String {
        let message = format!(
            "Helm {} succeeded for release {} with chart {}",
            action.as_str(),
            history::full_name(&snapshot),
            history::chart(&snapshot)
        );
        let awaited =
            format!("Helm release {} with chart {}", history::full_name(&snapshot), history::chart(&snapshot));
        history::put(&mut self.status.history, snapshot);
        self.remove(REMEDIATED);
        self.set(RELEASED, Truth::True, success_reason(action), &message);
        if tests.enabled {
            let awaits = format!("{awaited} is awaiting tests");
            self.set(TEST_SUCCESS, Truth::Unknown, reason::AWAITING_TESTS, &awaits);
            self.sum_up(tests);
        } else {
            self.clear_failures();
            history::truncate(&mut self.status.history, tests.ignored_by_remediation);
            self.in_sync(tests);
        }
        message
    }

    /// What is desired is in force: `Ready` says what `Released` says, or the tests where they count.
    pub fn in_sync(&mut self, tests: TestPolicy) {
        self.remove(RECONCILING);
        self.remove(STALLED);
        self.status.observed_generation = Some(self.generation);
        let Some(released) = conditions::get(&self.status.conditions, RELEASED).cloned() else {
            return;
        };
        self.set(RELEASED, Truth::True, &released.reason, &released.message);
        self.sum_up(tests);
    }

    /// `Ready` as the sum of the tests, where they count, and the release.
    fn sum_up(&mut self, tests: TestPolicy) {
        if !tests.enabled {
            self.remove(TEST_SUCCESS);
        }
        let tested = conditions::get(&self.status.conditions, TEST_SUCCESS).filter(|_| !tests.ignored);
        let Some(sum) = tested.or_else(|| conditions::get(&self.status.conditions, RELEASED)).cloned() else {
            return;
        };
        let truth = Truth::from_status(&sum.status);
        self.set(READY, truth, &sum.reason, &sum.message);
    }

    /// The tests of the newest revision passed. Returns the message, which is also the event's.
    pub fn tested(&mut self, snapshot: Snapshot, tests: TestPolicy) -> String {
        let hooks = match snapshot.test_hooks.as_ref().map_or(0, std::collections::BTreeMap::len) {
            0 => "no test hooks".to_owned(),
            1 => "1 test hook completed successfully".to_owned(),
            many => format!("{many} test hooks completed successfully"),
        };
        let message = format!(
            "Helm test succeeded for release {} with chart {}: {hooks}",
            history::full_name(&snapshot),
            history::chart(&snapshot)
        );
        history::put(&mut self.status.history, snapshot);
        history::truncate(&mut self.status.history, tests.ignored_by_remediation);
        self.clear_failures();
        self.set(TEST_SUCCESS, Truth::True, reason::TEST_SUCCEEDED, &message);
        self.in_sync(tests);
        message
    }

    /// The tests of the newest revision failed, or could not be run, which a snapshot without
    /// results says. Returns the message, which is also the event's.
    pub fn tests_failed(&mut self, snapshot: Snapshot, why: &str, tests: TestPolicy) -> String {
        let message = format!(
            "Helm test failed for release {} with chart {}: {}",
            history::full_name(&snapshot),
            history::chart(&snapshot),
            why.trim()
        );
        let counts = snapshot.test_hooks.is_some() && !tests.ignored_by_remediation;
        history::put(&mut self.status.history, snapshot);
        self.status.failures += 1;
        match self.status.last_attempted_release_action.filter(|_| counts) {
            Some(AttemptedAction::Install) => self.status.install_failures += 1,
            Some(AttemptedAction::Upgrade) => self.status.upgrade_failures += 1,
            None => {}
        }
        self.set(TEST_SUCCESS, Truth::False, reason::TEST_FAILED, &message);
        self.sum_up(tests);
        message
    }

    /// A helm action that makes no release begins; `Ready` keeps what it says.
    pub fn runs(&mut self, action: &str, timeout: Duration) {
        self.set(RECONCILING, Truth::True, reason::PROGRESSING, &running(action, timeout));
        self.remove(STALLED);
    }

    /// A rollback made a revision; whether its objects become healthy is open.
    pub fn rolling_back(&mut self, snapshot: Snapshot) {
        let message = format!(
            "Waiting for the objects of release {} with chart {}",
            history::full_name(&snapshot),
            history::chart(&snapshot)
        );
        history::put(&mut self.status.history, snapshot);
        self.set(REMEDIATED, Truth::Unknown, reason::PROGRESSING, &message);
        self.set(RECONCILING, Truth::True, reason::PROGRESSING, &message);
    }

    /// A rollback is made and healthy. Returns the message, which is also the event's.
    pub fn rolled_back(&mut self, snapshot: Snapshot, to: &Snapshot) -> String {
        let message = format!("{} succeeded", rollback(to));
        history::put(&mut self.status.history, snapshot);
        self.remediated(reason::ROLLBACK_SUCCEEDED, &message);
        message
    }

    /// A rollback failed; the snapshot is of the revision that it left, if any. Returns the
    /// message, which is also the event's.
    pub fn rollback_failed(&mut self, snapshot: Option<Snapshot>, to: &Snapshot, why: &str) -> String {
        let message = format!("{} failed: {}", rollback(to), why.trim());
        if let Some(snapshot) = snapshot {
            history::put(&mut self.status.history, snapshot);
        }
        self.remediation_failed(reason::ROLLBACK_FAILED, &message);
        message
    }

    /// A failed release is removed; its failures and its snapshot stay. Returns the message, which
    /// is also the event's.
    pub fn removed(&mut self, snapshot: Snapshot) -> String {
        let message = format!("{} succeeded", removal(&snapshot));
        history::put(&mut self.status.history, snapshot);
        self.status.inventory = None;
        self.remediated(reason::UNINSTALL_SUCCEEDED, &message);
        message
    }

    /// A failed release could not be removed. Returns the message, which is also the event's.
    pub fn removal_failed(&mut self, of: &Snapshot, why: &str) -> String {
        let message = format!("{} failed: {}", removal(of), why.trim());
        self.remediation_failed(reason::UNINSTALL_FAILED, &message);
        self.retries(&message);
        message
    }

    /// `Ready` goes on saying why there had to be a remediation.
    fn remediated(&mut self, why: &str, message: &str) {
        self.set(REMEDIATED, Truth::True, why, message);
        let cause = [RELEASED, TEST_SUCCESS].iter().find_map(|type_| {
            conditions::get(&self.status.conditions, type_).filter(|found| found.status == Truth::False.as_str())
        });
        let cause = cause.map(|cause| format!("; it was needed because of: {}", cause.message)).unwrap_or_default();
        self.set(READY, Truth::False, why, &format!("{message}{cause}"));
        self.remove(RECONCILING);
    }

    fn remediation_failed(&mut self, why: &str, message: &str) {
        self.status.failures += 1;
        self.set(REMEDIATED, Truth::False, why, message);
        self.set(READY, Truth::False, why, message);
        self.remove(RECONCILING);
    }

    /// A failure is tried again after a pause.
    pub fn awaits_retry(&mut self, until: Timestamp) {
        self.retries(&format!("the next try is at {until:.0}"));
    }

    /// An attempt failed and left a revision, given as snapshot, which counts against its inputs.
    /// Returns the message, which is also the event's.
    pub fn failed(&mut self, snapshot: Snapshot, action: Action, why: &str) -> String {
        let chart = history::chart(&snapshot);
        let message = failure(action, &snapshot.namespace, &snapshot.name, &chart, why);
        history::put(&mut self.status.history, snapshot);
        // A rollback brings back objects that an earlier rendering changed.
        self.rendered(&Rendering::default());
        match action {
            Action::Install => self.status.install_failures += 1,
            _ => self.status.upgrade_failures += 1,
        }
        self.fail(action, &message);
        message
    }

    /// An attempt failed before helm stored anything; it may be repeated. Returns the message,
    /// which is also the event's.
    pub fn failed_early(&mut self, desired: &Desired, action: Action, why: &str) -> String {
        let chart = format!("{}@{}", desired.chart_name, desired.chart_version);
        let message = failure(action, &desired.target.namespace, &desired.target.name, &chart, why);
        self.fail(action, &message);
        self.retries(&message);
        message
    }

    fn fail(&mut self, action: Action, message: &str) {
        self.status.failures += 1;
        self.set(RELEASED, Truth::False, failure_reason(action), message);
        self.set(READY, Truth::False, failure_reason(action), message);
        self.remove(RECONCILING);
    }

    /// A stale lock of somebody else was broken; the revision is recorded as failed, not counted.
    pub fn unlocked(&mut self, snapshot: Snapshot, was: &str) -> String {
        let message = format!(
            "Unlocked Helm release {} with chart {} in {was} state",
            history::full_name(&snapshot),
            history::chart(&snapshot)
        );
        history::put(&mut self.status.history, snapshot);
        self.set(RELEASED, Truth::False, reason::PENDING_RELEASE, &message);
        self.set(READY, Truth::False, reason::PENDING_RELEASE, &message);
        message
    }

    /// The release is gone, and with it what was remembered of it.
    pub fn uninstalled(&mut self, message: &str) {
        self.forget();
        self.set(RELEASED, Truth::False, reason::UNINSTALL_SUCCEEDED, message);
        self.set(READY, Truth::False, reason::UNINSTALL_SUCCEEDED, message);
    }

    /// A release could not be deleted; it is tried again.
    pub fn uninstall_failed(&mut self, message: &str) {
        self.status.failures += 1;
        self.set(RELEASED, Truth::False, reason::UNINSTALL_FAILED, message);
        self.set(READY, Truth::False, reason::UNINSTALL_FAILED, message);
        self.retries(message);
    }

    /// Forgets a release that is gone.
    pub fn forget(&mut self) {
        self.status.history.clear();
        self.status.inventory = None;
        self.status.storage_namespace = None;
        self.clear_failures();
    }

    fn clear_failures(&mut self) {
        self.status.failures = 0;
        self.status.install_failures = 0;
        self.status.upgrade_failures = 0;
    }
}

const RUNNING: &str = "Running '";

fn running(action: &str, timeout: Duration) -> String {
    format!("{RUNNING}{action}' action with timeout of {timeout}")
}

/// The helm action whose begin a message tells of.
pub fn running_action(message: &str) -> Option<&str> {
    message.strip_prefix(RUNNING)?.split_once("' action").map(|(action, _)| action)
}

/// The release that the status remembers. Where it does not say where helm's records are, they are
/// where they are wanted.
pub fn recorded(status: &HelmReleaseStatus, desired: &Target) -> Option<Recorded> {
    let storage = status.storage_namespace.as_ref().unwrap_or(&desired.storage);
    history::recorded(&status.history, &desired.cluster, storage)
}

/// What the status remembers, as decisions need it.
pub fn record(status: &HelmReleaseStatus, desired: &Target, previous_target_exists: bool) -> Record {
    let attempted = status.last_attempted_config_digest.as_ref().map(|config_digest| Attempt {
        generation: status.last_attempted_generation.unwrap_or_default(),
        chart_version: status.last_attempted_revision.clone().unwrap_or_default(),
        config_digest: config_digest.clone(),
        action: status.last_attempted_release_action.map(action_of),
    });
    Record {
        latest: recorded(status, desired),
        previous_target_exists,
        released: conditions::get(&status.conditions, RELEASED).map(released),
        rendering: Rendering {
            post_renderers: status.observed_post_renderers_digest.clone().filter(|digest| !digest.is_empty()),
            common_metadata: status.observed_common_metadata_digest.clone().filter(|digest| !digest.is_empty()),
        },
        generation: status.observed_generation,
        remediated: conditions::get(&status.conditions, REMEDIATED).map(|found| Released {
            done: found.status != Truth::Unknown.as_str(),
            since: found.last_transition_time.0,
        }),
        failed_since: failed_since(&status.conditions),
        attempted,
        install_failures: status.install_failures,
        upgrade_failures: status.upgrade_failures,
    }
}

fn released(condition: &Condition) -> Released {
    Released { done: condition.status == Truth::True.as_str(), since: condition.last_transition_time.0 }
}

/// Since when the release or its tests have failed, whichever was last.
fn failed_since(conditions: &[Condition]) -> Option<Timestamp> {
    let failed = [RELEASED, TEST_SUCCESS].into_iter().filter_map(|type_| {
        let found = conditions::get(conditions, type_)?;
        (found.status == Truth::False.as_str()).then_some(found.last_transition_time.0)
    });
    failed.max()
}

fn attempted(action: Action) -> AttemptedAction {
    if action == Action::Install { AttemptedAction::Install } else { AttemptedAction::Upgrade }
}

fn action_of(attempted: AttemptedAction) -> Action {
    match attempted {
        AttemptedAction::Install => Action::Install,
        AttemptedAction::Upgrade => Action::Upgrade,
    }
}

/// The reason of a success.
pub fn success_reason(action: Action) -> &'static str {
    match action {
        Action::Install => reason::INSTALL_SUCCEEDED,
        Action::Upgrade => reason::UPGRADE_SUCCEEDED,
        Action::Rollback => reason::ROLLBACK_SUCCEEDED,
        Action::Uninstall => reason::UNINSTALL_SUCCEEDED,
    }
}

/// The reason of a failure.
pub fn failure_reason(action: Action) -> &'static str {
    match action {
        Action::Install => reason::INSTALL_FAILED,
        Action::Upgrade => reason::UPGRADE_FAILED,
        Action::Rollback => reason::ROLLBACK_FAILED,
        Action::Uninstall => reason::UNINSTALL_FAILED,
    }
}

fn failure(action: Action, namespace: &str, name: &str, chart: &str, why: &str) -> String {
    format!("Helm {} failed for release {namespace}/{name} with chart {chart}: {}", action.as_str(), why.trim())
}

fn rollback(to: &Snapshot) -> String {
    format!("Helm rollback to previous release {} with chart {}", history::full_name(to), history::chart(to))
}

fn removal(of: &Snapshot) -> String {
    format!("Helm uninstall remediation for release {} with chart {}", history::full_name(of), history::chart(of))
}

#[cfg(test)]
mod tests;
