//! The same event within a while is told once. Pure: the time is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::metadata;
use crate::api::event::Event;

/// Events that were told a short while ago.
#[derive(Debug)]
pub struct Recent {
    window: Duration,
    told: HashMap<[u8; 32], Instant>,
}

impl Recent {
    /// Remembers each event for so long.
    pub fn new(window: Duration) -> Self {
        Self { window, told: HashMap::new() }
    }

    /// Whether the event was not told within the window; from now on it was.
    pub fn is_new(&mut self, event: &Event, now: Instant) -> bool {
        self.told.retain(|_, at| now.duration_since(*at) < self.window);
        let key = key(event);
        let known = self.told.contains_key(&key);
        if !known {
            self.told.insert(key, now);
        }
        !known
    }
}

/// Object, message, revisions and token: what Flux compares, too.
fn key(event: &Event) -> [u8; 32] {
    let object = &event.involved_object;
    let of_object = [&object.kind, &object.namespace, &object.name].map(|part| part.as_deref());
    let mut hasher = Sha256::new();
    let parts = of_object.into_iter().chain([Some(event.message.as_str())]).chain(metadata::identity(event));
    for part in parts {
        // Lengths keep neighbours apart, and an absent part from an empty one.
        hasher.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
        hasher.update(part.unwrap_or_default());
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, message: &str, revision: &str) -> Event {
        let mut event = Event { message: message.to_owned(), ..Event::default() };
        event.involved_object.api_version = Some("helm.toolkit.fluxcd.io/v2".to_owned());
        event.involved_object.name = Some(name.to_owned());
        event.metadata.insert("helm.toolkit.fluxcd.io/revision".to_owned(), revision.to_owned());
        event
    }

    #[test]
    fn only_the_same_event_within_the_window_is_old() {
        let (start, window) = (Instant::now(), Duration::from_mins(5));
        let mut recent = Recent::new(window);
        let table = [
            (("ui", "failed", "1"), 0, true),
            (("ui", "failed", "1"), 299, false),
            (("api", "failed", "1"), 299, true),
            (("ui", "again", "1"), 299, true),
            (("ui", "failed", "2"), 299, true),
            // From the first time on, however often it came since.
            (("ui", "failed", "1"), 300, true),
            (("ui", "failed", "1"), 599, false),
        ];
        for ((name, message, revision), seconds, expected) in table {
            let now = start + Duration::from_secs(seconds);
            let mut event = event(name, message, revision);
            assert_eq!(recent.is_new(&event, now), expected, "{name} {message} {revision} {seconds}");
            // Neither the reason nor the severity tells events apart.
            event.reason = "Other".to_owned();
            event.severity = crate::api::event::Severity::Error;
            assert!(!recent.is_new(&event, now));
        }
    }
}
