//! Who owns which field of an object, and taking over what people did by hand. Pure.

use crate::kube_ext::field_set::is_of_object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::core::Status;
use serde_json::{Map, Value};
use std::fmt;

/// The step to what a Secret holds, and the one to what it is told as text.
const DATA: &str = "f:data";
const TEXTS: &str = "f:stringData";

/// Field managers of hands at a keyboard, as far as their name begins like that. One that is to
/// last names another one (`--field-manager=flux-client-side-apply`).
const BY_HAND: [(&str, &[&str]); 2] = [("kubectl", &["Apply", "Update"]), ("before-first-apply", &["Update"])];

/// A field that somebody else owned with another value than ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Dotted path (`spec.replicas`).
    pub field: String,
    /// The field manager (`horizontal-pod-autoscaler`).
    pub manager: String,
}

/// `spec.replicas from horizontal-pod-autoscaler`.
impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.field, self.manager)
    }
}

/// The conflicts that a refusal names.
pub(super) fn conflicts(status: &Status) -> Vec<Conflict> {
    let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
    let conflict = |cause: &kube::core::response::StatusCause| {
        let manager = cause.message.strip_prefix("conflict with \"")?.split('"').next()?;
        let field = cause.field.trim_start_matches('.');
        Some(Conflict { field: field.to_owned(), manager: manager.to_owned() })
    };
    causes.iter().filter(|cause| cause.reason == "FieldManagerConflict").filter_map(conflict).collect()
}

/// The managed fields with everything that was done by hand, or by `manager` itself before it
/// applied, made `manager`'s own, so that its next apply takes back what it does not state. None
/// when there is nothing of that kind.
pub fn adopt(entries: &[ManagedFieldsEntry], manager: &str) -> Option<Vec<ManagedFieldsEntry>> {
    let (taken, mut kept): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(|entry| is_by_hand(entry, manager));
    if taken.is_empty() {
        return None;
    }
    let own = kept.iter().position(|entry| is_own(entry, manager)).map(|position| kept.remove(position));
    let mut taken = taken.into_iter();
    let mut own = own.or_else(|| taken.next())?;
    own.manager = Some(manager.to_owned());
    own.operation = Some("Apply".to_owned());
    for entry in taken {
        if let Some(fields) = entry.fields_v1 {
            union(&mut own.fields_v1.get_or_insert(FieldsV1(Value::Null)).0, fields.0);
        }
    }
    kept.push(own);
    Some(kept)
}

/// Whether `manager` has applied a Secret by its `stringData`: then nobody owns what became of it.
pub fn owns_texts(entries: &[ManagedFieldsEntry], manager: &str) -> bool {
    entries.iter().any(|entry| is_own(entry, manager) && set_of(entry, TEXTS).is_some())
}

/// The managed fields with these keys of a Secret's `data` made `manager`'s own, as far as nobody
/// else has them; they came by `stringData`, of today or of an earlier apply.
pub fn adopt_texts<'k>(
    entries: &[ManagedFieldsEntry],
    manager: &str,
    keys: impl IntoIterator<Item = &'k str>,
) -> Vec<ManagedFieldsEntry> {
    let mut entries = entries.to_vec();
    let is_others = |key: &String| {
        let mut others = entries.iter().filter(|entry| !is_own(entry, manager));
        others.any(|entry| {
            [DATA, TEXTS].into_iter().any(|set| set_of(entry, set).is_some_and(|set| set.get(key).is_some()))
        })
    };
    let keys = keys.into_iter().map(|key| format!("f:{key}")).filter(|key| !is_others(key));
    let data: Map<String, Value> = keys.map(|key| (key, Value::Object(Map::new()))).collect();
    let own = entries.iter_mut().find(|entry| is_own(entry, manager));
    if let Some(Value::Object(fields)) = own.and_then(|own| own.fields_v1.as_mut()).map(|fields| &mut fields.0) {
        fields.remove(TEXTS);
        if !data.is_empty() {
            union(fields.entry(DATA).or_insert(Value::Null), Value::Object(data));
        }
    }
    entries
}

fn set_of<'e>(entry: &'e ManagedFieldsEntry, field: &str) -> Option<&'e Value> {
    entry.fields_v1.as_ref()?.0.get(field)
}

fn is_own(entry: &ManagedFieldsEntry, manager: &str) -> bool {
    entry.manager.as_deref() == Some(manager)
        && entry.operation.as_deref() == Some("Apply")
        && is_of_object(entry.subresource.as_deref())
}

