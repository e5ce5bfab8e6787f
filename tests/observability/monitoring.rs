//! `deploy/monitoring` on a real Prometheus that scrapes the operator.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use fairlead_testbench::ports::free_port;
use fairlead_testbench::prometheus::Alert;
use fairlead_testbench::tools::{self, tool, workspace};
use fairlead_testbench::{Operator, Prometheus, wait_for};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World};

const RULES: &str = "deploy/monitoring/alerts.yaml";
const DASHBOARD: &str = "deploy/monitoring/dashboard.json";

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).expect("it is in the repository")
}

/// The rules, without their patience.
fn impatient_rules() -> String {
    let lines = read(RULES);
    let lines = lines.lines().map(|line| if line.starts_with("    for: ") { "    for: 0s" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// The names of all series that there can be, with or without a sample by now.
fn known_metrics(exposition: &str) -> BTreeSet<String> {
    let types = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names = types.flat_map(|(name, kind)| match kind {
        "histogram" => ["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")).to_vec(),
        _ => vec![name.to_owned()],
    });
    names.collect()
}

/// Every expression of a dashboard, with its variables filled in.
fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("a list of panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let expressions = targets.map(|target| target["expr"].as_str().expect("an expression").to_owned());
    let variables = [("$namespace", ".*"), ("$__rate_interval", "1m"), ("$__range", "1h")];
    expressions.map(|expr| variables.iter().fold(expr, |expr, (name, value)| expr.replace(name, value))).collect()
}

async fn firing(prometheus: &Prometheus, what: &str, fits: impl Fn(&Alert) -> bool) -> Alert {
    wait_for(what, PATIENCE, || async {
        let alerts = prometheus.alerts().await;
        let found = alerts.iter().find(|alert| alert.state == "firing" && fits(alert)).cloned();
        found.ok_or_else(|| format!("{alerts:#?}"))
    })
    .await
}

/// An operator of another shard, which never gets through its start.
fn stuck(world: &World) -> Operator {
    let election = ["--leader-elect", "--leader-election-namespace", &world.namespace];
    let builder = Operator::builder(Path::new(env!("CARGO_BIN_EXE_fairlead")), world.bench);
    let builder = builder.watch_namespace(&world.namespace).args(election);
    builder.args(["--watch-label-selector", "shard=other", "--helm", "/nowhere/helm"]).spawn()
}

#[tokio::test]
async fn a_failing_release_and_a_dead_operator_raise_alarms_and_the_dashboard_shows_what_there_is() {
    tools::run(Command::new(tool("promtool")).args(["check", "rules", "--lint-fatal"]).arg(workspace().join(RULES)));
    let webhooks = format!("127.0.0.1:{}", free_port());
    let args = ["--receiver-listen", &webhooks];
    let mut world = World::with_args("alerts", &json!({"fault": "crash-loop"}), &args).await;
    world.alert("ops", false);
    world.commit(&json!({"fault": "crash-loop", "port": 3001}));
    world.ready("False").await;
    // A counter shows once it has counted something.
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    client.post(format!("http://{webhooks}/hook/nobody")).send().await.expect("an answer, whatever it is");
    world.sample(&["fairlead_webhooks_total{"], |count| count >= 1.0).await;
    world.sample(&["fairlead_notifications_total{", "\"generic\"", "\"failed\""], |count| count >= 1.0).await;
    let mut stuck = stuck(&world);
    let prometheus = Prometheus::start(&[&world.operator.url(), &stuck.url()], &impatient_rules()).await;
    let alert = firing(&prometheus, "an alarm about the release", |alert| {
        alert.name == "FairleadReleaseNotReady" && alert.labels["name"] == "ui"
    })
    .await;
    assert_eq!(alert.labels["exported_namespace"], world.namespace);
    let summary = format!("HelmRelease {}/ui is not ready", world.namespace);
    assert_eq!(alert.annotations["summary"], summary);
    let alert =
        firing(&prometheus, "an alarm about notifications", |alert| alert.name == "FairleadNotificationsFailing").await;
    assert_eq!(alert.labels["to"], "generic");
    // One shard has a leader, and the other one is missed all the same.
    let alert = firing(&prometheus, "an alarm about the shard", |alert| alert.name == "FairleadNoLeader").await;
    let lease = alert.labels["name"].as_str().expect("the name of a lease");
    assert!(lease.starts_with("fairlead-"), "{lease}");

    let known = known_metrics(&world.operator.get("/metrics").await);
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("the dashboard is JSON");
    let groups = prometheus.ask("rules", &[]).await.expect("Prometheus knows its rules");
    let groups = groups["groups"].as_array().expect("a list of groups").clone();
    let rules: Vec<Value> =
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect();
    let alarms = rules.iter().filter_map(|rule| rule["query"].as_str()).map(str::to_owned);
    let expressions: Vec<String> = expressions(&dashboard).into_iter().chain(alarms).collect();
    assert!(expressions.len() > 30, "{expressions:#?}");
    for expression in &expressions {
        let used = prometheus.metrics_of(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert!(!used.is_empty(), "{expression} reads nothing");
        for metric in used {
            assert!(known.contains(&metric), "{metric} of `{expression}` is not one of {known:#?}");
        }
        prometheus.ask("query", &[("query", expression)]).await.unwrap_or_else(|error| panic!("{expression}: {error}"));
    }
    let broken: Vec<_> = rules.iter().filter(|rule| rule["health"] == "err").collect();
    assert!(broken.is_empty(), "{broken:#?}");
    let quiet =
        ["FairleadDown", "FairleadNoLeader", "FairleadQueueStuck", "FairleadPassHangs", "FairleadSourceFailing"];
    let alerts = prometheus.alerts().await;
    let false_alarm = alerts.iter().find(|alert| quiet.contains(&alert.name.as_str()) && alert.labels["name"] != lease);
    assert!(false_alarm.is_none(), "{false_alarm:#?}");

    stuck.kill();
    world.operator.kill();
    firing(&prometheus, "an alarm about the operator", |alert| alert.name == "FairleadDown").await;
}
