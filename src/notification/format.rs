//! An event in the words of each service. Pure: an event and its provider's settings in, JSON out.
//!
//! The metadata of the event is by plain names here, see [`super::metadata::combined`].

pub mod alertmanager;
pub mod chat;
pub mod google_chat;
pub mod pager_duty;
pub mod teams;
pub mod webex;

use crate::api::event::{Event, Severity};

/// The object of an event, for people: `helmrelease/ui.apps`.
pub fn object(event: &Event) -> String {
    let object = &event.involved_object;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}.{}", part(&object.kind).to_lowercase(), part(&object.name), part(&object.namespace))
}

/// The object of an event without its namespace: `helmrelease/ui`.
pub fn name(event: &Event) -> String {
    let object = &event.involved_object;
    let (kind, name) = (object.kind.as_deref().unwrap_or_default(), object.name.as_deref().unwrap_or_default());
    format!("{kind}/{name}").to_lowercase()
}

/// The reason of an event in words: `InstallFailed` is `install failed`, `OCIArtifact` is
/// `oci artifact`.
pub fn reason_in_words(event: &Event) -> String {
    let letters: Vec<char> = event.reason.chars().collect();
    let mut words = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| class(letters[index]));
        let begins = before.is_some_and(|before| {
            let lower_follows = letters.get(index + 1).is_some_and(|next| class(*next) == Class::Lower);
            match (before, class(*letter)) {
                (Class::Upper, Class::Lower) => false,
                (Class::Upper, Class::Upper) => lower_follows,
                (before, now) => before != now,
            }
        });
        if begins {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Lower,
    Upper,
    Digit,
    Other,
}

fn class(letter: char) -> Class {
    match letter {
        letter if letter.is_lowercase() => Class::Lower,
        letter if letter.is_uppercase() => Class::Upper,
        letter if letter.is_numeric() => Class::Digit,
        _ => Class::Other,
    }
}

/// The metadata, what a person should read first at the beginning.
fn ordered(event: &Event) -> impl Iterator<Item = (&str, &str)> {
    let summary = event.metadata.get_key_value(super::metadata::SUMMARY);
    let rest = event.metadata.iter().filter(|(name, _)| *name != super::metadata::SUMMARY);
    summary.into_iter().chain(rest).map(|(name, value)| (name.as_str(), value.as_str()))
}

fn is_error(event: &Event) -> bool {
    event.severity == Severity::Error
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A failed release, as every table of formats has it.
    pub fn failure() -> Event {
        serde_json::from_value(serde_json::json!({
            "involvedObject": {
                "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "apps", "name": "ui",
                "uid": "7d0cdc51-ddcf-4743-b223-83ca5c699632",
            },
            "severity": "error",
            "timestamp": "2026-01-02T03:04:05Z",
            "message": "install failed: <none>\nfatal: no database",
            "reason": "InstallFailed",
            "metadata": {"env": "prod", "revision": "1.0.0+0123", "summary": "the shop is down"},
            "reportingController": "fairlead",
            "reportingInstance": "fairlead-0",
        }))
        .unwrap()
    }

    /// A release that went well.
    pub fn success() -> Event {
        Event {
            severity: Severity::Info,
            message: "install succeeded".to_owned(),
            reason: "InstallSucceeded".to_owned(),
            metadata: [("revision".to_owned(), "1.0.0".to_owned())].into(),
            ..failure()
        }
    }

    #[test]
    fn reasons_become_words() {
        for (reason, expected) in [
            ("InstallFailed", "install failed"),
            ("GitOperationFailed", "git operation failed"),
            ("OCIArtifactFailed", "oci artifact failed"),
            ("NewArtifact", "new artifact"),
            ("error", "error"),
            ("PDFLoader2Failed", "pdf loader 2 failed"),
            ("A", "a"),
            ("", ""),
        ] {
            let event = Event { reason: reason.to_owned(), ..Event::default() };
            assert_eq!(reason_in_words(&event), expected);
        }
        assert_eq!((object(&failure()).as_str(), name(&failure()).as_str()), ("helmrelease/ui.apps", "helmrelease/ui"));
    }
}
