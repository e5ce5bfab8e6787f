//! The digest by which Flux recognises a stored release in its own status history.
//!
//! It is the hash of Go's JSON of the release without the chart's content and without test
//! hooks, which a person may run at any time. One wrong byte makes Flux see a foreign release.

use serde_json::{Map, Value};

use super::go_json::{self, Object};
use super::storage::StoredRelease;
use crate::values::digest::digest;

/// The event of hooks that `helm test` runs.
const TEST_EVENT: &str = "test";

/// Go's zero time.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// `sha256:` and the hex hash of the observation that Flux makes of a release.
pub fn observation_digest(release: &StoredRelease) -> String {
    digest(observation(release).as_bytes())
}

fn observation(release: &StoredRelease) -> String {
    let document = release.document();
    let mut out = String::with_capacity(release.manifest().len() + 4096);
    let mut object = Object::open(&mut out);
    go_json::text(object.field("name"), release.name());
    object.always("version", Some(&Value::from(release.version())));
    info(object.field("info"), document.get("info"));
    metadata(object.field("chartMetadata"), release.chart_metadata());
    object.always("config", document.get("config").filter(|_| release.config().is_some_and(|c| !c.is_empty())));
    go_json::text(object.field("manifest"), release.manifest());
    hooks(object.field("hooks"), release.hooks());
    go_json::text(object.field("namespace"), release.namespace());
    object.close();
    out.push('\n');
    out
}

fn info(out: &mut String, info: Option<&Value>) {
    let get = |field| info.and_then(|info| info.get(field));
    let mut object = Object::open(out);
    for field in ["first_deployed", "last_deployed", "deleted"] {
        time(&mut object, field, get(field));
    }
    for field in ["description", "status", "rollback_revision", "notes", "resources"] {
        object.omit_empty(field, get(field));
    }
    object.close();
}

fn metadata(out: &mut String, metadata: Option<&Map<String, Value>>) {
    let get = |field| metadata.and_then(|metadata| metadata.get(field));
    let mut object = Object::open(out);
    for field in ["name", "home", "sources", "version", "description", "keywords"] {
        object.omit_empty(field, get(field));
    }
    structs(&mut object, "maintainers", get("maintainers"), |object, maintainer| {
        for field in ["name", "email", "url"] {
            object.omit_empty(field, maintainer.get(field));
        }
    });
    for field in ["icon", "apiVersion", "condition", "tags", "appVersion", "deprecated", "annotations", "kubeVersion"] {
        object.omit_empty(field, get(field));
    }
    structs(&mut object, "dependencies", get("dependencies"), dependency);
    object.omit_empty("type", get("type"));
    object.close();
}

fn dependency(object: &mut Object<'_>, dependency: &Value) {
    let text = |field| dependency.get(field).and_then(Value::as_str).unwrap_or_default();
    go_json::text(object.field("name"), text("name"));
    object.omit_empty("version", dependency.get("version"));
    go_json::text(object.field("repository"), text("repository"));
    for field in ["condition", "tags", "enabled", "import-values", "alias"] {
        object.omit_empty(field, dependency.get(field));
    }
}

/// A list of objects with a fixed order of fields, left out when empty.
fn structs(object: &mut Object<'_>, field: &str, items: Option<&Value>, fields: impl Fn(&mut Object<'_>, &Value)) {
    let Some(items) = items.and_then(Value::as_array).filter(|items| !items.is_empty()) else {
        return;
    };
    go_json::list(object.field(field), items, |out, item| {
        if item.is_null() {
            return out.push_str("null");
        }
        let mut inner = Object::open(out);
        fields(&mut inner, item);
        inner.close();
    });
}

fn hooks(out: &mut String, hooks: &[Value]) {
    let kept: Vec<&Value> = hooks.iter().filter(|hook| !is_test(hook)).collect();
    if kept.is_empty() { out.push_str("null") } else { go_json::list(out, &kept, |out, kept| hook(out, kept)) }
}

fn is_test(hook: &Value) -> bool {
    hook.get("events").and_then(Value::as_array).is_some_and(|events| events.iter().any(|event| event == TEST_EVENT))
}

fn hook(out: &mut String, hook: &Value) {
    let mut object = Object::open(out);
    for field in ["name", "kind", "path", "manifest", "events"] {
        object.omit_empty(field, hook.get(field));
    }
    let run = hook.get("last_run");
    let get = |field| run.and_then(|run| run.get(field));
    let mut last_run = Object::open(object.field("last_run"));
    time(&mut last_run, "started_at", get("started_at"));
    time(&mut last_run, "completed_at", get("completed_at"));
    go_json::text(last_run.field("phase"), get("phase").and_then(Value::as_str).unwrap_or_default());
    last_run.close();
    for field in ["weight", "delete_policies", "output_log_policies"] {
        object.omit_empty(field, hook.get(field));
    }
    object.close();
}

/// A time as Go writes it again after reading it: no trailing zeros in the fraction; none when
/// it is the zero time or, as in helm 3, empty.
fn time(object: &mut Object<'_>, field: &str, value: Option<&Value>) {
    let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) else {
        return;
    };
    let normal = without_trailing_zeros(text);
    if normal != ZERO_TIME {
        go_json::text(object.field(field), &normal);
    }
}

fn without_trailing_zeros(time: &str) -> String {
    let Some((seconds, rest)) = time.split_once('.') else {
        return time.to_owned();
    };
    let zone = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let fraction = rest[..zone].trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{seconds}{point}{fraction}{}", &rest[zone..])
}

#[cfg(test)]
#[path = "digest/tests.rs"]
mod tests;
