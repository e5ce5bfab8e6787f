//! The end of a release: uninstalled, its `HelmChart` deleted, its finalizer removed.

use std::time::Duration;

use kube::api::DeleteParams;

use super::action::Outcome;
use super::fault::Fault;
use super::pass::Pass;
use super::triggers;
use crate::api::condition::reason;
use crate::api::source::v1::HelmChart;
use crate::controller::Requeue;
use crate::release::observed::Target;
use crate::release::status;

/// The longest pause between attempts to uninstall.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

impl Pass<'_> {
    /// Deletes what the object made, and lets it go. A suspended object lets everything stay.
    pub async fn delete(mut self) -> Result<Requeue, kube::Error> {
        match self.take_down().await {
            Ok(None) => {
                self.controller.context.remove_finalizer(self.object.as_ref()).await?;
                Ok(Requeue::OnChange)
            }
            Ok(Some(end)) => {
                self.save().await?;
                Ok(end)
            }
            Err(fault) => {
                let why = match fault {
                    Fault::Api(error) => self.unreachable(error).await?,
                    Fault::Storage(why) => why,
                };
                let end = self.stays(&why);
                self.save().await?;
                Ok(end)
            }
        }
    }

    /// The release cannot be taken down now; it is tried again.
    fn stays(&mut self, why: &str) -> Requeue {
        self.editor().uninstall_failed(why);
        self.warn_if_new(reason::UNINSTALL_FAILED, why);
        Requeue::Backoff { max: LONGEST_PAUSE }
    }

    /// `None` when nothing is left to do.
    async fn take_down(&mut self) -> Result<Option<Requeue>, Fault> {
        if self.object.spec.suspend {
            return Ok(None);
        }
        let target = self.made();
        if let Some(target) = &target {
            let reachable = match self.enter_to_leave().await? {
                Ok(reachable) => reachable,
                Err(why) => return Ok(Some(self.stays(&why))),
            };
            if reachable && let Some(end) = self.leaving(target).await? {
                return Ok(Some(end));
            }
            if reachable && self.is_own(target) {
                let left = format!(
                    "Release {}/{} contains the operator itself and is left as it is; `helm uninstall` removes it",
                    target.namespace, target.name
                );
                let reporter = &self.controller.context.reporter;
                reporter.warning(self.object.as_ref(), reason::UNINSTALL_FAILED, &left, &[]);
            } else if reachable && !self.is_uninstalled(target).await? {
                match self.uninstall(target).await? {
                    Outcome::Failed(message) => return Ok(Some(self.stays(&message))),
                    Outcome::Overtaken => return Ok(Some(Requeue::After(Duration::ZERO))),
                    Outcome::Done(message) => {
                        let reporter = &self.controller.context.reporter;
                        reporter.normal(self.object.as_ref(), reason::UNINSTALL_SUCCEEDED, &message, &[]);
                    }
                }
                if let Some(end) = self.leaving(target).await? {
                    return Ok(Some(end));
                }
            }
            if let Err(error) = self.controller.journal.end(target) {
                let (kind, namespace, name) = self.named();
                tracing::warn!(kind, namespace, name, %error, "an entry of the journal stays behind");
            }
        }
        self.delete_chart().await?;
        self.delete_referred().await;
        Ok(None)
    }

    /// The release that this object made; `None` when it never began to.
    fn made(&self) -> Option<Target> {
        let storage = self.status.storage_namespace.clone()?;
        let target = triggers::target(&self.object);
        let recorded = status::recorded(&self.status, &target).map(|latest| latest.target);
        Some(recorded.unwrap_or(Target { storage, ..target }))
    }

    /// Whether only kept history is left, or nothing.
    async fn is_uninstalled(&self, target: &Target) -> Result<bool, Fault> {
        let newest = self.cluster.tools.storage.newest(target).await?;
        let gone = newest.first().is_none_or(|newest| newest.status == crate::release::observed::Phase::Uninstalled);
        Ok(gone)
    }

    /// Deletes the `HelmChart` that was made for this object.
    pub async fn delete_chart(&mut self) -> Result<(), Fault> {
        let Some(path) = self.status.helm_chart.clone() else {
            return Ok(());
        };
        if let Some((namespace, name)) = path.split_once('/') {
            let api = self.controller.context.api::<HelmChart>(namespace);
            match api.delete(name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                result => drop(result?),
            }
        }
        self.status.helm_chart = None;
        Ok(())
    }
}
