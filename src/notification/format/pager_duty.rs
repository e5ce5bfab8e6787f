//! `PagerDuty`: an incident that is triggered or resolved, and a change for its timeline.

use serde_json::{Value, json};

use super::{is_error, name, reason_in_words};
use crate::api::condition::reason;
use crate::api::event::Event;

/// Paths and bodies of the requests; none for an event that only says that work is under way.
pub fn requests(event: &Event, routing_key: Option<&str>) -> Vec<(&'static str, Value)> {
    let routing_key = routing_key.unwrap_or_default();
    if event.reason == reason::PROGRESSING {
        return Vec::new();
    }
    let summary = format!("{}: {}", reason_in_words(event), name(event));
    let source = event.reporting_controller.as_str();
    let (time, details) = (event.timestamp.to_string(), json!({"message": event.message, "metadata": event.metadata}));
    let object = &event.involved_object;
    let incident = |action: &str| json!({"routing_key": routing_key, "event_action": action, "dedup_key": object.uid.as_deref().unwrap_or_default()});
    if is_error(event) {
        let mut incident = incident("trigger");
        incident["payload"] = json!({
            "summary": summary, "source": source, "severity": "error", "timestamp": time,
            "component": object.name, "group": object.kind, "custom_details": details,
        });
        return vec![("/v2/enqueue", incident)];
    }
    let payload = json!({"summary": summary, "source": source, "timestamp": time, "custom_details": details});
    let change = json!({"routing_key": routing_key, "payload": payload});
    vec![("/v2/enqueue", incident("resolve")), ("/v2/change/enqueue", change)]
}

#[cfg(test)]
mod tests {
    use super::super::tests::{failure, success};
    use super::*;

    const UID: &str = "7d0cdc51-ddcf-4743-b223-83ca5c699632";

    #[test]
    fn a_failure_triggers_an_incident() {
        let details = json!({
            "message": "install failed: <none>\nfatal: no database",
            "metadata": {"env": "prod", "revision": "1.0.0+0123", "summary": "the shop is down"},
        });
        let golden = json!({
            "routing_key": "key",
            "event_action": "trigger",
            "dedup_key": UID,
            "payload": {
                "summary": "install failed: helmrelease/ui", "source": "fairlead", "severity": "error",
                "timestamp": "2026-01-02T03:04:05Z", "component": "ui", "group": "HelmRelease",
                "custom_details": details,
            },
        });
        assert_eq!(requests(&failure(), Some("key")), [("/v2/enqueue", golden)]);
    }

    #[test]
    fn a_success_resolves_it_and_shows_as_a_change() {
        let resolved = json!({"routing_key": "key", "event_action": "resolve", "dedup_key": UID});
        let change = json!({
            "routing_key": "key",
            "payload": {
                "summary": "install succeeded: helmrelease/ui", "source": "fairlead",
                "timestamp": "2026-01-02T03:04:05Z",
                "custom_details": {"message": "install succeeded", "metadata": {"revision": "1.0.0"}},
            },
        });
        let expected = [("/v2/enqueue", resolved), ("/v2/change/enqueue", change)];
        assert_eq!(requests(&success(), Some("key")), expected);
        let under_way = Event { reason: reason::PROGRESSING.to_owned(), ..success() };
        assert!(requests(&under_way, Some("key")).is_empty());
    }
}
