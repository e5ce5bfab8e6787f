//! The cluster that a Kustomization is for, in the name that it acts in.

use super::reconciler::KustomizationController;
use super::status::Ending;
use crate::api::condition::reason;
use crate::api::kustomize::v1::Kustomization;
use crate::kube_ext::cluster::{Asked, Cluster, IdentityError};
use crate::kube_ext::remote::RemoteError;
use kube::ResourceExt as _;
use std::sync::Arc;

/// A way to the cluster.
pub(super) enum Entry {
    /// It answers.
    Open(Arc<Cluster>),
    /// There is none, and that is how the pass ends.
    Closed(Ending),
    /// Another pass is just finding out.
    Later,
}

/// A way to the cluster, for an object that is deleted.
pub(super) enum Exit {
    /// It answers.
    Open(Arc<Cluster>),
    /// What the object acted by is gone, and so is every way to its objects: they stay.
    Gone(String),
    /// There is none now.
    Closed(String),
}

impl KustomizationController {
    /// The way to the cluster of a Kustomization.
    pub(super) async fn enter(&self, object: &Kustomization) -> Result<Entry, kube::Error> {
        let namespace = object.namespace().unwrap_or_default();
        let failed = |message| Entry::Closed(Ending::Failed { reason: reason::RECONCILIATION_FAILED, message });
        Ok(match self.clusters.of(asked(object, &namespace)).await {
            Ok(cluster) => {
                cluster.reach.doubt();
                match cluster.reach.at_once(&cluster.client).await {
                    Some(Ok(())) => Entry::Open(cluster),
                    Some(Err(why)) => failed(cluster.says(&why)),
                    None => Entry::Later,
                }
            }
            Err(IdentityError::Remote(RemoteError::Api { source, .. })) => return Err(*source),
            Err(error @ IdentityError::Remote(RemoteError::Unsupported { .. })) => {
                Entry::Closed(Ending::Stalled { reason: reason::UNSUPPORTED, message: error.to_string() })
            }
            Err(error @ IdentityError::Remote(RemoteError::Missing(_))) => failed(format!("{error}; waiting for it")),
            Err(error) => failed(error.to_string()),
        })
    }

    /// The way to the cluster of a Kustomization that is deleted.
    pub(super) async fn enter_to_leave(&self, object: &Kustomization) -> Result<Exit, kube::Error> {
        let namespace = object.namespace().unwrap_or_default();
        let asked = asked(object, &namespace);
        let cluster = match self.clusters.of(asked).await {
            Ok(cluster) => cluster,
            Err(IdentityError::Remote(RemoteError::Api { source, .. })) => return Err(*source),
            Err(error @ IdentityError::Remote(RemoteError::Missing(_))) => return Ok(Exit::Gone(error.to_string())),
            Err(error @ IdentityError::Remote(_)) => {
                return Ok(Exit::Closed(format!("{error}; delete it to let this object go")));
            }
            Err(error) => return Ok(Exit::Closed(error.to_string())),
        };
        cluster.reach.doubt();
        if let Err(why) = cluster.reach.in_turn(&cluster.client).await {
            return Ok(Exit::Closed(cluster.with_a_way_out(cluster.says(&why), "this object")));
        }
        Ok(match self.clusters.missing_account(asked).await? {
            Some(account) => Exit::Gone(format!("service account {account} does not exist")),
            None => Exit::Open(cluster),
        })
    }

    /// How a pass ended, with what is behind it when its account does not exist.
    pub(super) async fn explained(&self, object: &Kustomization, cluster: &Cluster, ending: Ending) -> Ending {
        let Ending::Failed { reason: reason @ (reason::RECONCILIATION_FAILED | reason::PRUNE_FAILED), message } =
            ending
        else {
            return ending;
        };
        let namespace = object.namespace().unwrap_or_default();
        // An explanation is worth no failure of its own.
        let missing = self.clusters.missing_account(asked(object, &namespace)).await.ok().flatten();
        let message = match missing {
            Some(account) => format!("service account {account} does not exist: {message}"),
            None => cluster.says(&message),
        };
        Ending::Failed { reason, message }
    }
}

fn asked<'o>(object: &'o Kustomization, namespace: &'o str) -> Asked<'o> {
    let spec = &object.spec;
    Asked { namespace, account: spec.service_account_name.as_deref(), kube_config: spec.kube_config.as_ref() }
}
