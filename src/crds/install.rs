//! Writes the definitions to a cluster.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};

/// Under this name the fields of the definitions are owned, whoever made them.
const FIELD_MANAGER: &str = "fairlead";

/// Why the definitions are not in the cluster.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// There is no way to the API server.
    #[error("cannot talk to the cluster: {0}; set KUBECONFIG, or run in a pod with a service account")]
    NoCluster(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API server refused one.
    #[error(
        "CustomResourceDefinition {name}: {source}; where the operator may not write definitions, let somebody else do \
         it: `kubectl apply --server-side --force-conflicts -f crds/`, and `crds.upgrade: false` in the values of the \
         chart"
    )]
    Refused {
        /// Its name.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

/// Brings every definition to what this binary knows, by server-side apply; nothing is ever deleted.
pub async fn install() -> Result<(), InstallError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_default().await.map_err(|error| InstallError::NoCluster(error.into()))?;
    let api = Api::<CustomResourceDefinition>::all(client);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    for crd in super::all() {
        let name = crd.name_any();
        let written = api.patch(&name, &parameters, &Patch::Apply(&crd)).await;
        written.map_err(|source| InstallError::Refused { name, source: Box::new(source) })?;
    }
    Ok(())
}
