//! Where a release's chart comes from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::meta::{Duration, LocalObjectReference};
use crate::api::schema::{self, string_enum};
use crate::api::source::v1::{ChartSourceKind, ReconcileStrategy, VerificationProvider};

string_enum! {
    /// Kinds of objects that hold a chart.
    pub enum ChartRefKind {
        /// An `OCIRepository`.
        #[default]
        OciRepository => "OCIRepository",
        /// A `HelmChart`.
        HelmChart => "HelmChart",
        /// An `ExternalArtifact`.
        ExternalArtifact => "ExternalArtifact",
    }
}

/// Template of the `HelmChart` object that is made for the release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelmChartTemplate {
    /// Labels and annotations of the `HelmChart` object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<HelmChartTemplateObjectMeta>,
    /// Spec of the `HelmChart` object.
    pub spec: HelmChartTemplateSpec,
}

/// Labels and annotations of the `HelmChart` object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelmChartTemplateObjectMeta {
    /// Labels to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Spec of the `HelmChart` object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelmChartTemplateSpec {
    /// Name of the chart in a `HelmRepository`, or path of the chart in any other source.
    #[schemars(length(min = 1, max = 2048))]
    pub chart: String,
    /// Version or range of versions; not used for a chart in a git repository or bucket.
    #[schemars(extend("default" = "*"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The source that holds the chart.
    pub source_ref: CrossNamespaceObjectReference,
    /// How often to look for a new version; the release's interval when empty.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// What makes a new chart artifact; only `ChartVersion` has an effect in a `HelmRepository`.
    #[serde(default)]
    pub reconcile_strategy: ReconcileStrategy,
    /// Values files in the source that replace the chart's own `values.yaml`, merged in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_files: Vec<String>,
    /// Whether a values file that does not exist is passed over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_missing_values_files: bool,
    /// Signature to ask for; only for charts in registries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<HelmChartTemplateVerification>,
}

/// A source of charts, possibly in another namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrossNamespaceObjectReference {
    /// Group and version of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the source.
    pub kind: ChartSourceKind,
    /// Name of the source.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the source; the release's own when empty.
    #[schemars(length(min = 1, max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// An object that holds a chart, possibly in another namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrossNamespaceSourceReference {
    /// Group and version of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the object.
    pub kind: ChartRefKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the object; the release's own when empty.
    #[schemars(length(min = 1, max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A signature to ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelmChartTemplateVerification {
    /// What checks the signature.
    #[schemars(extend("default" = "cosign"))]
    pub provider: VerificationProvider,
    /// Secret with the public keys that are trusted; for notation, with `trustpolicy.json` and certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
}
