//! `GitRepository`.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::meta::{Artifact, Condition, Duration, LocalObjectReference};
use crate::api::schema::{self, lenient, string_enum};

string_enum! {
    /// Whose login a git server uses.
    pub enum GitProvider {
        /// Credentials from a Secret, or none.
        #[default]
        Generic => "generic",
        /// The workload's identity at AWS `CodeCommit`.
        Aws => "aws",
        /// The workload's identity at Azure `DevOps`.
        Azure => "azure",
        /// A GitHub app.
        Github => "github",
    }
}

string_enum! {
    /// What has to be signed.
    pub enum GitVerificationMode {
        /// The commit; the older way to write `HEAD`.
        LegacyHead => "head",
        /// The commit.
        #[default]
        Head => "HEAD",
        /// The tag.
        Tag => "Tag",
        /// The tag and the commit it points at.
        TagAndHead => "TagAndHEAD",
    }
}

/// Which ref to fetch from which repository.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(group = "source.toolkit.fluxcd.io", version = "v1", kind = "GitRepository", namespaced)]
#[kube(status = "GitRepositoryStatus", derive = "PartialEq", derive = "Default", shortname = "gitrepo")]
#[kube(doc = "A git repository of which one ref is followed.")]
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
#[x_kube(validation = Rule::new("!has(self.serviceAccountName) || (has(self.provider) && (self.provider == 'azure' || self.provider == 'aws'))").message("spec.serviceAccountName can only be set for the providers 'azure' and 'aws'"))]
pub struct GitRepositorySpec {
    /// Address of the repository: `http://`, `https://` or `ssh://`.
    #[schemars(regex(pattern = schema::GIT_URL))]
    pub url: String,
    /// Secret with `username` and `password`, or `bearerToken`, or `identity` and `known_hosts`,
    /// and `ca.crt` if need be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Whose login to use; `generic` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<GitProvider>,
    /// Service account in this namespace whose cloud identity logs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// How often to look for a change of the ref.
    #[schemars(regex(pattern = schema::DURATION))]
    pub interval: Duration,
    /// How long one git operation may take.
    #[schemars(regex(pattern = schema::SHORT_DURATION), extend("default" = "60s"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What to follow; the branch `master` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<GitRepositoryRef>,
    /// Signatures to ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<GitRepositoryVerification>,
    /// Secret with the `address` of a proxy, and its `username` and `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalObjectReference>,
    /// Files to leave out of the artifact, in the syntax of `.gitignore`; replaces the usual
    /// rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// Whether to stop looking for changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Whether to fetch submodules too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recurse_submodules: bool,
    /// Other repositories whose artifacts are put into this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<GitRepositoryInclude>,
    /// Folders to fetch; all of them when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sparse_checkout: Vec<String>,
}

/// What to follow. The first of `commit`, `name`, `semver`, `tag` and `branch` that is set
/// decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitRepositoryRef {
    /// Branch; with `commit`, the branch that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Range of versions; the newest tag in it is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semver: Option<String>,
    /// Full name of a ref, for instance `refs/pull/420/head`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Full hash of a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Another repository whose artifact is put into this one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitRepositoryInclude {
    /// The other `GitRepository`, in this namespace.
    pub repository: LocalObjectReference,
    /// Folder to take from the other one; its root when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_path: Option<String>,
    /// Folder to put it at; the other one's name when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_path: Option<String>,
}

/// Signatures to ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitRepositoryVerification {
    /// What has to be signed.
    #[serde(default)]
    pub mode: GitVerificationMode,
    /// Secret with the public keys that are trusted.
    pub secret_ref: LocalObjectReference,
}

/// What was fetched, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = serde_json::json!({"observedGeneration": -1})))]
pub struct GitRepositoryStatus {
    /// Generation of the spec that this status is about; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// State of the object, one entry per type.
    #[schemars(schema_with = "schema::conditions")]
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub conditions: Vec<Condition>,
    /// The state fetched last.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::option")]
    pub artifact: Option<Artifact>,
    /// Artifacts of other repositories that were put into this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub included_artifacts: Vec<Artifact>,
    /// `spec.ignore` that the artifact was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_ignore: Option<String>,
    /// Whether the artifact was made with submodules.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed_recurse_submodules: bool,
    /// `spec.include` that the artifact was made with.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub observed_include: Vec<GitRepositoryInclude>,
    /// `spec.sparseCheckout` that the artifact was made with.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub observed_sparse_checkout: Vec<String>,
    /// What was found to be signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_verification_mode: Option<String>,
    /// The last value of the `reconcile.fluxcd.io/requestedAt` annotation that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}
