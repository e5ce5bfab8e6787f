//! What is waited for, by which rules, and what is said of hooks that fail.

use fairlead_testbench::{Helm, fixture_chart, wait_for};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, message, reason};

async fn world(prefix: &str) -> World {
    let world = World::new(prefix).await;
    world.charts.publish(&fixture_chart("waits"), "1.0.0");
    world
}

fn release(world: &World, name: &str, spec: &Value) -> Value {
    world.chart_release(name, "waits", spec)
}

#[tokio::test]
async fn expressions_tell_the_health_of_any_kind() {
    let world = world("exprs").await;
    let _operator = world.started(Helm::V4).await;
    let with = |state: &str, failed: &str| {
        let check =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "current": "data.state == 'done'", "failed": failed});
        release(&world, "ui", &json!({"healthCheckExprs": [check], "values": {"state": state}}))
    };
    world.apply(&with("waiting", "data.state == "));
    let object = world.says("ui", "Stalled", "True", "spec.healthCheckExprs[0].failed: column 15").await;
    assert_eq!(
        (reason(&object, "Stalled"), reason(&object, "Ready")),
        ("InvalidCELExpression", "InvalidCELExpression")
    );
    assert!(world.history("ui").is_empty());

    world.apply(&with("waiting", "data.state == 'broken'"));
    let words = format!("ConfigMap {}/ui: spec.healthCheckExprs[0].current does not hold yet", world.namespace);
    world.says("ui", "Ready", "Unknown", &words).await;
    let done = json!({"data": {"state": "done"}}).to_string();
    let namespace = world.namespace.as_str();
    world.bench.kubectl(&["patch", "configmap", "ui", "--namespace", namespace, "--type=merge", "--patch", &done]);
    world.ready("ui", 1).await;

    world.apply(&with("broken", "data.state == 'broken'"));
    let object = world.says("ui", "Ready", "False", "spec.healthCheckExprs[0].failed holds").await;
    assert_eq!(reason(&object, "Ready"), "UpgradeFailed");
}

#[tokio::test]
async fn helm_s_own_rules_know_no_expressions() {
    let world = world("legacy").await;
    let _operator = world.started(Helm::V4).await;
    let never = json!({"apiVersion": "v1", "kind": "ConfigMap", "current": "false"});
    let spec = json!({"healthCheckExprs": [never], "waitStrategy": {"name": "legacy"}});
    world.apply(&release(&world, "ui", &spec));
    world.ready("ui", 1).await;
}

#[tokio::test]
async fn a_job_that_is_gone_when_it_is_done_was_no_failure() {
    let world = world("ttl").await;
    let _operator = world.started(Helm::V4).await;
    let spec = json!({"values": {"job": "none", "ttl": "0"}});
    world.apply(&release(&world, "ui", &spec));
    world.ready("ui", 1).await;
    world.gone("job", "ui-job").await;
}

async fn a_hook_that_is_gone_when_it_is_done_was_no_failure(helm: Helm, prefix: &str) {
    let world = world(prefix).await;
    let _operator = world.started(helm).await;
    world.apply(&release(&world, "ui", &json!({"values": {"hook": "pre-install", "hookTtl": "0"}})));
    world.ready("ui", 1).await;
    world.gone("job", "ui-hook").await;
}

#[tokio::test]
async fn a_hook_that_is_gone_when_it_is_done_was_no_failure_with_helm_3() {
    a_hook_that_is_gone_when_it_is_done_was_no_failure(Helm::V3, "hookttl3").await;
}

#[tokio::test]
async fn a_hook_that_is_gone_when_it_is_done_was_no_failure_with_helm_4() {
    a_hook_that_is_gone_when_it_is_done_was_no_failure(Helm::V4, "hookttl4").await;
}

#[tokio::test]
async fn jobs_need_not_be_complete_but_must_not_fail() {
    let world = world("jobs").await;
    let _operator = world.started(Helm::V4).await;
    let with = |job: &str, disabled: bool| json!({"values": {"job": job}, "install": {"disableWaitForJobs": disabled}});
    world.apply(&release(&world, "running", &with("never-ready", true)));
    world.ready("running", 1).await;
    world.apply(&release(&world, "waiting", &with("never-ready", false)));
    world.says("waiting", "Ready", "Unknown", "0 of 1 completions").await;
    world.apply(&release(&world, "failing", &with("job-fails", false)));
    let object = world.says("failing", "Ready", "False", "BackoffLimitExceeded").await;
    for words in ["Job", "container work ended with exit code 1", "its log ends with"] {
        assert!(message(&object, "Ready").contains(words), "{words}: {object}");
    }
}

async fn a_failed_hook_is_named_with_its_last_words(helm: Helm, prefix: &str) {
    let world = world(prefix).await;
    let _operator = world.started(helm).await;
    world.apply(&release(&world, "ui", &json!({"values": {"hook": "pre-install", "hookFault": "job-fails"}})));
    let object = world.says("ui", "Ready", "False", "Helm install failed").await;
    let namespace = &world.namespace;
    let hook = format!("hook Job {namespace}/ui-hook: pod ui-hook-");
    for words in [hook.as_str(), "container work ended with exit code 1", "its log ends with"] {
        assert!(message(&object, "Ready").contains(words), "{words}: {object}");
    }
    let told = || world.events("ui").iter().any(|(_, message)| message.contains("exit code 1"));
    wait_for("the event", PATIENCE, || async { if told() { Ok(()) } else { Err("no event".to_owned()) } }).await;
}

#[tokio::test]
async fn a_failed_hook_is_named_with_its_last_words_with_helm_3() {
    a_failed_hook_is_named_with_its_last_words(Helm::V3, "hook3").await;
}

#[tokio::test]
async fn a_failed_hook_is_named_with_its_last_words_with_helm_4() {
    a_failed_hook_is_named_with_its_last_words(Helm::V4, "hook4").await;
}
