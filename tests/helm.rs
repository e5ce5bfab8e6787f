//! Helm 3 and helm 4 on a real control plane, and what fairlead reads and writes beside them.

#[path = "helm/failures.rs"]
mod failures;
#[path = "helm/fakes.rs"]
mod fakes;
#[path = "helm/storage.rs"]
mod storage;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use fairlead::api::helm::v2::CrdsPolicy;
use fairlead::helm::argv::{ChartAction, UninstallAction, Verb};
use fairlead::helm::client::Helm;
use fairlead::helm::summary::summary;
use fairlead::helm::{ReleaseStatus, ReleaseSummary, Releases, crds};
use fairlead::values::config_digest;
use fairlead_testbench::{Helm as Major, TestBench, chart_server, fixture_chart, shared};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Map, Value, json};

/// A helm of fairlead's own with the rights of the administrator.
async fn helm(bench: &TestBench, major: Major, data_dir: &Path) -> Helm {
    Helm::new(&major.path(), data_dir, Some(bench.kubeconfig()), 4).await.expect("a helm that can be used")
}

fn action(verb: Verb, namespace: &str, chart: &Path) -> ChartAction {
    ChartAction {
        verb,
        release_name: "app".to_owned(),
        namespace: namespace.to_owned(),
        chart: chart.to_owned(),
        timeout: Duration::from_mins(1),
        create_namespace: false,
        disable_hooks: false,
        skip_crds: true,
        disable_openapi_validation: false,
        disable_schema_validation: false,
        disable_take_ownership: false,
        replace: false,
        force: false,
        preserve_values: false,
        cleanup_on_fail: false,
        server_side: verb == Verb::Install,
        wait: false,
        max_history: 5,
        post_renderer: None,
    }
}

/// The revisions of the release, newest first.
async fn revisions(client: &kube::Client, namespace: &str) -> Vec<ReleaseSummary> {
    let own = ListParams::default().labels("owner=helm,name=app");
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace).list(&own).await.expect("a list");
    let mut revisions: Vec<_> = secrets.items.iter().map(|secret| summary(secret).expect("a release").1).collect();
    revisions.sort_unstable_by_key(|revision| std::cmp::Reverse(revision.version));
    revisions
}

fn uninstall(namespace: &str) -> UninstallAction {
    UninstallAction {
        release_name: "app".to_owned(),
        namespace: namespace.to_owned(),
        timeout: Duration::from_mins(1),
        disable_hooks: false,
        keep_history: false,
        wait: false,
        deletion_propagation: None,
    }
}

/// The chart of a fixture as a package in a folder.
fn packaged(name: &str, folder: &Path) -> PathBuf {
    let (_, bytes) = chart_server::package(&fixture_chart(name), "1.0.0");
    let path = folder.join(format!("{name}-1.0.0.tgz"));
    std::fs::write(&path, bytes).expect("write a package");
    path
}

/// A chart of one template.
fn chart_of(folder: &Path, template: &str) -> PathBuf {
    std::fs::create_dir_all(folder.join("templates")).expect("make a chart");
    std::fs::write(folder.join("Chart.yaml"), "{apiVersion: v2, name: small, version: 1.0.0}").expect("write a chart");
    std::fs::write(folder.join("templates/all.yaml"), template).expect("write a chart");
    folder.to_owned()
}

fn values(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(values) => values,
        other => panic!("{other} is no mapping"),
    }
}

fn awkward() -> Map<String, Value> {
    let cases: Value =
        serde_json::from_str(include_str!("../src/values/testdata/encoded.json")).expect("test data is JSON");
    let all = cases.as_array().expect("a list").iter().enumerate();
    // Two keys that differ in a way that no YAML reader keeps apart would collide; `<<` is a merge.
    let all = all.map(|(i, case)| (format!("case{i}"), without_merge_keys(&case["values"])));
    all.collect()
}

