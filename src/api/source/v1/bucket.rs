//! `Bucket`.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::meta::{Artifact, Condition, Duration, LocalObjectReference};
use crate::api::schema::{self, lenient, string_enum};

string_enum! {
    /// Whose protocol and login a bucket uses.
    pub enum BucketProvider {
        /// Any S3 compatible store.
        #[default]
        Generic => "generic",
        /// Amazon S3.
        Aws => "aws",
        /// Google Cloud Storage.
        Gcp => "gcp",
        /// Azure Blob Storage.
        Azure => "azure",
    }
}

string_enum! {
    /// Who hands out temporary credentials.
    pub enum StsProvider {
        /// The security token service of AWS.
        #[default]
        Aws => "aws",
        /// An LDAP identity provider behind an S3 compatible store.
        Ldap => "ldap",
    }
}

/// Which objects to fetch from which bucket.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(group = "source.toolkit.fluxcd.io", version = "v1", kind = "Bucket", namespaced)]
#[kube(status = "BucketStatus", derive = "PartialEq", derive = "Default")]
#[kube(doc = "A bucket of an object store whose content is fetched.")]
#[kube(category = "all", category = "fluxcd", category = "fluxcd-sources")]
#[kube(annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"))]
#[kube(printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpoint"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[kube(printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#))]
#[kube(printcolumn(
    name = "Status",
    type_ = "string",
    json_path = r#".status.conditions[?(@.type=="Ready")].message"#
))]
#[x_kube(validation = Rule::new("self.provider == 'aws' || self.provider == 'generic' || !has(self.sts)").message("spec.sts can only be set for the providers 'aws' and 'generic'"))]
#[x_kube(validation = Rule::new("self.provider != 'aws' || !has(self.sts) || self.sts.provider == 'aws'").message("the provider 'aws' takes its temporary credentials from the STS provider 'aws' only"))]
#[x_kube(validation = Rule::new("self.provider != 'generic' || !has(self.sts) || self.sts.provider == 'ldap'").message("the provider 'generic' takes its temporary credentials from the STS provider 'ldap' only"))]
#[x_kube(validation = Rule::new("!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.secretRef)").message("the STS provider 'aws' takes no spec.sts.secretRef"))]
#[x_kube(validation = Rule::new("!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.certSecretRef)").message("the STS provider 'aws' takes no spec.sts.certSecretRef"))]
#[x_kube(validation = Rule::new("self.provider != 'generic' || !has(self.serviceAccountName)").message("the provider 'generic' takes no spec.serviceAccountName"))]
#[x_kube(validation = Rule::new("!has(self.secretRef) || !has(self.serviceAccountName)").message("only one of spec.secretRef and spec.serviceAccountName can be set"))]
pub struct BucketSpec {
    /// Whose store it is.
    #[serde(default)]
    pub provider: BucketProvider,
    /// Name of the bucket.
    pub bucket_name: String,
    /// Host, and port if need be, of the store.
    pub endpoint: String,
    /// Service that hands out temporary credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sts: Option<BucketStsSpec>,
    /// Whether to speak plain HTTP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// Region of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Only objects whose key starts with this are fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Secret with the credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Service account in this namespace whose cloud identity logs in.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub service_account_name: Option<String>,
    /// Secret with `ca.crt`, and `tls.crt` and `tls.key` for mutual TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,
    /// Secret with the `address` of a proxy, and its `username` and `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalObjectReference>,
    /// How often to look for changes.
    #[schemars(regex(pattern = schema::DURATION))]
    pub interval: Duration,
    /// How long one fetch may take.
    #[schemars(regex(pattern = schema::SHORT_DURATION), extend("default" = "60s"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Objects to leave out, in the syntax of `.gitignore`; replaces the usual rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// Whether to stop looking for changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// A service that hands out temporary credentials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BucketStsSpec {
    /// Whose service it is.
    pub provider: StsProvider,
    /// Address of the service.
    #[schemars(regex(pattern = schema::HTTP_URL))]
    pub endpoint: String,
    /// Secret with `username` and `password` for the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Secret with `ca.crt`, and `tls.crt` and `tls.key` for mutual TLS with the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,
}

/// What was fetched, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = serde_json::json!({"observedGeneration": -1})))]
pub struct BucketStatus {
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
    /// The last value of the `reconcile.fluxcd.io/requestedAt` annotation that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}
