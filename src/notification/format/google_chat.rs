//! Google Chat: a card of its first version.

use serde_json::{Value, json};

use super::{is_error, object, ordered};
use crate::api::event::Event;

/// A message with one card.
pub fn message(event: &Event) -> Value {
    let mut text = escaped(&event.message);
    if is_error(event) {
        text = format!("<font color=\"#ff0000\">{text}</font>");
    }
    let mut sections = vec![json!({"widgets": [{"textParagraph": {"text": text}}]})];
    let facts: Vec<Value> = ordered(event)
        .map(|(name, value)| json!({"keyValue": {"topLabel": name, "content": escaped(value), "contentMultiline": false}}))
        .collect();
    if !facts.is_empty() {
        sections.push(json!({"widgets": facts}));
    }
    let header = json!({"title": object(event), "subtitle": event.reporting_controller});
    json!({"cards": [{"header": header, "sections": sections}]})
}

/// Texts of a card are a subset of HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{failure, success};
    use super::*;

    #[test]
    fn a_card_has_the_message_and_then_the_facts() {
        let text = "<font color=\"#ff0000\">install failed: &lt;none&gt;\nfatal: no database</font>";
        let fact = |name: &str, value: &str| json!({"keyValue": {"topLabel": name, "content": value, "contentMultiline": false}});
        let golden = json!({"cards": [{
            "header": {"title": "helmrelease/ui.apps", "subtitle": "fairlead"},
            "sections": [
                {"widgets": [{"textParagraph": {"text": text}}]},
                {"widgets": [
                    fact("summary", "the shop is down"), fact("env", "prod"), fact("revision", "1.0.0+0123"),
                ]},
            ],
        }]});
        assert_eq!(message(&failure()), golden);
        let plain = Event { metadata: [].into(), ..success() };
        let sections = json!([{"widgets": [{"textParagraph": {"text": "install succeeded"}}]}]);
        assert_eq!(message(&plain)["cards"][0]["sections"], sections);
    }
}