fn is_by_hand(entry: &ManagedFieldsEntry, own: &str) -> bool {
    let (manager, operation) =
        (entry.manager.as_deref().unwrap_or_default(), entry.operation.as_deref().unwrap_or_default());
    let by_hand =
        BY_HAND.iter().any(|(prefix, operations)| manager.starts_with(prefix) && operations.contains(&operation));
    is_of_object(entry.subresource.as_deref()) && (by_hand || (manager == own && operation == "Update"))
}

/// Field sets are tries: every key is a step of a path.
fn union(set: &mut Value, other: Value) {
    match (set, other) {
        (Value::Object(set), Value::Object(other)) => {
            for (step, below) in other {
                union(set.entry(step).or_insert(Value::Null), below);
            }
        }
        (set @ Value::Null, other) => *set = other,
        (_, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entries(value: Value) -> Vec<ManagedFieldsEntry> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_was_done_by_hand_becomes_ours() {
        let given = entries(json!([
            {"manager": "me", "operation": "Apply", "time": "2026-01-01T00:00:00Z",
             "fieldsV1": {"f:data": {"f:a": {}}}},
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:data": {"f:b": {}}, "f:spec": {}}},
            {"manager": "me", "operation": "Update", "fieldsV1": {"f:data": {"f:c": {".": {}}}}},
            {"manager": "kubectl", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {}}},
            {"manager": "flux-client-side-apply", "operation": "Update", "fieldsV1": {"f:data": {"f:d": {}}}},
        ]));
        let adopted = adopt(&given, "me").unwrap();
        let names: Vec<_> = adopted.iter().map(|entry| entry.manager.clone().unwrap()).collect();
        assert_eq!(names, ["kubectl", "flux-client-side-apply", "me"]);
        let fields = json!({"f:data": {"f:a": {}, "f:b": {}, "f:c": {".": {}}}, "f:spec": {}});
        assert_eq!(adopted[2].fields_v1.as_ref().unwrap().0, fields);
        assert!(adopted[2].time.is_some());
        assert_eq!(adopt(&adopted, "me"), None, "once is enough");
    }

    #[test]
    fn an_object_that_was_made_by_hand_becomes_ours_as_a_whole() {
        let given = entries(json!([
            {"manager": "kubectl-create", "operation": "Update", "fieldsV1": {"f:data": {}}},
            {"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {}}},
        ]));
        let adopted = adopt(&given, "me").unwrap();
        let expected = json!([{"manager": "me", "operation": "Apply", "fieldsV1": {"f:data": {}, "f:spec": {}}}]);
        assert_eq!(serde_json::to_value(adopted).unwrap(), expected);
        assert_eq!(adopt(&entries(json!([{"manager": "helm", "operation": "Update"}])), "me"), None);
        assert_eq!(adopt(&[], "me"), None);
    }

    #[test]
    fn what_nobody_owns_of_a_secret_that_was_applied_by_its_texts_becomes_ours() {
        let given = |own: Value| {
            entries(json!([
                {"manager": "them", "operation": "Apply", "fieldsV1": {"f:stringData": {"f:c": {}}}},
                {"manager": "me", "operation": "Apply", "fieldsV1": own},
                {"manager": "edit", "operation": "Update", "fieldsV1": {"f:data": {"f:d": {}}}},
            ]))
        };
        let texts = given(json!({"f:stringData": {"f:a": {}}, "f:type": {}, "f:data": {"f:e": {}}}));
        assert!(owns_texts(&texts, "me") && owns_texts(&texts, "them") && !owns_texts(&texts, "edit"));
        let adopted = adopt_texts(&texts, "me", ["a", "b", "c", "d", "e"]);
        assert_eq!(adopted, given(json!({"f:data": {"f:a": {}, "f:b": {}, "f:e": {}}, "f:type": {}})));
        assert!(!owns_texts(&adopted, "me"), "once is enough");
        assert_eq!(adopt_texts(&given(json!({"f:stringData": {}})), "me", ["c"]), given(json!({})));
    }

    #[test]
    fn conflicts_name_field_and_manager() {
        let status: Status = serde_json::from_value(json!({
            "status": "Failure", "code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict",
            "details": {"causes": [
                {"reason": "FieldManagerConflict", "field": ".spec.replicas",
                 "message": "conflict with \"hpa\" with subresource \"scale\" using apps/v1"},
                {"reason": "Other", "field": "x", "message": "y"},
            ]},
        }))
        .unwrap();
        let expected = Conflict { field: "spec.replicas".to_owned(), manager: "hpa".to_owned() };
        assert_eq!(expected.to_string(), "spec.replicas from hpa");
        assert_eq!(conflicts(&status), [expected]);
    }
}
