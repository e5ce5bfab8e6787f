//! Fields that somebody added to an object, told by the API server's own book of who owns what.
//!
//! A dry run does not see them: a chart that leaves a field open says nothing about it. The object's
//! `metadata.managedFields` does: such a field has owners, and helm is none of them. Defaults belong
//! to whoever created the object, and what goes through a subresource (an autoscaler's replicas) is
//! meant to change.

use json_patch::jsonptr::PointerBuf;
use json_patch::{PatchOperation, RemoveOperation, TestOperation};
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use super::compare::{Change, FieldChange};
use super::ignore::Pointer;
use crate::kube_ext::field_set::{Place, is_of_object, place};

/// Parts of Kubernetes itself that write to objects of all kinds.
const CLUSTER: [&str; 4] = ["cloud-controller-manager", "kube-controller-manager", "kube-scheduler", "kubelet"];

/// Keys that kubectl leaves behind when it does what it was asked for, such as a restart.
const KUBECTL: &str = "kubectl.kubernetes.io/";

/// The fields of an object that others than helm and Kubernetes itself have added, without those that
/// are ignored. Empty for an object that helm is not noted as an owner of: nothing can be told apart.
pub fn additions(live: &Value, ignored: &[&Pointer]) -> Vec<FieldChange> {
    let entries = live["metadata"]["managedFields"].as_array().map_or(&[][..], Vec::as_slice);
    let (ours, theirs): (Vec<_>, Vec<_>) =
        entries.iter().filter(|entry| counts(entry)).partition(|entry| entry["manager"] == FIELD_MANAGER);
    if ours.is_empty() {
        return Vec::new();
    }
    let (ours, theirs) = (union(&ours), union(&theirs));
    let mut found = Vec::new();
    Walk { ignored, found: &mut found }.fields(&theirs, Some(&ours), live, &mut Vec::new());
    found
}

/// A JSON patch that removes fields from this version of the object.
pub fn removal(live: &Value, added: &[FieldChange]) -> json_patch::Patch {
    let path = PointerBuf::from_tokens(["metadata", "resourceVersion"]);
    let value = live["metadata"]["resourceVersion"].clone();
    let test = PatchOperation::Test(TestOperation { path, value });
    // From the back, so that the positions of those before stay true.
    let paths = added.iter().rev().filter_map(|field| PointerBuf::parse(&field.pointer).ok());
    let removals = paths.map(|path| PatchOperation::Remove(RemoveOperation { path }));
    json_patch::Patch(std::iter::once(test).chain(removals).collect())
}

fn counts(entry: &Value) -> bool {
    let manager = entry["manager"].as_str().unwrap_or_default();
    is_of_object(entry["subresource"].as_str()) && !CLUSTER.contains(&manager)
}

/// The fields that any of the entries owns.
fn union(entries: &[&Value]) -> Value {
    let mut all = json!({});
    for entry in entries {
        merge(&mut all, &entry["fieldsV1"]);
    }
    all
}

fn merge(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        for (key, fields) in from {
            merge(into.entry(key).or_insert_with(|| json!({})), fields);
        }
    }
}

struct Walk<'w> {
    ignored: &'w [&'w Pointer],
    found: &'w mut Vec<FieldChange>,
}

impl Walk<'_> {
    fn fields(&mut self, theirs: &Value, ours: Option<&Value>, live: &Value, path: &mut Pointer) {
        let mut places: Vec<Place<'_>> =
            theirs.as_object().into_iter().flatten().filter_map(|(key, fields)| place(key, fields, live)).collect();
        // In the order of the object, which is not that of the book.
        places.sort_by_key(|place| place.position);
        for Place { key, step, fields, value, .. } in places {
            path.push(step);
            if is_content(path) && !self.is_ignored(path) {
                let ours = ours.and_then(|ours| ours.get(key));
                if ours.is_none() && is_owned_whole(fields) {
                    let pointer = PointerBuf::from_tokens(path.iter()).to_string();
                    self.found.push(FieldChange { pointer, change: Change::Unwanted { found: value.clone() } });
                } else {
                    self.fields(fields, ours, value, path);
                }
            }
            path.pop();
        }
    }

    fn is_ignored(&self, path: &[String]) -> bool {
        self.ignored.iter().any(|pointer| path.starts_with(pointer))
    }
}

