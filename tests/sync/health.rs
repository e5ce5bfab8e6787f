//! Waiting for health: of all objects, of those that the spec names, by expression; and why not.

use fairlead::api::kustomize::v1::KustomizationStatus;
use fairlead_testbench::wait_for;
use std::time::Duration;

use crate::world::{PATIENCE, World, config_map};

const WEB: &str = "production/web.yaml";

/// A Deployment `web` whose pod has this trouble.
pub fn deployment(namespace: &str, fault: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: {namespace}\nspec:\n  \
         progressDeadlineSeconds: 3\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata:\n      \
         labels: {{app: web}}\n      annotations: {{bench.fairlead.dev/fault: \"{fault}\"}}\n    spec:\n      \
         containers: [{{name: web, image: web}}]\n"
    )
}

fn condition(status: &KustomizationStatus, type_: &str) -> String {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_);
    found.map_or_else(|| "absent".to_owned(), |condition| condition.status.clone())
}

#[tokio::test]
async fn a_wait_that_fails_says_why_and_ends_when_it_heals() {
    let world = World::new("health", &[("production/PLACEHOLDER", Some(""))]).await;
    let ns = world.id.clone();
    // What nobody applies is not waited for.
    let left_alone = "metadata:\n  annotations: {kustomize.toolkit.fluxcd.io/ssa: Ignore}\n  name: ignored";
    let ignored = deployment(&ns, "never-ready").replacen("metadata:\n  name: web", left_alone, 1);
    let once = deployment(&ns, "never-ready").replace("  name: web\n  namespace", "  name: once\n  namespace");
    world.bench.apply(&once);
    let once =
        once.replacen("metadata:\n", "metadata:\n  annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}\n", 1);
    let others = format!("{ignored}---\n{once}");
    world.releases.commit("Web", &[(WEB, Some(&deployment(&ns, "crash-loop"))), ("production/i.yaml", Some(&others))]);
    // As in Flux, what is named beside `wait` does not count.
    let named = format!("healthChecks: [{{apiVersion: v1, kind: ConfigMap, name: nowhere, namespace: {ns}}}]");
    world.follow(&["path: production", "prune: true", "wait: true", "timeout: 2m", &named]);
    let verdict = world.verdict().await;
    let web = format!("0 of 1 objects are healthy: Deployment/{ns}/web: ");
    verdict.complains(&[&web, "container web: CrashLoopBackOff", "its log ends with: "]);
    assert_eq!(verdict.reason, "HealthCheckFailed");
    assert_eq!(condition(&verdict.status, "Healthy"), "False");
    assert_ne!(verdict.status.last_applied_revision, verdict.status.last_attempted_revision);
    world.said("Warning", "HealthCheckFailed", &["CrashLoopBackOff"]).await;

    // The next commit does not wait for the bad rollout.
    let healed = world.push(&[(WEB, Some(&deployment(&ns, "")))]).await;
    healed.is_ready();
    assert_eq!(condition(&healed.status, "Healthy"), "True");
}

#[tokio::test]
async fn named_objects_are_waited_for_by_expression() {
    let world = World::new("checks", &[("production/PLACEHOLDER", Some(""))]).await;
    let ns = world.id.clone();
    world.releases.commit("Map", &[("production/a.yaml", Some(&config_map(&ns, "a", "1")))]);
    let spec = |current: &str| {
        [
            "path: production".to_owned(),
            "prune: true".to_owned(),
            // The one of the own namespace, and one that the folder does not hold.
            format!(
                "healthChecks: [{{apiVersion: v1, kind: ConfigMap, name: a}}, {{apiVersion: v1, kind: ConfigMap, name: other, namespace: {ns}}}]"
            ),
            format!(
                "healthCheckExprs: [{{apiVersion: v1, kind: ConfigMap, current: \"{current}\", failed: \"data.x == 'bad'\"}}]"
            ),
        ]
    };
    let follow = |current: &str| {
        let spec = spec(current);
        world.follow(&spec.each_ref().map(String::as_str));
    };
    follow("data.x ==");
    let verdict = world.verdict_of("apps", |_| true).await;
    verdict.complains(&["spec.healthCheckExprs[0].current: column"]);
    assert_eq!(verdict.reason, "InvalidCELExpression");
    assert_eq!(condition(&verdict.status, "Stalled"), "True");
    assert_eq!(world.value("a").await, None, "nothing is applied");

    follow("data.x == '2'");
    let waits = |words: &'static str| {
        let api = world.kustomizations();
        async move {
            let api = &api;
            wait_for(words, PATIENCE, || async move {
                let status = api.get("apps").await.map_err(|error| error.to_string())?.status.unwrap_or_default();
                let message = status.conditions.iter().find(|condition| condition.type_ == "Reconciling");
                let message = message.map(|condition| condition.message.clone()).unwrap_or_default();
                if message.contains(words) { Ok(()) } else { Err(format!("{status:?}")) }
            })
            .await;
        }
    };
    waits("0 of 2 objects are healthy, waiting for ConfigMap/").await;
    waits("other: it does not exist").await;
    world.bench.apply(&config_map(&ns, "other", "2"));
    waits("1 of 2 objects are healthy").await;
    world.push(&[("production/a.yaml", Some(&config_map(&ns, "a", "2")))]).await.is_ready();
    let verdict = world.push(&[("production/a.yaml", Some(&config_map(&ns, "a", "bad")))]).await;
    verdict.complains(&["1 of 2 objects are healthy: ConfigMap/", "spec.healthCheckExprs[0].failed holds"]);
}

#[tokio::test]
async fn a_wait_that_took_too_long_stays_failed_until_it_heals_by_itself() {
    let world = World::new("late", &[("production/PLACEHOLDER", Some(""))]).await;
    let ns = world.id.clone();
    world.releases.commit("Map", &[("production/a.yaml", Some(&config_map(&ns, "a", "1")))]);
    let check = format!("healthChecks: [{{apiVersion: v1, kind: ConfigMap, name: other, namespace: {ns}}}]");
    // As short as a timeout can be; everything is applied anew before it is over.
    world.follow(&["path: production", "prune: true", "interval: 30s", "timeout: 30s", "retryInterval: 1s", &check]);
    let api = world.kustomizations();
    let api = &api;
    let failed = |passes: i64| async move {
        wait_for("the wait to fail", Duration::from_secs(90), || async move {
            let status = api.get("apps").await.map_err(|error| error.to_string())?.status.unwrap_or_default();
            let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").cloned();
            let seen = status.history.first().map_or(0, |one| one.total_reconciliations);
            match ready {
                Some(ready) if ready.status == "False" && seen >= passes => Ok((ready, status)),
                _ => Err(format!("{status:?}")),
            }
        })
        .await
    };
    let (first, status) = failed(1).await;
    let words = format!("not healthy within 30s: 0 of 1 objects are healthy, waiting for ConfigMap/{ns}/other");
    assert!(first.message.contains(&words), "{}", first.message);
    assert_eq!(status.history[0].last_reconciled_status, "HealthCheckFailed");
    let (later, _) = failed(3).await;
    assert_eq!(later.last_transition_time, first.last_transition_time, "it did not come and go");
    world.bench.apply(&config_map(&ns, "other", "1"));
    world.verdict_of("apps", |status| condition(status, "Healthy") == "True").await.is_ready();
}
