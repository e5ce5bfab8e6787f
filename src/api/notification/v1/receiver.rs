//! `Receiver`.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::meta::{Condition, Duration, LocalObjectReference};
use crate::api::schema::{self, lenient, string_enum};

string_enum! {
    /// Who sends a webhook, and so how it shows that it is genuine.
    pub enum ReceiverType {
        /// Anybody who knows the path.
        #[default]
        Generic => "generic",
        /// Anybody who signs the body with the token: `X-Signature`.
        GenericHmac => "generic-hmac",
        /// Anybody with an identity token of a known issuer.
        GenericOidc => "generic-oidc",
        /// GitHub, Gitea and Forgejo: `X-Hub-Signature-256`.
        Github => "github",
        /// GitLab: `X-Gitlab-Token`.
        Gitlab => "gitlab",
        /// Bitbucket Server and Cloud: `X-Hub-Signature`.
        Bitbucket => "bitbucket",
        /// Harbor: `Authorization`.
        Harbor => "harbor",
        /// Docker Hub, which signs nothing.
        Dockerhub => "dockerhub",
        /// Quay, which signs nothing.
        Quay => "quay",
        /// Google's registries, with an identity token.
        Gcr => "gcr",
        /// Nexus: `X-Nexus-Webhook-Signature`.
        Nexus => "nexus",
        /// Azure's registry, which signs nothing.
        Acr => "acr",
        /// A sender of `CDEvents`, which signs nothing.
        Cdevents => "cdevents",
    }
}

string_enum! {
    /// Kinds that a webhook can be about.
    pub enum ReceiverResourceKind {
        /// A bucket of an object store.
        Bucket => "Bucket",
        /// A git repository.
        #[default]
        GitRepository => "GitRepository",
        /// A folder that is applied.
        Kustomization => "Kustomization",
        /// A release of a chart.
        HelmRelease => "HelmRelease",
        /// A chart.
        HelmChart => "HelmChart",
        /// A repository of charts.
        HelmRepository => "HelmRepository",
        /// Tags of an image.
        ImageRepository => "ImageRepository",
        /// A choice among tags.
        ImagePolicy => "ImagePolicy",
        /// Tags that are written to git.
        ImageUpdateAutomation => "ImageUpdateAutomation",
        /// A repository of a registry.
        OciRepository => "OCIRepository",
        /// Artifacts made of others.
        ArtifactGenerator => "ArtifactGenerator",
        /// An artifact of another controller.
        ExternalArtifact => "ExternalArtifact",
    }
}

/// Who calls, how calls are checked, and which objects are looked at then.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(group = "notification.toolkit.fluxcd.io", version = "v1", kind = "Receiver", namespaced)]
#[kube(status = "ReceiverStatus", derive = "PartialEq", derive = "Default")]
#[kube(doc = "A webhook that asks for objects to be reconciled at once.")]
#[kube(category = "all", category = "fluxcd", category = "fluxcd-notifications")]
#[kube(annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#))]
#[kube(printcolumn(
    name = "Status",
    type_ = "string",
    json_path = r#".status.conditions[?(@.type=="Ready")].message"#
))]
#[x_kube(validation = Rule::new("self.type != 'generic-oidc' || (has(self.oidcProviders) && size(self.oidcProviders) > 0)").message("the type 'generic-oidc' needs at least one of spec.oidcProviders"))]
#[x_kube(validation = Rule::new("self.type == 'generic-oidc' || !has(self.oidcProviders) || size(self.oidcProviders) == 0").message("spec.oidcProviders can only be set with the type 'generic-oidc'"))]
#[x_kube(validation = Rule::new("self.type != 'generic-oidc' || !has(self.secretRef)").message("the type 'generic-oidc' takes no spec.secretRef"))]
#[x_kube(validation = Rule::new("self.type == 'generic-oidc' || has(self.secretRef)").message("spec.secretRef has to be set, unless the type is 'generic-oidc'"))]
pub struct ReceiverSpec {
    /// Who sends the webhook, and so how it shows that it is genuine.
    pub r#type: ReceiverType,
    /// How often the Secret is read again.
    #[schemars(regex(pattern = schema::DURATION), extend("default" = "10m"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Events to act on, for instance `push` of GitHub or `Push Hook` of GitLab; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Objects to look at when the webhook is called.
    pub resources: Vec<ReceiverResource>,
    /// CEL condition over `res` (the metadata of an object) and `req` (the body of the request)
    /// that has to hold for the object to be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_filter: Option<String>,
    /// Secret with the `token` that the sender proves to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Issuers of identity tokens that are trusted, with the type `generic-oidc`.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["issuerURL"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub oidc_providers: Vec<OidcProvider>,
    /// Whether to refuse all requests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Names an object, or with the name `*` all objects that have some labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverResource {
    /// Group and version of the object; those that Flux serves when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the object.
    pub kind: ReceiverResourceKind,
    /// Name of the object; `*` for all that `matchLabels` is true of.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the object; the receiver's own when empty.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels that an object has to have, with the name `*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// CEL condition as in `spec.resourceFilter`, for the objects of this entry alone; both have
    /// to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// An issuer of identity tokens that is trusted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OidcProvider {
    /// Address of the issuer, as in the claim `iss` of its tokens.
    #[schemars(regex(pattern = schema::ISSUER_URL))]
    #[serde(rename = "issuerURL")]
    pub issuer_url: String,
    /// What the claim `aud` has to be; `notification-controller` when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Named CEL expressions over `claims` and the variables before them, for use as
    /// `vars.<name>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<OidcVariable>,
    /// CEL conditions over `claims` and `vars` that all have to hold.
    #[schemars(length(min = 1))]
    pub validations: Vec<OidcValidation>,
}

/// A named CEL expression.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OidcVariable {
    /// Name of the variable.
    pub name: String,
    /// What the variable is.
    pub expression: String,
}

/// A CEL condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OidcValidation {
    /// What has to hold.
    pub expression: String,
    /// What the sender is told when it does not.
    pub message: String,
}

/// Where the webhook is, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = serde_json::json!({"observedGeneration": -1})))]
pub struct ReceiverStatus {
    /// Generation of the spec that this status is about; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// State of the object, one entry per type.
    #[schemars(schema_with = "schema::conditions")]
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    pub conditions: Vec<Condition>,
    /// Path of the webhook: `/hook/` and the SHA-256 of token, name and namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_path: Option<String>,
    /// The last value of the `reconcile.fluxcd.io/requestedAt` annotation that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}