/// Of the metadata only labels and annotations are anybody's to add.
fn is_content(path: &[String]) -> bool {
    let step = |at: usize| path.get(at).map(String::as_str);
    if path.last().is_some_and(|last| last.starts_with(KUBECTL)) {
        return false;
    }
    match (step(0), step(1)) {
        (Some("apiVersion" | "kind" | "status"), _) => false,
        (Some("metadata"), below) => matches!(below, None | Some("annotations" | "labels")),
        _ => true,
    }
}

/// Not only some of its parts.
fn is_owned_whole(fields: &Value) -> bool {
    fields.as_object().is_none_or(|fields| fields.is_empty() || fields.contains_key("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "ui", "resourceVersion": "7",
                "labels": {"app": "ui", "added": "x"},
                "annotations": {"kubectl.kubernetes.io/restartedAt": "now", "deployment.kubernetes.io/revision": "2"},
                "managedFields": [
                    {"manager": "helm", "operation": "Apply", "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:app": {}}},
                        "f:spec": {"f:template": {"f:spec": {"f:containers": {
                            "k:{\"name\":\"app\"}": {".": {}, "f:name": {}, "f:image": {}, "f:env": {
                                "k:{\"name\":\"PORT\"}": {".": {}, "f:name": {}, "f:value": {}}}}}}}},
                    }},
                    {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:added": {}},
                            "f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}, "f:finalizers": {"v:\"x\"": {}}},
                        "f:spec": {"f:paused": {}, "f:template": {"f:spec": {
                            "f:securityContext": {"f:runAsUser": {}},
                            "f:containers": {
                                "k:{\"name\":\"spy\"}": {".": {}, "f:name": {}, "f:image": {}},
                                "k:{\"name\":\"app\"}": {"f:image": {}, "f:env": {
                                    "k:{\"name\":\"DEBUG\"}": {".": {}, "f:name": {}, "f:value": {}},
                                    "k:{\"name\":\"GONE\"}": {".": {}, "f:name": {}}}}}}}},
                    }},
                    {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {
                        "f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}}}},
                    {"manager": "autoscaler", "operation": "Update", "subresource": "scale", "fieldsV1": {
                        "f:spec": {"f:replicas": {}}}},
                ],
            },
            "spec": {"replicas": 3, "paused": true, "template": {"spec": {
                "securityContext": {"runAsUser": 0},
                "containers": [
                    {"name": "app", "image": "ui:2", "env": [
                        {"name": "PORT", "value": "1"}, {"name": "DEBUG", "value": "yes"}]},
                    {"name": "spy", "image": "spy"},
                ]}}},
        })
    }

    fn pointers(live: &Value, ignored: &[&Pointer]) -> Vec<String> {
        additions(live, ignored).into_iter().map(|field| field.pointer).collect()
    }

    #[test]
    fn what_others_own_alone_was_added() {
        let expected = [
            "/metadata/labels/added",
            "/spec/paused",
            "/spec/template/spec/containers/0/env/1",
            "/spec/template/spec/containers/1",
            "/spec/template/spec/securityContext/runAsUser",
        ];
        assert_eq!(pointers(&live(), &[]), expected);
    }

    #[test]
    fn ignored_fields_and_what_is_below_them_stay() {
        let steps = |path: &str| -> Pointer { path.split('/').skip(1).map(str::to_owned).collect() };
        let (env, paused) = (steps("/spec/template/spec/containers/0/env"), steps("/spec/paused"));
        let expected = [
            "/metadata/labels/added",
            "/spec/template/spec/containers/1",
            "/spec/template/spec/securityContext/runAsUser",
        ];
        assert_eq!(pointers(&live(), &[&env, &paused]), expected);
    }

    #[test]
    fn an_object_that_helm_does_not_own_is_left_alone() {
        let mut live = live();
        live["metadata"]["managedFields"].as_array_mut().unwrap().remove(0);
        assert_eq!(pointers(&live, &[]), [""; 0]);
        assert_eq!(pointers(&json!({"metadata": {}}), &[]), [""; 0]);
    }

    #[test]
    fn a_removal_takes_the_additions_and_nothing_else() {
        let mut object = live();
        let added = additions(&object, &[]);
        json_patch::patch(&mut object, &removal(&live(), &added)).unwrap();
        assert_eq!(
            object["spec"],
            json!({"replicas": 3, "template": {"spec": {"securityContext": {}, "containers": [
            {"name": "app", "image": "ui:2", "env": [{"name": "PORT", "value": "1"}]}]}}})
        );
        assert_eq!(object["metadata"]["labels"], json!({"app": "ui"}));
        let mut newer = live();
        newer["metadata"]["resourceVersion"] = json!("8");
        json_patch::patch(&mut newer, &removal(&live(), &added)).unwrap_err();
    }
}
