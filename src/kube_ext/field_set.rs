//! The API server's own book of who owns which fields: `fieldsV1` of `metadata.managedFields`. Pure.
//!
//! A set of fields is a trie whose keys are the steps of a path: `f:<field>`, and for the items of a
//! list `k:{<keys>}`, `v:<value>` or `i:<position>`.

use serde_json::{Map, Value};

/// Where a key of the book is in the object.
pub struct Place<'v> {
    /// The key.
    pub key: &'v str,
    /// The step of a JSON pointer, decoded.
    pub step: String,
    /// The position in a list; 0 for a field.
    pub position: usize,
    /// What of it is owned, as the book has it.
    pub fields: &'v Value,
    /// What the object has there.
    pub value: &'v Value,
}

/// Finds the place of a key below a part of the object; none when the object has it no more.
pub fn place<'v>(key: &'v str, fields: &'v Value, live: &'v Value) -> Option<Place<'v>> {
    let (kind, rest) = key.split_once(':')?;
    if kind == "f" {
        let value = live.as_object()?.get(rest)?;
        return Some(Place { key, step: rest.to_owned(), position: 0, fields, value });
    }
    let items = live.as_array()?;
    let position = match kind {
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
            items.iter().position(|item| keys.iter().all(|(key, value)| item.get(key) == Some(value)))?
        }
        "v" => {
            let value: Value = serde_json::from_str(rest).ok()?;
            items.iter().position(|item| *item == value)?
        }
        "i" => rest.parse().ok()?,
        _ => return None,
    };
    Some(Place { key, step: position.to_string(), position, fields, value: items.get(position)? })
}

/// Whether an entry of the book with this `subresource` is of the object itself. What goes through a
/// subresource, such as a status or an autoscaler's replicas, has entries of its own.
pub fn is_of_object(subresource: Option<&str>) -> bool {
    subresource.is_none_or(str::is_empty)
}

/// Whether somebody else than `manager` has this field, or a part of it, by an apply. Such an owner
/// keeps the field alive when `manager` lets go of it.
pub fn is_applied_by_another(live: &Value, pointer: &[String], manager: &str) -> bool {
    let entries = live["metadata"]["managedFields"].as_array().map_or(&[][..], Vec::as_slice);
    let counts = |entry: &&Value| {
        entry["operation"] == "Apply" && entry["manager"] != manager && is_of_object(entry["subresource"].as_str())
    };
    entries.iter().filter(counts).any(|entry| holds(&entry["fieldsV1"], live, pointer))
}

fn holds(fields: &Value, live: &Value, pointer: &[String]) -> bool {
    let Some((step, below)) = pointer.split_first() else { return true };
    let mut places = fields.as_object().into_iter().flatten().filter_map(|(key, fields)| place(key, fields, live));
    places.any(|place| place.step == *step && holds(place.fields, place.value, below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn another_applier_of_a_field_is_found_in_the_book() {
        let live = json!({
            "metadata": {"annotations": {"a.io/b": "x"}, "managedFields": [
                {"manager": "me", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "scaler", "operation": "Apply", "subresource": "scale",
                 "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "editor", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}},
                {"manager": "other", "operation": "Apply", "fieldsV1": {
                    "f:metadata": {"f:annotations": {"f:a.io/b": {}}},
                    "f:spec": {"f:containers": {"k:{\"name\":\"two\"}": {".": {}, "f:name": {}, "f:resources": {
                        "f:limits": {"f:cpu": {}}}}}}}},
            ]},
            "spec": {"replicas": 2, "paused": true, "containers": [
                {"name": "one"}, {"name": "two", "resources": {"limits": {"cpu": "1"}}}]},
        });
        for (steps, expected) in [
            (&["metadata", "annotations", "a.io/b"][..], true),
            (&["spec", "replicas"], false),
            (&["spec", "paused"], false),
            (&["spec", "containers", "1", "resources"], true),
            (&["spec", "containers", "1", "image"], false),
            (&["spec", "containers", "0", "resources"], false),
            (&["spec", "nothing"], false),
        ] {
            let pointer: Vec<String> = steps.iter().map(|step| (*step).to_owned()).collect();
            assert_eq!(is_applied_by_another(&live, &pointer, "me"), expected, "{steps:?}");
        }
        assert!(!is_applied_by_another(&live, &["metadata".into(), "annotations".into(), "a.io/b".into()], "other"));
    }
}
