//! What follows a failure: the next try, a rollback, an uninstall; and tests, which may fail too.

use fairlead_testbench::{Helm, fixture_chart};
use serde_json::{Value, json};

use crate::world::{World, condition, is, message, reason};

fn reasons(world: &World, name: &str) -> Vec<String> {
    world.events(name).into_iter().map(|(reason, _)| reason).collect()
}

fn statuses(world: &World, name: &str) -> Vec<String> {
    world.history(name).into_iter().map(|(_, status)| status).collect()
}

/// The actions that helm was run for, in order.
fn actions(operator: &fairlead_testbench::Operator) -> Vec<String> {
    let lines = operator.log_lines().into_iter().filter(|line| line["message"] == "running helm");
    lines.map(|line| line["action"].as_str().unwrap_or_default().to_owned()).collect()
}

/// An upgrade to pods that never become ready, twice, each rolled back; then a good one.
async fn a_failed_upgrade_is_rolled_back(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let operator = world.started(helm).await;
    let spec = |values: Value| json!({"values": values, "upgrade": {"timeout": "2s", "remediation": {"retries": 1}}});
    world.apply(&world.release("ui", &spec(json!({"port": 3001}))));
    world.ready("ui", 1).await;
    world.apply(&world.release("ui", &spec(json!({"port": 3002, "fault": "crash-loop"}))));
    let object = world.says("ui", "Stalled", "True", "Failed to upgrade after 2 attempt(s)").await;
    assert_eq!(reason(&object, "Stalled"), "RetriesExceeded");
    assert_eq!(reason(&object, "Ready"), "RollbackSucceeded", "{object}");
    let said = message(&object, "Ready");
    for words in ["Helm rollback to previous release", "succeeded", "Helm upgrade failed", "exit code 3"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(is(&object, "Remediated", "True") && is(&object, "Released", "False"), "{object}");
    assert_eq!((&object["status"]["upgradeFailures"], &object["status"]["failures"]), (&json!(2), &json!(2)));
    assert_eq!(object["status"]["history"][0]["action"], "rollback");
    assert_eq!(world.port("ui"), 3001, "the last good values are in force");
    assert_eq!(statuses(&world, "ui"), ["superseded", "failed", "superseded", "failed", "deployed"]);
    assert_eq!(actions(&operator), ["install", "upgrade", "rollback", "upgrade", "rollback"]);
    let events = reasons(&world, "ui");
    for wanted in ["UpgradeFailed", "RollbackSucceeded"] {
        assert!(events.iter().any(|reason| reason == wanted), "{wanted}: {events:?}");
    }

    world.apply(&world.release("ui", &spec(json!({"port": 3003, "fault": ""}))));
    let object = world.ready("ui", 6).await;
    assert!(condition(&object, "Remediated").is_none() && condition(&object, "Stalled").is_none());
    assert_eq!(object["status"]["upgradeFailures"], Value::Null);
    assert_eq!(world.port("ui"), 3003);
}

#[tokio::test]
async fn a_failed_upgrade_is_rolled_back_with_helm_3() {
    a_failed_upgrade_is_rolled_back(Helm::V3, "rollback3").await;
}

#[tokio::test]
async fn a_failed_upgrade_is_rolled_back_with_helm_4() {
    a_failed_upgrade_is_rolled_back(Helm::V4, "rollback4").await;
}

#[tokio::test]
async fn a_sudden_death_during_a_rollback_costs_no_second_one() {
    let world = World::new("rollbackdies").await;
    let mut operator = world.started(Helm::V4).await;
    let upgrade = json!({"timeout": "2s", "remediation": {"remediateLastFailure": true}});
    world.apply(&world.release("ui", &json!({"upgrade": upgrade, "values": {"port": 3001}})));
    world.ready("ui", 1).await;
    world.apply(&world.release("ui", &json!({"upgrade": upgrade, "values": {"fault": "never-ready"}})));
    world
        .until("ui", "is being rolled back", |object| {
            message(object, "Reconciling").contains("'rollback'") || condition(object, "Remediated").is_some()
        })
        .await;
    operator.kill();
    operator.restart().await;
    let object = world.says("ui", "Stalled", "True", "Failed to upgrade after 1 attempt(s)").await;
    assert_eq!(reason(&object, "Ready"), "RollbackSucceeded", "{object}");
    assert_eq!(statuses(&world, "ui"), ["superseded", "failed", "deployed"]);
    assert_eq!(world.port("ui"), 3001);
}

async fn a_failed_install_is_removed_and_tried_again(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let operator = world.started(helm).await;
    let spec = |fault: &str| {
        let install = json!({"timeout": "2s", "remediation": {"retries": 1, "remediateLastFailure": true}});
        json!({"values": {"fault": fault}, "install": install, "uninstall": {"keepHistory": true}})
    };
    world.apply(&world.release("ui", &spec("crash-loop")));
    let object = world.says("ui", "Stalled", "True", "Failed to install after 2 attempt(s)").await;
    assert_eq!(reason(&object, "Ready"), "UninstallSucceeded", "{object}");
    assert!(message(&object, "Ready").contains("exit code 3"), "{object}");
    assert_eq!(object["status"]["installFailures"], 2);
    assert_eq!(object["status"]["history"][0]["status"], "uninstalled");
    assert_eq!(actions(&operator), ["install", "uninstall", "install", "uninstall"]);
    world.gone("deployment", "ui").await;

    world.apply(&world.release("ui", &spec("")));
    let object = world.until("ui", "heals", |object| is(object, "Ready", "True")).await;
    assert_eq!(object["status"]["installFailures"], Value::Null, "{object}");
}

#[tokio::test]
async fn a_failed_install_is_removed_and_tried_again_with_helm_3() {
    a_failed_install_is_removed_and_tried_again(Helm::V3, "reinstall3").await;
}

#[tokio::test]
async fn a_failed_install_is_removed_and_tried_again_with_helm_4() {
    a_failed_install_is_removed_and_tried_again(Helm::V4, "reinstall4").await;
}

#[tokio::test]
async fn a_failed_upgrade_may_be_removed_and_installed_anew() {
    let world = World::new("replace").await;
    let operator = world.started(Helm::V4).await;
    let upgrade = json!({"timeout": "2s", "remediation": {"retries": 1, "strategy": "uninstall"}});
    world.apply(&world.release("ui", &json!({"upgrade": upgrade, "values": {"port": 3001}})));
    world.ready("ui", 1).await;
    let sick =
        json!({"upgrade": upgrade, "install": {"timeout": "2s"}, "values": {"port": 3002, "fault": "never-ready"}});
    world.apply(&world.release("ui", &sick));
    world.says("ui", "Stalled", "True", "Failed to install after 1 attempt(s)").await;
    assert_eq!(actions(&operator), ["install", "upgrade", "uninstall", "install"]);
}

#[tokio::test]
async fn retries_without_remediation_come_at_their_interval() {
    let world = World::new("retry").await;
    let operator = world.started(Helm::V4).await;
    let strategy = json!({"timeout": "1s", "strategy": {"name": "RetryOnFailure", "retryInterval": "2s"}});
    let spec = json!({"install": strategy, "upgrade": strategy, "values": {"fault": "never-ready"}});
    world.apply(&world.release("ui", &spec));
    world.until("ui", "is tried three times", |object| object["status"]["history"][0]["version"] == 3).await;
    assert_eq!(actions(&operator)[..3], ["install", "upgrade", "upgrade"]);
    let object = world.says("ui", "Reconciling", "True", "the next try is at").await;
    assert!(condition(&object, "Stalled").is_none() && condition(&object, "Remediated").is_none(), "{object}");
    let mut healed = world.release("ui", &spec);
    healed["spec"]["values"]["fault"] = json!("");
    world.apply(&healed);
    let object = world.until("ui", "heals", |object| is(object, "Ready", "True")).await;
    assert_eq!(object["status"]["failures"], Value::Null);
}

async fn tested(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let operator = world.started(helm).await;
    world.charts.publish(&fixture_chart("hooks"), "1.0.0");
    let spec = |test_fault: &str| {
        json!({"test": {"enable": true}, "values": {"testFault": test_fault},
            "upgrade": {"remediation": {"remediateLastFailure": true}}})
    };
    world.apply(&world.chart_release("app", "hooks", &spec("")));
    let object = world.ready("app", 1).await;
    assert_eq!((reason(&object, "Ready"), reason(&object, "TestSuccess")), ("TestSucceeded", "TestSucceeded"));
    assert!(message(&object, "Ready").contains("1 test hook completed successfully"), "{object}");
    let hook = &object["status"]["history"][0]["testHooks"]["app-test"];
    assert_eq!(hook["phase"], "Succeeded", "{object}");
    assert!(hook["lastStarted"].is_string() && hook["lastCompleted"].is_string());

    world.apply(&world.chart_release("app", "hooks", &spec("test-fails")));
    let object = world.says("app", "Stalled", "True", "Failed to upgrade after 1 attempt(s)").await;
    assert_eq!(reason(&object, "TestSuccess"), "TestFailed");
    for words in ["Pod", "app-test", "exit code 1"] {
        assert!(message(&object, "TestSuccess").contains(words), "{words}: {object}");
    }
    assert_eq!(reason(&object, "Ready"), "RollbackSucceeded", "{object}");
    assert!(message(&object, "Ready").contains("Helm test failed"), "{object}");
    assert_eq!(actions(&operator), ["install", "test", "upgrade", "test", "rollback"]);

    let mut ignored = world.chart_release("app", "hooks", &spec("test-fails"));
    ignored["spec"]["test"]["ignoreFailures"] = json!(true);
    world.apply(&ignored);
    let object = world.ready("app", 4).await;
    assert_eq!((reason(&object, "Ready"), reason(&object, "TestSuccess")), ("UpgradeSucceeded", "TestFailed"));
    let mut left_out = world.chart_release("app", "hooks", &spec("test-fails"));
    left_out["spec"]["test"]["filters"] = json!([{"name": "app-test", "exclude": true}]);
    left_out["spec"]["values"]["message"] = json!("other");
    world.apply(&left_out);
    let object = world.ready("app", 5).await;
    assert!(message(&object, "TestSuccess").contains("no test hooks"), "{object}");
}

#[tokio::test]
async fn tests_decide_about_a_release_with_helm_3() {
    tested(Helm::V3, "tested3").await;
}

#[tokio::test]
async fn tests_decide_about_a_release_with_helm_4() {
    tested(Helm::V4, "tested4").await;
}

/// Options of helm that change what is stored or how objects are written.
async fn options(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let _operator = world.started(helm).await;
    let spec = |upgrade: Value, values: Value| json!({"values": values, "upgrade": upgrade});
    world.apply(&world.release("ui", &spec(json!({}), json!({"port": 3001, "env": {"A": "1"}}))));
    world.ready("ui", 1).await;
    let keep = json!({"preserveValues": true, "cleanupOnFail": true});
    world.apply(&world.release("ui", &spec(keep, json!({"replicas": 2}))));
    world.ready("ui", 2).await;
    assert_eq!(world.port("ui"), 3001, "the values of the last revision are kept");
    let force = json!({"force": true, "serverSideApply": "disabled"});
    world.apply(&world.release("ui", &spec(force, json!({"port": 3004}))));
    world.ready("ui", 3).await;
    assert_eq!(world.port("ui"), 3004);
    assert_eq!(world.get("deployment", "ui").expect("exists")["spec"]["replicas"], 1, "values are not kept any more");
}

#[tokio::test]
async fn options_of_an_upgrade_are_handed_on_to_helm_3() {
    options(Helm::V3, "options3").await;
}

#[tokio::test]
async fn options_of_an_upgrade_are_handed_on_to_helm_4() {
    options(Helm::V4, "options4").await;
}

#[tokio::test]
async fn a_stalled_release_is_tried_again_on_request() {
    let world = World::new("reset").await;
    let operator = world.started(Helm::V4).await;
    world.apply(&world.release("ui", &json!({"timeout": "1s", "values": {"fault": "never-ready"}})));
    world.says("ui", "Stalled", "True", "Failed to install after 1 attempt(s)").await;
    world.annotate("ui", "reconcile.fluxcd.io/resetAt=now");
    world.annotate("ui", "reconcile.fluxcd.io/requestedAt=now");
    let object = world.says("ui", "Stalled", "True", "Failed to upgrade after 1 attempt(s)").await;
    assert_eq!(object["status"]["lastHandledResetAt"], "now", "{object}");
    assert_eq!((&object["status"]["upgradeFailures"], &object["status"]["failures"]), (&json!(1), &json!(1)));
    assert_eq!(actions(&operator), ["install", "upgrade"], "once, and no more");
}
