//! `kustomize.toolkit.fluxcd.io/v1`: `Kustomization`.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CommonMetadata, CustomHealthCheck, IgnoreRule, Image, Patch};
use crate::api::meta::{
    Condition, DependencyReference, Duration, KubeConfigReference, LocalObjectReference, NamespacedObjectKindReference,
    ResourceInventory, Time, ValuesReferenceKind,
};
use crate::api::schema::{self, lenient, string_enum};

string_enum! {
    /// Kinds of sources whose artifact can be applied.
    pub enum SourceKind {
        /// An `OCIRepository`.
        OciRepository => "OCIRepository",
        /// A `GitRepository`.
        #[default]
        GitRepository => "GitRepository",
        /// A `Bucket`.
        Bucket => "Bucket",
        /// An `ExternalArtifact`.
        ExternalArtifact => "ExternalArtifact",
    }
}

string_enum! {
    /// What decrypts the manifests.
    pub enum DecryptionProvider {
        /// SOPS.
        #[default]
        Sops => "sops",
    }
}

string_enum! {
    /// What happens to the applied objects when their `Kustomization` is deleted.
    pub enum DeletionPolicy {
        /// They are deleted if `prune` is set, and stay otherwise.
        #[default]
        MirrorPrune => "MirrorPrune",
        /// They are deleted.
        Delete => "Delete",
        /// They are deleted, and the `Kustomization` stays until they are gone.
        WaitForTermination => "WaitForTermination",
        /// They stay.
        Orphan => "Orphan",
    }
}

string_enum! {
    /// What the build notes on the objects it makes.
    pub enum BuildMetadataOption {
        /// Where an object was read from.
        #[default]
        OriginAnnotations => "originAnnotations",
        /// Which transformers changed an object.
        TransformerAnnotations => "transformerAnnotations",
    }
}

string_enum! {
    /// When variables are substituted.
    pub enum SubstituteStrategy {
        /// Only if there are variables to substitute.
        #[default]
        WithVariables => "WithVariables",
        /// Even without any variable, so that the defaults in the text take effect.
        Always => "Always",
    }
}

/// What to apply, from where, and how.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(group = "kustomize.toolkit.fluxcd.io", version = "v1", kind = "Kustomization", namespaced)]
#[kube(status = "KustomizationStatus", derive = "PartialEq", derive = "Default", shortname = "ks")]
#[kube(doc = "A folder of manifests in a source that the cluster follows.")]
#[kube(category = "all", category = "fluxcd", category = "fluxcd-appliers")]
#[kube(annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#))]
#[kube(printcolumn(
    name = "Status",
    type_ = "string",
    json_path = r#".status.conditions[?(@.type=="Ready")].message"#
))]
pub struct KustomizationSpec {
    /// Labels and annotations to set on every object applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_metadata: Option<CommonMetadata>,
    /// `Kustomization` objects that have to be ready first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<DependencyReference>,
    /// How to decrypt Secrets before they are applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decryption: Option<Decryption>,
    /// How often to compare the folder with the cluster when nothing else asks for it.
    #[schemars(regex(pattern = schema::DURATION))]
    pub interval: Duration,
    /// How long to wait after a failure; `interval` when empty.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_interval: Option<Duration>,
    /// The cluster to apply to; the operator's own when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_config: Option<KubeConfigReference>,
    /// Folder in the artifact to apply; its root when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Substitution of variables in the manifests after the build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_build: Option<PostBuild>,
    /// Whether objects that leave the folder are deleted.
    pub prune: bool,
    /// What happens to the objects when this one is deleted; `MirrorPrune` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Objects to wait for after an apply; not used when `wait` is set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<NamespacedObjectKindReference>,
    /// Text put before the name of every object.
    #[schemars(length(min = 1, max = 200))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_prefix: Option<String>,
    /// Text put behind the name of every object.
    #[schemars(length(min = 1, max = 200))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_suffix: Option<String>,
    /// Changes to the objects, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
    /// Images to replace by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Service account in this namespace that the apply acts as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// The source that holds the folder.
    pub source_ref: CrossNamespaceSourceReference,
    /// Whether to leave the cluster as it is and look at nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Namespace set on every namespaced object.
    #[schemars(length(min = 1, max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_namespace: Option<String>,
    /// How long an apply with its health checks may take; `interval` when empty.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether an object whose immutable fields changed is deleted and made anew.
    #[serde(default)]
    pub force: bool,
    /// Whether to wait until every applied object is healthy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
    /// What the build notes on the objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build_metadata: Vec<BuildMetadataOption>,
    /// Folders of Kustomize components to include, relative to `path`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Whether a component that does not exist is passed over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_missing_components: bool,
    /// How to tell the health of kinds that do not follow the usual conventions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_check_exprs: Vec<CustomHealthCheck>,
    /// Fields that are neither compared nor applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<IgnoreRule>,
}

/// A source, possibly in another namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrossNamespaceSourceReference {
    /// Group and version of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the source.
    pub kind: SourceKind,
    /// Name of the source.
    pub name: String,
    /// Namespace of the source; the referrer's own when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// How to decrypt manifests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decryption {
    /// What decrypts them.
    pub provider: DecryptionProvider,
    /// Service account in this namespace whose cloud identity reads the keys from a key service.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub service_account_name: Option<String>,
    /// Secret that holds the private keys or the credentials of a key service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
}

/// Substitution of `${name}` in the built manifests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostBuild {
    /// When to substitute; `WithVariables` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub substitute_strategy: Option<SubstituteStrategy>,
    /// Variables and their values; they win over those of `substituteFrom`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub substitute: BTreeMap<String, String>,
    /// Objects whose data are variables; later ones win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub substitute_from: Vec<SubstituteReference>,
}

/// An object whose data are variables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubstituteReference {
    /// Kind of the object.
    pub kind: ValuesReferenceKind,
    /// Name of the object, in this namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Whether a missing object is passed over instead of failing.
    #[serde(default)]
    pub optional: bool,
}

/// What was applied, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = serde_json::json!({"observedGeneration": -1})))]
pub struct KustomizationStatus {
    /// The last value of the `reconcile.fluxcd.io/requestedAt` annotation that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Generation of the spec that this status is about; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// State of the object, one entry per type.
    #[schemars(schema_with = "schema::conditions")]
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub conditions: Vec<Condition>,
    /// Revision of the source that was applied last without an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_applied_revision: Option<String>,
    /// Revision that the source gives as its origin, of the state applied last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_applied_origin_revision: Option<String>,
    /// Revision of the source that was tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempted_revision: Option<String>,
    /// The objects applied last.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::option")]
    pub inventory: Option<ResourceInventory>,
    /// The latest distinct outcomes, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub history: Vec<Reconciliation>,
}

/// An outcome of applying one state of the source, possibly several times in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reconciliation {
    /// Checksum of what was applied.
    pub digest: String,
    /// When this outcome was first seen.
    pub first_reconciled: Time,
    /// When this outcome was last seen.
    pub last_reconciled: Time,
    /// How long the last apply took.
    pub last_reconciled_duration: Duration,
    /// Reason of the `Ready` condition after it.
    pub last_reconciled_status: String,
    /// How often this outcome was seen in a row.
    pub total_reconciliations: i64,
    /// What else is known about it, for instance the revision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}
