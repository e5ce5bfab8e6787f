//! Runs helm for one release, with the journal around it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::course::{Ran, Started};
use super::fault::Fault;
use super::package::Package;
use super::pass::Pass;
use super::resolve::Inputs;
use super::settings;
use super::steps::{LONGEST_PAUSE, Next};
use super::told::Told;
use crate::api::condition::{READY, reason};
use crate::api::helm::v2::{CrdsPolicy, HelmReleaseSpec, ServerSideApplyMode};
use crate::api::meta::{Artifact, Duration};
use crate::controller::{Requeue, conditions};
use crate::helm::argv::{ChartAction, PostRenderer, UninstallAction, Verb};
use crate::helm::client::HelmError;
use crate::helm::crds;
use crate::helm::output::Cause;
use crate::helm::record_size::{self, RecordSize};
use crate::postrender::Instructions;
use crate::release::observed::{Action, Journal, Observed, Phase, Revision, Target};
use crate::release::status::failure_reason;
use crate::source::foreign::{self, ForeignError};
use crate::source::lifecycle;
use crate::source::store::StoreError;

/// Revisions that helm keeps where the object does not say.
const MAX_HISTORY: i64 = 5;

/// `spec.maxHistory`; 0 keeps all revisions.
pub fn max_history(spec: &HelmReleaseSpec) -> u32 {
    u32::try_from(spec.max_history.unwrap_or(MAX_HISTORY)).unwrap_or_default()
}

/// How an uninstall ended, in words.
pub enum Outcome {
    /// The release is gone; its objects may still be on their way.
    Done(String),
    /// Helm failed.
    Failed(String),
    /// Nothing was done: the object changed before helm could be started, or the operator is to end.
    Overtaken,
}

/// Why no release was made.
struct Failure {
    /// In words, unredacted at first.
    said: String,
    /// The same inputs cannot succeed later.
    for_good: bool,
    /// Whatever helm's storage holds by now is another client's.
    held_by_another: bool,
}

impl Failure {
    fn for_good(said: String) -> Self {
        Self { for_good: true, ..Self::from(said) }
    }
}

impl From<String> for Failure {
    fn from(said: String) -> Self {
        Self { said, for_good: false, held_by_another: false }
    }
}

impl From<HelmError> for Failure {
    fn from(error: HelmError) -> Self {
        Self { held_by_another: error.is_held_by_another(), ..Self::from(error.to_string()) }
    }
}

/// What is known of the size of helm's record, found off the runtime's threads: it compresses.
async fn record_size_of(
    inputs: &Inputs,
    measure: fn(&Path, &Map<String, Value>) -> Option<RecordSize>,
) -> Option<RecordSize> {
    let (chart, values) = (inputs.chart_file.clone(), inputs.values.clone());
    tokio::task::spawn_blocking(move || measure(&chart, &values)).await.ok().flatten()
}

