//! Applies the definitions in a chart's `crds/` folders, which helm itself does not do on upgrades.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client};
use serde_json::{Map, Value};

use super::chart_crds::{self, ChartCrdsError};
use crate::api::helm::v2::CrdsPolicy;

/// Flux's field manager, so that definitions change hands without a conflict.
const FIELD_MANAGER: &str = "helm-controller";

/// How long the API server may take to serve new definitions.
const ESTABLISH_TIMEOUT: Duration = Duration::from_mins(1);

/// Why definitions are not applied.
#[derive(Debug, thiserror::Error)]
pub enum CrdsError {
    /// The chart's own are unreadable.
    #[error("{}: {source}", chart.display())]
    Chart {
        /// The chart package.
        chart: PathBuf,
        /// What is wrong with it.
        source: ChartCrdsError,
    },
    /// The API server refused one.
    #[error("CustomResourceDefinition {name}: {source}")]
    Api {
        /// Its name.
        name: String,
        /// What the client says.
        source: Box<kube::Error>,
    },
    /// The API server took one, but does not serve it.
    #[error("CustomResourceDefinition {name} is not served after {ESTABLISH_TIMEOUT:?}")]
    NotEstablished {
        /// Its name.
        name: String,
    },
}

/// Creates the chart's definitions that are missing and, by policy, replaces the others; waits
/// until all are served. Returns the names of those that were written.
pub async fn apply(
    client: &Client,
    chart: &Path,
    values: &Map<String, Value>,
    policy: CrdsPolicy,
) -> Result<Vec<String>, CrdsError> {
    if policy == CrdsPolicy::Skip {
        return Ok(Vec::new());
    }
    let definitions = definitions(chart.to_owned(), values.clone()).await?;
    let mut written = Vec::new();
    for definition in definitions {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let failed = |source| CrdsError::Api { name: name.clone(), source: Box::new(source) };
        if write(client, &name, &definition, policy).await.map_err(failed)? {
            written.push(name);
        }
    }
    for name in &written {
        wait_until_served(client, name).await?;
    }
    Ok(written)
}

async fn definitions(chart: PathBuf, values: Map<String, Value>) -> Result<Vec<Value>, CrdsError> {
    let path = chart.clone();
    let read = move || chart_crds::definitions(std::fs::File::open(&path)?, &values);
    let found = tokio::task::spawn_blocking(read).await;
    let found = found.unwrap_or_else(|panic| Err(ChartCrdsError::Package(std::io::Error::other(panic))));
    found.map_err(|source| CrdsError::Chart { chart, source })
}

/// Whether the definition was written.
async fn write(client: &Client, name: &str, definition: &Value, policy: CrdsPolicy) -> kube::Result<bool> {
    let resource = ApiResource::erase::<CustomResourceDefinition>(&());
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
    if policy == CrdsPolicy::Create && api.get_metadata_opt(name).await?.is_some() {
        return Ok(false);
    }
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(name, &params, &Patch::Apply(definition)).await?;
    Ok(true)
}

async fn wait_until_served(client: &Client, name: &str) -> Result<(), CrdsError> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let served = await_condition(api, name, conditions::is_crd_established());
    match tokio::time::timeout(ESTABLISH_TIMEOUT, served).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(CrdsError::NotEstablished { name: name.to_owned() }),
    }
}
