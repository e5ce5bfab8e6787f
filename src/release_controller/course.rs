//! What metrics and traces learn of a release's course.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::pass::Pass;
use crate::api::annotation::{OWNER_NAME, OWNER_NAMESPACE};
use crate::api::condition::{READY, RECONCILING, STALLED, reason};
use crate::api::helm::v2::HelmReleaseStatus;
use crate::controller::changes::{Interrupted, Name, is_recent};
use crate::controller::conditions::{self, Truth};
use crate::controller::namespaced_name;
use crate::traces::stages::{HelmAction, Release};
use crate::traces::{Failure, Period};

/// The tries that follow a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tries {
    /// There is no last one: the failure is told with the first.
    #[default]
    Endless,
    /// There is a last one.
    Numbered,
}

/// A helm process that ended.
pub(super) struct Ran<'a> {
    /// `install`, `upgrade`, …
    pub verb: &'static str,
    /// When it was started.
    pub started: Started,
    /// Name of the chart.
    pub chart: &'a str,
    /// Its version.
    pub chart_version: &'a str,
    /// The revision of helm's that it was to make, or was about.
    pub revision: i64,
    /// Reason and message of its failure, without secrets.
    pub failure: Option<(&'static str, &'a str)>,
}

/// The moment in which a helm process was started.
#[derive(Clone, Copy)]
pub(super) struct Started {
    clock: Instant,
    at: Timestamp,
}

impl Started {
    pub fn now() -> Self {
        Self { clock: Instant::now(), at: Timestamp::now() }
    }

    pub fn elapsed(self) -> Duration {
        self.clock.elapsed()
    }
}

impl Pass<'_> {
    /// Notes a helm process.
    pub(super) fn ran(&self, ran: &Ran<'_>) {
        let context = &self.controller.context;
        let elapsed = ran.started.elapsed();
        context.metrics.helm_action(ran.verb, elapsed, ran.failure.is_none());
        if context.traces.is_none() {
            return;
        }
        let end = ran.started.at.checked_add(elapsed).unwrap_or(ran.started.at);
        let action = HelmAction {
            verb: ran.verb,
            period: Period::new(ran.started.at, end),
            helm: self.controller.helm.get().map(|helm| helm.version().to_string()),
            chart: ran.chart.to_owned(),
            chart_version: ran.chart_version.to_owned(),
            revision: Some(ran.revision),
            failure: ran.failure.map(|(reason, message)| Failure::new(reason, message)),
        };
        context.changes.acted(&namespaced_name(self.object.as_ref()), action);
    }

    /// Notes for traces that a pass begins.
    pub(super) fn note_begin(&self) {
        let context = &self.controller.context;
        if context.traces.is_none() {
            return;
        }
        let release = Release {
            name: namespaced_name(self.object.as_ref()),
            uid: self.object.uid().unwrap_or_default(),
            generation: self.object.metadata.generation.unwrap_or_default(),
        };
        let interrupted = if context.changes.knows(&release.name) { None } else { self.interrupted() };
        context.trace(context.changes.begins(release, interrupted, Timestamp::now()));
    }

    /// The change that another process was about to bring to its end.
    fn interrupted(&self) -> Option<Interrupted> {
        let generation = self.object.metadata.generation;
        let ready = conditions::get(&self.status.conditions, READY)?;
        let under_way = ready.status == Truth::Unknown.as_str() && ready.observed_generation == generation;
        let (origin, begun) = self.controller.context.attempted(&self.owner().filter(|_| under_way)?)?;
        is_recent(begun, Timestamp::now()).then_some(Interrupted { origin, begun })
    }

    /// The Kustomization that applies the object.
    fn owner(&self) -> Option<Name> {
        let labels = self.object.labels();
        labels.get(OWNER_NAMESPACE).cloned().zip(labels.get(OWNER_NAME).cloned())
    }

    /// Notes for traces what a pass came to.
    pub(super) fn note_end(&self) {
        let context = &self.controller.context;
        if context.traces.is_none() || self.object.metadata.deletion_timestamp.is_some() {
            return;
        }
        let (status, generation) = (&self.status, self.object.metadata.generation);
        let Some(outcome) = outcome(status, generation, self.tries) else { return };
        let made = status.history.first().map_or(0, |newest| newest.version);
        let attempted = |text: &Option<String>| text.clone().unwrap_or_default();
        let (chart, values) = (&status.last_attempted_revision, &status.last_attempted_config_digest);
        let attempt = format!("{}/{}/{made}", attempted(chart), attempted(values));
        let (name, owner) = (namespaced_name(self.object.as_ref()), self.owner());
        context.trace(context.changes.settled(&name, owner.as_ref(), &attempt, outcome.err(), Timestamp::now()));
    }
}

/// How a release came to an end; none while it is on its way. Where its tries are numbered, it
/// fails with the last one.
fn outcome(status: &HelmReleaseStatus, generation: Option<i64>, tries: Tries) -> Option<Result<(), Failure>> {
    let ready = conditions::get(&status.conditions, READY).filter(|ready| ready.observed_generation == generation)?;
    if ready.status == Truth::True.as_str() {
        return (status.observed_generation == generation).then_some(Ok(()));
    }
    let is_retried = conditions::get(&status.conditions, RECONCILING)
        .is_some_and(|reconciling| reconciling.reason == reason::PROGRESSING_WITH_RETRY);
    let gives_up = conditions::is_true(&status.conditions, STALLED);
    let failed = ready.status == Truth::False.as_str() && (gives_up || (is_retried && tries == Tries::Endless));
    failed.then(|| Err(Failure::new(&ready.reason, &ready.message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(conditions: &[(&str, Truth, &str)]) -> HelmReleaseStatus {
        let mut status = HelmReleaseStatus { observed_generation: Some(2), ..HelmReleaseStatus::default() };
        for (type_, truth, reason) in conditions {
            let now = Timestamp::UNIX_EPOCH;
            conditions::set(&mut status.conditions, type_, *truth, reason, "said", Some(2), now);
        }
        status
    }

    #[test]
    fn a_release_ends_ready_or_in_its_last_failure() {
        let failed = (READY, Truth::False, "InstallFailed");
        let failure = Some(Err(Failure::new("InstallFailed", "said")));
        let retried = (RECONCILING, Truth::True, reason::PROGRESSING_WITH_RETRY);
        let at_work = (RECONCILING, Truth::True, reason::PROGRESSING);
        let stalled = (STALLED, Truth::True, "RetriesExceeded");
        let ready = (READY, Truth::True, "InstallSucceeded");
        for (conditions, generation, tries, expected) in [
            (&[ready][..], 2, Tries::Endless, Some(Ok(()))),
            (&[ready], 3, Tries::Endless, None),
            (&[(READY, Truth::Unknown, "Progressing"), at_work], 2, Tries::Endless, None),
            (&[failed, at_work], 2, Tries::Endless, None),
            (&[failed, retried], 2, Tries::Endless, failure.clone()),
            (&[failed, retried], 2, Tries::Numbered, None),
            (&[failed, stalled], 2, Tries::Numbered, failure.clone()),
            (&[failed, stalled], 3, Tries::Endless, None),
        ] {
            let found = outcome(&status(conditions), Some(generation), tries);
            assert_eq!(found, expected, "{conditions:?} {generation} {tries:?}");
        }
    }
}
