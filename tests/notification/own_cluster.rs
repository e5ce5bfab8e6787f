//! What needs a cluster of its own: kinds that come later, and events of other namespaces.

use std::path::Path;

use fairlead_testbench::{Operator, TestBench, WebhookServer, wait_for};
use serde_json::{Value, json};

use crate::scene::{PATIENCE, broken_spec, received, text};

fn apply(bench: &TestBench, api_version: &str, kind: &str, key: (&str, &str), spec: &Value) {
    let (namespace, name) = key;
    let metadata = json!({"namespace": namespace, "name": name});
    bench.apply(&json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}).to_string());
}

fn broken(bench: &TestBench, namespace: &str, name: &str) {
    apply(bench, "source.toolkit.fluxcd.io/v1", "GitRepository", (namespace, name), &broken_spec());
}

#[tokio::test]
async fn without_its_kinds_no_alert_is_looked_at_and_with_them_one_hears_of_other_namespaces() {
    let bench = TestBench::start().await;
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let (of_alerts, others): (Vec<_>, Vec<_>) = std::fs::read_dir(crds)
        .expect("the folder of definitions")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| std::fs::read_to_string(path).expect("a definition"))
        .partition(|text| text.contains("name: alerts.") || text.contains("name: providers."));
    bench.apply(&others.concat());
    bench.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]);
    let (tenant, team) = (bench.namespace("tenant").await, bench.namespace("team").await);
    let builder = |flags: &[&str]| {
        let binary = Path::new(env!("CARGO_BIN_EXE_fairlead"));
        Operator::builder(binary, &bench).args(flags.iter().copied())
    };
    let mut operator = builder(&["--controllers", "source"]).start().await;
    operator.terminate(PATIENCE);
    let mut operator = builder(&[]).spawn();
    let kind = "notification.toolkit.fluxcd.io/v1beta3";
    wait_for("a word about the kinds", PATIENCE, || async {
        let told = operator.log().contains(&format!("the API server does not know Alert, Provider ({kind}); run: "));
        told.then_some(()).ok_or_else(|| operator.log())
    })
    .await;
    bench.apply(&of_alerts.concat());
    operator.wait_until_ready().await;
    let hook = WebhookServer::start();
    apply(&bench, kind, "Provider", (&tenant, "hook"), &json!({"type": "generic", "address": hook.url()}));
    let sources = json!([{"kind": "GitRepository", "name": "*", "namespace": team}]);
    let alert = json!({"providerRef": {"name": "hook"}, "eventSources": sources});
    apply(&bench, kind, "Alert", (&tenant, "hook"), &alert);
    // What is applied before it starts is known when the first event happens.
    operator.terminate(PATIENCE);
    let mut operator = builder(&[]).start().await;
    broken(&bench, &tenant, "own");
    broken(&bench, &team, "other");
    let request = received(&hook, 1).await.remove(0).json();
    assert_eq!(text(&request["involvedObject"]["name"]), "other");
    operator.terminate(PATIENCE);

    let operator = builder(&["--no-cross-namespace-refs"]).start().await;
    broken(&bench, &team, "denied");
    wait_for("a denial", PATIENCE, || async {
        let told = bench.kubectl(&["get", "events", "-n", &tenant, "-o", "jsonpath={.items[*].message}"]);
        let denied = format!("cross-namespace references are not allowed: cannot access GitRepository {team}/denied");
        if told.contains(&denied) { Ok(()) } else { Err(told) }
    })
    .await;
    assert_eq!(hook.received().len(), 1, "{}", operator.log());
}
