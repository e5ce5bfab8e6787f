//! What metrics and traces learn of a revision's course through a Kustomization.

use jiff::Timestamp;

use super::reconciler::KustomizationController;
use super::source;
use super::status::Ending;
use crate::api::kustomize::v1::Kustomization;
use crate::api::meta::Artifact;
use crate::controller::changes::{Application, Changed};
use crate::controller::namespaced_name;
use crate::traces::stages::Counts;
use crate::traces::{Failure, Period};

/// An apply that ended.
pub(super) struct Applied<'a> {
    /// Releases that it changed.
    pub releases: Vec<Changed>,
    /// When it was.
    pub period: Period,
    /// What it did to objects.
    pub counts: Counts,
    /// How it ended.
    pub ending: &'a Ending,
    /// Whether what was applied is waited for.
    pub waits: bool,
}

fn failure(ending: &Ending) -> Option<Failure> {
    match ending {
        Ending::Failed { reason, message } | Ending::Stalled { reason, message } => Some(Failure::new(reason, message)),
        Ending::Applied { .. } | Ending::Waiting { .. } => None,
    }
}

impl KustomizationController {
    /// Notes for traces that a pass begins.
    pub(super) fn note_begin(&self, object: &Kustomization) {
        if self.context.traces.is_some() {
            self.context.changes.applies(namespaced_name(object));
        }
    }

    /// Has the way of a new revision measured and traced to the releases that it changed in this cluster.
    pub(super) fn note_applied(&self, object: &Kustomization, artifact: &Artifact, applied: Applied<'_>) {
        let (context, revision) = (&self.context, &artifact.revision);
        let before = object.status.as_ref().and_then(|status| status.last_applied_revision.as_ref());
        if before == Some(revision) {
            context.trace(context.changes.passed(&namespaced_name(object), &[], None));
            return;
        }
        let changed = if object.spec.kube_config.is_none() { applied.releases } else { Vec::new() };
        let source = source::source_id(object);
        let updated = artifact.last_update_time.0;
        let begun = context.changes.begun(source.parts(), revision).unwrap_or(updated);
        let application = context.origin(source.parts(), revision).map(|origin| Application {
            origin,
            followers: context.followers(source.parts(), revision),
            begun,
            updated,
            period: applied.period,
            counts: applied.counts,
            failure: failure(applied.ending),
            waits: applied.waits,
        });
        context.trace(context.changes.passed(&namespaced_name(object), &changed, application));
        // A folder that was not asked for until now has not been on its way either.
        let asked_for = object.metadata.creation_timestamp.as_ref().map_or(begun, |created| created.0);
        for took in context.changes.applied(changed, begun.max(asked_for), applied.period.start) {
            context.metrics.commit_to_ready(took);
        }
    }

    /// Has it traced that what was applied is healthy, or failed.
    pub(super) fn note_waited(&self, object: &Kustomization, artifact: &Artifact, ending: &Ending) {
        let context = &self.context;
        if context.traces.is_none() || matches!(ending, Ending::Waiting { .. }) {
            return;
        }
        let source = source::source_id(object);
        let source = (source.kind.to_string(), source.namespace, source.name);
        let (by, failure) = (namespaced_name(object), failure(ending));
        context.trace(context.changes.waited(&by, &source, &artifact.revision, failure.as_ref(), Timestamp::now()));
    }
}
