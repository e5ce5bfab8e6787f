//! The objects of a rendered manifest: which to look at, and the inventory on the status.

use serde_json::Value;

use crate::api::meta::ResourceRef;
use crate::health;
use crate::yaml;

/// One object of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasedObject {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// The namespace that the manifest gives it, if any.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Whether it can be anything but healthy once it exists.
    pub has_health: bool,
    /// Whether it is removed some time after it has done its work: a Job with a time to live.
    pub vanishes: bool,
}

impl ReleasedObject {
    /// Whether it is of one of the kinds that the operator itself looks after.
    pub fn is_ours(&self) -> bool {
        self.api_version.split_once('/').is_some_and(|(group, _)| group.ends_with(".toolkit.fluxcd.io"))
    }
}

/// The objects of a manifest, in its order. Documents without an object (comments, nulls) are
/// passed over: helm applied the manifest, so none is broken.
pub fn objects(manifest: &str) -> Vec<ReleasedObject> {
    flattened(manifest).filter_map(|value| object(&value)).collect()
}

/// Like [`objects`], each as a whole.
pub fn bodies(manifest: &str) -> Vec<Value> {
    flattened(manifest).filter(|value| object(value).is_some()).collect()
}

fn flattened(manifest: &str) -> impl Iterator<Item = Value> {
    yaml::documents(manifest).into_iter().filter_map(|document| document.result.ok()).flat_map(items)
}

/// The items of a list; any other value is one by itself.
fn items(mut value: Value) -> Vec<Value> {
    let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match value.get_mut("items").and_then(Value::as_array_mut).filter(|_| is_list) {
        Some(items) => std::mem::take(items),
        None => vec![value],
    }
}

fn object(value: &Value) -> Option<ReleasedObject> {
    let hook = value.pointer("/metadata/annotations").and_then(|all| all.get("helm.sh/hook"));
    if hook.is_some() { None } else { any_object(value) }
}

/// The hook that failed, or was cut off, last; of those that helm stored with a revision.
pub fn failed_hook(hooks: &[Value]) -> Option<ReleasedObject> {
    let text = |hook: &&Value, pointer: &str| hook.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let failed = |hook: &&Value| matches!(text(hook, "/last_run/phase").as_deref(), Some("Failed" | "Running"));
    let last = hooks.iter().filter(failed).max_by_key(|hook| text(hook, "/last_run/started_at"))?;
    any_object(&yaml::parse(last.get("manifest")?.as_str()?).ok()?)
}

fn any_object(value: &Value) -> Option<ReleasedObject> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    Some(ReleasedObject {
        api_version: text("/apiVersion")?.to_owned(),
        kind: text("/kind")?.to_owned(),
        namespace: text("/metadata/namespace").map(str::to_owned),
        name: text("/metadata/name")?.to_owned(),
        has_health: health::has_health(value),
        vanishes: value.pointer("/spec/ttlSecondsAfterFinished").is_some_and(|ttl| !ttl.is_null()),
    })
}

impl ReleasedObject {
    /// The entry in an inventory; `namespace` is the one it lives in, empty for the cluster.
    pub fn entry(&self, namespace: &str) -> ResourceRef {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", &self.api_version));
        let name = self.name.replace(':', "__");
        ResourceRef { id: format!("{namespace}_{name}_{group}_{}", self.kind), v: version.to_owned() }
    }

    /// `Kind namespace/name`, for people.
    pub fn display(&self, namespace: &str) -> String {
        if namespace.is_empty() {
            return format!("{} {}", self.kind, self.name);
        }
        format!("{} {namespace}/{}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hook_that_failed_last_is_told() {
        let hook = |name: &str, phase: &str, started: &str| {
            serde_json::json!({"name": name, "last_run": {"phase": phase, "started_at": started},
                "manifest": format!("# Source: a\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  namespace: far\n\
                    \x20 annotations: {{helm.sh/hook: pre-install}}\n")})
        };
        let hooks =
            [hook("a", "Failed", "1"), hook("b", "Failed", "2"), hook("c", "Succeeded", "3"), hook("d", "", "")];
        let found = failed_hook(&hooks).expect("one");
        assert_eq!(found.display("far"), "Job far/b");
        assert_eq!(found.namespace.as_deref(), Some("far"));
        assert_eq!(failed_hook(&hooks[2..]), None);
        assert_eq!(failed_hook(&[hook("e", "Running", "1")]).map(|hook| hook.name).as_deref(), Some("e"));
    }

    #[test]
    fn a_manifest_s_objects_are_told() {
        let manifest = "---\n# Source: a\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: \"\"}\n---\n# only a comment\n---\n\
            apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b, namespace: other}\n---\n\
            apiVersion: batch/v1\nkind: Job\nmetadata: {name: h, annotations: {helm.sh/hook: test}}\n---\n\
            apiVersion: v1\nkind: List\nitems:\n- {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: \"x:y\"}}\n";
        let found = objects(manifest);
        let shown: Vec<_> = found.iter().map(|o| (o.display("ns"), o.has_health)).collect();
        assert_eq!(
            shown,
            [("ConfigMap ns/a".into(), false), ("Deployment ns/b".into(), true), ("ClusterRole ns/x:y".into(), false)]
        );
        assert_eq!(found[0].namespace, None);
        assert_eq!(found[1].namespace.as_deref(), Some("other"));
        let entry = found[2].entry("");
        assert_eq!((entry.id.as_str(), entry.v.as_str()), ("_x__y_rbac.authorization.k8s.io_ClusterRole", "v1"));
        assert_eq!(found[0].entry("ns").id, "ns_a__ConfigMap");
        assert_eq!(found[2].display(""), "ClusterRole x:y");
    }

    #[test]
    fn bodies_are_the_objects_as_they_are_without_hooks() {
        let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n---\n\
            apiVersion: batch/v1\nkind: Job\nmetadata: {name: h, annotations: {helm.sh/hook: test}}\n---\nnot: an object\n";
        let found = bodies(manifest);
        assert_eq!(found.iter().map(|body| &body["data"]["k"]).collect::<Vec<_>>(), ["v"]);
    }

    #[test]
    fn a_job_with_a_time_to_live_vanishes() {
        let job = |spec: &str| format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: a}}\nspec: {spec}\n");
        let vanishes = |spec: &str| objects(&job(spec))[0].vanishes;
        assert!(vanishes("{ttlSecondsAfterFinished: 0}"));
        assert!(!vanishes("{ttlSecondsAfterFinished: null}"));
        assert!(!vanishes("{}"));
    }
}
