//! Slack's messages, which Rocket.Chat and Discord (at `/slack`) read as well.

use serde_json::{Map, Value, json};

use super::{is_error, object, ordered};
use crate::api::event::Event;

/// Which of them reads the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each case is the service that it is named after")]
pub enum Chat {
    Slack,
    Discord,
    Rocket,
}

/// A message with one attachment.
pub fn message(chat: Chat, event: &Event, channel: Option<&str>, username: Option<&str>) -> Value {
    let author = object(event);
    let mut attachment = json!({
        "color": color(chat, event),
        "author_name": author,
        "text": event.message,
        "mrkdwn_in": ["text"],
        "fields": ordered(event)
            .map(|(title, value)| json!({"title": title, "value": value, "short": false}))
            .collect::<Vec<_>>(),
    });
    if chat == Chat::Slack {
        let first = event.message.lines().next().unwrap_or_default();
        attachment["fallback"] = format!("{author}: {first}").into();
    }
    let mut message = Map::new();
    if let Some(channel) = channel.filter(|_| chat != Chat::Discord) {
        message.insert("channel".to_owned(), channel.into());
    }
    // Rocket.Chat has a name for each of its webhooks.
    let default = Some(event.reporting_controller.as_str()).filter(|_| chat != Chat::Rocket);
    if let Some(username) = username.or(default) {
        message.insert("username".to_owned(), username.into());
    }
    message.insert("attachments".to_owned(), json!([attachment]));
    Value::Object(message)
}

fn color(chat: Chat, event: &Event) -> &'static str {
    match (chat, is_error(event)) {
        (Chat::Rocket, true) => "#FF0000",
        (Chat::Rocket, false) => "#0076D7",
        (_, true) => "danger",
        (_, false) => "good",
    }
}

/// What went wrong although Slack's API said 200, which it always does.
pub fn check_answer(body: &[u8]) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| "the answer is not that of Slack's API".to_owned())?;
    if answer["ok"] == true {
        return Ok(());
    }
    Err(format!("Slack says: {}", answer["error"].as_str().unwrap_or("no reason")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{failure, success};
    use super::*;

    #[test]
    fn slack_gets_an_attachment_with_fields() {
        let golden = json!({
            "channel": "general",
            "username": "bot",
            "attachments": [{
                "fallback": "helmrelease/ui.apps: install failed: <none>",
                "color": "danger",
                "author_name": "helmrelease/ui.apps",
                "text": "install failed: <none>\nfatal: no database",
                "mrkdwn_in": ["text"],
                "fields": [
                    {"title": "summary", "value": "the shop is down", "short": false},
                    {"title": "env", "value": "prod", "short": false},
                    {"title": "revision", "value": "1.0.0+0123", "short": false},
                ],
            }],
        });
        assert_eq!(message(Chat::Slack, &failure(), Some("general"), Some("bot")), golden);
    }

    #[test]
    fn its_readers_differ_in_names_and_colours() {
        let attachment = |color: &str| {
            json!([{
                "color": color,
                "author_name": "helmrelease/ui.apps",
                "text": "install succeeded",
                "mrkdwn_in": ["text"],
                "fields": [{"title": "revision", "value": "1.0.0", "short": false}],
            }])
        };
        let discord = json!({"username": "fairlead", "attachments": attachment("good")});
        assert_eq!(message(Chat::Discord, &success(), Some("ignored"), None), discord);
        let rocket = json!({"channel": "#ops", "attachments": attachment("#0076D7")});
        assert_eq!(message(Chat::Rocket, &success(), Some("#ops"), None), rocket);
    }

    #[test]
    fn slack_says_in_the_body_what_went_wrong() {
        assert_eq!(check_answer(br#"{"ok": true}"#), Ok(()));
        let error = check_answer(br#"{"ok": false, "error": "channel_not_found"}"#).unwrap_err();
        assert_eq!(error, "Slack says: channel_not_found");
        check_answer(b"<html>").unwrap_err();
    }
}
