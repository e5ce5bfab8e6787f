//! The facts that a decision rests on.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::remediation::{OnFailure, RollbackTarget};

/// Everything known about one release at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// What the object asks for.
    pub desired: Desired,
    /// The revisions in helm's storage under the desired name and namespace, newest first.
    pub revisions: Vec<Revision>,
    /// What the object's status remembers.
    pub record: Record,
    /// The action that was started and has not been seen to end.
    pub journal: Option<Journal>,
    /// The health of the newest revision's objects; `None` until somebody looks.
    pub verdict: Option<Verdict>,
    /// Whether somebody else changed the release's objects; `None` when nobody wants to know now.
    pub drift: Option<Drift>,
    /// The revision that a rollback would go back to.
    pub rollback_target: Option<RollbackTarget>,
    /// The present moment.
    pub now: Timestamp,
}

/// The release that the object asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Desired {
    /// Name and namespace of the release.
    pub target: Target,
    /// Name in the chart's metadata.
    pub chart_name: String,
    /// Version in the chart's metadata.
    pub chart_version: String,
    /// Flux's digest of the merged values.
    pub config_digest: String,
    /// `metadata.generation` of the object.
    pub generation: i64,
    /// How to install.
    pub install: Settings,
    /// How to upgrade.
    pub upgrade: Settings,
    /// How to roll back.
    pub rollback: Settings,
    /// How to uninstall.
    pub uninstall: Settings,
    /// What a failed install leads to.
    pub on_install_failure: OnFailure,
    /// What a failed upgrade leads to.
    pub on_upgrade_failure: OnFailure,
    /// Whether a release is tested once it is made.
    pub tests: bool,
    /// Whether a chart of another name replaces the release instead of upgrading it.
    pub reinstall_renamed_chart: bool,
    /// What changes the rendered objects.
    pub rendering: Rendering,
    /// Somebody asked for a release even though nothing changed, or out of retries.
    pub forced: bool,
    /// Somebody asked to forget past failures.
    pub reset: bool,
}

/// What changes the rendered objects, as Flux's digests; none for a field that is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendering {
    /// Of `spec.postRenderers`.
    pub post_renderers: Option<String>,
    /// Of `spec.commonMetadata`.
    pub common_metadata: Option<String>,
}

/// The part of `spec.install` or `spec.upgrade` that decisions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long the action, or the wait after it, may take.
    pub timeout: Duration,
    /// Whether the release counts as made only when its objects are healthy.
    pub wait: bool,
}

/// Where a release lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// What tells its cluster from others; empty for the operator's own.
    pub cluster: String,
    /// The namespace of helm's records of it.
    pub storage: String,
    /// The namespace of the release.
    pub namespace: String,
    /// The name that helm knows it by.
    pub name: String,
}

impl Target {
    /// Whether this is the release of that namespace and name in the operator's own cluster.
    pub fn is(&self, (namespace, name): &(String, String)) -> bool {
        self.cluster.is_empty() && self.namespace == *namespace && self.name == *name
    }
}

/// One revision in helm's storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Helm's revision number, from 1.
    pub version: i64,
    /// Helm's status of it.
    pub status: Phase,
    /// Name in the chart's metadata.
    pub chart_name: String,
    /// Version in the chart's metadata.
    pub chart_version: String,
    /// Flux's digest of the stored values.
    pub config_digest: String,
    /// When helm began this revision.
    pub last_deployed: Option<Timestamp>,
    /// When helm began to delete the release.
    pub deleted: Option<Timestamp>,
    /// Helm's own words about it.
    pub description: String,
    /// The API server applied it, not helm.
    pub server_side: bool,
}

/// A revision's status, in as many cases as decisions tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In force.
    Deployed,
    /// Replaced by a later revision.
    Superseded,
    /// The action failed, or the wait after it.
    Failed,
    /// Deleted, its history kept.
    Uninstalled,
    /// Being deleted.
    Uninstalling,
    /// An action holds the release, or died holding it.
    Pending,
    /// Anything that helm may call it one day.
    Unknown,
}

/// What the object's status remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The newest snapshot of the history.
    pub latest: Option<Recorded>,
    /// Whether a previous target (other name, namespace or chart) still has a release.
    pub previous_target_exists: bool,
    /// The `Released` condition: `Some(true)` for True, and since when it has its present status.
    pub released: Option<Released>,
    /// What changed the rendered objects of that snapshot, as far as the status knows.
    pub rendering: Rendering,
    /// `status.observedGeneration`.
    pub generation: Option<i64>,
    /// The `Remediated` condition: whether a remediation has come to its end.
    pub remediated: Option<Released>,
    /// Since when the release or its tests are recorded as failed.
    pub failed_since: Option<Timestamp>,
    /// The inputs of the last attempt.
    pub attempted: Option<Attempt>,
    /// Failed installs of those inputs that left a revision.
    pub install_failures: i64,
    /// Failed upgrades of those inputs that left a revision.
    pub upgrade_failures: i64,
}

/// A snapshot, in as much as decisions need of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Name and namespace of the release.
    pub target: Target,
    /// Helm's revision number.
    pub version: i64,
    /// Whether it is recorded as failed.
    pub failed: bool,
    /// Name of its chart.
    pub chart_name: String,
    /// Flux's digest of the values it was made of: as they were given to helm.
    pub config_digest: String,
    /// What made it, where the snapshot says so.
    pub action: Option<Action>,
    /// How its tests went.
    pub tests: Tests,
}

