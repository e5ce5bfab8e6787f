//! `HelmRepository`.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RegistryProvider;
use crate::api::meta::{Artifact, Condition, Duration, LocalObjectReference};
use crate::api::schema::{self, lenient, string_enum};

string_enum! {
    /// How a repository serves its charts.
    pub enum HelmRepositoryType {
        /// With an index over HTTP.
        #[default]
        Default => "default",
        /// As artifacts of an OCI registry.
        Oci => "oci",
    }
}

/// Where the charts are.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(group = "source.toolkit.fluxcd.io", version = "v1", kind = "HelmRepository", namespaced)]
#[kube(status = "HelmRepositoryStatus", derive = "PartialEq", derive = "Default", shortname = "helmrepo")]
#[kube(doc = "A repository of Helm charts.")]
#[kube(category = "all", category = "fluxcd", category = "fluxcd-sources")]
#[kube(annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"))]
#[kube(printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#))]
#[kube(printcolumn(
    name = "Status",
    type_ = "string",
    json_path = r#".status.conditions[?(@.type=="Ready")].message"#
))]
pub struct HelmRepositorySpec {
    /// Address of the repository: `http://` or `https://`, or `oci://` for a registry.
    #[schemars(regex(pattern = schema::HELM_URL))]
    pub url: String,
    /// Secret with `username` and `password`, or with a registry login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Secret with `ca.crt`, and `tls.crt` and `tls.key` for mutual TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,
    /// Whether credentials are sent to other hosts that the index names too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pass_credentials: bool,
    /// How often to look for a new index; one minute when empty. Not used for a registry.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Whether to speak plain HTTP to a registry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// How long one fetch may take; one minute when empty.
    #[schemars(regex(pattern = schema::SHORT_DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether to stop looking for changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Namespaces that may use this repository. Kept for old manifests, without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_from: Option<AccessFrom>,
    /// How the repository serves its charts; `default` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<HelmRepositoryType>,
    /// Whose login a registry uses.
    #[serde(default)]
    pub provider: RegistryProvider,
}

/// Namespaces that may use an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessFrom {
    /// Namespaces that may; one match is enough.
    pub namespace_selectors: Vec<NamespaceSelector>,
}

/// Chooses namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels that the namespace has to have; all namespaces when empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}

/// What was fetched, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = serde_json::json!({"observedGeneration": -1})))]
pub struct HelmRepositoryStatus {
    /// Generation of the spec that this status is about; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// State of the object, one entry per type.
    #[schemars(schema_with = "schema::conditions")]
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub conditions: Vec<Condition>,
    /// Address that always leads to the newest index; it may go away, use the artifact's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The index fetched last.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::option")]
    pub artifact: Option<Artifact>,
    /// The last value of the `reconcile.fluxcd.io/requestedAt` annotation that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}
