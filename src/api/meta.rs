//! What several kinds share: references, artifacts, conditions, annotations.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{self, lenient, string_enum};

pub use super::duration::Duration;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Names an object in the namespace of the object that refers to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalObjectReference {
    /// Name of the object.
    pub name: String,
}

/// Names an object, in the referrer's namespace unless another one is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespacedObjectReference {
    /// Name of the object.
    pub name: String,
    /// Namespace of the object; the referrer's own when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Names an object of any kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespacedObjectKindReference {
    /// Group and version of the object; any served one when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Namespace of the object; the referrer's own when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Names one key of a Secret in the referrer's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// Secret that holds the key.
    pub name: String,
    /// Key in the Secret's data; the reader's well-known keys are tried when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// An object of the same kind that has to be ready first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DependencyReference {
    /// Name of the object that is waited for.
    pub name: String,
    /// Namespace of the object that is waited for; the dependent's own when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// CEL expression over `self` (the dependent) and `dep` (the object waited for) that says
    /// when it counts as ready, instead of its `Ready` condition.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub ready_expr: Option<String>,
}

/// Where to find the access to the cluster that is acted on. Exactly one of the two references
/// has to be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMapRef) || has(self.secretRef)").message("one of spec.kubeConfig.configMapRef and spec.kubeConfig.secretRef has to be set"))]
#[x_kube(validation = Rule::new("!has(self.configMapRef) || !has(self.secretRef)").message("only one of spec.kubeConfig.configMapRef and spec.kubeConfig.secretRef can be set"))]
pub struct KubeConfigReference {
    /// `ConfigMap` that describes how to log in with a workload identity: `provider`, `cluster`,
    /// `address`, `ca.crt`, `audiences`, `serviceAccountName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<LocalObjectReference>,
    /// Secret that holds a kubeconfig, under `value` or `value.yaml` unless a key is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyReference>,
}

string_enum! {
    /// Kinds that values can be read from.
    pub enum ValuesReferenceKind {
        /// A Secret.
        #[default]
        Secret => "Secret",
        /// A `ConfigMap`.
        ConfigMap => "ConfigMap",
    }
}

/// A source of Helm values, merged in list order below the inline values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValuesReference {
    /// Kind of the object that holds the values.
    pub kind: ValuesReferenceKind,
    /// Name of the object, in the release's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the object's data; `values.yaml` when empty.
    #[schemars(length(max = 253), regex(pattern = schema::DATA_KEY))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values_key: Option<String>,
    /// Path in the values (dots and indexes) that the content is set at, as one value; without it
    /// the content is merged as YAML at the root.
    #[schemars(length(max = 250), regex(pattern = schema::TARGET_PATH))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_path: Option<String>,
    /// Whether a missing object or key is passed over instead of failing; a content that cannot
    /// be parsed still fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Whether the content is set at `targetPath` as it is, without Helm's `--set` syntax and
    /// type guessing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub literal: bool,
}

/// A fetched and stored state of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Where the archive lies below the storage root of the operator that made it.
    pub path: String,
    /// HTTP address the archive can be downloaded from inside the cluster.
    pub url: String,
    /// Human readable and unique name of the state, for instance `main@sha1:…` or a chart
    /// version.
    pub revision: String,
    /// Checksum of the archive as `<algorithm>:<hex>`.
    #[schemars(regex(pattern = schema::DIGEST))]
    pub digest: String,
    /// When the archive was last written.
    pub last_update_time: Time,
    /// Length of the archive in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// What the source says about this state, for instance the annotations of an OCI manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// The objects that were applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceInventory {
    /// One entry per object.
    pub entries: Vec<ResourceRef>,
}

/// One applied object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRef {
    /// `<namespace>_<name>_<group>_<kind>`, with `:` in a name written as two underscores.
    pub id: String,
    /// Version of the object's API at the time it was applied.
    pub v: String,
}
