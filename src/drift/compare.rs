//! What differs between an object as it is and as a dry run would leave it.

use std::collections::HashMap;

use json_patch::jsonptr::Token;
use serde_json::Value;

/// A field that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Its JSON pointer in the live object (in the wanted one where the live one lacks it).
    pub pointer: String,
    /// How it differs.
    pub change: Change,
}

/// How a field differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is not there.
    Missing {
        /// What it should be.
        wanted: Value,
    },
    /// It has another value.
    Different {
        /// What it is.
        found: Value,
        /// What it should be.
        wanted: Value,
    },
    /// It is there and should not be.
    Unwanted {
        /// What it is.
        found: Value,
    },
}

/// The fields of `live` that are not as in `wanted`. Of the metadata only labels and annotations
/// count, and of those only the wanted ones: controllers of the cluster add their own. The status
/// counts for nothing.
pub fn changes(live: &Value, wanted: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    for pointer in ["/metadata/annotations", "/metadata/labels"] {
        let mut entries = Vec::new();
        walk(pointer, live.pointer(pointer), wanted.pointer(pointer), &mut entries);
        found.extend(entries.into_iter().filter(|entry| !matches!(entry.change, Change::Unwanted { .. })));
    }
    let is_content = |key: &str| !matches!(key, "apiVersion" | "kind" | "metadata" | "status");
    for key in keys(live, wanted).into_iter().filter(|key| is_content(key)) {
        walk(&below("", key), live.get(key), wanted.get(key), &mut found);
    }
    found
}

/// Null says as much as nothing.
fn walk(pointer: &str, live: Option<&Value>, wanted: Option<&Value>, found: &mut Vec<FieldChange>) {
    let change = match (live.filter(|value| !value.is_null()), wanted.filter(|value| !value.is_null())) {
        (None, None) => return,
        (None, Some(wanted)) => Change::Missing { wanted: wanted.clone() },
        (Some(live), None) => Change::Unwanted { found: live.clone() },
        (Some(live), Some(wanted)) if live == wanted => return,
        (Some(live @ Value::Object(_)), Some(wanted @ Value::Object(_))) => {
            for key in keys(live, wanted) {
                walk(&below(pointer, key), live.get(key), wanted.get(key), found);
            }
            return;
        }
        (Some(Value::Array(live)), Some(Value::Array(wanted))) => return items(pointer, live, wanted, found),
        (Some(live), Some(wanted)) => Change::Different { found: live.clone(), wanted: wanted.clone() },
    };
    found.push(FieldChange { pointer: pointer.to_owned(), change });
}

/// Items with names (containers, ports, variables) are compared by name, others by position.
fn items(pointer: &str, live: &[Value], wanted: &[Value], found: &mut Vec<FieldChange>) {
    let (Some(live_names), Some(wanted_names)) = (names(live), names(wanted)) else {
        for position in 0..live.len().max(wanted.len()) {
            walk(&format!("{pointer}/{position}"), live.get(position), wanted.get(position), found);
        }
        return;
    };
    let at = positions(&live_names);
    let shared: Vec<usize> = wanted_names.iter().filter_map(|name| at.get(name).copied()).collect();
    if !shared.is_sorted() {
        // The order of init containers, for one, means something.
        let (found_names, wanted) = (Value::from(live_names), Value::from(wanted_names.clone()));
        let change = Change::Different { found: found_names, wanted };
        found.push(FieldChange { pointer: pointer.to_owned(), change });
    }
    for (position, item) in live.iter().enumerate() {
        let partner = partner(live, position, wanted).and_then(|position| wanted.get(position));
        walk(&format!("{pointer}/{position}"), Some(item), partner, found);
    }
    for (position, _) in wanted_names.iter().enumerate().filter(|(_, name)| !at.contains_key(*name)) {
        walk(&format!("{pointer}/{position}"), None, wanted.get(position), found);
    }
}

/// The position in `other` of the item that `list` has at a position: the one of the same name, or
/// that at the same position where items have no names.
pub(super) fn partner(list: &[Value], position: usize, other: &[Value]) -> Option<usize> {
    match (names(list), names(other)) {
        (Some(ours), Some(theirs)) => {
            let name = ours.get(position)?;
            theirs.iter().position(|known| known == name)
        }
        _ => Some(position).filter(|position| *position < other.len()),
    }
}

