//! The lease, and what happens when its holder goes: suddenly, in good order, or cut off.

use std::time::Duration;

use fairlead_testbench::daemon::is_running;
use fairlead_testbench::{FaultProxy, Helm, Line, wait_for};
use serde_json::json;

use crate::scene::{LEADS, Scene, TAKE_OVER, ends, said_at, says};

async fn is_gone(pid: u32) {
    wait_for("the helm process to be gone", Duration::from_secs(2), || async {
        if is_running(pid) { Err("it runs".to_owned()) } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn a_sudden_death_in_the_middle_of_helm_is_survived_by_the_other_operator() {
    let scene = Scene::new("kill").await;
    let world = &scene.world;
    let mut first = scene.candidate().start().await;
    says(&first, LEADS, Duration::from_secs(5)).await;
    let second = scene.candidate().start().await;
    let ready = second.get("/readyz").await;
    assert!(ready.starts_with("ok: stands by"), "a standby is ready: {ready}");
    world.apply(&scene.slow("one", "100ms"));
    let quiet = json!({"values": {"replicas": 0}, "postRenderers": [{"kustomize": {"images": [
        {"name": "registry.example.org/app", "newTag": "2.0.0"}]}}]});
    world.apply(&world.release("quiet", &quiet));
    world.ready("ui", 1).await;
    world.ready("quiet", 1).await;

    world.apply(&scene.slow("two", "8s"));
    scene.revision_is(2, "pending-upgrade").await;
    let helm: Vec<u32> = first.children().into_iter().map(|(pid, _)| pid).collect();
    assert!(!helm.is_empty(), "helm is under way");
    first.kill();
    for pid in helm {
        is_gone(pid).await;
    }
    assert_eq!(said_at(&second, LEADS), None);
    says(&second, LEADS, TAKE_OVER).await;
    world.ready("ui", 2).await;
    assert_eq!(world.history("ui"), [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);

    // Its store was empty: artifacts are made anew, and what is in sync stays as it is.
    world.annotate("quiet", "reconcile.fluxcd.io/requestedAt=now");
    world.until("quiet", "is looked at", |object| object["status"]["lastHandledReconcileAt"] == "now").await;
    world.ready("quiet", 1).await;
    assert_eq!(world.history("quiet").len(), 1);
    let lease = scene.lease();
    assert_eq!((&lease["metadata"]["name"], &lease["spec"]["leaseTransitions"]), (&lease_name(&lease), &json!(1)));
    assert_eq!(second.get("/readyz").await, "ok\n");
}

/// The lease of operators that look after one namespace is not that of those that look after all.
fn lease_name(lease: &serde_json::Value) -> serde_json::Value {
    let name = lease["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("fairlead-") && name.len() == 17, "{name}");
    name.into()
}

#[tokio::test]
async fn an_operator_that_is_asked_to_end_hands_over_at_once() {
    let scene = Scene::new("term").await;
    let mut first = scene.candidate().start().await;
    says(&first, LEADS, Duration::from_secs(5)).await;
    let mut second = scene.candidate().start().await;
    scene.world.apply(&scene.slow("one", "2s"));
    scene.revision_is(1, "pending-install").await;
    assert_eq!(first.terminate(Duration::from_secs(20)), 0);
    let given_back = said_at(&first, "gave the lease back").expect("it does so");
    let leads = says(&second, LEADS, Duration::from_secs(10)).await;
    let pause = leads.duration_since(given_back);
    assert!(pause < jiff::SignedDuration::from_secs(3), "the other one leads after {pause}");
    scene.world.ready("ui", 1).await;
    assert_eq!(scene.world.history("ui"), [(1, "deployed".to_owned())], "helm was let finish");

    // The lease outlives a holder, but not its own data directory: nobody waits for oneself.
    second.restart().await;
    assert_eq!(second.terminate(Duration::from_secs(20)), 0);
    assert_eq!(scene.lease()["spec"]["holderIdentity"].as_str().unwrap_or_default(), "");
}

#[tokio::test]
async fn a_standby_ends_at_once() {
    let scene = Scene::new("standby").await;
    let first = scene.candidate().start().await;
    let mut second = scene.candidate().start().await;
    let begun = std::time::Instant::now();
    assert_eq!(second.terminate(Duration::from_secs(5)), 0);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(said_at(&first, LEADS).is_some() && said_at(&second, LEADS).is_none());
}

async fn cut_off(line: Line, prefix: &str) {
    let scene = Scene::new(prefix).await;
    let world = &scene.world;
    let proxy = FaultProxy::to(world.bench.server().trim_start_matches("https://"));
    let mut first = scene.candidate().kubeconfig(&world.bench.kubeconfig_via(&proxy)).start().await;
    says(&first, LEADS, Duration::from_secs(5)).await;
    let second = scene.candidate().start().await;
    world.apply(&scene.slow("one", "100ms"));
    world.ready("ui", 1).await;
    world.apply(&scene.slow("two", "9s"));
    scene.revision_is(2, "pending-upgrade").await;
    let helm: Vec<u32> = first.children().into_iter().map(|(pid, _)| pid).collect();
    proxy.behave(line);
    assert_eq!(ends(&mut first, TAKE_OVER).await, 1);
    assert_eq!(said_at(&second, LEADS), None, "nobody else leads yet");
    for pid in helm {
        assert!(!is_running(pid), "helm goes with the operator");
    }
    let ended = said_at(&first, "ending at once").expect("it says why");
    let leads = says(&second, LEADS, TAKE_OVER).await;
    assert!(ended < leads, "{ended} is not before {leads}");
    world.ready("ui", 2).await;
    assert_eq!(world.history("ui"), [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);
}

async fn stopped() {
    let scene = Scene::new("stop").await;
    let mut first = scene.candidate().start().await;
    says(&first, LEADS, Duration::from_secs(5)).await;
    let second = scene.candidate().helm(Helm::V3).start().await;
    signal(first.pid(), rustix::process::Signal::STOP);
    says(&second, LEADS, TAKE_OVER).await;
    signal(first.pid(), rustix::process::Signal::CONT);
    assert_eq!(ends(&mut first, Duration::from_secs(5)).await, 1);
}

/// All at once: most of the time is spent waiting.
#[tokio::test]
async fn a_leader_that_cannot_renew_its_lease_ends_by_itself_and_in_time() {
    tokio::join!(cut_off(Line::Cut, "cut"), cut_off(Line::Hangs, "hang"), stopped());
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process");
    rustix::process::kill_process(pid, signal).expect("a process of one's own");
}
