//! Prometheus' Alertmanager: an alert that fires.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::metadata::SUMMARY;
use crate::api::event::Event;

/// The body of a request to `/api/v2/alerts`.
pub fn alerts(event: &Event) -> Value {
    let object = &event.involved_object;
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let mut labels: BTreeMap<String, String> =
        event.metadata.iter().filter(|(name, _)| *name != SUMMARY).map(|(k, v)| (k.clone(), v.clone())).collect();
    let own = [
        ("alertname", format!("Flux{}{}", text(&object.kind), titled(&event.reason))),
        ("severity", event.severity.as_str().to_owned()),
        ("reason", event.reason.clone()),
        ("kind", text(&object.kind)),
        ("name", text(&object.name)),
        ("namespace", text(&object.namespace)),
        ("reportingcontroller", event.reporting_controller.clone()),
    ];
    labels.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let mut annotations = json!({"message": event.message});
    if let Some(summary) = event.metadata.get(SUMMARY) {
        annotations[SUMMARY] = summary.as_str().into();
    }
    json!([{"status": "firing", "labels": labels, "annotations": annotations, "startsAt": event.timestamp.to_string()}])
}

/// The first letter large and all others small, as rules of people who come from Flux expect it.
fn titled(reason: &str) -> String {
    let mut letters = reason.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters.flat_map(char::to_lowercase)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::failure;
    use super::*;

    #[test]
    fn metadata_become_labels_and_the_summary_an_annotation() {
        let golden = json!([{
            "status": "firing",
            "labels": {
                "alertname": "FluxHelmReleaseInstallfailed", "severity": "error", "reason": "InstallFailed",
                "kind": "HelmRelease", "name": "ui", "namespace": "apps", "reportingcontroller": "fairlead",
                "env": "prod", "revision": "1.0.0+0123",
            },
            "annotations": {"message": "install failed: <none>\nfatal: no database", "summary": "the shop is down"},
            "startsAt": "2026-01-02T03:04:05Z",
        }]);
        assert_eq!(alerts(&failure()), golden);
        assert_eq!((titled("progressing").as_str(), titled("")), ("Progressing", String::new()));
    }
}
