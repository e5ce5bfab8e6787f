//! What an event says beside its message: what of it is for people, and what an alert adds. Pure.

use std::collections::BTreeMap;

use crate::api::event::{COMMIT_STATUS, Event, GROUP, ORIGIN_REVISION, UPDATE};
use crate::api::notification::v1beta3::AlertSpec;

/// Name under which an alert says what a failure means to people.
pub const SUMMARY: &str = "summary";

/// The commit that an event is about, where its object says so.
pub const COMMIT: &str = "commit";

/// What tells events of the same message apart; of no use to people.
pub const TOKEN: &str = "token";

const CHECKSUM: &str = "checksum";
const DIGEST: &str = "digest";
const REVISION: &str = "revision";

/// A value that the controller of the object set.
pub fn of_controller<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    event.metadata.get(&format!("{}/{name}", group(event))).map(String::as_str)
}

/// A value that an annotation of the object set.
pub fn of_object<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    event.metadata.get(&format!("{GROUP}/{name}")).map(String::as_str)
}

/// Whether the event is there for the sake of a commit's status only.
pub fn is_commit_status_update(event: &Event) -> bool {
    of_controller(event, COMMIT_STATUS) == Some(UPDATE)
}

/// The revision that an event is about, once [`combined`] has named it.
pub fn revision(event: &Event) -> Option<&str> {
    let get = |name| event.metadata.get(name).map(String::as_str);
    get(COMMIT).or_else(|| get(ORIGIN_REVISION)).or_else(|| get(REVISION))
}

/// The revisions by which events of the same message are told apart.
pub fn identity(event: &Event) -> [Option<&str>; 3] {
    [ORIGIN_REVISION, REVISION, TOKEN].map(|name| of_controller(event, name))
}

/// The names and values that are sent, and names that several sources give, with those sources.
/// The later source wins: annotations of the object, the alert's metadata, its summary, the
/// controller.
pub fn combined(event: &Event, alert: &AlertSpec) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let of_group = |group: &str| {
        let prefix = format!("{group}/");
        let named = event.metadata.iter().filter_map(move |(key, value)| Some((key.strip_prefix(&prefix)?, value)));
        named.map(|(name, value)| (name.to_owned(), value.clone())).collect::<Vec<_>>()
    };
    let mut of_controller = of_group(group(event));
    of_controller.retain(|(name, _)| ![CHECKSUM, DIGEST, TOKEN].contains(&name.as_str()));
    let sources = [
        ("annotations of the object", of_group(GROUP)),
        (
            "spec.eventMetadata",
            alert.event_metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        ),
        ("spec.summary", alert.summary.iter().map(|summary| (SUMMARY.to_owned(), summary.clone())).collect()),
        ("the event", of_controller),
    ];
    let (mut values, mut named_by) = (BTreeMap::new(), BTreeMap::<String, Vec<&str>>::new());
    for (source, pairs) in sources {
        for (name, value) in pairs {
            named_by.entry(name.clone()).or_default().push(source);
            values.insert(name, value);
        }
    }
    let conflicts = named_by.into_iter().filter(|(_, by)| by.len() > 1);
    (values, conflicts.map(|(name, by)| (name, by.join(", "))).collect())
}

fn group(event: &Event) -> &str {
    event.involved_object.api_version.as_deref().unwrap_or_default().split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(metadata: &serde_json::Value) -> Event {
        let mut event = Event::default();
        event.involved_object.api_version = Some("kustomize.toolkit.fluxcd.io/v1".to_owned());
        event.metadata = serde_json::from_value(metadata.clone()).unwrap();
        event
    }

    #[test]
    fn the_later_source_wins_and_conflicts_are_named() {
        let event = event(&json!({
            "kustomize.toolkit.fluxcd.io/revision": "main@sha1:0123",
            "kustomize.toolkit.fluxcd.io/token": "hunter2",
            "kustomize.toolkit.fluxcd.io/digest": "sha256:0",
            "kustomize.toolkit.fluxcd.io/Checksum": "stays: another name",
            "event.toolkit.fluxcd.io/summary": "of the object",
            "event.toolkit.fluxcd.io/playbook": "https://x",
            "other.group/revision": "left out",
        }));
        let alert = AlertSpec {
            event_metadata: [("revision", "of the alert"), ("env", "prod")].map(|(k, v)| (k.into(), v.into())).into(),
            summary: Some("of the alert".to_owned()),
            ..AlertSpec::default()
        };
        let (values, conflicts) = combined(&event, &alert);
        let expected = json!({
            "revision": "main@sha1:0123", "summary": "of the alert", "playbook": "https://x", "env": "prod",
            "Checksum": "stays: another name",
        });
        assert_eq!(json!(values), expected);
        let expected = json!({
            "revision": "spec.eventMetadata, the event",
            "summary": "annotations of the object, spec.summary",
        });
        assert_eq!(json!(conflicts), expected);
    }

    #[test]
    fn the_commit_of_an_object_comes_before_its_revisions() {
        for (metadata, expected) in [
            (json!({"commit": "c", "originRevision": "o", "revision": "r"}), Some("c")),
            (json!({"originRevision": "o", "revision": "r"}), Some("o")),
            (json!({"revision": "r"}), Some("r")),
            (json!({}), None),
        ] {
            assert_eq!(revision(&event(&metadata)), expected);
        }
        assert!(is_commit_status_update(&event(&json!({"kustomize.toolkit.fluxcd.io/commit_status": "update"}))));
        assert!(!is_commit_status_update(&event(&json!({"helm.toolkit.fluxcd.io/commit_status": "update"}))));
    }
}
