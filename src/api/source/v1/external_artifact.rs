//! `ExternalArtifact`.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::meta::{Artifact, Condition, NamespacedObjectKindReference};
use crate::api::schema::{self, lenient};

/// Who makes the artifact.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(group = "source.toolkit.fluxcd.io", version = "v1", kind = "ExternalArtifact", namespaced)]
#[kube(status = "ExternalArtifactStatus", derive = "PartialEq", derive = "Default", shortname = "ea")]
#[kube(doc = "An artifact that another controller makes and stores.")]
#[kube(category = "all", category = "fluxcd", category = "fluxcd-sources")]
#[kube(annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#))]
#[kube(printcolumn(
    name = "Status",
    type_ = "string",
    json_path = r#".status.conditions[?(@.type=="Ready")].message"#
))]
#[kube(printcolumn(name = "Source", type_ = "string", json_path = ".spec.sourceRef.name"))]
pub struct ExternalArtifactSpec {
    /// The object that the artifact is made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<NamespacedObjectKindReference>,
}

/// The artifact, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalArtifactStatus {
    /// The state made last.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::option")]
    pub artifact: Option<Artifact>,
    /// State of the object, one entry per type.
    #[schemars(schema_with = "schema::conditions")]
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub conditions: Vec<Condition>,
}
