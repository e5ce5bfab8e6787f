//! The few facts about a stored revision that are worth memory.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::storage::{self, StorageError};
use crate::values::config_digest;

/// Helm's word for server-side apply.
pub(super) const SERVER_SIDE: &str = "ssa";

/// Helm's status of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReleaseStatus {
    /// In force.
    Deployed,
    /// Deleted, its history kept.
    Uninstalled,
    /// Replaced by a later revision.
    Superseded,
    /// Its action failed.
    Failed,
    /// Being deleted.
    Uninstalling,
    /// Being installed.
    PendingInstall,
    /// Being upgraded.
    PendingUpgrade,
    /// Being rolled back.
    PendingRollback,
    /// `unknown`, or a word that helm does not use today.
    Unknown,
}

impl ReleaseStatus {
    const ALL: [Self; 9] = [
        Self::Deployed,
        Self::Uninstalled,
        Self::Superseded,
        Self::Failed,
        Self::Uninstalling,
        Self::PendingInstall,
        Self::PendingUpgrade,
        Self::PendingRollback,
        Self::Unknown,
    ];

    /// The status that helm's word means.
    pub fn from_helm(word: &str) -> Self {
        Self::ALL.into_iter().find(|status| status.as_str() == word).unwrap_or(Self::Unknown)
    }

    /// Helm's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployed => "deployed",
            Self::Uninstalled => "uninstalled",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Uninstalling => "uninstalling",
            Self::PendingInstall => "pending-install",
            Self::PendingUpgrade => "pending-upgrade",
            Self::PendingRollback => "pending-rollback",
            Self::Unknown => "unknown",
        }
    }

    /// Whether an action holds the release, or died holding it.
    pub fn is_pending(self) -> bool {
        matches!(self, Self::PendingInstall | Self::PendingUpgrade | Self::PendingRollback)
    }
}

impl fmt::Display for ReleaseStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One revision of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseSummary {
    /// Revision, from 1.
    pub version: i64,
    /// Helm's status of it.
    pub status: ReleaseStatus,
    /// Name in the chart's metadata.
    pub chart_name: Box<str>,
    /// Version in the chart's metadata.
    pub chart_version: Box<str>,
    /// Application version in the chart's metadata, empty for none.
    pub app_version: Box<str>,
    /// Flux's digest of the values, comparable with [`config_digest`] of composed ones.
    pub config_digest: Box<str>,
    /// When the release was first installed.
    pub first_deployed: Option<Timestamp>,
    /// When this revision was made.
    pub last_deployed: Option<Timestamp>,
    /// When its deletion began, if it did.
    pub deleted: Option<Timestamp>,
    /// Helm's words about it.
    pub description: Box<str>,
    /// Whether helm let the API server apply the objects; helm 4 goes on as it began.
    pub server_side: bool,
    /// Resource version of the Secret.
    pub resource_version: Box<str>,
}

/// The name under which a revision is summarised.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseKey {
    /// Namespace of the Secret, which is the release's own.
    pub namespace: String,
    /// Name of the release.
    pub name: String,
}

#[derive(Deserialize)]
struct Document {
    name: String,
    version: i64,
    #[serde(default)]
    info: Info,
    #[serde(default)]
    chart: Option<Chart>,
    #[serde(default)]
    config: Option<Map<String, Value>>,
    #[serde(default)]
    apply_method: String,
}

#[derive(Default, Deserialize)]
struct Info {
    first_deployed: Option<String>,
    last_deployed: Option<String>,
    deleted: Option<String>,
    #[serde(default)]
    description: Box<str>,
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
struct Chart {
    metadata: Option<Metadata>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: Box<str>,
    #[serde(default)]
    version: Box<str>,
    #[serde(default)]
    app_version: Box<str>,
}

/// The key and the summary of a Secret. Reads no more of the release than that takes.
pub fn summary(secret: &Secret) -> Result<(ReleaseKey, ReleaseSummary), StorageError> {
    let document: Document = serde_json::from_slice(&storage::unpack(secret)?)?;
    let metadata = document.chart.and_then(|chart| chart.metadata).unwrap_or_default();
    let namespace = secret.metadata.namespace.clone().unwrap_or_default();
    let key = ReleaseKey { namespace, name: document.name };
    let summary = ReleaseSummary {
        version: document.version,
        status: ReleaseStatus::from_helm(&document.info.status),
        chart_name: metadata.name,
        chart_version: metadata.version,
        app_version: metadata.app_version,
        config_digest: config_digest(&document.config.unwrap_or_default()).into(),
        first_deployed: time(document.info.first_deployed.as_deref()),
        last_deployed: time(document.info.last_deployed.as_deref()),
        deleted: time(document.info.deleted.as_deref()),
        description: document.info.description,
        server_side: document.apply_method == SERVER_SIDE,
        resource_version: secret.metadata.resource_version.as_deref().unwrap_or_default().into(),
    };
    Ok((key, summary))
}

/// Helm 3 writes no time as an empty text, and Go's zero time is the year 1.
fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok().filter(|time: &Timestamp| *time > Timestamp::UNIX_EPOCH)
}
