//! Webex: a message in Markdown.

use serde_json::{Value, json};

use super::{is_error, object, ordered};
use crate::api::event::Event;

/// A message to a room.
pub fn message(event: &Event, room: Option<&str>) -> Value {
    let sign = if is_error(event) { "💣" } else { "✅" };
    let mut lines = vec![format!("{sign} **{}**", object(event)), event.message.clone()];
    lines.extend(ordered(event).map(|(name, value)| format!(">**{name}**: {value}")));
    let text = format!("{}\n", lines.join("\n"));
    match room {
        Some(room) => json!({"roomId": room, "markdown": text}),
        None => json!({"markdown": text}),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{failure, success};
    use super::*;

    #[test]
    fn a_message_is_a_few_lines_of_markdown() {
        let text = "💣 **helmrelease/ui.apps**\ninstall failed: <none>\nfatal: no database\n\
                    >**summary**: the shop is down\n>**env**: prod\n>**revision**: 1.0.0+0123\n";
        assert_eq!(message(&failure(), Some("room")), json!({"roomId": "room", "markdown": text}));
        let text = "✅ **helmrelease/ui.apps**\ninstall succeeded\n>**revision**: 1.0.0\n";
        assert_eq!(message(&success(), None), json!({"markdown": text}));
    }
}
