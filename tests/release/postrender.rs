//! What a `HelmRelease` changes about the objects that its chart renders.

use std::path::Path;

use fairlead_testbench::{Helm, fixture_chart};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, condition, is, message};

const NAME: &str = "helm.toolkit.fluxcd.io/name";
const NAMESPACE: &str = "helm.toolkit.fluxcd.io/namespace";

fn labels(object: &Value) -> &Value {
    &object["metadata"]["labels"]
}

/// Every file below a directory with its text.
fn files(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.is_symlink() {
            found.push((
                path.display().to_string(),
                String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned(),
            ));
        }
    }
    found
}

async fn every_change(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let operator = world.started(helm).await;
    world.apply(&world.release("ui", &json!({"values": {"replicas": 0}})));
    let plain = world.ready("ui", 1).await;
    assert_eq!(plain["status"]["observedPostRenderersDigest"], Value::Null);
    for kind in ["deployment", "service", "serviceaccount", "ingress"] {
        let object = world.get(kind, "ui").expect("it is there");
        assert_eq!(
            (&labels(&object)[NAME], &labels(&object)[NAMESPACE]),
            (&json!("ui"), &json!(world.namespace)),
            "{kind}"
        );
        assert!(labels(&object)["helm.sh/chart"].is_string() || object["metadata"]["name"] == "ui", "{object}");
    }

    // A patch may carry what nobody else is to see.
    let first = json!({"kustomize": {
        "patches": [
            {"patch": format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: ui\n  namespace: {}\n  annotations: {{private: canary-51f09ab2, number: \"010\"}}\n", world.namespace)},
            {"target": {"kind": "Deploy.*", "name": "ui"},
             "patch": "- {op: add, path: /spec/template/spec/priority, value: 7}\n- {op: replace, path: /spec/revisionHistoryLimit, value: 3}\n"},
        ],
        "images": [{"name": "registry.example.org/app", "newName": "mirror.example.org/app", "newTag": "2.0.0"}],
    }});
    let second = json!({"kustomize": {"patches": [
        {"target": {"labelSelector": format!("{NAME}=ui")}, "patch": "- {op: add, path: /metadata/annotations, value: {too: late}}"},
        {"target": {"kind": "ServiceAccount"}, "patch": "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: ui\n  annotations: {order: second}\n"},
    ]}});
    let rendered = |metadata: Value| {
        let spec = json!({"values": {"replicas": 0}, "postRenderers": [first, second], "commonMetadata": metadata});
        world.apply(&world.release("ui", &spec));
    };
    rendered(json!({"labels": {"team": "a", NAME: "mine"}, "annotations": {"note": "yes"}}));
    let object = world.ready("ui", 2).await;
    let digests = ["observedPostRenderersDigest", "observedCommonMetadataDigest"];
    for digest in digests {
        assert!(object["status"][digest].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{object}");
    }
    assert!(condition(&object, "FieldsNotActedOn").is_none(), "{object}");
    let service = world.get("service", "ui").expect("it is there");
    assert_eq!(service["metadata"]["annotations"]["number"], "010");
    assert_eq!((&labels(&service)["team"], &labels(&service)[NAME]), (&json!("a"), &json!("ui")));
    assert_eq!(service["metadata"]["annotations"]["note"], "yes");
    assert_eq!(service["metadata"]["annotations"]["too"], Value::Null, "origin labels come last");
    let deployment = world.get("deployment", "ui").expect("it is there");
    assert_eq!(deployment["spec"]["revisionHistoryLimit"], 3);
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], "mirror.example.org/app:2.0.0");
    assert_eq!(labels(&deployment["spec"]["template"])["team"], Value::Null, "pods are no objects of the release");
    let account = world.get("serviceaccount", "ui").expect("it is there");
    assert_eq!(account["metadata"]["annotations"]["order"], "second");
    let left: Vec<_> =
        files(&operator.data_dir()).into_iter().filter(|(_, text)| text.contains("canary-51f09ab2")).collect();
    assert!(left.is_empty() && !operator.log().contains("canary-51f09ab2"), "{left:?}");

    rendered(json!({"labels": {"team": "b"}}));
    world.ready("ui", 3).await;
    let service = world.get("service", "ui").expect("it is there");
    assert_eq!((&labels(&service)["team"], &service["metadata"]["annotations"]["note"]), (&json!("b"), &Value::Null));

    world.apply(&world.release("ui", &json!({"values": {"replicas": 0}})));
    let object = world.ready("ui", 4).await;
    assert!(digests.iter().all(|digest| object["status"][digest].is_null()), "{object}");
    let service = world.get("service", "ui").expect("it is there");
    assert_eq!((&labels(&service)["team"], &labels(&service)[NAME]), (&Value::Null, &json!("ui")));
    world.annotate("ui", "reconcile.fluxcd.io/requestedAt=again");
    world.until("ui", "notes the request", |object| object["status"]["lastHandledReconcileAt"] == "again").await;
    assert_eq!(world.history("ui").len(), 4, "nothing more to do");
}

