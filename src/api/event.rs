//! `event.toolkit.fluxcd.io/v1beta1`: what happened to an object, as controllers tell each other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use serde::{Deserialize, Serialize};

/// Group of the format, and of annotations on objects that each of their events repeats.
pub const GROUP: &str = "event.toolkit.fluxcd.io";

/// Metadata by which an event asks for the status of a commit, with [`UPDATE`]; such an event is not
/// for people.
pub const COMMIT_STATUS: &str = "commit_status";

/// See [`COMMIT_STATUS`].
pub const UPDATE: &str = "update";

/// Metadata that names the commit that an artifact of a registry was made from.
pub const ORIGIN_REVISION: &str = "originRevision";

/// Whether a person should worry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something went as wanted.
    #[default]
    Info,
    /// Something needs a person's attention.
    Error,
}

impl Severity {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Error => "error",
        }
    }
}

/// What happened to an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The object.
    pub involved_object: ObjectReference,
    /// Whether a person should worry.
    pub severity: Severity,
    /// When, in whole seconds.
    pub timestamp: Timestamp,
    /// In a sentence or more.
    pub message: String,
    /// In one word.
    pub reason: String,
    /// More about it, by `<group>/<name>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The controller that tells it.
    pub reporting_controller: String,
    /// The pod or machine where that runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reporting_instance: String,
}