/// How the tests of a revision went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tests {
    /// They have not been run to their end.
    #[default]
    Pending,
    /// All passed, or there are none.
    Passed,
    /// At least one failed.
    Failed,
}

/// The `Released` condition, or another one of the same sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// Whether its status is True.
    pub done: bool,
    /// When its status last changed.
    pub since: Timestamp,
}

/// The inputs of an attempt, as the status names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// `status.lastAttemptedGeneration`.
    pub generation: i64,
    /// `status.lastAttemptedRevision`: the chart's version.
    pub chart_version: String,
    /// `status.lastAttemptedConfigDigest`.
    pub config_digest: String,
    /// `status.lastAttemptedReleaseAction`.
    pub action: Option<Action>,
}

/// A helm action that changes a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// `helm install`.
    Install,
    /// `helm upgrade`.
    Upgrade,
    /// `helm rollback`.
    Rollback,
    /// `helm uninstall`.
    Uninstall,
}

impl Action {
    /// The word helm and Flux's status use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Rollback => "rollback",
            Self::Uninstall => "uninstall",
        }
    }

    /// The action that a snapshot names, if it is one that makes a revision.
    pub fn from_snapshot(word: &str) -> Option<Self> {
        [Self::Install, Self::Upgrade, Self::Rollback].into_iter().find(|action| action.as_str() == word)
    }
}

/// An action that was begun; its presence outside of that action means that its process is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The release it works on.
    pub target: Target,
    /// What was begun.
    pub action: Action,
    /// The newest revision before it began, 0 for none.
    pub base: i64,
    /// Flux's digest of the values it was given; empty for a rollback and an uninstall.
    pub config_digest: String,
    /// What changes the objects that it renders.
    #[serde(default)]
    pub rendering: Rendering,
    /// It was asked for by annotation, though nothing had changed.
    #[serde(default)]
    pub forced: bool,
}

/// What a look at the objects of a revision gave; the texts name objects and reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All are healthy.
    Healthy,
    /// Some are on their way.
    InProgress(String),
    /// At least one will not get there.
    Failed(String),
}

/// Whether the objects of a release are as it made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// It is time to look.
    Unseen,
    /// A look found differences.
    Found {
        /// They are to be undone, not only told.
        correct: bool,
    },
}

impl Desired {
    /// The attempt that a release of these inputs is.
    pub fn attempt(&self, action: Action) -> Attempt {
        Attempt {
            generation: self.generation,
            chart_version: self.chart_version.clone(),
            config_digest: self.config_digest.clone(),
            action: Some(action),
        }
    }

    /// The settings of an action.
    pub fn settings(&self, action: Action) -> Settings {
        match action {
            Action::Install => self.install,
            Action::Upgrade => self.upgrade,
            Action::Rollback => self.rollback,
            Action::Uninstall => self.uninstall,
        }
    }

    /// What a failure of an action leads to.
    pub fn on_failure(&self, action: Action) -> OnFailure {
        if action == Action::Install { self.on_install_failure } else { self.on_upgrade_failure }
    }
}

impl Observed {
    /// The newest revision in storage.
    pub fn newest(&self) -> Option<&Revision> {
        self.revisions.first()
    }

    /// Whether the last attempt had the inputs that are desired now. A changed input, and a request
    /// to forget, make past failures void.
    pub fn same_attempt(&self) -> bool {
        !self.desired.reset
            && self.record.attempted.as_ref().is_some_and(|attempt| {
                attempt.generation == self.desired.generation
                    && attempt.chart_version == self.desired.chart_version
                    && attempt.config_digest == self.desired.config_digest
            })
    }

    /// Whether the journal shows that `version` was begun by an action of ours that is gone. An action makes one
    /// revision: what is newer than that was made by somebody else since.
    pub fn begun_by_us(&self, version: i64) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|entry| entry.target == self.desired.target && version == entry.base + 1)
    }

    /// Whether a deletion that is under way was begun by an action of ours that is gone.
    pub fn uninstall_begun_by_us(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|entry| entry.target == self.desired.target && entry.action == Action::Uninstall)
    }

    /// The newest snapshot, if it is of that revision.
    pub fn recorded(&self, version: i64) -> Option<&Recorded> {
        let latest = self.record.latest.as_ref();
        latest.filter(|latest| latest.target == self.desired.target && latest.version == version)
    }

    /// The action that made the release what it is: as begun or recorded, else as attempted last,
    /// else told by the number.
    pub fn action_of(&self, version: i64) -> Action {
        let journaled = self.journal.as_ref().filter(|_| self.begun_by_us(version)).map(|entry| entry.action);
        let recorded = || self.recorded(version)?.action.filter(|action| *action == Action::Rollback);
        journaled.or_else(recorded).or_else(|| self.attempted()).unwrap_or(if version == 1 {
            Action::Install
        } else {
            Action::Upgrade
        })
    }

    /// The action of the last attempt, if that had the inputs that are desired now.
    pub fn attempted(&self) -> Option<Action> {
        self.record.attempted.as_ref().filter(|_| self.same_attempt())?.action
    }

    /// Failures of an action with the inputs that are desired now.
    pub fn failures(&self, action: Action) -> i64 {
        match action {
            _ if !self.same_attempt() => 0,
            Action::Install => self.record.install_failures,
            _ => self.record.upgrade_failures,
        }
    }
}