#[tokio::test]
async fn objects_are_changed_as_the_release_says_with_helm_3() {
    every_change(Helm::V3, "render3").await;
}

#[tokio::test]
async fn objects_are_changed_as_the_release_says_with_helm_4() {
    every_change(Helm::V4, "render4").await;
}

async fn failures(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let _operator = world.started(helm).await;
    let with = |patches: Value| json!({"values": {"replicas": 0}, "postRenderers": [{"kustomize": {}}, {"kustomize": {"patches": patches}}]});
    let says = async |words: &str| {
        let object = world.says("ui", "Ready", "False", words).await;
        assert!(message(&object, "Ready").starts_with("Helm "), "{object}");
        assert!(!is(&object, "Released", "True"), "{object}");
    };
    let begin = "post-rendering failed: spec.postRenderers[1].kustomize: ";
    world.apply(&world.release(
        "ui",
        &with(
            json!([{"patch": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other}\nspec: {replicas: 1}"}]),
        ),
    ));
    says(&format!("{begin}no resource matches strategic merge patch")).await;
    assert!(world.history("ui").is_empty());
    world.apply(&world.release("ui", &with(json!([{"patch": "a: [1\nb: 2"}]))));
    says(&format!("{begin}patches[0]: the patch cannot be read: line 2")).await;
    world.apply(&world.release(
        "ui",
        &with(json!([{"patch": "- {op: test, path: /kind, value: X}", "target": {"kind": "Service"}}])),
    ));
    says(begin).await;
    world.apply(&world.release("ui", &with(json!([]))));
    world.ready("ui", 1).await;
    world.apply(&world.release("ui", &with(json!([{"patch": "- {op: remove, path: /spec}"}]))));
    says(&format!("{begin}must specify a target for JSON patch")).await;
    assert_eq!(world.history("ui"), [(1, "deployed".to_owned())]);
}

#[tokio::test]
async fn a_post_renderer_that_fails_is_named_with_helm_3() {
    failures(Helm::V3, "renderbad3").await;
}

#[tokio::test]
async fn a_post_renderer_that_fails_is_named_with_helm_4() {
    failures(Helm::V4, "renderbad4").await;
}

/// A release of the `hooks` chart with an image for its hook.
fn with_hooks(world: &World, name: &str, strategy: &Value) -> Value {
    let images = json!([{"name": "registry.example.org/hook", "newTag": "2.0"}]);
    let mut spec =
        json!({"postRenderers": [{"kustomize": {"images": images}}], "commonMetadata": {"labels": {"team": "a"}}});
    if !strategy.is_null() {
        spec["postRenderStrategy"] = strategy.clone();
    }
    world.chart_release(name, "hooks", &spec)
}

/// What became of the hook, and of the object that is none: team and image, team.
fn changed(world: &World, name: &str) -> (Value, Value, Value) {
    let hook = world.get("job", &format!("{name}-hook")).expect("the hook ran");
    let map = world.get("configmap", name).expect("it is there");
    let image = hook["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    (labels(&hook)["team"].clone(), image, labels(&map)["team"].clone())
}

#[tokio::test]
async fn hooks_are_changed_or_left_alone_with_helm_4() {
    let world = World::new("renderhooks4").await;
    world.charts.publish(&fixture_chart("hooks"), "1.0.0");
    let _operator = world.started(Helm::V4).await;
    let strategies = [
        ("default", Value::Null),
        ("combined", json!("combined")),
        ("separate", json!("separate")),
        ("nohooks", json!("nohooks")),
    ];
    for (name, strategy) in &strategies {
        world.apply(&with_hooks(&world, name, strategy));
    }
    let (all, none) = ((json!("a"), "registry.example.org/hook:2.0"), (Value::Null, "registry.example.org/hook:1.0"));
    for (name, (team, image)) in [("default", &all), ("combined", &all), ("separate", &all), ("nohooks", &none)] {
        world.ready(name, 1).await;
        assert_eq!(changed(&world, name), (team.clone(), json!(image), json!("a")), "{name}");
    }
    // The same object as a hook and as none: kustomize takes it only in separate streams.
    let patch = json!([{"patch": format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: odd, namespace: {}}}\ndata: {{a: b}}", world.namespace)}]);
    let mut release = with_hooks(&world, "odd", &json!("separate"));
    release["spec"]["postRenderers"] = json!([{"kustomize": {"patches": patch}}]);
    world.apply(&release);
    world.says("odd", "Ready", "False", "no matches for Id ConfigMap").await;
    release["spec"]["postRenderStrategy"] = json!("nohooks");
    world.apply(&release);
    world.ready("odd", 1).await;
    assert_eq!(world.get("configmap", "odd").expect("it is there")["data"]["a"], "b");
}

#[tokio::test]
async fn helm_3_leaves_hooks_alone_and_the_status_says_so() {
    let world = World::new("renderhooks3").await;
    world.charts.publish(&fixture_chart("hooks"), "1.0.0");
    let _operator = world.started(Helm::V3).await;
    world.apply(&with_hooks(&world, "default", &Value::Null));
    world.apply(&with_hooks(&world, "separate", &json!("separate")));
    for name in ["default", "separate"] {
        world.ready(name, 1).await;
        let image = json!("registry.example.org/hook:1.0");
        assert_eq!(changed(&world, name), (Value::Null, image, json!("a")), "{name}");
    }
    let object = world.says("separate", "FieldsNotActedOn", "True", "helm 3 gives no hooks").await;
    assert!(message(&object, "FieldsNotActedOn").contains("spec.postRenderStrategy"), "{object}");
    assert!(condition(&world.ready("default", 1).await, "FieldsNotActedOn").is_none());
}

#[tokio::test]
async fn a_plain_release_is_upgraded_only_where_its_objects_have_to_change() {
    let world = World::new("renderadopt").await;
    let (namespace, repository) = (world.namespace.as_str(), world.charts.url().to_owned());
    for name in ["plain", "common"] {
        let install =
            ["install", name, "nodejs", "--repo", &repository, "--namespace", namespace, "--set", "replicas=0"];
        world.bench.helm(Helm::V4, &install);
    }
    let _operator = world.started(Helm::V4).await;
    let values = json!({"replicas": 0});
    world.apply(&world.release("plain", &json!({"values": values})));
    world.apply(&world.release("common", &json!({"values": values, "commonMetadata": {"labels": {"team": "a"}}})));
    world.ready("plain", 1).await;
    world.ready("common", 2).await;
    assert_eq!(world.history("plain").len(), 1);
    let service = world.get("service", "common").expect("it is there");
    assert_eq!((&labels(&service)["team"], &labels(&service)[NAME]), (&json!("a"), &json!("common")));
}

#[tokio::test]
async fn a_chart_without_objects_is_released() {
    let world = World::new("rendernone").await;
    let chart = tempfile::tempdir().expect("a directory");
    let folder = chart.path().join("empty");
    std::fs::create_dir_all(folder.join("templates")).expect("a directory");
    std::fs::write(folder.join("Chart.yaml"), "apiVersion: v2\nname: empty\nversion: 1.0.0\n").expect("writes");
    std::fs::write(folder.join("templates/none.yaml"), "# nothing yet\n").expect("writes");
    world.charts.publish(&folder, "1.0.0");
    let _operator = world.started(Helm::V4).await;
    let metadata = json!({"labels": {"team": "a"}});
    world.apply(&world.chart_release("none", "empty", &json!({"commonMetadata": metadata})));
    let object = tokio::time::timeout(PATIENCE, world.ready("none", 1)).await.expect("in time");
    assert!(is(&object, "Released", "True"));
}
