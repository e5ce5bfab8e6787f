use super::*;
use serde_json::json;

#[allow(clippy::needless_pass_by_value)] // literals read better unborrowed
fn rules(value: Value) -> Result<IgnoreRules, IgnoreError> {
    let rules: Vec<IgnoreRule> = serde_json::from_value(value).expect("rules");
    IgnoreRules::new("spec.driftDetection.ignore", &rules)
}

fn pointers(paths: &[&str]) -> Vec<Pointer> {
    paths.iter().map(|path| pointer(path).expect("a pointer")).collect()
}

#[allow(clippy::needless_pass_by_value)] // literals read better unborrowed
fn deployment(replicas: i64, containers: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ui", "namespace": "web"},
        "spec": {"replicas": replicas, "containers": containers}})
}

#[test]
fn rules_are_for_the_objects_that_they_choose() {
    let rules = rules(json!([
        {"paths": ["/spec/replicas", "/metadata/annotations/a~1b"], "target": {"kind": "Deployment"}},
        {"paths": ["/data"], "target": {"kind": "ConfigMap"}},
        {"paths": [""], "target": {"namespace": "w.*", "name": "api"}},
        {"paths": ["/spec/paused"]},
    ]))
    .expect("readable");
    let object = deployment(1, json!([]));
    let of = |object: &Value| rules.of(object).iter().map(|steps| steps.join(" ")).collect::<Vec<_>>();
    assert_eq!(of(&object), ["spec replicas", "metadata annotations a/b", "spec paused"]);
    let named = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "web"}});
    assert_eq!(of(&named), ["", "spec paused"]);
}

#[test]
fn rules_that_cannot_be_read_are_named() {
    let said = |value: Value| rules(value).expect_err("unreadable").to_string();
    assert_eq!(
        said(json!([{"paths": []}, {"paths": ["spec/replicas"]}])),
        "spec.driftDetection.ignore[1].paths: `spec/replicas` is no JSON pointer: write it as `/spec/replicas`"
    );
    let wrong = said(json!([{"paths": [], "target": {"kind": "("}}]));
    assert!(wrong.starts_with("spec.driftDetection.ignore[0].target.kind: `(` is no regular expression"), "{wrong}");
}

#[test]
fn an_object_opts_out_by_annotation_or_label() {
    let with = |kind: &str, value: &str| json!({"metadata": {"name": "a", kind: {DRIFT_DETECTION: value}}});
    assert!(opts_out(&with("annotations", "disabled")));
    assert!(opts_out(&with("labels", "disabled")));
    assert!(!opts_out(&with("annotations", "enabled")));
    assert!(!opts_out(&json!({"metadata": {"name": "a"}})));
}

#[test]
fn ignored_fields_are_removed_from_both_forms() {
    let sidecar = json!({"name": "proxy", "image": "p"});
    let mut live = deployment(3, json!([sidecar, {"name": "app", "image": "b", "args": ["x", "y"]}]));
    let mut wanted = deployment(1, json!([{"name": "app", "image": "a", "args": ["x", "z"]}, sidecar]));
    let paths = pointers(&["/spec/replicas", "/spec/containers/1/image", "/spec/containers/1/args/1", "/spec/none/x"]);
    remove(&mut live, &mut wanted, &paths.iter().collect::<Vec<_>>());
    assert_eq!(live["spec"], json!({"containers": [sidecar, {"name": "app", "args": ["x"]}]}));
    assert_eq!(wanted["spec"], json!({"containers": [{"name": "app", "args": ["x"]}, sidecar]}));
}

#[test]
fn an_apply_leaves_ignored_fields_as_they_are() {
    let carried = |manifest: Value, live: Value, paths: &[&str]| {
        let mut manifest = manifest;
        let paths = pointers(paths);
        carry_over(&mut manifest, &live, &paths.iter().collect::<Vec<_>>());
        manifest
    };
    let app = |image: &str| json!({"name": "app", "image": image});
    let live = deployment(3, json!([{"name": "proxy", "image": "p"}, app("b")]));
    let paths = ["/spec/replicas", "/spec/containers/1/image", "/spec/containers/0/image"];
    let manifest = carried(deployment(1, json!([app("a")])), live.clone(), &paths);
    assert_eq!(manifest, deployment(3, json!([app("b")])), "the proxy is not ours");
    let whole = carried(deployment(1, json!([app("a")])), live.clone(), &["/spec/containers/1"]);
    assert_eq!(whole, deployment(1, json!([app("b")])));
    let gone =
        carried(json!({"spec": {"a": 1, "b": 2}, "c": {"d": 1}}), json!({"spec": {"b": 2}}), &["/spec/a", "/c/d"]);
    assert_eq!(gone, json!({"spec": {"b": 2}, "c": {}}));
    let open = carried(json!({"spec": {}}), json!({"spec": {"a": 1}, "c": {"d": 1}}), &["/spec/a", "/c/d"]);
    assert_eq!(open, json!({"spec": {"a": 1}}), "a part that the chart leaves open stays open");
    let untouched = carried(json!({"spec": 1}), json!({"spec": {"a": 1}}), &["/spec/a", ""]);
    assert_eq!(untouched, json!({"spec": 1}));
}