/// The names of all items, if each has one of its own.
pub(super) fn names(list: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> = list.iter().map(|item| item.get("name")?.as_str()).collect::<Option<_>>()?;
    (positions(&names).len() == names.len()).then_some(names)
}

fn positions<'n>(names: &[&'n str]) -> HashMap<&'n str, usize> {
    names.iter().enumerate().map(|(position, name)| (*name, position)).collect()
}

/// The keys of both, in order, each once.
fn keys<'v>(one: &'v Value, other: &'v Value) -> Vec<&'v str> {
    let of = |value: &'v Value| value.as_object().into_iter().flat_map(|fields| fields.keys());
    let mut keys: Vec<&str> = of(one).chain(of(other)).map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn below(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", Token::new(key).encoded())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `pointer: found → wanted`, with a dash for nothing.
    #[allow(clippy::needless_pass_by_value)] // literals read better unborrowed
    fn told(live: Value, wanted: Value) -> Vec<String> {
        let show = |change: &Change| match change {
            Change::Missing { wanted } => format!("- → {wanted}"),
            Change::Different { found, wanted } => format!("{found} → {wanted}"),
            Change::Unwanted { found } => format!("{found} → -"),
        };
        changes(&live, &wanted).iter().map(|field| format!("{}: {}", field.pointer, show(&field.change))).collect()
    }

    #[test]
    fn content_counts_and_what_the_cluster_writes_does_not() {
        let live = json!({"apiVersion": "v1", "kind": "X", "status": {"a": 1},
            "metadata": {"name": "a", "uid": "1", "generation": 3, "creationTimestamp": "x", "managedFields": [],
                "labels": {"added": "x", "kept": "x", "changed": "y"}},
            "spec": {"same": [1], "changed": 2, "unwanted": true, "nothing": null}, "data": {"a/b": "x"}});
        let wanted = json!({"apiVersion": "v1", "kind": "X", "status": {"a": 2},
            "metadata": {"name": "a", "generation": 4, "labels": {"kept": "x", "changed": "x", "gone": "x"},
                "annotations": {"new": "x"}},
            "spec": {"same": [1], "changed": 1, "missing": {"a": 1}}, "data": {"a/b": "y"}});
        let expected = [
            "/metadata/annotations: - → {\"new\":\"x\"}",
            "/metadata/labels/changed: \"y\" → \"x\"",
            "/metadata/labels/gone: - → \"x\"",
            "/data/a~1b: \"x\" → \"y\"",
            "/spec/changed: 2 → 1",
            "/spec/missing: - → {\"a\":1}",
            "/spec/unwanted: true → -",
        ];
        assert_eq!(told(live.clone(), wanted), expected);
        assert!(told(live.clone(), live).is_empty());
    }

    #[test]
    fn named_items_are_compared_by_name_and_others_by_position() {
        let list = |items: Value| json!({"spec": items});
        let item = |name: &str, value: i64| json!({"name": name, "v": value});
        let table = [
            (json!([item("a", 1), item("b", 2)]), json!([item("a", 1), item("b", 3)]), vec!["/spec/1/v: 2 → 3"]),
            (
                json!([item("x", 0), item("a", 1)]),
                json!([item("a", 2), item("n", 5)]),
                vec![
                    "/spec/0: {\"name\":\"x\",\"v\":0} → -",
                    "/spec/1/v: 1 → 2",
                    "/spec/1: - → {\"name\":\"n\",\"v\":5}",
                ],
            ),
            (
                json!([item("b", 1), item("a", 1)]),
                json!([item("a", 1), item("b", 1)]),
                vec!["/spec: [\"b\",\"a\"] → [\"a\",\"b\"]"],
            ),
            (json!([item("x", 1), item("a", 1)]), json!([item("a", 1)]), vec!["/spec/0: {\"name\":\"x\",\"v\":1} → -"]),
            (json!([item("a", 1), item("a", 2)]), json!([item("a", 1), item("a", 3)]), vec!["/spec/1/v: 2 → 3"]),
            (json!(["x", "y"]), json!(["x"]), vec!["/spec/1: \"y\" → -"]),
            (json!(["x"]), json!(["y", "z"]), vec!["/spec/0: \"x\" → \"y\"", "/spec/1: - → \"z\""]),
            (json!(["x"]), json!({"x": 1}), vec!["/spec: [\"x\"] → {\"x\":1}"]),
        ];
        for (live, wanted, expected) in table {
            assert_eq!(told(list(live.clone()), list(wanted)), expected, "{live}");
        }
    }
}
