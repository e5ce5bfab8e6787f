//! Observe, decide, act: until there is nothing to do now.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::action::Outcome;
use super::course::Tries;
use super::fault::Fault;
use super::pass::Pass;
use super::resolve::Inputs;
use super::storage::snapshot;
use super::told::{Told, stored_at};
use super::verify::Depth;
use crate::api::condition::reason;
use crate::controller::Requeue;
use crate::helm::storage::StoredRelease;
use crate::release::history;
use crate::release::observed::{Action, Desired, Observed, Phase, Rendering, Revision, Target, Verdict};
use crate::release::plan::{Decision, UNLOCKED, decide};
use crate::release::state::{State, determine};
use crate::release::status;

/// Steps of one pass; more would be a circle, which the frame's backoff slows down.
const STEPS: usize = 12;
/// The age of a wait from which it is worth asking pods why.
const PATIENCE: SignedDuration = SignedDuration::from_millis(800);
/// The longest pause after a failure that left nothing.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// What a step leads to.
pub(super) enum Next {
    /// The pass is over.
    End(Requeue),
    /// The objects were looked at.
    Seen(Verdict),
    /// Only the status changed.
    Remembered,
    /// Helm's storage changed.
    Changed,
}

/// A decision that only looks or remembers may rest on the watch cache; any other is made again on
/// what the API server says now.
fn may_rest_on_cache(decision: &Decision) -> bool {
    matches!(
        decision,
        Decision::Nothing
            | Decision::Verify { .. }
            | Decision::DetectDrift { .. }
            | Decision::WarnDrift { .. }
            | Decision::Wait { .. }
            | Decision::Stall { .. }
    )
}

/// The tries that follow a failure.
fn tries_after(facts: &Observed, next: Action) -> Tries {
    let on_failure = facts.desired.on_failure(facts.attempted().unwrap_or(next));
    if on_failure.is_bounded() { Tries::Numbered } else { Tries::Endless }
}

impl Next {
    /// Another pass is due, with what is known by then.
    pub const OVERTAKEN: Self = Self::End(Requeue::After(Duration::ZERO));
}

