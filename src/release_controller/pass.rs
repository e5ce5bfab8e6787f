//! One pass over one release: its object, the status under change, and what is told about it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::ReleaseController;
use super::cluster::Cluster;
use super::course::Tries;
use super::drift::{Look, Seen};
use super::fault::Fault;
use super::triggers::target;
use crate::api::condition::{READY, reason};
use crate::api::helm::v2::{HelmRelease, HelmReleaseSpec, HelmReleaseStatus, PostRenderStrategy, ServerSideApplyMode};
use crate::api::{annotation, unsupported};
use crate::controller::conditions::{self, FIELDS_NOT_ACTED_ON};
use crate::controller::{Requeue, jittered, namespaced_name};
use crate::release::observed::Target;
use crate::release::status::Editor;

/// A pass over one object.
pub struct Pass<'c> {
    /// What the pass works with.
    pub controller: &'c ReleaseController,
    /// What speaks to the release's cluster, in the name that the release acts in.
    pub cluster: Arc<Cluster>,
    /// The object as stored.
    pub object: Arc<HelmRelease>,
    /// The status as it will be stored.
    pub status: HelmReleaseStatus,
    /// What helm said when its last action of this pass failed.
    pub helm_said: Option<String>,
    /// Helm was run to make a release in this pass.
    pub ran_helm: bool,
    /// What a look for drift gave in this pass.
    pub seen: Option<Seen>,
    /// That look, which counts once the status is stored.
    pub looked: Option<(Target, Look)>,
    /// Helm was run to set a failure back in this pass.
    pub remediated: bool,
    /// The journal's entry is of no more use once the status is stored.
    pub journal_is_done: bool,
    /// What follows a failure.
    pub tries: Tries,
    /// The digest in the revision of the object that holds the chart.
    pub oci_digest: Option<String>,
}

impl<'c> Pass<'c> {
    /// A pass that has changed nothing yet.
    pub fn new(controller: &'c ReleaseController, object: Arc<HelmRelease>) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let cluster = controller.clusters.own().clone();
        Self {
            controller,
            cluster,
            object,
            status,
            helm_said: None,
            ran_helm: false,
            seen: None,
            looked: None,
            remediated: false,
            journal_is_done: false,
            tries: Tries::default(),
            oci_digest: None,
        }
    }

    /// Looks at the object and does what is due; the status is stored at the end.
    pub async fn run(mut self) -> Result<Requeue, kube::Error> {
        self.note_begin();
        self.note_request();
        self.note_unsupported().await;
        let worked = self.work().await;
        if worked.is_err() {
            self.looked = None;
        }
        let end = match worked {
            Ok(end) => end,
            Err(Fault::Api(error)) => self.state_unknown(error).await?,
            Err(Fault::Storage(why)) => {
                self.editor().refused(reason::STORAGE_UNREADABLE, &why);
                self.warn_if_new(reason::STORAGE_UNREADABLE, &why);
                self.at_interval()
            }
        };
        self.save().await?;
        self.note_end();
        if let Some((target, look)) = self.looked.take() {
            self.controller.drifts.note(target, look);
        }
        if self.journal_is_done {
            self.end_journal();
        }
        Ok(end)
    }

    async fn work(&mut self) -> Result<Requeue, Fault> {
        self.inherit().await?;
        let inputs = match self.resolve().await? {
            ControlFlow::Break(end) => return Ok(end),
            ControlFlow::Continue(inputs) => inputs,
        };
        match self.enter().await? {
            ControlFlow::Break(end) => Ok(end),
            ControlFlow::Continue(()) => self.release(&inputs).await,
        }
    }

    /// An entry that cannot be removed does no harm beyond a needless look.
    pub fn end_journal(&self) {
        if let Err(error) = self.controller.journal.end(&target(&self.object)) {
            let (kind, namespace, name) = self.named();
            tracing::warn!(kind, namespace, name, %error, "an entry of the journal stays behind");
        }
    }

