//! `source.toolkit.fluxcd.io/v1`: where manifests and charts come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema::string_enum;

mod bucket;
mod external_artifact;
mod git_repository;
mod helm_chart;
mod helm_repository;
mod oci_repository;

pub use bucket::*;
pub use external_artifact::*;
pub use git_repository::*;
pub use helm_chart::*;
pub use helm_repository::*;
pub use oci_repository::*;

string_enum! {
    /// What makes a new chart artifact.
    pub enum ReconcileStrategy {
        /// A new version in the chart's own metadata.
        #[default]
        ChartVersion => "ChartVersion",
        /// Any new revision of the source.
        Revision => "Revision",
    }
}

string_enum! {
    /// What checks signatures in registries.
    pub enum VerificationProvider {
        /// Sigstore's cosign.
        #[default]
        Cosign => "cosign",
        /// The Notary Project's notation.
        Notation => "notation",
    }
}

string_enum! {
    /// Whose login a registry uses.
    pub enum RegistryProvider {
        /// Credentials from a Secret, or none.
        #[default]
        Generic => "generic",
        /// The workload's identity at AWS.
        Aws => "aws",
        /// The workload's identity at Azure.
        Azure => "azure",
        /// The workload's identity at Google Cloud.
        Gcp => "gcp",
    }
}

/// An identity whose keyless signature is trusted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OidcIdentityMatch {
    /// Regular expression for the issuer of the identity token.
    pub issuer: String,
    /// Regular expression for the subject of the identity token.
    pub subject: String,
}
