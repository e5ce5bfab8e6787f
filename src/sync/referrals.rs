//! What refers to a namespace by name follows its objects into `spec.targetNamespace`, as kustomize's
//! `namespace` field does it. Pure.

use super::inventory::split_api_version;
use super::manifest::Manifest;
use serde_json::Value;
use std::collections::BTreeSet;

/// Where namespaced objects are that say no namespace.
const DEFAULT: &str = "default";

/// Lets references follow the objects that move to `namespace`: subjects of bindings, and the
/// services of webhooks, of API services and of conversions.
pub fn follow(manifests: &mut [Manifest], namespace: &str) {
    let moving = Moving::of(manifests, namespace);
    for manifest in manifests {
        moving.lead(&mut manifest.object);
    }
}

/// A kind, a namespace, a name.
type Referred = (&'static str, String, String);

/// Objects that others refer to by namespace and name, where they were.
struct Moving<'n> {
    referred: BTreeSet<Referred>,
    namespace: &'n str,
}

impl<'n> Moving<'n> {
    fn of(manifests: &[Manifest], namespace: &'n str) -> Self {
        let referred = manifests.iter().filter_map(|manifest| {
            let kind = ["ServiceAccount", "Service"].into_iter().find(|kind| manifest.object["kind"] == **kind)?;
            let id = manifest.id();
            id.group.is_empty().then(|| (kind, place(&id.namespace), id.name))
        });
        Self { referred: referred.collect(), namespace }
    }

    fn lead(&self, object: &mut Value) {
        let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        match (split_api_version(&api_version).0, kind.as_str()) {
            ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
                for subject in items(object, "subjects").filter(|subject| subject["kind"] == "ServiceAccount") {
                    if subject["name"] == DEFAULT || self.includes("ServiceAccount", subject) {
                        self.set(subject);
                    }
                }
            }
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration") => {
                let services = items(object, "webhooks").filter_map(|hook| hook.pointer_mut("/clientConfig/service"));
                services.filter(|service| self.includes("Service", service)).for_each(|service| self.set(service));
            }
            ("apiregistration.k8s.io", "APIService") => self.set_at(object, "/spec/service"),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                self.set_at(object, "/spec/conversion/webhook/clientConfig/service");
            }
            _ => {}
        }
    }

    /// Whether a reference means one of the moving objects; without a namespace its name is enough.
    fn includes(&self, kind: &'static str, reference: &Value) -> bool {
        let name = reference["name"].as_str().unwrap_or_default();
        let stated = reference["namespace"].as_str();
        self.referred.iter().any(|(known, namespace, known_name)| {
            let is_there = stated.is_none_or(|stated| stated == namespace || stated == self.namespace);
            *known == kind && known_name == name && is_there
        })
    }

    fn set_at(&self, object: &mut Value, pointer: &str) {
        object.pointer_mut(pointer).into_iter().for_each(|reference| self.set(reference));
    }

    fn set(&self, reference: &mut Value) {
        if let Some(reference) = reference.as_object_mut() {
            reference.insert("namespace".to_owned(), self.namespace.into());
        }
    }
}

fn place(namespace: &str) -> String {
    if namespace.is_empty() { DEFAULT.to_owned() } else { namespace.to_owned() }
}

fn items<'o>(object: &'o mut Value, field: &str) -> impl Iterator<Item = &'o mut Value> {
    object.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn followed(objects: Vec<Value>) -> Vec<Value> {
        let mut manifests: Vec<_> =
            objects.into_iter().map(|object| Manifest::built("a.yaml".into(), object)).collect();
        follow(&mut manifests, "t");
        manifests.into_iter().map(|manifest| manifest.object).collect()
    }

    fn referred(kind: &str, metadata: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "metadata": metadata})
    }

    #[test]
    fn subjects_follow_the_accounts_of_the_same_build() {
        let account = |name: &str, namespace: Option<&str>| {
            let mut subject = json!({"kind": "ServiceAccount", "name": name});
            if let Some(namespace) = namespace {
                subject["namespace"] = namespace.into();
            }
            subject
        };
        let table = [
            (account("own", Some("b")), Some("t")),
            (account("own", Some("t")), Some("t")),
            (account("own", None), Some("t")),
            (account("own", Some("c")), Some("c")),
            (account("nowhere", Some("default")), Some("t")),
            (account("nowhere", Some("b")), Some("b")),
            (account("other", Some("b")), Some("b")),
            (account("other", None), None),
            (account("default", Some("b")), Some("t")),
            (json!({"kind": "User", "name": "own"}), None),
        ];
        for (subject, expected) in table {
            for kind in ["RoleBinding", "ClusterRoleBinding"] {
                let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
                                     "subjects": [subject.clone()]});
                let accounts = [json!({"name": "own", "namespace": "b"}), json!({"name": "nowhere"})];
                let accounts = accounts.iter().map(|metadata| referred("ServiceAccount", metadata));
                let found = followed(std::iter::once(binding).chain(accounts).collect());
                let namespace = found[0]["subjects"][0].get("namespace").and_then(Value::as_str);
                assert_eq!(namespace, expected, "{subject}");
            }
        }
    }

    #[test]
    fn services_of_webhooks_and_definitions_follow() {
        let service = json!({"name": "hook", "namespace": "b", "path": "/x"});
        let hooks = |kind: &str| {
            let hooks = json!([{"clientConfig": {"service": service}}, {"clientConfig": {"url": "https://x"}},
                               {"clientConfig": {"service": {"name": "other", "namespace": "b"}}}]);
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "webhooks": hooks})
        };
        let conversion = json!({"strategy": "Webhook", "webhook": {"clientConfig": {"service": service}}});
        let found = followed(vec![
            hooks("ValidatingWebhookConfiguration"),
            hooks("MutatingWebhookConfiguration"),
            json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "spec": {"service": service}}),
            json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "spec": {"group": "x"}}),
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                   "spec": {"conversion": conversion}}),
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": {}}),
            referred("Service", &json!({"name": "hook", "namespace": "b"})),
        ]);
        let moved = json!({"name": "hook", "namespace": "t", "path": "/x"});
        for configuration in &found[..2] {
            assert_eq!(configuration["webhooks"][0]["clientConfig"]["service"], moved);
            assert_eq!(configuration["webhooks"][1], json!({"clientConfig": {"url": "https://x"}}));
            assert_eq!(configuration["webhooks"][2]["clientConfig"]["service"]["namespace"], "b");
        }
        assert_eq!(found[2]["spec"]["service"], moved);
        assert_eq!(found[3]["spec"], json!({"group": "x"}));
        assert_eq!(found[4]["spec"]["conversion"]["webhook"]["clientConfig"]["service"], moved);
        assert_eq!(found[5]["spec"], json!({}));
        assert_eq!(found[6]["metadata"]["namespace"], "b", "the objects themselves move when they are applied");
    }
}
