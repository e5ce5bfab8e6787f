//! From a manifest to what is sent to the API server. Pure.

use super::inventory::split_api_version;
use crate::api::annotation::{OWNER_NAME, OWNER_NAMESPACE};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

/// Fields that the API server owns: a manifest that was dumped from a cluster has them.
const SERVER_FIELDS: [&str; 6] =
    ["creationTimestamp", "managedFields", "resourceVersion", "uid", "generation", "selfLink"];

/// The Kustomization that objects belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Namespace of the Kustomization.
    pub namespace: String,
    /// Name of the Kustomization.
    pub name: String,
}

/// The object as it is to be in the cluster: in its namespace, with its owner's labels, without
/// what belongs to the API server.
pub fn prepare(manifest: &Value, namespaced: bool, target_namespace: Option<&str>, owner: &Owner) -> Value {
    let mut object = manifest.clone();
    if let Some(top) = object.as_object_mut() {
        top.remove("status");
    }
    if let Some(namespace) = target_namespace {
        move_to(&mut object, namespaced, namespace);
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in SERVER_FIELDS {
            metadata.remove(field);
        }
        if !namespaced || metadata.get("namespace").is_some_and(Value::is_null) {
            metadata.remove("namespace");
        }
        own(metadata, owner);
    }
    if object["apiVersion"] == "v1" && object["kind"] == "Secret" {
        encode(&mut object);
    }
    object
}

/// The texts of a Secret as the API server stores them: who applies `stringData` owns nothing of
/// `data`, and a key that leaves it would stay for ever.
fn encode(secret: &mut Value) {
    let Some(Value::Object(texts)) = secret.as_object_mut().and_then(|secret| secret.remove("stringData")) else {
        return;
    };
    if !secret["data"].is_object() {
        secret["data"] = json!({});
    }
    for (key, text) in texts {
        secret["data"][key] = match text {
            Value::String(text) => BASE64.encode(text).into(),
            other => other,
        };
    }
}

fn own(metadata: &mut Map<String, Value>, owner: &Owner) {
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if labels.is_null() {
        *labels = json!({});
    }
    labels[OWNER_NAME] = owner.name.clone().into();
    labels[OWNER_NAMESPACE] = owner.namespace.clone().into();
}

/// What kustomize's `namespace` field does: namespaced objects move, and a Namespace takes the name.
fn move_to(object: &mut Value, namespaced: bool, namespace: &str) {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, _) = split_api_version(api_version);
    let kind = object["kind"].as_str().unwrap_or_default();
    if group.is_empty() && kind == "Namespace" {
        object["metadata"]["name"] = namespace.into();
        return;
    }
    if namespaced {
        object["metadata"]["namespace"] = namespace.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner { namespace: "flux-system".to_owned(), name: "apps".to_owned() }
    }

    #[test]
    fn what_belongs_to_the_server_is_left_out_and_the_owner_is_named() {
        let manifest = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "status": {"x": 1},
            "metadata": {"name": "a", "namespace": "b", "creationTimestamp": null, "uid": "1", "labels": null,
                         "resourceVersion": "1", "managedFields": []},
        });
        let expected = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "b",
                         "labels": {OWNER_NAME: "apps", OWNER_NAMESPACE: "flux-system"}},
        });
        assert_eq!(prepare(&manifest, true, None, &owner()), expected);
    }

    #[test]
    fn the_texts_of_a_secret_become_data_and_win() {
        let secret = |fields: Value| {
            let mut manifest =
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}});
            manifest.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let object = prepare(&manifest, true, None, &owner());
            (object.get("data").cloned(), object.get("stringData").cloned())
        };
        let table = [
            (json!({"data": {"a": "eA=="}}), Some(json!({"a": "eA=="}))),
            (json!({"stringData": {"a": "y"}}), Some(json!({"a": "eQ=="}))),
            (
                json!({"data": {"a": "eA==", "b": "eA=="}, "stringData": {"a": "y"}}),
                Some(json!({"a": "eQ==", "b": "eA=="})),
            ),
            (json!({"data": null, "stringData": {}}), Some(json!({}))),
            (json!({"stringData": null}), None),
            (json!({}), None),
        ];
        for (fields, data) in table {
            assert_eq!(secret(fields.clone()), (data, None), "{fields}");
        }
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "stringData": {"a": "y"}});
        assert_eq!(prepare(&map, true, None, &owner())["stringData"], json!({"a": "y"}));
    }

    #[test]
    fn a_target_namespace_moves_objects_as_kustomize_does() {
        let prepared = |manifest: Value, namespaced| prepare(&manifest, namespaced, Some("t"), &owner());
        let object =
            |kind: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "namespace": "b"}});
        assert_eq!(prepared(object("ConfigMap"), true)["metadata"]["namespace"], "t");
        let namespace = prepared(object("Namespace"), false);
        assert_eq!(namespace["metadata"]["name"], "t");
        assert_eq!(namespace["metadata"].get("namespace"), None);
    }
}
