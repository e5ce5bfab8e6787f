//! Sets a failure back: to an earlier revision, or by removing the release.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::action::{Outcome, max_history};
use super::course::{Ran, Started};
use super::fault::Fault;
use super::pass::Pass;
use super::resolve::Inputs;
use super::steps::{LONGEST_PAUSE, Next};
use super::storage::snapshot;
use super::told::Told;
use crate::api::condition::reason;
use crate::api::helm::v2::{ServerSideApplyMode, Snapshot};
use crate::api::meta::Duration;
use crate::controller::Requeue;
use crate::controller::conditions::whole_second;
use crate::helm::argv::RollbackAction;
use crate::helm::client::HelmError;
use crate::release::history;
use crate::release::observed::{Action, Journal, Observed, Phase, Rendering, Target};
use crate::release::remediation::RollbackTarget;

impl Pass<'_> {
    /// The snapshot of the revision that a rollback goes back to.
    pub fn previous(&self) -> Option<Snapshot> {
        let version = history::previous(&self.status.history, self.test_policy().ignored_by_remediation)?;
        self.status.history.iter().find(|known| known.version == version).cloned()
    }

    /// The revision that a rollback would go back to. Only asked for where something has failed.
    pub async fn rollback_target(&self, target: &Target) -> Result<Option<RollbackTarget>, Fault> {
        let failures = self.status.install_failures + self.status.upgrade_failures;
        let Some(previous) = self.previous().filter(|_| failures > 0) else {
            return Ok(None);
        };
        let stored = self.cluster.tools.storage.was_server_side(target, previous.version).await?.is_some();
        Ok(Some(RollbackTarget { version: previous.version, stored }))
    }

    /// Runs `helm rollback`; its objects are waited for like those of any other revision.
    pub async fn roll_back(&mut self, inputs: &Inputs, facts: &Observed, to: i64) -> Result<Next, Fault> {
        let (target, base) = (&inputs.desired.target, facts.newest().map_or(0, |newest| newest.version));
        let Some(previous) = self.previous() else {
            return Ok(Next::Changed);
        };
        let Some(_slot) = self.slot().await else {
            return Ok(Next::OVERTAKEN);
        };
        if let Err(why) = self.begin(inputs, Action::Rollback, base).await? {
            return Ok(self.rollback_failed_early(&previous, &why));
        }
        self.remediated = true;
        let server_side = self.cluster.tools.storage.was_server_side(target, to).await?.unwrap_or_default();
        let action = self.rollback_action(inputs, to, server_side);
        let started = Started::now();
        let result = match self.helm(target).await {
            Ok(helm) => helm.rollback(&action).await,
            Err(error) => Err(error),
        };
        let held_by_another = result.as_ref().is_err_and(HelmError::is_held_by_another);
        let said = result.err().map(|error| inputs.redactor.text(&error.to_string()).into_owned());
        self.ran(&Ran {
            verb: "rollback",
            started,
            chart: &previous.chart_name,
            chart_version: &previous.chart_version,
            revision: base + 1,
            failure: said.as_deref().map(|said| (reason::ROLLBACK_FAILED, said)),
        });
        let Some(said) = said else {
            return Ok(Next::Changed);
        };
        let storage = &self.cluster.tools.storage;
        let newest = storage.newest(target).await?.into_iter().next().filter(|newest| newest.version > base);
        let Some(newest) = newest else {
            return Ok(self.rollback_failed_early(&previous, &said));
        };
        if held_by_another {
            return self.leave_to_another(newest.version, &said).await;
        }
        if newest.status == Phase::Pending {
            storage.break_lock(target, newest.version, &said).await?;
        }
        self.helm_said = Some(said);
        Ok(Next::Changed)
    }

    fn rollback_failed_early(&mut self, to: &Snapshot, why: &str) -> Next {
        self.journal_is_done = true;
        let told = Told::of(to);
        let message = self.editor().rollback_failed(None, to, why);
        self.editor().retries(&message);
        self.warn(reason::ROLLBACK_FAILED, &message, &told);
        Next::End(Requeue::Backoff { max: LONGEST_PAUSE })
    }

    /// Says that a helm action begins, and notes it in the journal; `Err` says why that cannot be.
    async fn begin(&mut self, inputs: &Inputs, action: Action, base: i64) -> Result<Result<(), String>, Fault> {
        let target = inputs.desired.target.clone();
        let (kind, namespace, name) = self.named();
        tracing::info!(kind, namespace, name, action = action.as_str(), why = "the release failed", "running helm");
        self.editor().runs(action.as_str(), Duration::from(inputs.desired.settings(action).timeout));
        self.save().await?;
        let (config_digest, rendering) = (String::new(), Rendering::default());
        let entry = Journal { target, action, base, config_digest, rendering, forced: false };
        Ok(self.controller.journal.begin(entry).map_err(|error| error.to_string()))
    }

    /// `server_side` says how the revision to go back to was applied.
    fn rollback_action(&self, inputs: &Inputs, to: i64, server_side: bool) -> RollbackAction {
        let spec = self.object.spec.rollback.clone().unwrap_or_default();
        let target = &inputs.desired.target;
        RollbackAction {
            release_name: target.name.clone(),
            namespace: target.namespace.clone(),
            revision: to,
            timeout: inputs.desired.rollback.timeout,
            disable_hooks: spec.disable_hooks,
            cleanup_on_fail: spec.cleanup_on_fail,
            force: spec.force,
            server_side: match spec.server_side_apply {
                Some(ServerSideApplyMode::Enabled) => true,
                Some(ServerSideApplyMode::Disabled) => false,
                None | Some(ServerSideApplyMode::Auto) => server_side,
            },
            max_history: max_history(&self.object.spec),
        }
    }

    /// The objects of a rollback are healthy.
    pub fn rolled_back(&mut self, snapshot: Snapshot, told: &Told) -> Next {
        let to = self.previous().unwrap_or_else(|| snapshot.clone());
        let message = self.editor().rolled_back(snapshot, &to);
        self.tell(reason::ROLLBACK_SUCCEEDED, &message, told);
        self.remediated = true;
        Next::Remembered
    }

    /// Uninstalls a release that failed, to start anew while there are tries.
    pub async fn remove(&mut self, inputs: &Inputs, facts: &Observed, version: i64) -> Result<Next, Fault> {
        let target = inputs.desired.target.clone();
        let Some(stored) = self.cluster.tools.storage.stored(&target, version).await? else {
            return Ok(Next::Changed);
        };
        let snapshot = snapshot(&stored, None);
        let told = Told::of(&snapshot);
        if let Err(why) = self.begin(inputs, Action::Uninstall, version).await? {
            return Ok(self.removal_failed(&snapshot, &why, &told));
        }
        self.remediated = true;
        match self.uninstall(&target).await? {
            Outcome::Failed(why) => Ok(self.removal_failed(&snapshot, &why, &told)),
            Outcome::Overtaken => {
                self.journal_is_done = true;
                Ok(Next::OVERTAKEN)
            }
            Outcome::Done(_) => {
                let gone = Snapshot {
                    status: "uninstalled".to_owned(),
                    deleted: Some(Time(whole_second(Timestamp::now()))),
                    ..snapshot
                };
                let message = self.editor().removed(gone);
                self.tell(reason::UNINSTALL_SUCCEEDED, &message, &told);
                self.journal_is_done = true;
                self.stall_if_exhausted(facts);
                Ok(self.leaving(&target).await?.map_or(Next::Changed, Next::End))
            }
        }
    }

    /// Waiting for the last objects must not read as work that goes on for ever.
    fn stall_if_exhausted(&mut self, facts: &Observed) {
        let Some(action) = facts.attempted() else { return };
        let attempts = facts.failures(action);
        if action == Action::Install && facts.desired.on_failure(action).is_exhausted(attempts) {
            let message = format!("Failed to {} after {attempts} attempt(s)", action.as_str());
            self.editor().stalled(reason::RETRIES_EXCEEDED, &message);
        }
    }

    fn removal_failed(&mut self, of: &Snapshot, why: &str, told: &Told) -> Next {
        self.journal_is_done = true;
        let message = self.editor().removal_failed(of, why);
        self.warn(reason::UNINSTALL_FAILED, &message, told);
        Next::End(Requeue::Backoff { max: LONGEST_PAUSE })
    }
}
