//! The clusters of releases, with what a release needs of them.

use std::io;

use kube::{Client, ResourceExt as _};

use super::storage::Storage;
use super::verify::Verifier;
use crate::api::helm::v2::HelmRelease;
use crate::controller::Context;
use crate::helm::ReleaseCache;
use crate::helm::endpoint::records::Records;
use crate::helm::endpoint::{Access, Admission, Endpoint};
use crate::kube_ext::cluster::{self, Asked, IdentityError};
use crate::kube_ext::discovery::Resolver;
use crate::release::observed::Target;
use std::sync::Arc;

/// A cluster as one identity sees it.
pub type Cluster = cluster::Cluster<Tools>;

/// What a release needs of a cluster.
pub struct Tools {
    /// Helm's records.
    pub storage: Storage,
    /// Looks at objects.
    pub verifier: Verifier,
}

impl Tools {
    /// In the operator's own cluster and name, where a shared watch knows helm's records.
    fn watched(client: &Client, resolver: &Resolver, cache: ReleaseCache) -> Self {
        Self { storage: Storage::watched(client.clone(), cache), verifier: verifier(client, resolver) }
    }

    fn direct(client: &Client, resolver: &Resolver) -> Self {
        Self { storage: Storage::direct(client.clone()), verifier: verifier(client, resolver) }
    }
}

fn verifier(client: &Client, resolver: &Resolver) -> Verifier {
    Verifier::new(client.clone(), resolver.clone())
}

/// The clusters of all releases.
pub struct Clusters {
    all: cluster::Clusters<Tools>,
    endpoint: Endpoint,
}

impl Clusters {
    /// Knows the operator's own cluster.
    pub fn new(context: &Context, cache: ReleaseCache, endpoint: Endpoint) -> Self {
        let own = |client: &Client, resolver: &Resolver| Tools::watched(client, resolver, cache);
        let all = cluster::Clusters::new(context.client.clone(), context.config.cluster_settings(), own, Tools::direct);
        Self { all, endpoint }
    }

    /// The operator's own.
    pub fn own(&self) -> &Arc<Cluster> {
        self.all.own()
    }

    /// The cluster that a release is for, in the name that it acts in.
    pub async fn of(&self, object: &HelmRelease) -> Result<Arc<Cluster>, IdentityError> {
        let namespace = object.namespace().unwrap_or_default();
        self.all.of(asked(object, &namespace)).await
    }

    /// The service account that a release acts as, if this cluster should have it and has not.
    pub async fn missing_account(&self, object: &HelmRelease) -> Result<Option<String>, kube::Error> {
        let namespace = object.namespace().unwrap_or_default();
        self.all.missing_account(asked(object, &namespace)).await
    }

    /// Lets a helm action on a release in; none when helm needs no more than the operator's own
    /// kubeconfig.
    pub fn admit(&self, cluster: &Cluster, target: &Target) -> io::Result<Option<Admission>> {
        access(cluster, target).map(|access| self.endpoint.admit(access)).transpose()
    }
}

fn asked<'o>(object: &'o HelmRelease, namespace: &'o str) -> Asked<'o> {
    let spec = &object.spec;
    Asked { namespace, account: spec.service_account_name.as_deref(), kube_config: spec.kube_config.as_ref() }
}

/// The access that helm needs for a release; none when the operator's own will do.
fn access(cluster: &Cluster, target: &Target) -> Option<Access> {
    let elsewhere = target.storage != target.namespace;
    if cluster.identity.is_own() && !elsewhere {
        return None;
    }
    let records = elsewhere.then(|| Records {
        release: target.name.clone(),
        namespace: target.namespace.clone(),
        storage: target.storage.clone(),
    });
    Some(Access { client: cluster.client.clone(), cluster: cluster.label.clone(), records })
}
