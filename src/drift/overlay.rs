//! A manifest laid over a live object, for what a server-side apply refuses to do.
//!
//! To the API server an item of a list is another one when its key is changed: a Service whose
//! port somebody changed would get a second port of the same name, which is refused. Here items
//! are the same when they have the same name.

use serde_json::{Map, Value, json};

use super::compare::names;

/// A JSON merge patch that makes a live object what the manifest says, and keeps what the manifest
/// leaves open. It is bound to this version of the object.
pub fn overlay(live: &Value, manifest: &Value) -> Value {
    let is_content = |key: &str| !matches!(key, "apiVersion" | "kind" | "metadata" | "status");
    let fields = manifest.as_object().into_iter().flatten().filter(|(key, _)| is_content(key));
    let mut patch: Map<String, Value> =
        fields.map(|(key, wanted)| (key.clone(), laid(live.get(key), wanted))).collect();
    let metadata = |field: &str| manifest["metadata"][field].clone();
    patch.insert(
        "metadata".to_owned(),
        json!({
            "labels": metadata("labels"), "annotations": metadata("annotations"),
            "resourceVersion": live["metadata"]["resourceVersion"],
        }),
    );
    Value::Object(patch)
}

fn laid(live: Option<&Value>, wanted: &Value) -> Value {
    match (live, wanted) {
        (Some(Value::Object(live)), Value::Object(wanted)) => {
            let mut fields = live.clone();
            fields.extend(wanted.iter().map(|(key, wanted)| (key.clone(), laid(live.get(key), wanted))));
            Value::Object(fields)
        }
        (Some(Value::Array(live)), Value::Array(wanted)) => items(live, wanted),
        _ => wanted.clone(),
    }
}

/// Items with names in the place of the live ones of the same name, new ones after them; others
/// as the manifest has them.
fn items(live: &[Value], wanted: &[Value]) -> Value {
    let (Some(live_names), Some(wanted_names)) = (names(live), names(wanted)) else {
        return wanted.into();
    };
    let place = |name: &&str| wanted_names.iter().position(|known| known == name);
    let kept = live
        .iter()
        .zip(&live_names)
        .map(|(item, name)| place(name).map_or_else(|| item.clone(), |position| laid(Some(item), &wanted[position])));
    let new = wanted.iter().zip(&wanted_names).filter(|(_, name)| !live_names.contains(*name));
    kept.chain(new.map(|(item, _)| item.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_laid_over_a_live_object() {
        let live = json!({"kind": "Service", "status": {"a": 1},
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "labels": {"theirs": "x"}},
            "spec": {"open": true, "plain": [1, 2], "type": "NodePort",
                "ports": [{"name": "theirs", "port": 1}, {"name": "http", "port": 9999, "nodePort": 30000}]}});
        let manifest = json!({"kind": "Service", "status": {"a": 2},
            "metadata": {"name": "a", "labels": {"ours": "x"}, "annotations": {"a": "b"}},
            "spec": {"type": "ClusterIP", "plain": [3], "new": {"a": 1},
                "ports": [{"name": "http", "port": 3000}, {"name": "metrics", "port": 9}]}});
        let expected = json!({
            "metadata": {"labels": {"ours": "x"}, "annotations": {"a": "b"}, "resourceVersion": "7"},
            "spec": {"open": true, "plain": [3], "type": "ClusterIP", "new": {"a": 1}, "ports": [
                {"name": "theirs", "port": 1}, {"name": "http", "port": 3000, "nodePort": 30000},
                {"name": "metrics", "port": 9},
            ]},
        });
        assert_eq!(overlay(&live, &manifest), expected);
    }

    #[test]
    fn items_without_names_are_as_the_manifest_has_them() {
        let of = |ports: Value| json!({"metadata": {}, "spec": {"ports": ports}});
        let ports = json!([{"port": 3000}]);
        let patch = overlay(&of(json!([{"port": 9999, "nodePort": 30000}, {"port": 1}])), &of(ports.clone()));
        assert_eq!(patch["spec"]["ports"], ports);
        let twice = json!([{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]);
        assert_eq!(overlay(&of(json!([{"name": "a", "value": "3"}])), &of(twice.clone()))["spec"]["ports"], twice);
    }
}
