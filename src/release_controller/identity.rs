//! A pass takes up the identity of its release, and says what the API server then refused.

use std::ops::ControlFlow;
use std::time::Duration;

use super::fault::Fault;
use super::pass::Pass;
use super::resolve::Step;
use crate::api::condition::reason;
use crate::cause;
use crate::controller::{Requeue, jittered};
use crate::helm::client::{Helm, HelmError};
use crate::kube_ext::cluster::IdentityError;
use crate::kube_ext::remote::RemoteError;
use crate::release::observed::Target;

/// The longest pause before the API server is asked again that refused: rights wake nobody.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// The pause while another release is asking the same cluster whether it answers.
const ASKED_BY_ANOTHER: Duration = Duration::from_secs(1);

impl Pass<'_> {
    /// From here on the pass speaks to the release's cluster, in the name that the release asks
    /// for.
    pub async fn enter(&mut self) -> Step<()> {
        let controller = self.controller;
        match controller.clusters.of(&self.object).await {
            Ok(cluster) => {
                self.cluster = cluster;
                Ok(match self.cluster.reach.at_once(&self.cluster.client).await {
                    Some(Ok(())) => ControlFlow::Continue(()),
                    Some(Err(why)) => ControlFlow::Break(self.is_unknown(&self.cluster.says(&why))),
                    None => ControlFlow::Break(Requeue::After(jittered(ASKED_BY_ANOTHER))),
                })
            }
            Err(IdentityError::Remote(RemoteError::Api { source, .. })) => Err(Fault::Api(*source)),
            Err(error @ IdentityError::Remote(RemoteError::Unsupported { .. })) => {
                Ok(self.refuse(reason::UNSUPPORTED, &error.to_string()))
            }
            Err(error @ IdentityError::Remote(RemoteError::Missing(_))) => {
                Ok(self.wait_for(reason::REST_CLIENT_ERROR, &format!("{error}; waiting for it")))
            }
            Err(error) => Ok(self.wait_for_another(reason::REST_CLIENT_ERROR, &error.to_string())),
        }
    }

    /// As [`Self::enter`], to take the release down: false when nothing can or need be done,
    /// because what the release acted by is gone.
    pub async fn enter_to_leave(&mut self) -> Result<Result<bool, String>, Fault> {
        let controller = self.controller;
        let (namespace, name) = crate::controller::namespaced_name(self.object.as_ref());
        match controller.clusters.of(&self.object).await {
            Ok(cluster) => {
                self.cluster = cluster;
                if let Err(why) = self.cluster.reach.in_turn(&self.cluster.client).await {
                    return Ok(Err(self.with_a_way_out(self.cluster.says(&why))));
                }
            }
            Err(IdentityError::Remote(RemoteError::Api { source, .. })) => return Err(Fault::Api(*source)),
            Err(error @ IdentityError::Remote(RemoteError::Missing(_))) => {
                tracing::warn!(kind = "HelmRelease", namespace, name, %error, "the release is left as it is");
                return Ok(Ok(false));
            }
            Err(error @ IdentityError::Remote(_)) => {
                return Ok(Err(format!("{error}; delete it to leave the release as it is")));
            }
            Err(error) => return Ok(Err(error.to_string())),
        }
        if let Some(account) = self.missing_account().await? {
            let message = "its service account is gone: the release is left as it is";
            tracing::warn!(kind = "HelmRelease", namespace, name, account, "{message}");
            return Ok(Ok(false));
        }
        Ok(Ok(true))
    }

    /// The service account that the release acts as, if this cluster should have it and has not.
    async fn missing_account(&self) -> Result<Option<String>, kube::Error> {
        self.controller.clusters.missing_account(&self.object).await
    }

    /// Helm, for one action on a release, with the identity of this pass.
    pub async fn helm(&self, target: &Target) -> Result<Helm, HelmError> {
        let helm = self.controller.helm_binary().await?;
        match self.controller.clusters.admit(&self.cluster, target) {
            Ok(None) => Ok(helm.clone()),
            Ok(Some(admission)) => Ok(helm.admitted(admission)),
            Err(source) => Err(HelmError::Directory { dir: self.controller.context.config.data_dir.clone(), source }),
        }
    }

    /// What to say about an error of the API server, for a person who can do something about it;
    /// the error itself where only time helps, which the frame then waits for.
    pub async fn explained(&self, error: kube::Error) -> Result<String, kube::Error> {
        let forbidden = matches!(&error, kube::Error::Api(status) if status.is_forbidden());
        let passing = matches!(&error, kube::Error::Api(status) if status.is_conflict() || status.is_not_found());
        if passing || (self.cluster.identity.is_own() && !forbidden) {
            return Err(error);
        }
        let words = match &error {
            kube::Error::Api(status) => status.message.clone(),
            error => {
                let words = cause::innermost(error).to_string();
                self.cluster.reach.is_silent(&words);
                words
            }
        };
        Ok(match self.missing_account().await {
            Ok(Some(account)) => format!("service account {account} does not exist: {words}"),
            _ => self.cluster.says(&words),
        })
    }

    fn with_a_way_out(&self, why: String) -> String {
        self.cluster.with_a_way_out(why, "the release")
    }

    /// As [`Self::explained`], for a release that is to be taken down.
    pub async fn unreachable(&self, error: kube::Error) -> Result<String, kube::Error> {
        let answered = matches!(error, kube::Error::Api(_));
        let why = self.explained(error).await?;
        Ok(if answered { why } else { self.with_a_way_out(why) })
    }

    /// Puts an error of the release's cluster on the status.
    pub async fn state_unknown(&mut self, error: kube::Error) -> Result<Requeue, kube::Error> {
        let why = self.explained(error).await?;
        Ok(self.is_unknown(&why))
    }

    fn is_unknown(&mut self, why: &str) -> Requeue {
        let message = format!("Could not determine release state: {why}");
        self.editor().waits_for(reason::STATE_ERROR, &message);
        self.warn_if_new(reason::STATE_ERROR, &message);
        Requeue::Backoff { max: LONGEST_PAUSE }
    }
}