impl Pass<'_> {
    /// Brings the release to what is desired, as far as that goes now.
    pub async fn release(&mut self, inputs: &Inputs) -> Result<Requeue, Fault> {
        let target = &inputs.desired.target;
        if let Some(end) = self.leaving(target).await? {
            return Ok(end);
        }
        let mut revisions = self.cluster.tools.storage.at_rest(target).await?;
        let mut certain = false;
        let mut verdict = None;
        for _ in 0..STEPS {
            let facts = self.observe(inputs, revisions.clone(), verdict.take()).await?;
            let decision = decide(&facts);
            if !certain && !may_rest_on_cache(&decision) {
                revisions = self.cluster.tools.storage.newest(target).await?;
                certain = true;
                continue;
            }
            match self.act(inputs, &facts, decision).await? {
                Next::End(end) => return Ok(end),
                Next::Seen(found) => verdict = Some(found),
                Next::Remembered => {}
                Next::Changed => {
                    revisions = self.cluster.tools.storage.newest(target).await?;
                    certain = true;
                }
            }
        }
        Ok(Requeue::Backoff { max: LONGEST_PAUSE })
    }

    async fn observe(
        &self,
        inputs: &Inputs,
        revisions: Vec<Revision>,
        verdict: Option<Verdict>,
    ) -> Result<Observed, Fault> {
        let latest = status::recorded(&self.status, &inputs.desired.target).map(|latest| latest.target);
        let previous = match &latest {
            Some(target) if *target != inputs.desired.target => self.cluster.tools.storage.at_rest(target).await?,
            Some(_) => revisions.clone(),
            None => Vec::new(),
        };
        let previous_exists = previous.first().is_some_and(|newest| newest.status != Phase::Uninstalled);
        // A request counts until it is handled, which may have been in this very pass.
        let (forced, reset) = (self.is_forced(), self.is_reset());
        let facts = Observed {
            rollback_target: self.rollback_target(&inputs.desired.target).await?,
            record: status::record(&self.status, &inputs.desired.target, previous_exists),
            journal: self.controller.journal.entry(&inputs.desired.target),
            desired: Desired { forced, reset, ..inputs.desired.clone() },
            drift: self.drift(&inputs.desired.target, revisions.first()),
            revisions,
            verdict,
            now: Timestamp::now(),
        };
        Ok(Observed { now: self.controller.clock.now(&facts), ..facts })
    }

    async fn act(&mut self, inputs: &Inputs, facts: &Observed, decision: Decision) -> Result<Next, Fault> {
        let target = &inputs.desired.target;
        match decision {
            Decision::Nothing => Ok(self.rest(&inputs.desired)),
            Decision::Release { action, .. } if self.remediated => {
                self.tries = tries_after(facts, action);
                self.editor().awaits_retry(Timestamp::now());
                Ok(Next::End(Requeue::Backoff { max: LONGEST_PAUSE }))
            }
            Decision::Release { action, why } if self.ran_helm => {
                // Whatever the reason: a release is never made twice without a pause.
                let (kind, namespace, name) = self.named();
                tracing::warn!(
                    kind,
                    namespace,
                    name,
                    action = action.as_str(),
                    why,
                    "the release is not what helm made, pausing"
                );
                Ok(Next::End(Requeue::Backoff { max: LONGEST_PAUSE }))
            }
            Decision::Release { action, why } => self.run_helm(inputs, facts, action, &why).await,
            Decision::Record { version } => self.take_record(inputs, version, facts.action_of(version)).await,
            Decision::Verify { version } => self.verify(inputs, facts, version).await,
            Decision::DetectDrift { version } => self.detect_drift(inputs, version).await,
            Decision::CorrectDrift { .. } => self.correct_drift().await,
            Decision::WarnDrift { .. } => Ok(self.warn_of_drift()),
            Decision::Wait { version, again, why } => {
                let message = format!("Waiting for release {}/{}.v{version}: {why}", target.namespace, target.name);
                self.editor().progressing(&message);
                Ok(Next::End(Requeue::After(again)))
            }
            Decision::Succeed { version } => self.succeed(inputs, facts, version).await,
            Decision::Fail { version, why } => self.fail(inputs, version, facts.action_of(version), &why).await,
            Decision::RecordFailure { version } => self.record_failure(inputs, version, facts.action_of(version)).await,
            Decision::Discard { version } => self.discard(target, version).await,
            Decision::Unlock { version } => self.unlock(target, version).await,
            Decision::AwaitLock { version, until } => Ok(self.await_lock(facts, version, until)),
            Decision::Uninstall { target: old, why } => self.replace(&old, &why).await,
            Decision::Forget { why } => {
                let (kind, namespace, name) = self.named();
                tracing::info!(kind, namespace, name, why, "starting anew");
                self.editor().forget();
                Ok(Next::Remembered)
            }
            Decision::Rollback { to } => self.roll_back(inputs, facts, to).await,
            Decision::Remove { version } => self.remove(inputs, facts, version).await,
            Decision::Test { version } => self.test(inputs, version).await,
            Decision::AwaitRetry { until } => {
                self.tries = tries_after(facts, Action::Upgrade);
                self.editor().awaits_retry(until);
                let left = Duration::try_from(until.duration_since(facts.now)).unwrap_or_default();
                Ok(Next::End(Requeue::After(left.max(Duration::from_millis(100)))))
            }
            Decision::Stall { action, attempts } => {
                let message = format!("Failed to {} after {attempts} attempt(s)", action.as_str());
                self.editor().stalled(reason::RETRIES_EXCEEDED, &message);
                Ok(Next::End(Requeue::OnChange))
            }
            Decision::NoRollbackTarget => {
                let message = "Failed to perform remediation: there is no good revision to roll back to";
                self.editor().stalled(reason::MISSING_ROLLBACK_TARGET, message);
                Ok(Next::End(Requeue::OnChange))
            }
        }
    }

    /// What is desired is in force.
    fn rest(&mut self, desired: &Desired) -> Next {
        self.requests_are_handled();
        self.journal_is_done = true;
        self.cluster.tools.verifier.forget(&desired.target);
        self.controller.clock.forget(&desired.target);
        let tests = self.test_policy();
        history::truncate(&mut self.status.history, tests.ignored_by_remediation);
        self.editor().rendered(&desired.rendering);
        self.editor().in_sync(tests);
        Next::End(self.at_next_look(&desired.target))
    }

    async fn take_record(&mut self, inputs: &Inputs, version: i64, action: Action) -> Result<Next, Fault> {
        let target = &inputs.desired.target;
        let Some(stored) = self.cluster.tools.storage.stored(target, version).await? else {
            return Ok(Next::Changed);
        };
        self.status.storage_namespace = Some(target.storage.clone());
        let verifier = &self.cluster.tools.verifier;
        let mut objects = verifier.learn(target, version, stored.manifest()).to_vec();
        objects.extend(inputs.package.crds.iter().cloned());
        self.status.inventory = Some(verifier.inventory(target, &objects).await);
        let mut snapshot = snapshot(&stored, Some(action));
        if action == Action::Rollback {
            self.editor().rolling_back(snapshot);
            // Which post-renderers the earlier revision had is not on record.
            self.editor().rendered(&Rendering::default());
        } else {
            // As given to helm: its storage may show an odd number differently.
            snapshot.config_digest.clone_from(&inputs.desired.config_digest);
            snapshot.oci_digest.clone_from(&self.oci_digest);
            self.editor().made(snapshot);
            self.editor().rendered(&inputs.desired.rendering);
        }
        self.journal_is_done = true;
        Ok(Next::Remembered)
    }

    async fn verify(&mut self, inputs: &Inputs, facts: &Observed, version: i64) -> Result<Next, Fault> {
        let target = &inputs.desired.target;
        let verifier = &self.cluster.tools.verifier;
        let objects = match verifier.known(target, version) {
            Some(objects) => objects,
            None => match self.cluster.tools.storage.stored(target, version).await? {
                Some(stored) => verifier.learn(target, version, stored.manifest()),
                None => return Ok(Next::Changed),
            },
        };
        // Whatever is wrong in the folder that it follows must not set the operator itself back.
        let objects = if self.is_own(target) {
            Arc::new(objects.iter().filter(|object| !object.is_ours()).cloned().collect())
        } else {
            objects
        };
        let (since, deadline) = match determine(facts) {
            State::Waiting { since, deadline, .. } => (since, deadline),
            _ => (facts.now, facts.now),
        };
        let depth = if facts.now.duration_since(since) < PATIENCE { Depth::Objects } else { Depth::Pods };
        let rules = self.rules(inputs, facts.action_of(version));
        let mut verdict = verifier.verdict(target, &objects, &rules, depth, &inputs.redactor).await?;
        let ends = matches!(verdict, Verdict::Failed(_)) || facts.now >= deadline;
        if ends && verdict != Verdict::Healthy {
            verdict = verifier.verdict(target, &objects, &rules, Depth::Logs, &inputs.redactor).await?;
        }
        Ok(Next::Seen(verdict))
    }

    pub(super) fn waits_for_jobs(&self, action: Action) -> bool {
        let spec = &self.object.spec;
        !match action {
            Action::Install => spec.install.as_ref().is_some_and(|install| install.disable_wait_for_jobs),
            Action::Upgrade => spec.upgrade.as_ref().is_some_and(|upgrade| upgrade.disable_wait_for_jobs),
            Action::Rollback => spec.rollback.as_ref().is_some_and(|rollback| rollback.disable_wait_for_jobs),
            Action::Uninstall => true,
        }
    }

    async fn succeed(&mut self, inputs: &Inputs, facts: &Observed, version: i64) -> Result<Next, Fault> {
        let (target, action) = (&inputs.desired.target, facts.action_of(version));
        let Some(stored) = self.cluster.tools.storage.stored(target, version).await? else {
            return Ok(Next::Changed);
        };
        self.refresh_previous(target, version).await?;
        let mut snapshot = snapshot(&stored, None);
        if let Some(known) = self.status.history.iter().find(|known| known.version == version) {
            snapshot.config_digest.clone_from(&known.config_digest);
        }
        let told = Told::of(&snapshot).since(stored_at(facts, version));
        self.cluster.tools.verifier.forget(target);
        if action == Action::Rollback && facts.record.remediated.is_some_and(|remediated| !remediated.done) {
            return Ok(self.rolled_back(snapshot, &told));
        }
        // A rollback to what is desired now counts as the upgrade that it makes needless.
        let action = if action == Action::Rollback { Action::Upgrade } else { action };
        let tests = self.test_policy();
        let message = self.editor().succeeded(snapshot, action, tests);
        self.tell(status::success_reason(action), &message, &told);
        self.requests_are_handled();
        // The release is in sync now, which is when it is tested, and when drift is looked for.
        let over = !tests.enabled && self.corrects_drift().is_none();
        Ok(if over { Next::End(self.at_interval()) } else { Next::Remembered })
    }

    /// Helm changed the revision before when it made this one: its snapshot follows.
    async fn refresh_previous(&mut self, target: &Target, version: i64) -> Result<(), Fault> {
        let before = self.status.history.iter().find(|known| known.version < version && known.status == "deployed");
        let Some(before) = before.map(|known| known.version) else {
            return Ok(());
        };
        match self.cluster.tools.storage.stored(target, before).await? {
            Some(stored) => history::put(&mut self.status.history, snapshot(&stored, None)),
            None => self.status.history.retain(|known| known.version != before),
        }
        Ok(())
    }

    async fn fail(&mut self, inputs: &Inputs, version: i64, action: Action, why: &str) -> Result<Next, Fault> {
        let target = &inputs.desired.target;
        let description = format!("Release \"{}\" failed: {why}", target.name);
        let Some(stored) = self.cluster.tools.storage.mark_failed(target, version, &description).await? else {
            return Ok(Next::Changed);
        };
        self.cluster.tools.verifier.forget(target);
        self.note_failure(&stored, action, why);
        Ok(Next::Changed)
    }

    async fn record_failure(&mut self, inputs: &Inputs, version: i64, action: Action) -> Result<Next, Fault> {
        let target = &inputs.desired.target;
        let Some(stored) = self.cluster.tools.storage.stored(target, version).await? else {
            return Ok(Next::Changed);
        };
        let said = self.helm_said.take().unwrap_or_else(|| stored.description().to_owned());
        let why = inputs.redactor.text(&said).into_owned();
        self.note_failure(&stored, action, &why);
        self.journal_is_done = true;
        Ok(Next::Remembered)
    }

    fn note_failure(&mut self, stored: &StoredRelease, action: Action, why: &str) {
        let mut snapshot = snapshot(stored, Some(action));
        if action != Action::Rollback {
            snapshot.oci_digest.clone_from(&self.oci_digest);
        }
        let facts = Told::of(&snapshot);
        let message = if action == Action::Rollback {
            let to = self.previous().unwrap_or_else(|| snapshot.clone());
            self.editor().rollback_failed(Some(snapshot), &to, why)
        } else {
            self.editor().failed(snapshot, action, why)
        };
        self.requests_are_handled();
        self.warn(status::failure_reason(action), &message, &facts);
    }

    async fn discard(&mut self, target: &Target, version: i64) -> Result<Next, Fault> {
        if self.controller.journal.entry(target).is_some_and(|entry| entry.forced) {
            self.status.last_handled_force_at = None;
        }
        self.cluster.tools.storage.discard(target, version).await?;
        let (kind, namespace, name) = self.named();
        tracing::info!(kind, namespace, name, version, "removed the half-made revision of an interrupted action");
        Ok(Next::Changed)
    }

    async fn unlock(&mut self, target: &Target, version: i64) -> Result<Next, Fault> {
        let Some(before) = self.cluster.tools.storage.stored(target, version).await? else {
            return Ok(Next::Changed);
        };
        let was = before.status().as_str().to_owned();
        let description = format!("{UNLOCKED} '{was}' state");
        let Some(stored) = self.cluster.tools.storage.break_lock(target, version, &description).await? else {
            return Ok(Next::Changed);
        };
        let snapshot = snapshot(&stored, None);
        let facts = Told::of(&snapshot);
        let message = self.editor().unlocked(snapshot, &was);
        self.warn(reason::PENDING_RELEASE, &message, &facts);
        Ok(Next::Changed)
    }

    fn await_lock(&mut self, facts: &Observed, version: i64, until: Timestamp) -> Next {
        let target = &facts.desired.target;
        let message = format!(
            "another helm action holds release {}/{}.v{version}; it counts as gone at {until:.0}",
            target.namespace, target.name
        );
        self.editor().progressing(&message);
        self.tell_if_new(reason::PROGRESSING, &message);
        let left = Duration::try_from(until.duration_since(facts.now)).unwrap_or_default();
        Next::End(Requeue::After(left.max(Duration::from_millis(100))))
    }

    async fn replace(&mut self, old: &Target, why: &str) -> Result<Next, Fault> {
        let ((kind, namespace, name), release) = (self.named(), &old.name);
        tracing::info!(kind, namespace, name, release, why, "uninstalling");
        match self.uninstall(old).await? {
            Outcome::Done(message) => {
                self.editor().uninstalled(&message);
                Ok(self.leaving(old).await?.map_or(Next::Changed, Next::End))
            }
            Outcome::Failed(message) => {
                self.editor().uninstall_failed(&message);
                Ok(Next::End(Requeue::Backoff { max: LONGEST_PAUSE }))
            }
            Outcome::Overtaken => Ok(Next::OVERTAKEN),
        }
    }
}
