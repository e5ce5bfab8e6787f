//! Clocks that are wrong. The machine's own cannot be set in a test: instead everything that is dated is dated otherwise,
//! and the clock that counts from the machine's start is shifted by a time namespace.

use std::time::Duration;

use fairlead::helm::storage::{StoredRelease, decode, encode};
use fairlead_testbench::Operator;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};

use crate::scene::{LEADS, Scene, TAKE_OVER, said_at, says};
use crate::start_checks::put;
use crate::world::World;

/// Moves every date in a value.
fn shift(value: &mut Value, by: SignedDuration) {
    match value {
        Value::String(text) => {
            if let Ok(date) = text.parse::<Timestamp>() {
                let date = Timestamp::from_second((date + by).as_second()).expect("in range");
                *text = date.to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Value::Object(fields) => fields.values_mut().for_each(|field| shift(field, by)),
        _ => {}
    }
}

/// Moves the dates of all objects, and of helm's records.
async fn shift_all(world: &World, by: SignedDuration) {
    for kind in ["helmrelease", "helmchart", "helmrepository"] {
        let listed = world.bench.kubectl(&["get", kind, "--namespace", &world.namespace, "--output=json"]);
        let listed: Value = serde_json::from_str(&listed).expect("kubectl prints JSON");
        for object in listed["items"].as_array().expect("a list") {
            let mut status = json!({"status": object["status"]});
            shift(&mut status, by);
            let (name, patch) = (object["metadata"]["name"].as_str().expect("a name"), status.to_string());
            let to = ["patch", kind, name, "--namespace", &world.namespace, "--subresource=status", "--type=merge"];
            world.bench.kubectl(&[&to[..], &["--patch", &patch]].concat());
        }
    }
    let secrets = Api::<Secret>::namespaced(world.bench.client().await, &world.namespace);
    for mut secret in secrets.list(&ListParams::default().labels("owner=helm")).await.expect("lists") {
        let mut document = decode(&secret).expect("a release").document().clone();
        shift(&mut document["info"], by);
        secret.data = Some(encode(&StoredRelease::from_document(document)).expect("encodes"));
        let name = secret.metadata.name.clone().expect("a name");
        secrets.replace(&name, &PostParams::default(), &secret).await.expect("writes");
    }
}

async fn lives_with(hours: i64, prefix: &str) {
    let scene = Scene::new(prefix).await;
    let world = &scene.world;
    let mut operator = world.operator().start().await;
    world.apply(&world.release("ui", &json!({"values": {"replicas": 1}})));
    world.ready("ui", 1).await;
    operator.kill();
    let dated = || world.get("helmrelease", "ui").expect("it exists")["status"]["history"][0]["lastDeployed"].clone();
    let before = dated();
    shift_all(world, SignedDuration::from_hours(hours)).await;
    assert_ne!(dated(), before);
    operator.restart().await;
    world.annotate("ui", "reconcile.fluxcd.io/requestedAt=now");
    world.until("ui", "is looked at", |object| object["status"]["lastHandledReconcileAt"] == "now").await;
    world.ready("ui", 1).await;
    assert_eq!(world.history("ui"), [(1, "deployed".to_owned())], "nothing is released again");
    world.apply(&world.release("ui", &json!({"values": {"replicas": 1, "port": 6002}})));
    world.ready("ui", 2).await;
    assert_eq!(world.history("ui"), [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);
}

/// A holder that is gone, and whose clock differed.
async fn outlives_a_holder(hours: i64, prefix: &str) {
    let scene = Scene::new(prefix).await;
    let mut first = scene.candidate().start().await;
    says(&first, LEADS, Duration::from_secs(5)).await;
    first.kill();
    let mut lease = scene.lease();
    lease["metadata"]["managedFields"].take();
    let date = Timestamp::now() + SignedDuration::from_hours(hours);
    lease["spec"]["renewTime"] = format!("{date:.6}").into();
    lease["spec"]["acquireTime"] = format!("{date:.6}").into();
    lease["spec"]["holderIdentity"] = "a ghost".into();
    let name = lease["metadata"]["name"].as_str().expect("a name");
    let (namespace, patch) = (scene.world.namespace.as_str(), json!({"spec": lease["spec"]}).to_string());
    scene.world.bench.kubectl(&["patch", "lease", name, "--namespace", namespace, "--type=merge", "--patch", &patch]);
    let set = Timestamp::now();
    let second = scene.candidate().start().await;
    let leads = says(&second, LEADS, TAKE_OVER).await;
    assert!(leads.duration_since(set) >= SignedDuration::from_secs(15), "{set} {leads}");
}

/// Runs the operator on a machine that was started a day earlier, as far as it knows.
const A_DAY_EARLIER: &str = r#"#!/bin/sh
exec unshare --user --map-root-user --time --boottime 86400 --monotonic 86400 "@fairlead@" "$@"
"#;

async fn takes_over_from_a_machine_with_another_uptime() {
    let scene = Scene::new("uptime").await;
    let script = scene.folder.path().join("a-day-earlier");
    put(&script, &A_DAY_EARLIER.replace("@fairlead@", env!("CARGO_BIN_EXE_fairlead")));
    let namespace = scene.world.namespace.as_str();
    let candidate = || {
        let operator = Operator::builder(&script, scene.world.bench).watch_namespace(namespace);
        operator.args(["--leader-elect", "--leader-election-namespace", namespace])
    };
    let mut first = candidate().start().await;
    says(&first, LEADS, Duration::from_secs(5)).await;
    let second = scene.candidate().start().await;
    let mut third = candidate().start().await;
    assert_eq!(third.terminate(Duration::from_secs(5)), 0);
    scene.world.apply(&scene.slow("one", "100ms"));
    scene.world.ready("ui", 1).await;
    first.kill();
    let killed = Timestamp::now();
    assert_eq!(said_at(&second, LEADS), None);
    // It was renewed five seconds before at the most.
    let leads = says(&second, LEADS, TAKE_OVER).await;
    assert!(leads.duration_since(killed) >= SignedDuration::from_secs(9), "{killed} {leads}");
}

#[tokio::test]
async fn a_clock_that_is_an_hour_off_causes_no_release() {
    tokio::join!(lives_with(1, "hour-back"), lives_with(-1, "hour-ahead"));
}

/// All at once: most of the time is spent waiting.
#[tokio::test]
async fn the_lease_is_judged_by_no_clock_but_the_own_one() {
    tokio::join!(
        outlives_a_holder(1, "holder-ahead"),
        outlives_a_holder(-1, "holder-back"),
        takes_over_from_a_machine_with_another_uptime()
    );
}
