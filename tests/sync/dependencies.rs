//! `dependsOn`: what has to be ready first, by itself or by an expression.

use serde_json::json;

use crate::world::{World, config_map};

#[tokio::test]
async fn nothing_is_applied_before_what_it_depends_on() {
    let world = World::new("depends", &[("README.md", Some("x"))]).await;
    let ns = world.id.clone();
    let names = ["base", "apps", "early", "late", "bad", "left", "right"];
    let files: Vec<_> = names.iter().map(|name| (format!("{name}/a.yaml"), config_map(&ns, name, "1"))).collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    world.releases.commit("Folders", &files);
    let follow = |name: &str, more: &str| world.follow_as(name, &[&format!("path: {name}"), "prune: true", more]);
    let gate = format!("healthChecks: [{{apiVersion: v1, kind: ConfigMap, name: gate, namespace: {ns}}}]");
    let expression = |text: &str| format!("dependsOn: [{{name: base, readyExpr: \"{text}\"}}]");
    follow("apps", "dependsOn: [{name: base}]");
    follow("early", &expression("dep.status.inventory.entries.size() == 1 && self.metadata.name == 'early'"));
    follow("late", &expression("dep.metadata.annotations['go'] == 'yes'"));
    follow("bad", &expression("dep.metadata.name == other.name"));
    follow("left", "dependsOn: [{name: right}]");
    follow("right", "dependsOn: [{name: left}]");

    let missing = world.verdict_saying("apps", "not found").await;
    missing.complains(&[&format!("dependency '{ns}/base' not found")]);
    assert_eq!(missing.reason, "DependencyNotReady");
    let bad = world.verdict_saying("bad", "readyExpr").await;
    bad.complains(&["spec.dependsOn[0].readyExpr: column 22: undeclared reference to 'other'"]);
    assert_eq!(bad.reason, "InvalidCELExpression");
    let stalled = bad.status.conditions.iter().find(|condition| condition.type_ == "Stalled");
    assert_eq!(stalled.map(|condition| &*condition.status), Some("True"));

    // It has applied its objects, and waits for one that is not there.
    follow("base", &gate);
    let applied = |status: &fairlead::api::kustomize::v1::KustomizationStatus| status.last_applied_revision.is_some();
    world.verdict_of("early", applied).await.is_ready();
    assert_eq!(world.value("base").await.as_deref(), Some("1"));
    world.verdict_saying("apps", &format!("dependency '{ns}/base' is not ready")).await;
    let waiting = world.verdict_saying("late", "its readyExpr gives no result").await;
    assert_eq!(waiting.reason, "DependencyNotReady");

    world.annotate("base", "go=yes");
    world.verdict_of("late", applied).await.is_ready();
    for name in ["apps", "bad", "left", "right"] {
        assert_eq!(world.value(name).await, None, "{name}");
    }
    for name in ["left", "right"] {
        let verdict = world.verdict_saying(name, "is not ready").await;
        assert_eq!(verdict.reason, "DependencyNotReady", "{name}");
    }

    world.bench.apply(&config_map(&ns, "gate", "1"));
    world.verdict_of("apps", applied).await.is_ready();
    assert_eq!(world.value("apps").await.as_deref(), Some("1"));

    // The next revision is applied in the same order; one that the first cannot apply stays there.
    let broken = config_map(&ns, "base", "2").replace("data:", "data: [");
    let files = [("base/a.yaml", broken), ("apps/a.yaml", config_map(&ns, "apps", "2"))];
    world.releases.commit("Next", &files.each_ref().map(|(path, text)| (*path, Some(text.as_str()))));
    let head = format!("main@sha1:{}", world.releases.head("main"));
    world
        .verdict_of("base", |status| status.last_attempted_revision.as_ref() == Some(&head))
        .await
        .complains(&["base/a.yaml:"]);
    world.verdict_saying("apps", &format!("dependency '{ns}/base' is not ready")).await;
    assert_eq!(world.value("apps").await.as_deref(), Some("1"));
    let healed = config_map(&ns, "base", "2");
    world.releases.commit("Heal", &[("base/a.yaml", Some(&healed))]);
    let head = format!("main@sha1:{}", world.releases.head("main"));
    world.verdict_of("apps", |status| status.last_applied_revision.as_ref() == Some(&head)).await.is_ready();
    let found = world.live("v1", "ConfigMap", &ns, "apps").await.map(|map| map.data["data"].clone());
    assert_eq!(found, Some(json!({"x": "2"})));
}
