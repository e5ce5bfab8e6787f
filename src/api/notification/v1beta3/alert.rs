//! `Alert`.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::meta::LocalObjectReference;
use crate::api::notification::v1::ReceiverResourceKind;
use crate::api::schema::string_enum;

/// Kinds that an event can be about.
pub type EventSourceKind = ReceiverResourceKind;

string_enum! {
    /// Which events an alert is for.
    pub enum EventSeverity {
        /// All.
        #[default]
        Info => "info",
        /// Failures.
        Error => "error",
    }
}

/// Which events are told, and by whom.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(group = "notification.toolkit.fluxcd.io", version = "v1beta3", kind = "Alert", namespaced)]
#[kube(doc = "A choice among the events of objects, and the provider that passes them on.")]
#[kube(category = "all", category = "fluxcd", category = "fluxcd-notifications")]
#[kube(annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
pub struct AlertSpec {
    /// The provider, in the alert's own namespace.
    pub provider_ref: LocalObjectReference,
    /// `error` for failures only, `info` for every event.
    #[schemars(extend("default" = "info"))]
    #[serde(default)]
    pub event_severity: EventSeverity,
    /// Objects whose events are told.
    pub event_sources: Vec<EventSource>,
    /// Regular expressions; where there are any, the message has to match one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inclusion_list: Vec<String>,
    /// What is said beside each event, by name. What the event itself says under the same name
    /// stays.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub event_metadata: BTreeMap<String, String>,
    /// Regular expressions; an event whose message matches one is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusion_list: Vec<String>,
    /// What a failure means to people. Deprecated: write `summary` into `eventMetadata`.
    #[schemars(length(max = 255))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Whether to tell nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Names an object, or with the name `*` all objects of a kind in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventSource {
    /// Group and version of the object; events are chosen by its kind alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the object.
    pub kind: EventSourceKind,
    /// Name of the object; `*` for all.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the object; the alert's own when empty.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels that an object has to have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}
