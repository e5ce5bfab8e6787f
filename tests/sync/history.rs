//! What was applied when, since when a folder is behind, and what is there already.

use fairlead::api::kustomize::v1::KustomizationStatus;
use fairlead_testbench::wait_for;

use crate::world::{PATIENCE, World, config_map};

const FILE: &str = "production/a.yaml";

fn behind(status: &KustomizationStatus) -> Option<(String, String)> {
    let found = status.conditions.iter().find(|condition| condition.type_ == "Behind")?;
    Some((found.message.clone(), found.last_transition_time.0.to_string()))
}

fn outcomes(status: &KustomizationStatus) -> Vec<(&str, &str)> {
    let history = status.history.iter();
    history.map(|one| (one.last_reconciled_status.as_str(), one.metadata["revision"].as_str())).collect()
}

#[tokio::test]
async fn since_when_a_folder_is_behind_survives_restarts_and_outcomes_are_kept() {
    let mut world = World::new("history", &[("production/b.yaml", Some("# nothing yet\n"))]).await;
    let ns = world.id.clone();
    let map = |name: &str, value: &str| config_map(&ns, name, value);
    let b = |value: &str| [("production/b.yaml", Some(map("b", value)))];
    let [(_, text)] = b("1");
    world.releases.commit("Good", &[(FILE, Some(&map("a", "1"))), ("production/b.yaml", text.as_deref())]);
    world.follow_production();
    let good = world.verdict().await;
    good.is_ready();
    let revision = |world: &World| format!("main@sha1:{}", world.releases.head("main"));
    let applied = revision(&world);
    assert_eq!(behind(&good.status), None);
    assert_eq!(outcomes(&good.status)[0], ("ReconciliationSucceeded", applied.as_str()));
    assert!(good.status.history[0].digest.starts_with("sha256:"));

    let first = world.push(&[(FILE, Some("a: [\n"))]).await;
    let since = behind(&first.status).expect("it is behind");
    let began = revision(&world);
    for words in [
        "since 20",
        &format!("(revision {began})"),
        &format!("{applied} is the last revision that was applied in full"),
    ] {
        assert!(since.0.contains(words), "{words} is not in {}", since.0);
    }
    first.complains(&["1 problem, ", &format!("; behind {}", since.0)]);
    assert_eq!(first.status.last_applied_revision.as_deref(), Some(applied.as_str()));

    // Neither a restart nor another bad commit changes since when.
    world.operator.restart().await;
    let [(path, text)] = b("2");
    let second = world.push(&[(FILE, Some("b: [\n")), (path, text.as_deref())]).await;
    second.complains(&[&since.0]);
    assert_eq!(behind(&second.status), Some(since));
    assert_eq!(world.value("b").await.as_deref(), Some("2"), "the rest goes on");
    assert_eq!(world.value("a").await.as_deref(), Some("1"), "what was good stays");

    let mended = world.push(&[(FILE, Some(&map("a", "3")))]).await;
    mended.is_ready();
    assert_eq!(behind(&mended.status), None);
    let shown = outcomes(&mended.status);
    assert_eq!(shown[0], ("ReconciliationSucceeded", revision(&world).as_str()));
    assert!(shown.contains(&("ReconciliationSucceeded", applied.as_str())), "{shown:?}");
    assert!(shown.iter().any(|(reason, _)| *reason == "BuildFailed"), "{shown:?}");

    // It is bounded, and the same objects are the same outcome at whatever revision.
    for value in ["4", "5", "6"] {
        world.push(&[(FILE, Some(&map("a", value)))]).await.is_ready();
    }
    let before = world.push(&[(FILE, Some(&map("a", "7")))]).await;
    let after = world.push(&[("README.md", Some("x"))]).await;
    assert_eq!(after.status.history.len(), 5);
    assert_eq!(after.status.history[0].digest, before.status.history[0].digest);
    assert!(after.status.history[0].total_reconciliations > before.status.history[0].total_reconciliations);
    assert_eq!(outcomes(&after.status)[0].1, revision(&world));
}

#[tokio::test]
async fn what_is_being_deleted_is_applied_when_that_is_through() {
    let world = World::new("again", &[("production/PLACEHOLDER", Some(""))]).await;
    let (namespace, app) = (world.namespace_of("api"), world.app("api", "1.0.0"));
    world.releases.commit("App", &[(FILE, Some(&app))]);
    world.follow_production();
    world.verdict().await.is_ready();
    // Something that holds the namespace back.
    let held =
        config_map(&namespace, "held", "1").replacen("metadata:\n", "metadata:\n  finalizers: [example.com/held]\n", 1);
    world.bench.apply(&held);
    world.push(&[(FILE, None)]).await.is_ready();
    let verdict = world.push(&[(FILE, Some(&app))]).await;
    verdict
        .complains(&[&format!("{FILE}:2: Namespace/{namespace}: it is being deleted"), "when the deletion is through"]);
    let release = r#"{"metadata":{"finalizers":null}}"#;
    world.bench.kubectl(&["-n", &namespace, "patch", "configmap", "held", "--type=merge", "-p", release]);
    let newest = format!("main@sha1:{}", world.releases.head("main"));
    world.verdict_of("apps", |status| status.last_applied_revision.as_ref() == Some(&newest)).await.is_ready();
    assert!(world.namespace_exists("api").await && world.tag("api").await.is_some());
}

#[tokio::test]
async fn a_kind_that_is_not_served_is_named_and_one_that_is_can_be_used_at_once() {
    let world = World::new("kinds", &[("production/PLACEHOLDER", Some(""))]).await;
    let ns = world.id.clone();
    let definition = |plural: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: \
             {plural}.{ns}.example.com\nspec:\n  group: {ns}.example.com\n  scope: Namespaced\n  names: {{kind: Thing, \
             plural: {plural}, singular: {plural}x}}\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    \
             schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}\n"
        )
    };
    let thing = format!("apiVersion: {ns}.example.com/v1\nkind: Thing\nmetadata:\n  name: a\n  namespace: {ns}\n");
    world.releases.commit(
        "Kinds",
        &[("production/a-thing.yaml", Some(&thing)), ("production/z.yaml", Some(&definition("things")))],
    );
    world.follow_production();
    world.verdict().await.is_ready();
    let path = "production/other.yaml";
    let verdict = world.push(&[(path, Some(&definition("others"))), (FILE, Some(&config_map(&ns, "a", "1")))]).await;
    let name = format!("{path}:1: CustomResourceDefinition/others.{ns}.example.com: its kind is not served");
    verdict.complains(&[&name, "is already in use"]);
    assert_eq!(world.value("a").await.as_deref(), Some("1"), "others go on");
    // A retry does not forget it.
    let retried =
        |status: &KustomizationStatus| status.history.first().is_some_and(|one| one.total_reconciliations > 2);
    let again = world.verdict_of("apps", retried).await;
    again.complains(&[&name]);
    world.push(&[(path, None)]).await.is_ready();
    let gone = format!("others.{ns}.example.com");
    wait_for("the definition to go", PATIENCE, || async {
        match world.live("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", &gone).await {
            None => Ok(()),
            Some(found) => Err(format!("{:?}", found.metadata)),
        }
    })
    .await;
}
