//! From the first install to the end.

use std::time::Duration;

use fairlead_testbench::{Helm, wait_for};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, is, message, reason};

async fn install_upgrade_uninstall(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let mut operator = world.started(helm).await;
    let namespace = &world.namespace;
    world.apply(&world.release("ui", &json!({"values": {"port": 3001}})));
    let object = world.ready("ui", 1).await;
    let wait = ["wait", "--for=condition=Ready", "--timeout=30s", "helmrelease/ui", "helmrepository/charts"];
    world.bench.kubectl(&[&["--namespace", &world.namespace][..], &wait].concat());
    let success = format!("Helm install succeeded for release {namespace}/ui.v1 with chart nodejs@1.0.0");
    assert_eq!(message(&object, "Ready"), success);
    assert_eq!((reason(&object, "Ready"), reason(&object, "Released")), ("InstallSucceeded", "InstallSucceeded"));
    assert!(!is(&object, "Reconciling", "True") && !is(&object, "Stalled", "True"), "{object}");
    let status = &object["status"];
    assert_eq!(status["helmChart"], format!("{namespace}/{namespace}-ui"));
    assert_eq!(status["storageNamespace"], *namespace);
    assert_eq!(status["lastAttemptedReleaseAction"], "install");
    assert_eq!(status["history"][0]["status"], "deployed");
    assert_eq!(status["history"][0]["configDigest"], status["lastAttemptedConfigDigest"]);
    let inventory: Vec<&str> =
        status["inventory"]["entries"].as_array().expect("a list").iter().filter_map(|e| e["id"].as_str()).collect();
    assert!(inventory.contains(&format!("{namespace}_ui_apps_Deployment").as_str()), "{inventory:?}");
    assert_eq!(world.port("ui"), 3001);

    world.apply(&world.release("ui", &json!({"values": {"port": 3002}})));
    let object = world.ready("ui", 2).await;
    assert_eq!(
        message(&object, "Ready"),
        format!("Helm upgrade succeeded for release {namespace}/ui.v2 with chart nodejs@1.0.0")
    );
    assert_eq!(object["status"]["history"][1]["status"], "superseded");
    assert_eq!(world.port("ui"), 3002);

    world.charts.publish(&fairlead_testbench::fixture_chart("nodejs"), "1.1.0");
    let object = world.ready("ui", 3).await;
    assert_eq!(object["status"]["history"][0]["chartVersion"], "1.1.0");
    world.bench.kubectl(&["wait", "--for=condition=Ready", "--timeout=5s", "helmrelease/ui", "--namespace", namespace]);
    let table = world.bench.kubectl(&["get", "hr", "--namespace", namespace]);
    assert!(table.contains("Helm upgrade succeeded"), "{table}");

    world.delete("helmrelease", "ui");
    world.gone("helmrelease", "ui").await;
    assert!(world.get("deployment", "ui").is_none());
    assert!(world.get("helmchart", &format!("{namespace}-ui")).is_none());
    let reasons: Vec<String> = world.events("ui").into_iter().map(|(reason, _)| reason).collect();
    for wanted in ["InstallSucceeded", "UpgradeSucceeded", "UninstallSucceeded"] {
        assert!(reasons.iter().any(|reason| reason == wanted), "{wanted}: {reasons:?}");
    }
    assert_eq!(operator.terminate(Duration::from_secs(20)), 0);
}

#[tokio::test]
async fn a_release_lives_and_ends_with_helm_3() {
    install_upgrade_uninstall(Helm::V3, "life3").await;
}

#[tokio::test]
async fn a_release_lives_and_ends_with_helm_4() {
    install_upgrade_uninstall(Helm::V4, "life4").await;
}

#[tokio::test]
async fn a_pass_with_nothing_to_do_starts_no_process_and_writes_nothing() {
    let world = World::new("noop").await;
    let operator = world.started(Helm::V4).await;
    world.apply(&world.release("ui", &json!({"interval": "1s"})));
    let before = world.ready("ui", 1).await;
    let passes = |metrics: &str| {
        let line = metrics
            .lines()
            .find(|line| line.starts_with("gotk_reconcile_duration_seconds_count{kind=\"HelmRelease\"}"));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|count| count.parse::<f64>().ok()).unwrap_or_default()
    };
    let children = |metrics: &str| {
        let lines = metrics.lines().filter(|line| line.starts_with("fairlead_child_processes"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let first = operator.get("/metrics").await;
    wait_for("three more passes", PATIENCE, || async {
        let now = passes(&operator.get("/metrics").await);
        if now >= passes(&first) + 3.0 { Ok(()) } else { Err(format!("{now} passes")) }
    })
    .await;
    assert_eq!(children(&operator.get("/metrics").await), children(&first));
    let after = world.get("helmrelease", "ui").expect("it is there");
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn values_that_arrive_later_are_waited_for() {
    let world = World::new("late").await;
    let _operator = world.started(Helm::V4).await;
    let spec = json!({"valuesFrom": [{"kind": "ConfigMap", "name": "account", "valuesKey": "account.yaml"}]});
    world.apply(&world.release("ui", &spec));
    let object = world.says("ui", "Ready", "False", "account does not exist").await;
    assert_eq!(reason(&object, "Ready"), "ValuesError");
    assert!(is(&object, "Reconciling", "True"));
    assert_eq!(object["status"]["failures"], Value::Null);
    let config_map = |port: i64| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "account"},
            "data": {"account.yaml": format!("port: {port}")}})
    };
    world.apply(&config_map(4001));
    world.ready("ui", 1).await;
    assert_eq!(world.port("ui"), 4001);
    world.apply(&config_map(4002));
    world.ready("ui", 2).await;
    assert_eq!(world.port("ui"), 4002);
}

#[tokio::test]
async fn a_suspended_release_is_left_alone_until_it_is_resumed() {
    let world = World::new("pause").await;
    let _operator = world.started(Helm::V4).await;
    world.apply(&world.release("ui", &json!({})));
    world.ready("ui", 1).await;
    world.apply(&world.release("ui", &json!({"suspend": true, "values": {"port": 5001}})));
    // Another release proves that the operator has had its chance.
    world.apply(&world.release("api", &json!({})));
    world.ready("api", 1).await;
    assert_eq!(world.history("ui").len(), 1);
    world.apply(&world.release("ui", &json!({"suspend": false, "values": {"port": 5001}})));
    world.ready("ui", 2).await;
    world.apply(&world.release("api", &json!({"suspend": true})));
    world.delete("helmrelease", "api");
    world.gone("helmrelease", "api").await;
    assert!(world.get("deployment", "api").is_some(), "a suspended release stays");
}

#[tokio::test]
async fn a_request_is_noted_and_a_forced_one_makes_a_revision() {
    let world = World::new("request").await;
    let _operator = world.started(Helm::V4).await;
    world.apply(&world.release("ui", &json!({})));
    world.ready("ui", 1).await;
    world.annotate("ui", "reconcile.fluxcd.io/requestedAt=one");
    world.until("ui", "notes the request", |object| object["status"]["lastHandledReconcileAt"] == "one").await;
    assert_eq!(world.history("ui").len(), 1);
    world.annotate("ui", "reconcile.fluxcd.io/forceAt=two");
    world.annotate("ui", "reconcile.fluxcd.io/requestedAt=two");
    let object = world.ready("ui", 2).await;
    assert_eq!(object["status"]["lastHandledForceAt"], "two");
}
