//! `OCIRepository`.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OidcIdentityMatch, RegistryProvider, VerificationProvider};
use crate::api::meta::{Artifact, Condition, Duration, LocalObjectReference};
use crate::api::schema::{self, lenient, string_enum};

string_enum! {
    /// What is done with a layer.
    pub enum OciLayerOperation {
        /// It is unpacked into the artifact.
        #[default]
        Extract => "extract",
        /// It is the artifact, as it is.
        Copy => "copy",
    }
}

/// Which artifact to fetch from which registry.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(group = "source.toolkit.fluxcd.io", version = "v1", kind = "OCIRepository", namespaced)]
#[kube(status = "OCIRepositoryStatus", derive = "PartialEq", derive = "Default", shortname = "ocirepo")]
#[kube(doc = "A repository of an OCI registry of which one tag, range of versions or digest is followed.")]
#[kube(category = "all", category = "fluxcd", category = "fluxcd-sources")]
#[kube(annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"))]
#[kube(printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"))]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#))]
#[kube(printcolumn(
    name = "Status",
    type_ = "string",
    json_path = r#".status.conditions[?(@.type=="Ready")].message"#
))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
pub struct OCIRepositorySpec {
    /// Address of the repository, starting with `oci://`.
    #[schemars(regex(pattern = schema::OCI_URL))]
    pub url: String,
    /// What to follow; the tag `latest` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<OCIRepositoryRef>,
    /// Which layer to take; the first one when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_selector: Option<OCILayerSelector>,
    /// Whose login the registry uses.
    #[serde(default)]
    pub provider: RegistryProvider,
    /// Secret with a registry login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Signature to ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<OCIRepositoryVerification>,
    /// Service account in this namespace whose pull secrets or cloud identity log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Secret with `ca.crt`, and `tls.crt` and `tls.key` for mutual TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,
    /// Secret with the `address` of a proxy, and its `username` and `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalObjectReference>,
    /// How often to look for a change.
    #[schemars(regex(pattern = schema::DURATION))]
    pub interval: Duration,
    /// How long one fetch may take.
    #[schemars(regex(pattern = schema::SHORT_DURATION), extend("default" = "60s"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Files to leave out of the artifact, in the syntax of `.gitignore`; replaces the usual
    /// rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// Whether to speak plain HTTP to the registry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// Whether to stop looking for changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// What to follow. The first of `digest`, `semver` and `tag` that is set decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OCIRepositoryRef {
    /// Digest of a manifest, as `sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Range of versions; the newest tag in it is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semver: Option<String>,
    /// Regular expression that a tag has to match to be compared as a version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semver_filter: Option<String>,
    /// Tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Chooses a layer and what is done with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OCILayerSelector {
    /// Media type of the layer; the first that has it is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What is done with the layer; `extract` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OciLayerOperation>,
}

/// A signature to ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OCIRepositoryVerification {
    /// What checks the signature.
    #[schemars(extend("default" = "cosign"))]
    pub provider: VerificationProvider,
    /// Secret with the public keys that are trusted; for notation, with `trustpolicy.json` and certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Identities whose keyless signature is trusted.
    #[serde(rename = "matchOIDCIdentity", default, skip_serializing_if = "Vec::is_empty")]
    pub match_oidc_identity: Vec<OidcIdentityMatch>,
    /// Secret with `trusted_root.json`, for a Sigstore instance of one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_root_secret_ref: Option<LocalObjectReference>,
}

/// What was fetched, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = serde_json::json!({"observedGeneration": -1})))]
pub struct OCIRepositoryStatus {
    /// Generation of the spec that this status is about; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// State of the object, one entry per type.
    #[schemars(schema_with = "schema::conditions")]
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub conditions: Vec<Condition>,
    /// Address that always leads to the newest artifact; it may go away, use the artifact's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The state fetched last.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::option")]
    pub artifact: Option<Artifact>,
    /// `spec.ignore` that the artifact was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_ignore: Option<String>,
    /// `spec.layerSelector` that the artifact was made with.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::option")]
    pub observed_layer_selector: Option<OCILayerSelector>,
    /// The last value of the `reconcile.fluxcd.io/requestedAt` annotation that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}
