//! How an operator lives through an outage, and how it ends.

use std::time::{Duration, Instant};

use fairlead_testbench::daemon::is_running;
use fairlead_testbench::{FaultProxy, Line};
use serde_json::json;

use crate::scene::{LEADS, Scene, said_at, says};

#[tokio::test]
async fn an_outage_of_the_api_server_and_a_slow_helm_are_no_reason_to_be_killed() {
    let scene = Scene::new("outage").await;
    let world = &scene.world;
    let line = FaultProxy::to(world.bench.server().trim_start_matches("https://"));
    let operator = world.operator().kubeconfig(&world.bench.kubeconfig_via(&line)).args(["--concurrent", "1"]);
    let operator = operator.start().await;
    world.apply(&scene.slow("one", "20s"));
    world.apply(&world.release("waits", &json!({})));
    scene.revision_is(1, "pending-install").await;
    line.behave(Line::Hangs);
    let begun = Instant::now();
    // Longer than a part may be silent.
    while begun.elapsed() < Duration::from_secs(34) {
        assert_eq!(operator.try_get("/healthz").await, Ok((200, "ok\n".to_owned())));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    line.behave(Line::Works);
    world.ready("waits", 1).await;
    assert_eq!(operator.try_get("/healthz").await, Ok((200, "ok\n".to_owned())));
}

#[tokio::test]
async fn work_that_does_not_end_in_time_is_given_up_and_the_lease_is_kept() {
    let scene = Scene::new("grace").await;
    let mut operator = scene.candidate().args(["--graceful-shutdown-timeout=2s"]).start().await;
    says(&operator, LEADS, Duration::from_secs(5)).await;
    scene.world.apply(&scene.slow("one", "30s"));
    scene.revision_is(1, "pending-install").await;
    let helm: Vec<u32> = operator.children().into_iter().map(|(pid, _)| pid).collect();
    let begun = Instant::now();
    assert_eq!(operator.terminate(Duration::from_secs(10)), 0);
    assert!((2..6).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert!(said_at(&operator, "is given up").is_some() && said_at(&operator, "gave the lease back").is_none());
    assert!(!helm.is_empty() && !helm.into_iter().any(is_running), "helm goes with the operator");
    assert_ne!(scene.lease()["spec"]["holderIdentity"].as_str().unwrap_or_default(), "");
}
