//! Sudden deaths, releases of others, and secrets.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fairlead_testbench::{Helm, wait_for};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, is, message};

/// Kills at ten moments of an install and an upgrade, from before helm is started to after it has
/// ended, and every time the release gets there with one revision for one change.
async fn survives(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let mut operator = world.started(helm).await;
    for (number, delay) in [0_u64, 30, 60, 100, 150, 220, 300, 400, 550, 800].into_iter().enumerate() {
        let name = format!("ui-{number}");
        world.apply(&world.release(&name, &json!({"values": {"port": 3000}})));
        tokio::time::sleep(Duration::from_millis(delay)).await;
        operator.restart().await;
        world.ready(&name, 1).await;
        assert_eq!(world.history(&name), [(1, "deployed".to_owned())], "install, killed after {delay} ms");

        world.apply(&world.release(&name, &json!({"values": {"port": 3001}})));
        tokio::time::sleep(Duration::from_millis(delay)).await;
        operator.restart().await;
        world.ready(&name, 2).await;
        let history = world.history(&name);
        assert_eq!(
            history,
            [(1, "superseded".to_owned()), (2, "deployed".to_owned())],
            "upgrade, killed after {delay} ms"
        );
        assert_eq!(world.port(&name), 3001);
    }
}

#[tokio::test]
async fn a_sudden_death_costs_no_second_revision_with_helm_3() {
    survives(Helm::V3, "kill3").await;
}

#[tokio::test]
async fn a_sudden_death_costs_no_second_revision_with_helm_4() {
    survives(Helm::V4, "kill4").await;
}

#[tokio::test]
async fn a_wait_goes_on_after_a_restart_and_keeps_its_deadline() {
    let world = World::new("resume").await;
    let mut operator = world.started(Helm::V4).await;
    world.apply(&world.release("ui", &json!({"timeout": "8s", "values": {"fault": "never-ready"}})));
    world.says("ui", "Ready", "Unknown", "Waiting for release").await;
    operator.restart().await;
    world.says("ui", "Stalled", "True", "Failed to install after 1 attempt(s)").await;
    assert_eq!(world.history("ui"), [(1, "failed".to_owned())]);
    operator.restart().await;
    world.annotate("ui", "reconcile.fluxcd.io/requestedAt=again");
    let object =
        world.until("ui", "is looked at", |object| object["status"]["lastHandledReconcileAt"] == "again").await;
    assert_eq!(object["status"]["installFailures"], 1);
    assert_eq!(world.history("ui").len(), 1, "a failed attempt is not repeated after a restart");
}

async fn adopts(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let (namespace, repository) = (world.namespace.as_str(), world.charts.url().to_owned());
    let install =
        ["install", "ui", "nodejs", "--repo", &repository, "--namespace", namespace, "--set", "port=6001,replicas=0"];
    world.bench.helm(helm, &install);
    let operator = world.started(helm).await;
    world.apply(&world.release("ui", &json!({"values": {"port": 6001, "replicas": 0}})));
    world.ready("ui", 1).await;
    assert_eq!(world.history("ui"), [(1, "deployed".to_owned())]);
    let runs = operator.log_lines().iter().filter(|line| line["message"] == "running helm").count();
    assert_eq!(runs, 0, "nothing had to be done");
    // What somebody does to it by hand is undone.
    world.bench.helm(
        helm,
        &["upgrade", "ui", "nodejs", "--repo", &repository, "--namespace", namespace, "--set", "port=6002"],
    );
    world.ready("ui", 3).await;
    assert_eq!(world.port("ui"), 6001);
    world.bench.helm(helm, &["uninstall", "ui", "--namespace", namespace, "--wait"]);
    world.ready("ui", 1).await;
}

#[tokio::test]
async fn a_release_of_somebody_else_is_taken_over_without_a_revision_with_helm_3() {
    adopts(Helm::V3, "adopt3").await;
}

#[tokio::test]
async fn a_release_of_somebody_else_is_taken_over_without_a_revision_with_helm_4() {
    adopts(Helm::V4, "adopt4").await;
}