    /// The status, to be changed by one event.
    pub fn editor(&mut self) -> Editor<'_> {
        Editor {
            status: &mut self.status,
            generation: self.object.metadata.generation.unwrap_or_default(),
            now: Timestamp::now(),
        }
    }

    /// Kind, namespace and name of the object, for log lines.
    pub fn named(&self) -> (&'static str, String, String) {
        let (namespace, name) = namespaced_name(self.object.as_ref());
        ("HelmRelease", namespace, name)
    }

    /// Stores the status where it differs from the stored one.
    pub async fn save(&mut self) -> Result<(), kube::Error> {
        let context = &self.controller.context;
        self.object = context.put_status(self.object.as_ref(), self.status.clone()).await?;
        let (generation, stays) = (self.object.metadata.generation, self.object.metadata.deletion_timestamp.is_none());
        if stays
            && self.status.observed_generation == generation
            && conditions::ready(&self.status.conditions, generation)
        {
            let (release, generation) = (namespaced_name(self.object.as_ref()), generation.unwrap_or_default());
            if let Some(took) = context.changes.ready(release, generation, Timestamp::now()) {
                context.metrics.commit_to_ready(took);
            }
        }
        Ok(())
    }

    /// `spec.interval`.
    pub fn interval(&self) -> Duration {
        self.object.spec.interval.to_std()
    }

    /// The next look when nothing changes.
    pub fn at_interval(&self) -> Requeue {
        Requeue::After(jittered(self.interval()))
    }

    /// Reports, unless the stored status says the same already.
    pub fn tell_if_new(&self, reason: &str, message: &str) {
        if self.is_new(reason, message) {
            self.controller.context.reporter.normal(self.object.as_ref(), reason, message, &[]);
        }
    }

    /// Warns, unless the stored status says the same already.
    pub fn warn_if_new(&self, reason: &str, message: &str) {
        if self.is_new(reason, message) {
            self.controller.context.reporter.warning(self.object.as_ref(), reason, message, &[]);
        }
    }

    fn is_new(&self, reason: &str, message: &str) -> bool {
        let stored = self.object.status.as_ref().and_then(|status| conditions::get(&status.conditions, READY));
        stored.is_none_or(|stored| stored.reason != reason || stored.message != message)
    }

    fn note_request(&mut self) {
        if let Some(requested) = self.object.annotations().get(annotation::REQUESTED_AT) {
            self.status.last_handled_reconcile_at = Some(requested.clone());
        }
    }

    /// Whether a release is asked for even though nothing changed.
    pub fn is_forced(&self) -> bool {
        self.requested(annotation::FORCE_AT, self.status.last_handled_force_at.as_ref())
    }

    /// Whether past failures are to be forgotten.
    pub fn is_reset(&self) -> bool {
        self.requested(annotation::RESET_AT, self.status.last_handled_reset_at.as_ref())
    }

    /// A request counts once, and only together with the request to reconcile of the same value.
    fn requested(&self, key: &str, handled: Option<&String>) -> bool {
        let annotations = self.object.annotations();
        let value = annotations.get(key);
        value.is_some() && value == annotations.get(annotation::REQUESTED_AT) && value != handled
    }

    /// The requests to force and to reset are dealt with. One that still lacks its request to
    /// reconcile stays open: the two annotations may come one after the other.
    pub fn requests_are_handled(&mut self) {
        let annotations = self.object.annotations();
        let complete = |key: &str| {
            let value = annotations.get(key);
            value.filter(|_| value == annotations.get(annotation::REQUESTED_AT)).cloned()
        };
        if let Some(forced) = complete(annotation::FORCE_AT) {
            self.status.last_handled_force_at = Some(forced);
        }
        if let Some(reset) = complete(annotation::RESET_AT) {
            self.status.last_handled_reset_at = Some(reset);
        }
    }

    async fn note_unsupported(&mut self) {
        let mut fields = unsupported::helm_release(&self.object.spec);
        fields.extend(self.fields_beyond_this_helm().await);
        let generation = self.object.metadata.generation;
        let before = conditions::get(&self.status.conditions, FIELDS_NOT_ACTED_ON).map(|found| found.message.clone());
        conditions::set_not_acted_on(&mut self.status.conditions, &fields, generation, Timestamp::now());
        let now = conditions::get(&self.status.conditions, FIELDS_NOT_ACTED_ON);
        if let Some(now) = now.filter(|now| before.as_ref() != Some(&now.message)) {
            self.controller.context.reporter.warning(self.object.as_ref(), reason::NOT_ACTED_ON, &now.message, &[]);
        }
    }

    /// What is asked for and this helm does not do.
    async fn fields_beyond_this_helm(&self) -> Vec<&'static str> {
        let wanted = fields_beyond_helm_3(&self.object.spec);
        if wanted.is_empty() || self.controller.helm_binary().await.is_ok_and(|helm| helm.version().major >= 4) {
            return Vec::new();
        }
        wanted
    }
}

/// What is asked for and only helm 4 does.
fn fields_beyond_helm_3(spec: &HelmReleaseSpec) -> Vec<&'static str> {
    let (install, upgrade, rollback) = (spec.install.as_ref(), spec.upgrade.as_ref(), spec.rollback.as_ref());
    let enabled = |mode: Option<ServerSideApplyMode>| mode == Some(ServerSideApplyMode::Enabled);
    let renders_hooks =
        matches!(spec.post_render_strategy, Some(PostRenderStrategy::Combined | PostRenderStrategy::Separate));
    let fields = [
        ("spec.postRenderStrategy (helm 3 gives no hooks to post-renderers)", renders_hooks),
        (
            "spec.install.serverSideApply (only helm 4 does it)",
            install.and_then(|install| install.server_side_apply) == Some(true),
        ),
        (
            "spec.upgrade.serverSideApply (only helm 4 does it)",
            enabled(upgrade.and_then(|upgrade| upgrade.server_side_apply)),
        ),
        (
            "spec.rollback.serverSideApply (only helm 4 does it)",
            enabled(rollback.and_then(|rollback| rollback.server_side_apply)),
        ),
    ];
    fields.into_iter().filter(|(_, wanted)| *wanted).map(|(field, _)| field).collect()
}
