//! What is known about a release.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::meta::{Condition, Duration, ResourceInventory, Time};
use crate::api::schema::{self, lenient, string_enum};

string_enum! {
    /// Actions that are counted as attempts.
    pub enum AttemptedAction {
        /// An install.
        #[default]
        Install => "install",
        /// An upgrade.
        Upgrade => "upgrade",
    }
}

/// What was released, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = serde_json::json!({"observedGeneration": -1})))]
pub struct HelmReleaseStatus {
    /// Generation of the spec that this status is about; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Checksum of the post-renderers of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_post_renderers_digest: Option<String>,
    /// Checksum of the common metadata of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_common_metadata_digest: Option<String>,
    /// Generation of the spec that was tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempted_generation: Option<i64>,
    /// State of the object, one entry per type.
    #[schemars(schema_with = "schema::conditions")]
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub conditions: Vec<Condition>,
    /// `<namespace>/<name>` of the `HelmChart` object made for the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helm_chart: Option<String>,
    /// Namespace of helm's own records of the current release.
    #[schemars(length(min = 1, max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_namespace: Option<String>,
    /// Revisions of the release that this object made, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub history: Vec<Snapshot>,
    /// Objects of the current revision.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::option")]
    pub inventory: Option<ResourceInventory>,
    /// What was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::option")]
    pub last_attempted_release_action: Option<AttemptedAction>,
    /// How long the last attempt took.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::option")]
    pub last_attempted_release_action_duration: Option<Duration>,
    /// Failures since the last success or change.
    #[serde(default, skip_serializing_if = "schema::is_zero")]
    pub failures: i64,
    /// Failed installs since the last success or change.
    #[serde(default, skip_serializing_if = "schema::is_zero")]
    pub install_failures: i64,
    /// Failed upgrades since the last success or change.
    #[serde(default, skip_serializing_if = "schema::is_zero")]
    pub upgrade_failures: i64,
    /// Chart version that was tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempted_revision: Option<String>,
    /// Digest of the chart that was tried last, if it came from a registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempted_revision_digest: Option<String>,
    /// SHA-1 of the values that were tried last. Kept for old objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempted_values_checksum: Option<String>,
    /// Helm revision made last. Kept for old objects.
    #[schemars(schema_with = "schema::integer")]
    #[serde(default, skip_serializing_if = "schema::is_zero")]
    pub last_release_revision: i64,
    /// Checksum of the values that were tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempted_config_digest: Option<String>,
    /// The last value of the `reconcile.fluxcd.io/resetAt` annotation that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reset_at: Option<String>,
    /// The last value of the `reconcile.fluxcd.io/requestedAt` annotation that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The last value of the `reconcile.fluxcd.io/forceAt` annotation that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_force_at: Option<String>,
}

/// A revision of a release as it was left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Version of the rules that `digest` is computed by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Checksum of the revision as helm stores it.
    pub digest: String,
    /// Name of the release.
    pub name: String,
    /// Namespace the release is in.
    pub namespace: String,
    /// Number of the revision.
    #[schemars(schema_with = "schema::integer")]
    pub version: i64,
    /// Helm's status of the revision.
    pub status: String,
    /// What made the revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Name of the chart.
    pub chart_name: String,
    /// Version of the chart.
    pub chart_version: String,
    /// Version of the application, as the chart gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    /// Checksum of the values.
    pub config_digest: String,
    /// When the release was first deployed.
    pub first_deployed: Time,
    /// When the revision was deployed.
    pub last_deployed: Time,
    /// When the revision was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Time>,
    /// Tests of the revision and how they went; absent when none was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_hooks: Option<BTreeMap<String, TestHookStatus>>,
    /// Digest of the chart, if it came from a registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oci_digest: Option<String>,
}

/// How a test went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestHookStatus {
    /// When it was last started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_started: Option<Time>,
    /// When it was last complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_completed: Option<Time>,
    /// Phase it ended in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
}