impl Pass<'_> {
    /// Runs `helm install` or `helm upgrade`.
    pub async fn run_helm(
        &mut self,
        inputs: &Inputs,
        facts: &Observed,
        action: Action,
        why: &str,
    ) -> Result<Next, Fault> {
        let Some(_slot) = self.slot().await else {
            return Ok(Next::OVERTAKEN);
        };
        let desired = &inputs.desired;
        let (kind, namespace, name) = self.named();
        tracing::info!(kind, namespace, name, action = action.as_str(), why, "running helm");
        let limit = Duration::from(desired.settings(action).timeout);
        let asked = self.status.last_handled_force_at.clone();
        self.editor().begins(desired, action, facts.same_attempt(), limit);
        self.status.last_attempted_revision_digest.clone_from(&self.oci_digest);
        self.requests_are_handled();
        self.save().await?;
        let base = facts.newest().map_or(0, |newest| newest.version);
        let (config_digest, rendering) = (desired.config_digest.clone(), desired.rendering.clone());
        let forced = facts.desired.forced;
        let entry = Journal { target: desired.target.clone(), action, base, config_digest, rendering, forced };
        if let Err(error) = self.controller.journal.begin(entry) {
            self.status.last_handled_force_at = asked;
            return Ok(self.failed_early(inputs, action, &error.to_string()));
        }
        self.ran_helm = true;
        let started = Started::now();
        let result = self.make_release(inputs, action, facts.newest()).await;
        let result = result.map_err(|failure| {
            let said = inputs.redactor.text(&failure.said).into_owned();
            Failure { said, ..failure }
        });
        self.status.last_attempted_release_action_duration = Some(Duration::from(rounded(started.elapsed())));
        self.ran(&Ran {
            verb: action.as_str(),
            started,
            chart: &desired.chart_name,
            chart_version: &desired.chart_version,
            revision: base + 1,
            failure: result.as_ref().err().map(|failure| (failure_reason(action), failure.said.as_str())),
        });
        match result {
            Ok(()) => Ok(Next::Changed),
            Err(failure) => {
                let next = self.after_failure(inputs, action, base, failure).await?;
                if matches!(next, Next::End(Requeue::Backoff { .. })) {
                    // Nothing came of it: what was asked for is still to be done.
                    self.status.last_handled_force_at = asked;
                }
                Ok(next)
            }
        }
    }

    /// The chart's definitions first, then the release; what went wrong in words.
    async fn make_release(&self, inputs: &Inputs, action: Action, newest: Option<&Revision>) -> Result<(), Failure> {
        if let Some(size) = record_size_of(inputs, record_size::look).await.filter(RecordSize::is_too_large) {
            return Err(Failure::for_good(size.explanation()));
        }
        let (client, policy) = (&self.cluster.client, self.crds_policy(action));
        let written = crds::apply(client, &inputs.chart_file, &inputs.values, policy).await;
        let written = written.map_err(|error| error.to_string())?;
        if !written.is_empty() {
            let (kind, namespace, name) = self.named();
            tracing::info!(kind, namespace, name, definitions = ?written, "applied the chart's definitions");
        }
        let helm = self.helm(&inputs.desired.target).await.map_err(|error| error.to_string())?;
        let instructions = Instructions::of(&self.object, &self.controller.context.config.kustomize);
        let workplace = helm.workplace(&instructions).map_err(|error| error.to_string())?;
        let renderer = PostRenderer { program: workplace.program().to_owned(), instructions: workplace.instructions() };
        let action = ChartAction { post_renderer: Some(renderer), ..self.chart_action(inputs, action, newest) };
        let Err(error) = helm.release(&action, &inputs.values).await else { return Ok(()) };
        // Helm 4 only says that something failed.
        if let Some(why) = workplace.failure() {
            return Err(Failure::from(format!("post-rendering failed: {why}")));
        }
        if matches!(error, HelmError::Failed { cause: Cause::TooLarge, .. })
            && let Some(size) = record_size_of(inputs, record_size::estimate).await
        {
            return Err(Failure::for_good(format!("{error}; {}", size.explanation())));
        }
        Err(Failure::from(error))
    }

    /// What happens to the chart's definitions; new ones are created unless the object says else.
    fn crds_policy(&self, action: Action) -> CrdsPolicy {
        let spec = &self.object.spec;
        let chosen = match action {
            Action::Install => {
                spec.install.as_ref().and_then(|i| if i.skip_crds { Some(CrdsPolicy::Skip) } else { i.crds })
            }
            _ => spec.upgrade.as_ref().and_then(|upgrade| upgrade.crds),
        };
        chosen.unwrap_or_default()
    }

    /// Helm failed: did it leave a revision? One that it left pending died with it, and counts.
    async fn after_failure(
        &mut self,
        inputs: &Inputs,
        action: Action,
        base: i64,
        failure: Failure,
    ) -> Result<Next, Fault> {
        let (storage, target) = (&self.cluster.tools.storage, &inputs.desired.target);
        let newest = storage.newest(target).await?.into_iter().next().filter(|newest| newest.version > base);
        let said = failure.said;
        match newest.map(|newest| (newest.version, newest.status)) {
            None if failure.for_good => Ok(self.failed_for_good(inputs, action, &said)),
            None => Ok(self.failed_early(inputs, action, &said)),
            Some((version, _)) if failure.held_by_another => self.leave_to_another(version, &said).await,
            Some((version, status)) => {
                let trouble = self.hook_trouble(target, version, &inputs.redactor).await;
                let said = trouble.map_or_else(|| said.clone(), |trouble| format!("{said}; {trouble}"));
                if status == Phase::Pending {
                    storage.break_lock(target, version, &said).await?;
                }
                self.helm_said = Some(said);
                Ok(Next::Changed)
            }
        }
    }

    /// The release was taken by another helm client since it was looked at: what that one makes is no
    /// half-made revision of ours.
    pub async fn leave_to_another(&mut self, version: i64, said: &str) -> Result<Next, Fault> {
        let (kind, namespace, name) = self.named();
        tracing::warn!(
            kind,
            namespace,
            name,
            version,
            said,
            "another helm client works on the release: somebody by hand, or a second operator?"
        );
        self.end_journal();
        // Or the next operator takes over what the status says is under way.
        self.editor().progressing("another helm client works on the release");
        self.save().await?;
        Ok(Next::Changed)
    }

    fn failed_early(&mut self, inputs: &Inputs, action: Action, said: &str) -> Next {
        self.journal_is_done = true;
        let told = Told::attempt(&inputs.desired);
        let message = self.editor().failed_early(&inputs.desired, action, said);
        self.warn(failure_reason(action), &message, &told);
        Next::End(Requeue::Backoff { max: LONGEST_PAUSE })
    }

    /// Only other inputs help.
    fn failed_for_good(&mut self, inputs: &Inputs, action: Action, said: &str) -> Next {
        self.failed_early(inputs, action, said);
        let said = conditions::get(&self.status.conditions, READY).map(|ready| ready.message.clone());
        self.editor().stalled(failure_reason(action), &said.unwrap_or_default());
        Next::End(Requeue::OnChange)
    }

    /// A slot for a helm process; `None` when the object changed while waiting for one, or is
    /// another operator's by now, or when this one is to end.
    pub async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slot_of(&self.controller.slots).await
    }

    /// The same for a helm process that only looks on.
    pub async fn test_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slot_of(&self.controller.test_slots).await
    }

    async fn slot_of(&self, slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let context = &self.controller.context;
        if context.shutdown.is_cancelled() {
            return None;
        }
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return Some(slot);
        }
        let slot = tokio::select! {
            slot = Arc::clone(slots).acquire_owned() => slot.expect("the semaphore is never closed"),
            () = context.shutdown.cancelled() => return None,
        };
        let (namespace, name) = crate::controller::namespaced_name(self.object.as_ref());
        let now = context.caches.helm_releases.get(&namespace, &name)?;
        let same = now.metadata.generation <= self.object.metadata.generation
            && now.metadata.deletion_timestamp == self.object.metadata.deletion_timestamp
            && context.is_own(now.as_ref());
        same.then_some(slot)
    }

    /// `newest` is what helm's storage holds under that name, deleted or not.
    fn chart_action(&self, inputs: &Inputs, action: Action, newest: Option<&Revision>) -> ChartAction {
        let (install, upgrade) = (self.object.spec.install.as_ref(), self.object.spec.upgrade.as_ref());
        let settings = inputs.desired.settings(action);
        let either = |of_install: Option<bool>, of_upgrade: Option<bool>| {
            let chosen = if action == Action::Install { of_install } else { of_upgrade };
            chosen.unwrap_or_default()
        };
        ChartAction {
            verb: if action == Action::Install { Verb::Install } else { Verb::Upgrade },
            release_name: inputs.desired.target.name.clone(),
            namespace: inputs.desired.target.namespace.clone(),
            chart: inputs.chart_file.clone(),
            timeout: settings.timeout,
            create_namespace: install.is_some_and(|i| i.create_namespace),
            disable_hooks: either(install.map(|i| i.disable_hooks), upgrade.map(|u| u.disable_hooks)),
            // Definitions are applied before helm starts, by the object's own policy.
            skip_crds: true,
            disable_openapi_validation: either(
                install.map(|i| i.disable_open_api_validation),
                upgrade.map(|u| u.disable_open_api_validation),
            ),
            disable_schema_validation: either(
                install.map(|i| i.disable_schema_validation),
                upgrade.map(|u| u.disable_schema_validation),
            ),
            disable_take_ownership: either(
                install.map(|i| i.disable_take_ownership),
                upgrade.map(|u| u.disable_take_ownership),
            ),
            // A deleted release whose records were kept must not keep its name from being used again.
            replace: action == Action::Install && (newest.is_some() || install.is_some_and(|i| i.replace)),
            force: upgrade.is_some_and(|u| u.force),
            preserve_values: upgrade.is_some_and(|u| u.preserve_values),
            cleanup_on_fail: upgrade.is_some_and(|u| u.cleanup_on_fail),
            server_side: self.is_server_side(action, newest),
            wait: settings.wait && inputs.package.late_hooks,
            max_history: max_history(&self.object.spec),
            post_renderer: None,
        }
    }

    /// Whether helm 4 lets the API server apply: new releases unless told otherwise, others as they
    /// began.
    fn is_server_side(&self, action: Action, newest: Option<&Revision>) -> bool {
        let spec = &self.object.spec;
        if action == Action::Install {
            return spec.install.as_ref().and_then(|install| install.server_side_apply).unwrap_or(true);
        }
        match spec.upgrade.as_ref().and_then(|upgrade| upgrade.server_side_apply) {
            Some(ServerSideApplyMode::Enabled) => true,
            Some(ServerSideApplyMode::Disabled) => false,
            None | Some(ServerSideApplyMode::Auto) => newest.is_some_and(|newest| newest.server_side),
        }
    }

    /// Whether the operator itself is a part of the release.
    pub fn is_own(&self, target: &Target) -> bool {
        self.controller.context.config.own_release.as_ref().is_some_and(|own| target.is(own))
    }

    /// Runs `helm uninstall`; a release that is gone is what was wanted. Waiting for its objects
    /// is left to [`Pass::leaving`].
    pub async fn uninstall(&mut self, target: &Target) -> Result<Outcome, Fault> {
        let shown = format!("{}/{}", target.namespace, target.name);
        if self.is_own(target) {
            return Ok(Outcome::Failed(format!(
                "Release {shown} contains the operator itself, which does not uninstall itself"
            )));
        }
        let Some(newest) = self.cluster.tools.storage.newest(target).await?.into_iter().next() else {
            return Ok(Outcome::Done(format!("Release {shown} was not found, assuming it is uninstalled")));
        };
        let chart = format!("{}@{}", newest.chart_name, newest.chart_version);
        let uninstall = self.object.spec.uninstall.clone().unwrap_or_default();
        let Some(_slot) = self.slot().await else { return Ok(Outcome::Overtaken) };
        if !uninstall.disable_wait
            && let Some(stored) = self.cluster.tools.storage.stored(target, newest.version).await?
        {
            let objects = self.cluster.tools.verifier.learn(target, newest.version, stored.manifest());
            self.controller.leaving.begin(target, objects);
        }
        let action = UninstallAction {
            release_name: target.name.clone(),
            namespace: target.namespace.clone(),
            timeout: settings::uninstall(&self.object.spec).timeout,
            disable_hooks: uninstall.disable_hooks,
            keep_history: uninstall.keep_history,
            wait: false,
            deletion_propagation: Some(uninstall.deletion_propagation.as_str().to_owned()),
        };
        let started = Started::now();
        let result = match self.helm(target).await {
            Ok(helm) => helm.uninstall(&action).await.map(drop),
            Err(error) => Err(error),
        };
        let result = result.map_err(|error| error.to_string());
        self.ran(&Ran {
            verb: "uninstall",
            started,
            chart: &newest.chart_name,
            chart_version: &newest.chart_version,
            revision: newest.version,
            failure: result.as_ref().err().map(|error| (reason::UNINSTALL_FAILED, error.as_str())),
        });
        self.cluster.tools.verifier.forget(target);
        self.controller.drifts.forget(target);
        self.controller.clock.forget(target);
        let version = newest.version;
        Ok(match result {
            Ok(()) => {
                Outcome::Done(format!("Helm uninstall succeeded for release {shown}.v{version} with chart {chart}"))
            }
            Err(error) => {
                self.controller.leaving.end(target);
                Outcome::Failed(format!(
                    "Helm uninstall failed for release {shown}.v{version} with chart {chart}: {error}"
                ))
            }
        })
    }

    /// The packaged chart of an artifact and what it holds; why it cannot be used, in words.
    pub async fn package(&self, artifact: &Artifact) -> Result<(PathBuf, Arc<Package>), String> {
        let owner = lifecycle::owner_of(self.object.as_ref());
        let file = match foreign::file(&self.controller.store, &owner, artifact).await {
            Ok(file) => file,
            Err(
                error @ (ForeignError::Gone(_)
                | ForeignError::Store(StoreError::Missing { .. } | StoreError::Corrupt { .. })),
            ) => {
                return Err(format!("Source not ready: {error}"));
            }
            Err(error) => return Err(format!("Could not load chart: {error}")),
        };
        match self.controller.packages.look(&artifact.digest, &file).await {
            Ok(package) => Ok((file, package)),
            Err(error) => Err(format!("Could not load chart: {error}")),
        }
    }
}

/// Kubernetes and people have no use for nanoseconds.
fn rounded(elapsed: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
