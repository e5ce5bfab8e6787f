//! Operators that share the work by labels.

use std::collections::BTreeSet;

use fairlead_testbench::Operator;
use serde_json::{Value, json};

use crate::scene::{Scene, ready_says};
use crate::world::is;

const KEY: &str = "sharding.fluxcd.io/key";

fn labelled(mut object: Value, shard: &str) -> Value {
    object["metadata"]["labels"] = json!({KEY: shard});
    object
}

/// The releases that an operator ran helm for.
fn released_by(operator: &Operator) -> BTreeSet<String> {
    let lines = operator.log_lines();
    let runs = lines.iter().filter(|line| line["message"] == "running helm");
    runs.filter_map(|line| line["name"].as_str().map(str::to_owned)).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn each_operator_looks_after_its_shard_and_reads_all_of_them() {
    let scene = Scene::new("shards").await;
    let world = &scene.world;
    let of_a = scene.candidate().args(["--watch-label-selector", "sharding.fluxcd.io/key in (a)"]).start().await;
    let of_others = scene.candidate().args(["--watch-label-selector", "!sharding.fluxcd.io/key"]).start().await;
    for operator in [&of_a, &of_others] {
        // Neither stands by for the other.
        ready_says(operator, 200, &["ok\n"]).await;
    }
    let repository = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository",
        "metadata": {"name": "charts-a"}, "spec": {"url": world.charts.url(), "interval": "1s"},
    });
    world.apply(&labelled(repository, "a"));
    let quiet = json!({"values": {"replicas": 0}});
    world.apply(&world.release("plain", &quiet));
    // Its chart is of the other shard.
    world.apply(&labelled(world.release("crossing", &quiet), "a"));
    let mut sharded = world.release("sharded", &quiet);
    sharded["spec"]["chart"]["metadata"] = json!({"labels": {KEY: "a"}});
    sharded["spec"]["chart"]["spec"]["sourceRef"]["name"] = "charts-a".into();
    world.apply(&labelled(sharded.clone(), "a"));
    // Its chart is of this shard, and the chart's source is not.
    let mut torn = sharded;
    torn["metadata"]["name"] = "torn".into();
    torn["spec"]["chart"]["spec"]["sourceRef"]["name"] = "charts".into();
    world.apply(&labelled(torn, "a"));

    for name in ["plain", "crossing", "sharded"] {
        world.ready(name, 1).await;
    }
    world.says("torn", "Ready", "False", "belongs to another shard").await;
    assert_eq!(released_by(&of_a), names(&["crossing", "sharded"]));
    assert_eq!(released_by(&of_others), names(&["plain"]));
    let chart = world.get("helmchart", &format!("{}-sharded", world.namespace)).expect("it exists");
    assert_eq!(chart["metadata"]["labels"][KEY], "a");
    let of_shard = world.get("helmrepository", "charts-a").expect("it exists");
    let url = of_shard["status"]["artifact"]["url"].as_str().unwrap_or_default();
    assert!(url.starts_with(&of_a.url()), "{url} is not at {}", of_a.url());

    for (operator, shown, absent) in [(&of_a, "sharded", "plain"), (&of_others, "plain", "sharded")] {
        let metrics = operator.get("/metrics").await;
        let is_shown = |name: &str| {
            let mut lines = metrics.lines().filter(|line| line.starts_with("gotk_resource_info"));
            lines.any(|line| line.contains(&format!("name=\"{name}\"")) && line.contains("\"HelmRelease\""))
        };
        assert!(is_shown(shown) && !is_shown(absent), "each shows its own:\n{metrics}");
    }

    // One that changes shards has a new operator from then on.
    world.apply(&labelled(world.release("plain", &json!({"values": {"replicas": 0, "port": 3001}})), "a"));
    world.ready("plain", 2).await;
    assert_eq!(released_by(&of_a), names(&["crossing", "plain", "sharded"]));
    world.bench.kubectl(&["label", "helmrelease", "plain", &format!("{KEY}-"), "--namespace", &world.namespace]);
    world.annotate("plain", "reconcile.fluxcd.io/requestedAt=back");
    let object = world.until("plain", "is looked at", |object| object["status"]["lastHandledReconcileAt"] == "back");
    assert!(is(&object.await, "Ready", "True"));
    assert_eq!(world.history("plain").len(), 2);
    assert_eq!(released_by(&of_others), names(&["plain"]));
}
