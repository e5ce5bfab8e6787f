//! `HelmChart`.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OidcIdentityMatch, ReconcileStrategy, VerificationProvider};
use crate::api::meta::{Artifact, Condition, Duration, LocalObjectReference};
use crate::api::schema::{self, lenient, string_enum};

string_enum! {
    /// Kinds of sources that charts come from.
    pub enum ChartSourceKind {
        /// A `HelmRepository`.
        #[default]
        HelmRepository => "HelmRepository",
        /// A `GitRepository`.
        GitRepository => "GitRepository",
        /// A `Bucket`.
        Bucket => "Bucket",
    }
}

/// Which chart to fetch from which source.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(group = "source.toolkit.fluxcd.io", version = "v1", kind = "HelmChart", namespaced)]
#[kube(status = "HelmChartStatus", derive = "PartialEq", derive = "Default", shortname = "hc")]
#[kube(doc = "A Helm chart of which a range of versions is followed.")]
#[kube(category = "all", category = "fluxcd", category = "fluxcd-sources")]
#[kube(annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"))]
#[kube(printcolumn(name = "Chart", type_ = "string", json_path = ".spec.chart"))]
#[kube(printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"))]
#[kube(printcolumn(name = "Source Kind", type_ = "string", json_path = ".spec.sourceRef.kind"))]
#[kube(printcolumn(name = "Source Name", type_ = "string", json_path = ".spec.sourceRef.name"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#))]
#[kube(printcolumn(
    name = "Status",
    type_ = "string",
    json_path = r#".status.conditions[?(@.type=="Ready")].message"#
))]
#[x_kube(validation = Rule::new("!has(self.verify) || self.sourceRef.kind == 'HelmRepository'").message("spec.verify can only be set when spec.sourceRef.kind is 'HelmRepository'"))]
pub struct HelmChartSpec {
    /// Name of the chart in a `HelmRepository`, or path of the chart in any other source.
    pub chart: String,
    /// Version or range of versions; not used for a chart in a git repository or bucket.
    #[schemars(extend("default" = "*"))]
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub version: Option<String>,
    /// The source that holds the chart.
    pub source_ref: LocalHelmChartSourceReference,
    /// How often to look for a new version.
    #[schemars(regex(pattern = schema::DURATION))]
    pub interval: Duration,
    /// What makes a new artifact; only `ChartVersion` has an effect in a `HelmRepository`.
    #[serde(default)]
    pub reconcile_strategy: ReconcileStrategy,
    /// Values files in the source that replace the chart's own `values.yaml`, merged in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_files: Vec<String>,
    /// Whether a values file that does not exist is passed over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_missing_values_files: bool,
    /// Whether to stop looking for changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Signature to ask for; only for charts in registries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<HelmChartVerification>,
}

/// A source of charts in the chart's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalHelmChartSourceReference {
    /// Group and version of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the source.
    pub kind: ChartSourceKind,
    /// Name of the source.
    pub name: String,
}

/// A signature to ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelmChartVerification {
    /// What checks the signature.
    #[schemars(extend("default" = "cosign"))]
    pub provider: VerificationProvider,
    /// Secret with the public keys that are trusted; for notation, with `trustpolicy.json` and certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Identities whose keyless signature is trusted.
    #[serde(rename = "matchOIDCIdentity", default, skip_serializing_if = "Vec::is_empty")]
    pub match_oidc_identity: Vec<OidcIdentityMatch>,
}

/// What was fetched, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = serde_json::json!({"observedGeneration": -1})))]
pub struct HelmChartStatus {
    /// Generation of the spec that this status is about; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Revision of the source's artifact that the chart was taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_source_artifact_revision: Option<String>,
    /// Name that the chart's own metadata give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_chart_name: Option<String>,
    /// Values files that the chart was packaged with.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub observed_values_files: Vec<String>,
    /// State of the object, one entry per type.
    #[schemars(schema_with = "schema::conditions")]
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub conditions: Vec<Condition>,
    /// Address that always leads to the newest artifact; it may go away, use the artifact's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The chart fetched last.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::option")]
    pub artifact: Option<Artifact>,
    /// The last value of the `reconcile.fluxcd.io/requestedAt` annotation that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}
