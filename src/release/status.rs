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

/// Reason of `Stalled` when a failed attempt is not repeated.
pub const RETRIES_EXCEEDED: &str = "RetriesExceeded";
/// Reason of `Released` while a made revision is not yet seen healthy.
pub const PROGRESSING: &str = reason::PROGRESSING;
/// Reason of `Released` after a stale lock was broken.
pub const PENDING_RELEASE: &str = "PendingRelease";

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
        self.progressing(&format!("Running '{}' action with timeout of {timeout}", action.as_str()));
    }

    /// A revision is made; whether its objects become healthy is open.
    pub fn made(&mut self, snapshot: Snapshot) {
        let message = format!(
            "Waiting for the objects of release {} with chart {}",
            history::full_name(&snapshot),
            history::chart(&snapshot)
        );
        history::put(&mut self.status.history, snapshot);
        self.set(RELEASED, Truth::Unknown, PROGRESSING, &message);
        self.progressing(&message);
    }

    /// The objects in force were changed by this: what is desired is deployed.
    pub fn rendered(&mut self, rendering: &Rendering) {
        self.status.observed_post_renderers_digest.clone_from(&rendering.post_renderers);
        self.status.observed_common_metadata_digest.clone_from(&rendering.common_metadata);
    }

    /// The release is made and healthy. Returns the message, which is also the event's.
    pub fn succeeded(&mut self, snapshot: Snapshot, action: Action) -> String {
        let message = format!(
            "Helm {} succeeded for release {} with chart {}",
            action.as_str(),
            history::full_name(&snapshot),
            history::chart(&snapshot)
        );
        history::put(&mut self.status.history, snapshot);
        history::truncate(&mut self.status.history);
        self.clear_failures();
        self.set(RELEASED, Truth::True, success_reason(action), &message);
        self.in_sync();
        message
    }

    /// What is desired is in force: `Ready` says what `Released` says.
    pub fn in_sync(&mut self) {
        self.remove(RECONCILING);
        self.remove(STALLED);
        self.status.observed_generation = Some(self.generation);
        let Some(released) = conditions::get(&self.status.conditions, RELEASED).cloned() else {
            return;
        };
        self.set(RELEASED, Truth::True, &released.reason, &released.message);
        self.set(READY, Truth::True, &released.reason, &released.message);
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
            Action::Upgrade => self.status.upgrade_failures += 1,
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
        self.set(RELEASED, Truth::False, PENDING_RELEASE, &message);
        self.set(READY, Truth::False, PENDING_RELEASE, &message);
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
        attempted,
        install_failures: status.install_failures,
        upgrade_failures: status.upgrade_failures,
    }
}

fn released(condition: &Condition) -> Released {
    Released { done: condition.status == Truth::True.as_str(), since: condition.last_transition_time.0 }
}

fn attempted(action: Action) -> AttemptedAction {
    match action {
        Action::Install => AttemptedAction::Install,
        Action::Upgrade => AttemptedAction::Upgrade,
    }
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
    }
}

/// The reason of a failure.
pub fn failure_reason(action: Action) -> &'static str {
    match action {
        Action::Install => reason::INSTALL_FAILED,
        Action::Upgrade => reason::UPGRADE_FAILED,
    }
}

fn failure(action: Action, namespace: &str, name: &str, chart: &str, why: &str) -> String {
    format!("Helm {} failed for release {namespace}/{name} with chart {chart}: {}", action.as_str(), why.trim())
}

#[cfg(test)]
mod tests;
