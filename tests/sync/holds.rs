//! What a commit in trouble must not delete.

use crate::world::{World, config_map};

const APP: &str = "production/app.yaml";

/// An app in a namespace of its own.
fn app(namespace: &str, more: &str) -> String {
    let namespaced = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n");
    [namespaced, config_map(namespace, "app", "1"), more.to_owned()].join("---\n")
}

async fn is_there(world: &World, namespace: &str, name: &str) -> bool {
    world.live("v1", "ConfigMap", namespace, name).await.is_some_and(|map| map.metadata.deletion_timestamp.is_none())
}

#[tokio::test]
async fn a_namespace_that_cannot_be_one_keeps_the_app_that_had_another() {
    let ns = "own";
    let world = World::new("held", &[("production/PLACEHOLDER", Some(""))]).await;
    let (ns, other) = (world.namespace_of(ns), config_map(&world.id, "other", "1"));
    world.releases.commit("Add", &[(APP, Some(&app(&ns, &other)))]);
    world.follow_production();
    world.verdict().await.is_ready();

    // The commit renames the app, and its namespace cannot be one.
    let broken = ns.replace("own", "Own");
    let verdict = world.push(&[(APP, Some(&app(&broken, &other)))]).await;
    let kept = format!("kept while this lasts: Namespace/{ns}, ConfigMap/{ns}/app");
    verdict.complains(&["metadata.namespace", &kept]);
    assert!(world.namespace_exists("own").await && is_there(&world, &ns, "app").await);

    // What leaves in another commit, while it lasts, was taken out by itself.
    world.push(&[(APP, Some(&app(&broken, "")))]).await.complains(&["metadata.namespace", &kept]);
    assert!(!is_there(&world, &world.id, "other").await);
    assert!(world.namespace_exists("own").await && is_there(&world, &ns, "app").await);

    world.push(&[(APP, Some("# moved away\n"))]).await.is_ready();
    assert!(!world.namespace_exists("own").await, "it goes with the trouble");
}

#[tokio::test]
async fn what_is_replaced_stays_until_the_other_one_is_there() {
    let world = World::new("replaced", &[("production/PLACEHOLDER", Some(""))]).await;
    let (id, old) = (world.id.clone(), config_map(&world.id, "web", "1"));
    world.releases.commit("Add", &[(APP, Some(&old))]);
    world.follow_production();
    world.verdict().await.is_ready();

    let route = format!(
        "apiVersion: gateway.example.org/v1\nkind: HTTPRoute\nmetadata:\n  name: web\n  namespace: {id}\nspec: {{}}\n"
    );
    let kept = format!("kept while this lasts: ConfigMap/{id}/web");
    world.push(&[(APP, Some(&route))]).await.complains(&["no kind HTTPRoute", &kept]);
    assert!(is_there(&world, &id, "web").await);

    world.push(&[(APP, Some(&config_map(&id, "web-2", "1")))]).await.is_ready();
    assert!(!is_there(&world, &id, "web").await && is_there(&world, &id, "web-2").await);
}

#[tokio::test]
async fn what_is_wrong_with_a_manifest_is_wrong_with_the_object_it_becomes() {
    let world = World::new("becomes", &[("moved/PLACEHOLDER", Some(""))]).await;
    let target = world.namespace_of("target");
    let manifests = |name: &str, label: &str| {
        let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: app\n  labels: {{id: {label}}}\n");
        let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata: {{x: \"1\"}}\n");
        [namespace, map].join("---\n")
    };
    world.releases.commit("Add", &[("moved/app.yaml", Some(&manifests("app", "a")))]);
    world.follow(&["path: moved", "prune: true", &format!("targetNamespace: {target}")]);
    world.verdict().await.is_ready();
    assert!(is_there(&world, &target, "app").await);

    // A label that is a number, and a name that cannot be one.
    let verdict = world.push(&[("moved/app.yaml", Some(&manifests("App", "74")))]).await;
    verdict.complains(&["must be text, and is a number", "metadata.name"]);
    assert!(world.namespace_exists("target").await && is_there(&world, &target, "app").await);
}
