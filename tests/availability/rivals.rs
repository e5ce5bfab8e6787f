//! Others who work on the same releases with nothing to keep them apart: a second operator without a lease, and somebody
//! who runs helm by hand.

use std::process::Stdio;
use std::time::Duration;

use fairlead_testbench::{Helm, wait_for};

use crate::scene::{Scene, said_at};
use crate::start_checks::put;
use crate::world::PATIENCE;

/// How many changes are made.
const ROUNDS: i64 = 4;

#[tokio::test]
async fn two_operators_without_a_lease_release_each_change_once() {
    let scene = Scene::new("nolease").await;
    let world = &scene.world;
    let operators = [world.operator().start().await, world.operator().start().await];
    for round in 1..=ROUNDS {
        // Long enough that both see the change while one of them works.
        world.apply(&scene.slow(&round.to_string(), "2s"));
        world.ready("ui", round).await;
    }
    // Both have come to rest.
    for request in ["one", "another"] {
        world.annotate("ui", &format!("reconcile.fluxcd.io/requestedAt={request}"));
        world.until("ui", "is looked at", |object| object["status"]["lastHandledReconcileAt"] == request).await;
    }
    let wanted: Vec<_> =
        (1..=ROUNDS).map(|round| (round, if round == ROUNDS { "deployed" } else { "superseded" }.to_owned())).collect();
    assert_eq!(world.history("ui"), wanted);
    for operator in &operators {
        assert!(said_at(operator, "nothing keeps a second operator from acting").is_some());
        assert_eq!(said_at(operator, "removed the half-made revision"), None, "the other one made it, and was alive");
    }
    assert!(!world.events("ui").iter().any(|(reason, _)| reason == "UpgradeFailed"), "{:?}", world.events("ui"));
}

/// Waits before the first upgrade until it is told to go on.
const HELD_UP: &str = r#"#!/bin/sh
if [ "$1" = upgrade ] && [ ! -e "@folder@/go" ]; then
    : >"@folder@/begun"
    until [ -e "@folder@/go" ]; do sleep 0.05; done
fi
exec "@helm@" "$@"
"#;

async fn leaves_to_another(helm: Helm, prefix: &str) {
    let scene = Scene::new(prefix).await;
    let (world, folder) = (&scene.world, scene.folder.path());
    let script = folder.join("helm");
    let text = HELD_UP.replace("@folder@", &folder.display().to_string());
    put(&script, &text.replace("@helm@", &helm.path().display().to_string()));
    let operator = world.operator().helm_binary(&script).start().await;
    world.apply(&scene.slow("one", "100ms"));
    world.ready("ui", 1).await;
    world.apply(&scene.slow("two", "100ms"));
    wait_for("the operator's upgrade to begin", Duration::from_secs(20), || async {
        if folder.join("begun").exists() { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let mut by_hand = world.bench.command(helm.name());
    by_hand.args(["upgrade", "ui", "slow", "--repo", world.charts.url(), "--namespace", &world.namespace]);
    by_hand.args(["--set", "message=by-hand,hookTakes=10s"]).stdout(Stdio::null()).stderr(Stdio::null());
    let by_hand = std::sync::Mutex::new(by_hand.spawn().expect("start helm"));
    scene.revision_is(2, "pending-upgrade").await;
    std::fs::write(folder.join("go"), "").expect("let the operator go on");
    let ended = wait_for("the helm that was run by hand to end", PATIENCE, || async {
        let ended = by_hand.lock().expect("one waits").try_wait().expect("a child");
        ended.ok_or_else(|| "it runs".to_owned())
    });
    assert!(ended.await.success(), "it was let finish");
    world.ready("ui", 3).await;
    let history = [(1, "superseded"), (2, "superseded"), (3, "deployed")].map(|(n, status)| (n, status.to_owned()));
    assert_eq!(world.history("ui"), history);
    assert!(said_at(&operator, "another helm client works on the release").is_some());
    let events = world.events("ui");
    assert!(events.iter().any(|(_, said)| said.contains("another helm action holds release")), "{events:?}");
    assert!(!events.iter().any(|(reason, _)| reason == "UpgradeFailed"), "{events:?}");
}

#[tokio::test]
async fn a_revision_that_somebody_makes_by_hand_at_the_same_time_is_let_finish() {
    tokio::join!(leaves_to_another(Helm::V3, "by-hand3"), leaves_to_another(Helm::V4, "by-hand4"));
}
