//! The objects of a release as helm sends them to the API server.

use serde_json::{Map, Value, json};

use crate::release::inventory::bodies;
use crate::release::observed::Target;

const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "Helm");
const RELEASE_NAME: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// The objects of a release's manifest, in its order, with the label and annotations by which helm
/// knows them again: those are not in the manifest. Without hooks.
pub fn objects(manifest: &str, release: &Target) -> Vec<Value> {
    let mut objects = bodies(manifest);
    for object in &mut objects {
        mark(object, release);
    }
    objects
}

fn mark(object: &mut Value, release: &Target) {
    let (label, value) = MANAGED_BY;
    entries(object, "labels").insert(label.to_owned(), json!(value));
    let annotations = entries(object, "annotations");
    annotations.insert(RELEASE_NAME.to_owned(), json!(release.name));
    annotations.insert(RELEASE_NAMESPACE.to_owned(), json!(release.namespace));
}

/// A mapping in the metadata, which a template may have left null or out.
fn entries<'o>(object: &'o mut Value, name: &str) -> &'o mut Map<String, Value> {
    let entries = &mut object["metadata"][name];
    if !entries.is_object() {
        *entries = json!({});
    }
    entries.as_object_mut().expect("it has just been made one")
}

/// `Kind/namespace/name`, as Flux's messages name an object.
pub fn display(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let parts = [text("/kind"), text("/metadata/namespace"), text("/metadata/name")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// Whether an object's data must not be shown.
pub fn is_secret(object: &Value) -> bool {
    object["apiVersion"] == "v1" && object["kind"] == "Secret"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_carry_what_helm_adds() {
        let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {app: ui}, annotations: }\n---\n\
            apiVersion: v1\nkind: Secret\nmetadata: {name: b, namespace: web}\n---\n\
            apiVersion: v1\nkind: Pod\nmetadata: {name: t, annotations: {helm.sh/hook: test}}\n";
        let [cluster, storage, namespace, name] = ["", "records", "apps", "ui"].map(str::to_owned);
        let release = Target { cluster, storage, namespace, name };
        let found = objects(manifest, &release);
        let annotations = json!({"meta.helm.sh/release-name": "ui", "meta.helm.sh/release-namespace": "apps"});
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0]["metadata"],
            json!({"name": "a", "labels": {"app": "ui", "app.kubernetes.io/managed-by": "Helm"}, "annotations": annotations})
        );
        assert_eq!(found[1]["metadata"]["annotations"], annotations);
        assert_eq!((display(&found[0]).as_str(), display(&found[1]).as_str()), ("ConfigMap/a", "Secret/web/b"));
        assert_eq!((is_secret(&found[0]), is_secret(&found[1])), (false, true));
    }
}
