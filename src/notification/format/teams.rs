//! Microsoft Teams: an adaptive card for workflows, a message card for the older connectors.

use serde_json::{Value, json};

use super::{is_error, object, ordered};
use crate::api::event::Event;

/// End of the names of hosts that are connectors.
const CONNECTOR: &str = ".webhook.office.com";

/// The message for an address at this host.
pub fn message(event: &Event, host: &str) -> Value {
    if host.ends_with(CONNECTOR) { message_card(event) } else { adaptive_card(event) }
}

fn adaptive_card(event: &Event) -> Value {
    let mut text = json!({"type": "TextBlock", "text": event.message, "wrap": true});
    if is_error(event) {
        text["color"] = "attention".into();
    }
    let title = json!({"type": "TextBlock", "text": object(event), "size": "large", "weight": "bolder", "wrap": true});
    let facts: Vec<Value> = ordered(event).map(|(title, value)| json!({"title": title, "value": value})).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": {"width": "Full"},
                "body": [{"type": "Container", "items": [title, text, {"type": "FactSet", "facts": facts}]}],
            },
        }],
    })
}

fn message_card(event: &Event) -> Value {
    let facts: Vec<Value> = ordered(event).map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": if is_error(event) { "FF0000" } else { "0076D7" },
        "summary": object(event),
        "sections": [{"activityTitle": event.message, "activitySubtitle": object(event), "facts": facts}],
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{failure, success};
    use super::*;

    #[test]
    fn a_workflow_gets_an_adaptive_card() {
        let facts = json!([
            {"title": "summary", "value": "the shop is down"},
            {"title": "env", "value": "prod"},
            {"title": "revision", "value": "1.0.0+0123"},
        ]);
        let golden = json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "msteams": {"width": "Full"},
                    "body": [{
                        "type": "Container",
                        "items": [
                            {
                                "type": "TextBlock", "text": "helmrelease/ui.apps", "size": "large",
                                "weight": "bolder", "wrap": true,
                            },
                            {
                                "type": "TextBlock", "text": "install failed: <none>\nfatal: no database",
                                "wrap": true, "color": "attention",
                            },
                            {"type": "FactSet", "facts": facts},
                        ],
                    }],
                },
            }],
        });
        assert_eq!(message(&failure(), "prod-1.westus.logic.azure.com"), golden);
    }

    #[test]
    fn a_connector_gets_a_message_card() {
        let golden = json!({
            "@type": "MessageCard",
            "@context": "http://schema.org/extensions",
            "themeColor": "0076D7",
            "summary": "helmrelease/ui.apps",
            "sections": [{
                "activityTitle": "install succeeded",
                "activitySubtitle": "helmrelease/ui.apps",
                "facts": [{"name": "revision", "value": "1.0.0"}],
            }],
        });
        assert_eq!(message(&success(), "org.webhook.office.com"), golden);
        assert_eq!(message(&failure(), "org.webhook.office.com")["themeColor"], "FF0000");
    }
}
