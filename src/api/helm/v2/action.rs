//! How each helm action is run.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::meta::Duration;
use crate::api::schema::{self, string_enum};

string_enum! {
    /// What happens to the definitions in a chart's `crds` folder.
    pub enum CrdsPolicy {
        /// Nothing.
        Skip => "Skip",
        /// New ones are created, existing ones stay as they are.
        #[default]
        Create => "Create",
        /// New ones are created, existing ones are replaced.
        CreateReplace => "CreateReplace",
    }
}

string_enum! {
    /// What happens after a failed action.
    pub enum ActionStrategyName {
        /// The release is set back, as `remediation` says.
        #[default]
        RemediateOnFailure => "RemediateOnFailure",
        /// The action is tried again after a while.
        RetryOnFailure => "RetryOnFailure",
    }
}

string_enum! {
    /// Whether objects are applied by the API server.
    pub enum ServerSideApplyMode {
        /// Always.
        Enabled => "enabled",
        /// Never.
        Disabled => "disabled",
        /// As the release was applied before.
        #[default]
        Auto => "auto",
    }
}

string_enum! {
    /// What happens when the chart's name changes.
    pub enum ChartNameChangeStrategy {
        /// The release is upgraded.
        #[default]
        InPlaceUpdate => "InPlaceUpdate",
        /// The release is uninstalled and installed anew.
        Reinstall => "Reinstall",
    }
}

string_enum! {
    /// How a failed upgrade is set back.
    pub enum RemediationStrategy {
        /// To the last good revision.
        #[default]
        Rollback => "rollback",
        /// By removing the release.
        Uninstall => "uninstall",
    }
}

string_enum! {
    /// When objects that an object owns are deleted.
    pub enum DeletionPropagation {
        /// After it.
        #[default]
        Background => "background",
        /// Before it.
        Foreground => "foreground",
        /// Never.
        Orphan => "orphan",
    }
}

/// How to install.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Install {
    /// How long it may take; `spec.timeout` when empty.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What happens after a failure; `RemediateOnFailure` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<InstallStrategy>,
    /// How to set a failed install back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediation: Option<InstallRemediation>,
    /// Whether objects that belong to nobody or to another release are left alone, with an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_take_ownership: bool,
    /// Whether to be done without waiting until the objects are healthy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait: bool,
    /// Whether to be done without waiting until the jobs are complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait_for_jobs: bool,
    /// Whether the chart's hooks stay out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_hooks: bool,
    /// Whether manifests are sent without a check against the API's schema.
    #[serde(rename = "disableOpenAPIValidation", default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_open_api_validation: bool,
    /// Whether values are taken without a check against the chart's schema.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_schema_validation: bool,
    /// Whether the name of a deleted release whose records are still there may be used again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// Whether the chart's `crds` folder is left out. Older way to write `crds: Skip`.
    #[serde(rename = "skipCRDs", default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_crds: bool,
    /// What happens to the definitions in the chart's `crds` folder; `Create` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crds: Option<CrdsPolicy>,
    /// Whether the target namespace is created if it does not exist.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create_namespace: bool,
    /// Whether objects are applied by the API server; depends on helm when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_side_apply: Option<bool>,
}

/// What happens after a failed install.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.retryInterval) || self.name != 'RemediateOnFailure'").message("retryInterval cannot be set when name is 'RemediateOnFailure'"))]
pub struct InstallStrategy {
    /// What happens.
    pub name: ActionStrategyName,
    /// How long to wait between two tries; five minutes when empty.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_interval: Option<Duration>,
}

/// How to set a failed install back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstallRemediation {
    /// How often to try again before giving up; -1 for ever.
    #[schemars(schema_with = "schema::integer")]
    #[serde(default, skip_serializing_if = "schema::is_zero")]
    pub retries: i64,
    /// Whether failed tests are no reason; `spec.test.ignoreFailures` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_test_failures: Option<bool>,
    /// Whether the last failure is set back too; false when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediate_last_failure: Option<bool>,
}

/// How to upgrade.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// How long it may take; `spec.timeout` when empty.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What happens after a failure; `RemediateOnFailure` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<UpgradeStrategy>,
    /// How to set a failed upgrade back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediation: Option<UpgradeRemediation>,
    /// Whether objects that belong to nobody or to another release are left alone, with an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_take_ownership: bool,
    /// Whether to be done without waiting until the objects are healthy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait: bool,
    /// Whether to be done without waiting until the jobs are complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait_for_jobs: bool,
    /// Whether the chart's hooks stay out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_hooks: bool,
    /// Whether manifests are sent without a check against the API's schema.
    #[serde(rename = "disableOpenAPIValidation", default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_open_api_validation: bool,
    /// Whether values are taken without a check against the chart's schema.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_schema_validation: bool,
    /// Whether objects that cannot be updated are replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Whether the values of the last revision are kept below the new ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preserve_values: bool,
    /// Whether objects that a failed upgrade created are deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cleanup_on_fail: bool,
    /// What happens to the definitions in the chart's `crds` folder; `Skip` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crds: Option<CrdsPolicy>,
    /// Whether objects are applied by the API server; `auto` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_side_apply: Option<ServerSideApplyMode>,
    /// What happens when the chart's name changes; depends on the operator when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart_name_change_strategy: Option<ChartNameChangeStrategy>,
}

/// What happens after a failed upgrade.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.retryInterval) || self.name == 'RetryOnFailure'").message("retryInterval can only be set when name is 'RetryOnFailure'"))]
pub struct UpgradeStrategy {
    /// What happens.
    pub name: ActionStrategyName,
    /// How long to wait between two tries; five minutes when empty.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_interval: Option<Duration>,
}

/// How to set a failed upgrade back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeRemediation {
    /// How often to try again before giving up; -1 for ever.
    #[schemars(schema_with = "schema::integer")]
    #[serde(default, skip_serializing_if = "schema::is_zero")]
    pub retries: i64,
    /// Whether failed tests are no reason; `spec.test.ignoreFailures` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_test_failures: Option<bool>,
    /// Whether the last failure is set back too; true when empty and there are retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediate_last_failure: Option<bool>,
    /// How it is set back; `rollback` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<RemediationStrategy>,
}

/// How to run the chart's tests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Test {
    /// Whether to run them after an install or upgrade.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enable: bool,
    /// How long one of them may take; `spec.timeout` when empty.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether a failed test leaves the release ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_failures: bool,
    /// Tests to run or to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
}

/// A test to run or to leave out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Name of the test.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Whether to leave it out, instead of running only those named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclude: bool,
}

/// How to roll back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// How long it may take; `spec.timeout` when empty.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether to be done without waiting until the objects are healthy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait: bool,
    /// Whether to be done without waiting until the jobs are complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait_for_jobs: bool,
    /// Whether the chart's hooks stay out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_hooks: bool,
    /// Whether pods are restarted. Without effect in current helm.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recreate: bool,
    /// Whether objects that cannot be updated are replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Whether objects that a failed rollback created are deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cleanup_on_fail: bool,
    /// Whether objects are applied by the API server; `auto` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_side_apply: Option<ServerSideApplyMode>,
}

/// How to uninstall.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Uninstall {
    /// How long it may take; `spec.timeout` when empty.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether the chart's hooks stay out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_hooks: bool,
    /// Whether helm's records of the release stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_history: bool,
    /// Whether to be done without waiting until the objects are gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_wait: bool,
    /// When objects that the release's objects own are deleted.
    #[serde(default)]
    pub deletion_propagation: DeletionPropagation,
}
