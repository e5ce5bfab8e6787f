//! What goes wrong, what is said about it, and how it heals.

use std::path::Path;
use std::time::{Duration, Instant};

use fairlead_testbench::{Helm, wait_for};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, condition, is, message, reason};

async fn a_crash_loop_is_explained(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let _operator = world.started(helm).await;
    world.apply(&world.release("ui", &json!({"timeout": "4s", "values": {"fault": "crash-loop"}})));
    let waiting = world.says("ui", "Ready", "Unknown", "CrashLoopBackOff").await;
    assert!(message(&waiting, "Ready").contains("exit code 3"), "{waiting}");
    let failed = world.says("ui", "Ready", "False", "CrashLoopBackOff").await;
    let said = message(&failed, "Ready");
    for words in [
        "Helm install failed for release",
        "timed out",
        "Deployment",
        "container app",
        "exit code 3",
        "its log ends with",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!((reason(&failed, "Ready"), reason(&failed, "Released")), ("InstallFailed", "InstallFailed"));
    let stalled = world.says("ui", "Stalled", "True", "Failed to install after 1 attempt(s)").await;
    assert_eq!(reason(&stalled, "Stalled"), "RetriesExceeded");
    assert_eq!((&stalled["status"]["installFailures"], &stalled["status"]["failures"]), (&json!(1), &json!(1)));
    assert_eq!(world.history("ui"), [(1, "failed".to_owned())]);
    assert!(
        world.events("ui").iter().any(|(reason, message)| reason == "InstallFailed" && message.contains("exit code 3"))
    );

    world.apply(&world.release("ui", &json!({"timeout": "1m", "values": {}})));
    let healed = world.ready("ui", 2).await;
    assert_eq!(healed["status"]["failures"], Value::Null);
    assert!(condition(&healed, "Stalled").is_none());
}

#[tokio::test]
async fn a_crash_loop_says_so_fails_in_time_and_heals_by_a_new_spec_with_helm_3() {
    a_crash_loop_is_explained(Helm::V3, "crash3").await;
}

#[tokio::test]
async fn a_crash_loop_says_so_fails_in_time_and_heals_by_a_new_spec_with_helm_4() {
    a_crash_loop_is_explained(Helm::V4, "crash4").await;
}

#[tokio::test]
async fn a_new_spec_supersedes_a_wait_at_once() {
    let world = World::new("supersede").await;
    let _operator = world.started(Helm::V4).await;
    world.apply(&world.release("ui", &json!({"timeout": "10m", "values": {"fault": "never-ready"}})));
    world.says("ui", "Ready", "Unknown", "not ready").await;
    let since = Instant::now();
    world.apply(&world.release("ui", &json!({"timeout": "10m", "values": {}})));
    world.ready("ui", 2).await;
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    assert_eq!(world.history("ui"), [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);
}

#[tokio::test]
async fn many_waits_hold_nobody_up() {
    let world = World::new("many").await;
    let _operator = world.operator().args(["--concurrent", "2"]).start().await;
    for number in 0..6 {
        let spec = json!({"timeout": "10m", "values": {"fault": "never-ready"}});
        world.apply(&world.release(&format!("sick-{number}"), &spec));
    }
    for number in 0..6 {
        world.says(&format!("sick-{number}"), "Ready", "Unknown", "Waiting for release").await;
    }
    world.apply(&world.release("well", &json!({})));
    world.ready("well", 1).await;
}

#[tokio::test]
async fn a_failed_job_fails_its_release_at_once() {
    let world = World::new("image").await;
    let _operator = world.started(Helm::V4).await;
    world.apply(&world.release("ui", &json!({"timeout": "3s", "values": {"fault": "image-pull"}})));
    let failed = world.says("ui", "Ready", "False", "ImagePullBackOff").await;
    assert!(message(&failed, "Ready").contains("registry.example.org/app:1.0.0"), "{failed}");
}

#[tokio::test]
async fn charts_that_cannot_be_released_say_why() {
    let world = World::new("charts").await;
    let _operator = world.started(Helm::V4).await;
    world.apply(&world.chart_release("none", "no-such-chart", &json!({})));
    let object = world.says("none", "Ready", "False", "no-such-chart").await;
    assert_eq!(reason(&object, "Ready"), "SourceNotReady");

    world.apply(&world.release("render", &json!({"values": {"image": "not a map"}})));
    let object = world.says("render", "Ready", "False", "Helm install failed").await;
    assert!(message(&object, "Ready").contains("deployment.yaml"), "{object}");
    assert_eq!(reason(&object, "Ready"), "InstallFailed");
    assert!(is(&object, "Reconciling", "True"));
    assert!(world.history("render").is_empty());

    world.apply(&world.release("rejected", &json!({"values": {"port": 99999}})));
    let object = world.says("rejected", "Stalled", "True", "Failed to install").await;
    assert!(message(&object, "Ready").contains("99999"), "{object}");

    for name in ["render", "rejected"] {
        let mut healed = world.release(name, &json!({}));
        healed["spec"]["values"] = json!({});
        world.apply(&healed);
    }
    world.until("render", "heals", |object| is(object, "Ready", "True")).await;
    world.until("rejected", "heals", |object| is(object, "Ready", "True")).await;
    world.charts.publish(&fairlead_testbench::fixture_chart("hooks"), "1.0.0");
    world.apply(&world.chart_release("none", "hooks", &json!({})));
    world.until("none", "heals", |object| is(object, "Ready", "True")).await;
}

#[tokio::test]
async fn a_missing_helm_is_named_and_found_later() {
    let world = World::new("nohelm").await;
    let folder = tempfile::tempdir().expect("a folder");
    let binary = folder.path().join("helm");
    // It is there while the operator starts, which checks that.
    std::os::unix::fs::symlink(Helm::V4.path(), &binary).expect("a link");
    let _operator = world.operator().helm_binary(&binary).start().await;
    std::fs::remove_file(&binary).expect("remove a link");
    world.apply(&world.release("ui", &json!({})));
    let object = world.says("ui", "Ready", "False", "No such file").await;
    assert!(message(&object, "Ready").contains(&binary.display().to_string()), "{object}");
    std::os::unix::fs::symlink(Helm::V4.path(), &binary).expect("a link");
    world.ready("ui", 1).await;
}

#[tokio::test]
async fn a_forced_release_that_helm_could_not_even_begin_is_still_to_be_made() {
    let world = World::new("forcedlate").await;
    let folder = tempfile::tempdir().expect("a folder");
    let binary = folder.path().join("helm");
    let link = || std::os::unix::fs::symlink(Helm::V4.path(), &binary).expect("a link");
    link();
    let _operator = world.operator().helm_binary(&binary).start().await;
    world.apply(&world.release("ui", &json!({})));
    world.ready("ui", 1).await;
    std::fs::remove_file(&binary).expect("remove a link");
    world.annotate("ui", "reconcile.fluxcd.io/forceAt=now");
    world.annotate("ui", "reconcile.fluxcd.io/requestedAt=now");
    world.says("ui", "Ready", "False", "No such file").await;
    link();
    let object = world.ready("ui", 2).await;
    assert_eq!(
        (reason(&object, "Ready"), &object["status"]["lastHandledForceAt"]),
        ("UpgradeSucceeded", &json!("now"))
    );
}

#[tokio::test]
async fn a_helm_that_cannot_be_used_or_floods_is_named_and_replaced() {
    let world = World::new("badhelm").await;
    let folder = tempfile::tempdir().expect("a folder");
    let binary = folder.path().join("helm");
    let fakes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fake-helm");
    let put = |program: &Path| {
        let _ = std::fs::remove_file(&binary);
        std::os::unix::fs::symlink(program, &binary).expect("a link");
    };
    put(&Helm::V3.path());
    let _operator = world.operator().helm_binary(&binary).start().await;
    put(&fakes.join("too-old"));
    world.apply(&world.release("ui", &json!({})));
    world.says("ui", "Ready", "False", "helm v3.2.1 is too old").await;
    put(&fakes.join("floods-later"));
    let object = world.says("ui", "Ready", "False", "printed more than").await;
    assert!(is(&object, "Reconciling", "True") && world.history("ui").is_empty(), "{object}");
    put(&Helm::V3.path());
    world.ready("ui", 1).await;
}

#[tokio::test]
async fn dependencies_are_waited_for_and_circles_are_spelled_out() {
    let world = World::new("depends").await;
    let _operator = world.started(Helm::V4).await;
    let namespace = &world.namespace;
    world.apply(&world.release("front", &json!({"dependsOn": [{"name": "back"}]})));
    let object = world.says("front", "Ready", "False", &format!("dependency '{namespace}/back' does not exist")).await;
    assert_eq!(reason(&object, "Ready"), "DependencyNotReady");
    world.apply(&world.release("back", &json!({})));
    world.ready("front", 1).await;
    world.ready("back", 1).await;

    world.apply(&world.release("one", &json!({"dependsOn": [{"name": "two"}]})));
    world.apply(&world.release("two", &json!({"dependsOn": [{"name": "one"}]})));
    let circle = format!("{namespace}/one → {namespace}/two → {namespace}/one");
    let object = world.says("one", "Stalled", "True", &circle).await;
    assert_eq!(reason(&object, "Stalled"), "DependencyCycle");
    world.says("two", "Stalled", "True", "circle").await;
    let mut broken = world.release("two", &json!({}));
    broken["spec"]["dependsOn"] = json!([]);
    world.apply(&broken);
    world.ready("two", 1).await;
    world.ready("one", 1).await;
}

#[tokio::test]
async fn what_is_not_acted_on_is_noted_once() {
    let world = World::new("noted").await;
    let _operator = world.started(Helm::V3).await;
    world.apply(&world.release("noted", &json!({"upgrade": {"serverSideApply": "enabled"}})));
    let object = world.ready("noted", 1).await;
    assert!(message(&object, "FieldsNotActedOn").contains("spec.upgrade.serverSideApply"), "{object}");
    let noted = || world.events("noted").iter().filter(|(reason, _)| reason == "NotActedOn").count();
    wait_for("the event", PATIENCE, || async { if noted() == 1 { Ok(()) } else { Err(noted().to_string()) } }).await;
}

#[tokio::test]
async fn a_chart_whose_signature_cannot_be_checked_is_not_released() {
    let world = World::new("signed").await;
    let _operator = world.started(Helm::V4).await;
    let mut signed = world.release("signed", &json!({}));
    signed["spec"]["chart"]["spec"]["verify"] = json!({"provider": "cosign"});
    world.apply(&signed);
    world.says("signed", "Ready", "False", "'spec.verify' is for charts in registries").await;
    assert!(world.history("signed").is_empty());
    world.apply(&world.release("signed", &json!({})));
    world.ready("signed", 1).await;
}