fn without_merge_keys(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let kept = entries.iter().filter(|(key, _)| *key != "<<");
            Value::Object(kept.map(|(key, value)| (key.clone(), without_merge_keys(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_merge_keys).collect()),
        leaf => leaf.clone(),
    }
}

#[tokio::test]
async fn a_release_is_installed_upgraded_and_uninstalled() {
    let bench = shared().await;
    let client = bench.client().await;
    let releases = Releases::new(client.clone());
    for major in Major::BOTH {
        let folder = tempfile::tempdir().expect("a folder");
        let helm = helm(bench, major, folder.path()).await;
        let namespace = bench.namespace("cycle").await;
        let chart = packaged("everything", folder.path());

        let given = awkward();
        helm.release(&action(Verb::Install, &namespace, &chart), &given).await.expect("an install");
        let [first] = &revisions(&client, &namespace).await[..] else { panic!("one revision") };
        assert_eq!((first.version, first.status), (1, ReleaseStatus::Deployed));
        assert_eq!(*first.config_digest, config_digest(&given));
        assert_eq!((&*first.chart_name, &*first.chart_version), ("everything", "1.0.0"));
        let stored = releases.read(&namespace, "app", 1).await.expect("a read").expect("a release");
        assert_eq!(config_digest(stored.config().expect("values")), config_digest(&given));
        assert!(stored.manifest().contains("name: \"app-map\""));
        assert_eq!(stored.hooks().len(), 3);

        helm.release(&action(Verb::Upgrade, &namespace, &chart), &Map::new()).await.expect("an upgrade");
        let both = revisions(&client, &namespace).await;
        let seen: Vec<_> = both.iter().map(|revision| (revision.version, revision.status)).collect();
        assert_eq!(seen, [(2, ReleaseStatus::Deployed), (1, ReleaseStatus::Superseded)]);
        assert_eq!(*both[0].config_digest, config_digest(&Map::new()), "no values means no values");

        helm.uninstall(&uninstall(&namespace)).await.expect("an uninstall");
        assert!(revisions(&client, &namespace).await.is_empty());
        helm.uninstall(&uninstall(&namespace)).await.expect("nothing is left to uninstall");
    }
}

#[tokio::test]
async fn history_is_bounded() {
    let bench = shared().await;
    let client = bench.client().await;
    for major in Major::BOTH {
        let folder = tempfile::tempdir().expect("a folder");
        let helm = helm(bench, major, folder.path()).await;
        let namespace = bench.namespace("history").await;
        let chart = chart_of(&folder.path().join("chart"), "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}");
        helm.release(&action(Verb::Install, &namespace, &chart), &Map::new()).await.expect("an install");
        let upgrade = ChartAction { max_history: 2, ..action(Verb::Upgrade, &namespace, &chart) };
        for round in 0..3 {
            helm.release(&upgrade, &values(json!({"round": round}))).await.expect("an upgrade");
        }
        let seen: Vec<_> = revisions(&client, &namespace).await.iter().map(|r| r.version).collect();
        assert_eq!(seen, [4, 3]);
    }
}

#[tokio::test]
async fn a_release_wins_over_who_changed_it() {
    let bench = shared().await;
    let client = bench.client().await;
    for major in Major::BOTH {
        let folder = tempfile::tempdir().expect("a folder");
        let helm = helm(bench, major, folder.path()).await;
        let namespace = bench.namespace("conflict").await;
        let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {v: {{ .Values.v | quote }}}}";
        let chart = chart_of(&folder.path().join("chart"), map);
        helm.release(&action(Verb::Install, &namespace, &chart), &values(json!({"v": "a"}))).await.expect("an install");
        let server_side = revisions(&client, &namespace).await[0].server_side;
        assert_eq!(server_side, major == Major::V4);
        let patch = r#"{"data":{"v":"by hand"}}"#;
        bench.kubectl(&["patch", "configmap", "x", "-n", &namespace, "-p", patch, "--field-manager", "somebody"]);
        let upgrade = ChartAction { server_side, ..action(Verb::Upgrade, &namespace, &chart) };
        helm.release(&upgrade, &values(json!({"v": "b"}))).await.expect("an upgrade");
        let now = bench.kubectl(&["get", "configmap", "x", "-n", &namespace, "-o", "jsonpath={.data.v}"]);
        assert_eq!(now, "b");
    }
}

#[tokio::test]
async fn definitions_follow_their_policy() {
    let bench = shared().await;
    let client = bench.client().await;
    let folder = tempfile::tempdir().expect("a folder");
    let chart = packaged("everything", folder.path());
    let name = "gadgets.everything.example.org";
    let apply = |policy| crds::apply(&client, &chart, &EMPTY, policy);

    assert!(apply(CrdsPolicy::Skip).await.expect("nothing").is_empty());
    assert!(bench.try_kubectl(&["get", "crd", name]).is_err());
    assert_eq!(apply(CrdsPolicy::Create).await.expect("created"), [name]);
    // Served at once, with no wait between.
    bench.kubectl(&["get", "gadgets", "-A"]);

    let patch = r#"[{"op":"replace","path":"/spec/names/singular","value":"thing"}]"#;
    bench.kubectl(&["patch", "crd", name, "--type=json", "-p", patch]);
    assert!(apply(CrdsPolicy::Create).await.expect("left alone").is_empty());
    let singular = || bench.kubectl(&["get", "crd", name, "-o", "jsonpath={.spec.names.singular}"]);
    assert_eq!(singular(), "thing");
    assert_eq!(apply(CrdsPolicy::CreateReplace).await.expect("replaced"), [name]);
    assert_eq!(singular(), "gadget");
}

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
