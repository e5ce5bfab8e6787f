//! Flux's objects as JSON, for programs that do not know their types.

use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

/// Reads and writes a cluster's objects.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

/// An object's `Ready` condition.
#[derive(Debug)]
pub struct Ready {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
    /// Whether it is about the object's present spec.
    pub current: bool,
}

impl Cluster {
    /// Asks through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The objects of a kind (`HelmRelease`, `GitRepository`, `HelmRepository`, `HelmChart`, `Kustomization`) in a
    /// namespace.
    pub fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = match kind {
            "HelmRelease" => ("helm.toolkit.fluxcd.io", "v2"),
            "Kustomization" => ("kustomize.toolkit.fluxcd.io", "v1"),
            "Receiver" => ("notification.toolkit.fluxcd.io", "v1"),
            "Alert" | "Provider" => ("notification.toolkit.fluxcd.io", "v1beta3"),
            _ => ("source.toolkit.fluxcd.io", "v1"),
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    /// One object as JSON; an error when there is none (yet).
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Value, String> {
        let object = self.api(kind, namespace).get_opt(name).await.map_err(|error| error.to_string())?;
        let object = object.ok_or_else(|| format!("no {kind} {namespace}/{name} yet"))?;
        serde_json::to_value(object).map_err(|error| error.to_string())
    }

    /// The first port of a Service.
    pub async fn port(&self, namespace: &str, name: &str) -> Result<i32, String> {
        let service = Api::<Service>::namespaced(self.client.clone(), namespace).get(name).await;
        let spec = service.map_err(|error| error.to_string())?.spec;
        let port = spec.and_then(|spec| spec.ports).and_then(|ports| ports.first().map(|port| port.port));
        port.ok_or_else(|| format!("service {namespace}/{name} has no port"))
    }

    /// Whether there is such a namespace.
    pub async fn has_namespace(&self, name: &str) -> Result<bool, String> {
        let found = Api::<Namespace>::all(self.client.clone()).get_opt(name).await;
        found.map(|found| found.is_some()).map_err(|error| error.to_string())
    }
}

/// The object's `Ready` condition, if it has one.
pub fn ready(object: &Value) -> Option<Ready> {
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    Some(Ready {
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
        current: condition["observedGeneration"] == object["metadata"]["generation"],
    })
}

/// The number of the release's newest revision.
pub fn revision(release: &Value) -> Option<i64> {
    release["status"]["history"][0]["version"].as_i64()
}
