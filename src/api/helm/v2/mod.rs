//! `helm.toolkit.fluxcd.io/v2`: `HelmRelease`.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::kustomize::{CommonMetadata, CustomHealthCheck, IgnoreRule, Image, Patch};
use super::super::meta::{DependencyReference, Duration, KubeConfigReference, ValuesReference};
use super::super::schema::{self, string_enum};

mod action;
mod chart;
mod status;

pub use action::*;
pub use chart::*;
pub use status::*;

string_enum! {
    /// What happens when an object of the release is changed by somebody else.
    pub enum DriftDetectionMode {
        /// It is set back.
        Enabled => "enabled",
        /// It is reported.
        Warn => "warn",
        /// Nothing.
        #[default]
        Disabled => "disabled",
    }
}

string_enum! {
    /// What post-renderers do with hooks.
    pub enum PostRenderStrategy {
        /// Hooks are left as they are.
        NoHooks => "nohooks",
        /// Hooks and templates go through them together.
        #[default]
        Combined => "combined",
        /// Hooks and templates go through them one after the other.
        Separate => "separate",
    }
}

string_enum! {
    /// How the health of a release's objects is told.
    pub enum WaitStrategyName {
        /// By the rules of kstatus.
        #[default]
        Poller => "poller",
        /// By helm's own older rules.
        Legacy => "legacy",
    }
}

/// Which chart to release, with which values, and how.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(group = "helm.toolkit.fluxcd.io", version = "v2", kind = "HelmRelease", namespaced)]
#[kube(status = "HelmReleaseStatus", derive = "PartialEq", derive = "Default", shortname = "hr")]
#[kube(doc = "A Helm release that the cluster follows.")]
#[kube(category = "all", category = "fluxcd", category = "fluxcd-appliers")]
#[kube(annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#))]
#[kube(printcolumn(
    name = "Status",
    type_ = "string",
    json_path = r#".status.conditions[?(@.type=="Ready")].message"#
))]
#[x_kube(validation = Rule::new("(has(self.chart) && !has(self.chartRef)) || (!has(self.chart) && has(self.chartRef))").message("exactly one of spec.chart and spec.chartRef has to be set"))]
pub struct HelmReleaseSpec {
    /// Chart to fetch; a `HelmChart` object is made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<HelmChartTemplate>,
    /// Object that holds the chart already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart_ref: Option<CrossNamespaceSourceReference>,
    /// How often to compare the release with what is asked for when nothing else asks for it.
    #[schemars(regex(pattern = schema::DURATION))]
    pub interval: Duration,
    /// The cluster to release into; the operator's own when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_config: Option<KubeConfigReference>,
    /// Whether to leave the release as it is and look at nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Name of the release; `[<targetNamespace>-]<name>` when empty.
    #[schemars(length(min = 1, max = 53))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_name: Option<String>,
    /// Namespace to release into; this object's own when empty.
    #[schemars(length(min = 1, max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_namespace: Option<String>,
    /// Namespace of helm's own records; this object's own when empty.
    #[schemars(length(min = 1, max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_namespace: Option<String>,
    /// `HelmRelease` objects that have to be ready first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<DependencyReference>,
    /// How long each helm action may take; five minutes when empty.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How many revisions helm keeps; 5 when empty, all of them when 0.
    #[schemars(schema_with = "schema::integer")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_history: Option<i64>,
    /// Service account in this namespace that the release acts as.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Whether one client serves all steps of an action; true when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_client: Option<bool>,
    /// What happens when an object of the release is changed by somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_detection: Option<DriftDetection>,
    /// How to install.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<Install>,
    /// How to upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
    /// How to run the chart's tests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
    /// How to roll back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// How to uninstall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uninstall: Option<Uninstall>,
    /// Objects that hold values, merged in order below `values`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_from: Vec<ValuesReference>,
    /// Values of the release.
    #[schemars(schema_with = "schema::any_value")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Value>,
    /// Labels and annotations to set on every object of the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_metadata: Option<CommonMetadata>,
    /// Changes to the rendered objects, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_renderers: Vec<PostRenderer>,
    /// What post-renderers do with hooks; depends on helm when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_render_strategy: Option<PostRenderStrategy>,
    /// How the health of the release's objects is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_strategy: Option<WaitStrategy>,
    /// How to tell the health of kinds that do not follow the usual conventions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_check_exprs: Vec<CustomHealthCheck>,
}

/// What happens when an object of the release is changed by somebody else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftDetection {
    /// What happens; nothing when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<DriftDetectionMode>,
    /// Fields that may differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<IgnoreRule>,
}

/// One step of changes to the rendered objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostRenderer {
    /// Changes by Kustomize.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<Kustomize>,
}

/// Changes by Kustomize.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kustomize {
    /// Changes to the objects, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
    /// Images to replace by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
}

/// How the health of the release's objects is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitStrategy {
    /// Rules to use.
    pub name: WaitStrategyName,
}
