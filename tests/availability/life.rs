//! How an operator lives through an outage, and how it ends.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fairlead_testbench::daemon::is_running;
use fairlead_testbench::{FaultProxy, Helm, Line, Operator, wait_for};
use serde_json::json;

use crate::scene::{LEADS, Scene, said_at, says};
use crate::start_checks::put;
use crate::world::PATIENCE;

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

#[tokio::test]
async fn what_waits_for_its_turn_is_not_begun_by_an_operator_that_is_to_end() {
    let scene = Scene::new("turns").await;
    let world = &scene.world;
    let mut operator = world.operator().args(["--concurrent", "1"]).start().await;
    world.apply(&scene.slow("one", "5s"));
    scene.revision_is(1, "pending-install").await;
    let waiting = ["two", "three"];
    for name in waiting {
        world.apply(&world.release(name, &json!({})));
    }
    for name in waiting {
        world.until(name, "waits for its turn", |object| object["status"]["helmChart"].is_string()).await;
    }
    assert_eq!(operator.terminate(Duration::from_secs(20)), 0);
    assert!(said_at(&operator, "is given up").is_none());
    let begun = operator.log_lines().iter().filter(|line| line["message"] == "running helm").count();
    assert_eq!((begun, world.history("ui")), (1, vec![(1, "deployed".to_owned())]));
    assert!(waiting.iter().all(|name| world.history(name).is_empty()));
    operator.restart().await;
    for name in waiting {
        world.ready(name, 1).await;
    }
    world.ready("ui", 1).await;
}

/// A helm that never ends an upgrade, whatever it was told about its time.
const HANGS: &str = r#"#!/bin/sh
[ "$1" != upgrade ] || exec sleep 3600
exec "@helm@" "$@"
"#;

async fn a_helm_that_hangs() {
    let scene = Scene::new("hangs").await;
    let world = &scene.world;
    let script = scene.folder.path().join("helm");
    put(&script, &HANGS.replace("@helm@", &Helm::V4.path().display().to_string()));
    let operator = world.operator().helm_binary(&script).args(["--concurrent", "1"]).start().await;
    let spec = |port: u16| json!({"timeout": "2s", "values": {"replicas": 0, "port": port}});
    world.apply(&world.release("ui", &spec(6001)));
    world.ready("ui", 1).await;
    world.apply(&world.release("ui", &spec(6002)));
    wait_for("the hung helm to be ended", PATIENCE, || async {
        assert_eq!(operator.try_get("/healthz").await, Ok((200, "ok\n".to_owned())));
        let events = world.events("ui");
        let ended = |(_, said): &(String, String)| said.contains("did not end within 32s and was killed");
        if events.iter().any(ended) { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await;
    assert_eq!(world.history("ui"), [(1, "deployed".to_owned())]);
}

/// A file that holds up whoever opens it, until somebody writes to it under its other name.
fn hold_up(file: &Path) -> PathBuf {
    let (pipe, link) = (file.with_extension("pipe"), file.with_extension("link"));
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("start mkfifo").success());
    std::fs::hard_link(&pipe, &link).expect("link");
    std::fs::rename(&link, file).expect("replace");
    pipe
}

/// The client reads its token anew each minute, on the runtime's own thread.
async fn a_runtime_that_hangs() {
    let scene = Scene::new("runtime").await;
    let (world, folder) = (&scene.world, scene.folder.path());
    let (token, kubeconfig) = (folder.join("token"), folder.join("kubeconfig"));
    let secret = fairlead_testbench::User::Admin.token();
    std::fs::write(&token, &secret).expect("write a token");
    let text = std::fs::read_to_string(world.bench.kubeconfig()).expect("read a kubeconfig");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    config["users"][0]["user"] = json!({"tokenFile": token});
    std::fs::write(&kubeconfig, config.to_string()).expect("write a kubeconfig");
    let operator = world.operator().kubeconfig(&kubeconfig).env("TOKIO_WORKER_THREADS", "1").start().await;
    let pipe = hold_up(&token);
    let asked = |patience: Duration| tokio::time::timeout(patience, healthz(&operator));
    let mut request = 0;
    wait_for("/healthz to give no answer", Duration::from_secs(100), || {
        request += 1;
        // Something to tell the API server.
        let asks = format!("reconcile.fluxcd.io/requestedAt={request}");
        let repository = ["helmrepository", "charts", "--namespace", &world.namespace];
        world.bench.kubectl(&[&["annotate", "--overwrite"], &repository[..], &[&asks]].concat());
        async { asked(Duration::from_secs(5)).await.map_or(Ok(()), |answer| Err(format!("{answer:?}"))) }
    })
    .await;
    std::fs::write(token.with_extension("new"), &secret).expect("write a token");
    std::fs::rename(token.with_extension("new"), &token).expect("replace");
    std::fs::write(&pipe, &secret).expect("let it go on");
    wait_for("/healthz to answer again", PATIENCE, || async {
        match asked(Duration::from_secs(5)).await {
            Ok(Ok((200, _))) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

async fn healthz(operator: &Operator) -> Result<(u16, String), String> {
    operator.try_get("/healthz").await
}

/// Both at once: most of the time is spent waiting.
#[tokio::test]
async fn healthz_tells_a_runtime_that_hangs_from_a_helm_that_does() {
    tokio::join!(a_helm_that_hangs(), a_runtime_that_hangs());
}