/// The status that Flux's controller leaves on a release that it made and tested for health.
fn status_by_flux(world: &World, deployed: &str) -> Value {
    let namespace = &world.namespace;
    let message = format!("Helm install succeeded for release {namespace}/ui.v1 with chart nodejs@1.0.0");
    let condition = |type_: &str| {
        json!({"type": type_, "status": "True", "reason": "InstallSucceeded", "message": message,
            "observedGeneration": 1, "lastTransitionTime": deployed})
    };
    json!({"status": {
        "conditions": [condition("Ready"), condition("Released")],
        "helmChart": format!("{namespace}/{namespace}-ui"),
        "history": [{
            "chartName": "nodejs", "chartVersion": "1.0.0", "appVersion": "1.0.0",
            "configDigest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "digest": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
            "firstDeployed": deployed, "lastDeployed": deployed,
            "name": "ui", "namespace": namespace, "status": "deployed", "version": 1,
        }],
        "lastAttemptedConfigDigest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "lastAttemptedGeneration": 1, "lastAttemptedReleaseAction": "install", "lastAttemptedRevision": "1.0.0",
        "observedGeneration": 1, "storageNamespace": namespace,
    }})
}

#[tokio::test]
async fn a_release_of_flux_is_taken_over_without_a_revision() {
    let world = World::new("fromflux").await;
    let (namespace, repository) = (world.namespace.as_str(), world.charts.url().to_owned());
    let install =
        ["install", "ui", "nodejs", "--repo", &repository, "--namespace", namespace, "--set", "port=6001,replicas=0"];
    world.bench.helm(Helm::V4, &install);
    world.apply(&world.release("ui", &json!({"values": {"port": 6001, "replicas": 0}})));
    let status = status_by_flux(&world, "2026-01-01T00:00:00Z").to_string();
    let patch = ["patch", "helmrelease", "ui", "--namespace", namespace, "--subresource=status", "--type=merge"];
    world.bench.kubectl(&[&patch[..], &["--patch", &status]].concat());
    let operator = world.started(Helm::V4).await;
    world.annotate("ui", "reconcile.fluxcd.io/requestedAt=taken-over");
    // It may be looked at before the chart is there.
    world.until("ui", "is looked at", |object| object["status"]["lastHandledReconcileAt"] == "taken-over").await;
    world.ready("ui", 1).await;
    assert_eq!(world.history("ui"), [(1, "deployed".to_owned())]);
    let runs = operator.log_lines().iter().filter(|line| line["message"] == "running helm").count();
    assert_eq!(runs, 0, "nothing had to be done");
    world.apply(&world.release("ui", &json!({"values": {"port": 6002, "replicas": 0}})));
    world.ready("ui", 2).await;
}

#[tokio::test]
async fn a_secret_is_shown_nowhere() {
    const CANARY: &str = "canary-7f3a9c51";
    let world = World::new("canary").await;
    let operator = world.started(Helm::V4).await;
    let values = STANDARD.encode(format!("env: {{TOKEN: {CANARY}}}\nfault: never-ready\n"));
    world.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "account"},
        "data": {"values.yaml": values, "path": STANDARD.encode(format!("{CANARY}_not_a_port"))}}));
    let from = json!([{"kind": "Secret", "name": "account"}]);
    world.apply(&world.release("ui", &json!({"timeout": "3s", "valuesFrom": from})));
    let seen = std::cell::RefCell::new(Vec::new());
    wait_for("the release to fail", PATIENCE, || async {
        seen.borrow_mut().extend(operator.children().into_iter().map(|(_, line)| line));
        let object = world.get("helmrelease", "ui").ok_or("none")?;
        if is(&object, "Stalled", "True") { Ok(()) } else { Err(object["status"].to_string()) }
    })
    .await;
    // A rejection quotes the value.
    let at_path = json!([{"kind": "Secret", "name": "account", "valuesKey": "path", "targetPath": "port"}]);
    world.apply(&world.release("quoted", &json!({"valuesFrom": at_path})));
    let object = world.says("quoted", "Ready", "False", "Helm install failed").await;
    assert!(message(&object, "Ready").contains("*****"), "{object}");
    let objects = world.bench.kubectl(&[
        "get",
        "helmreleases,helmcharts,events",
        "--namespace",
        &world.namespace,
        "--output=json",
    ]);
    let shown = [("log", operator.log()), ("objects and events", objects), ("arguments", seen.borrow().join("\n"))];
    for (place, text) in shown {
        assert!(!text.contains(CANARY), "the secret shows in {place}");
    }
    for entry in walk(&operator.data_dir()) {
        let bytes = std::fs::read(&entry).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains(CANARY), "the secret is in {}", entry.display());
    }
}

pub fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok).map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
