//! What the status says while a pass takes long.

use fairlead::api::source::v1::{GitRepository, HelmRepository};
use fairlead_testbench::{Behaviour, ChartServer, GitServer, fixture_chart};
use serde_json::json;

use crate::scene::{Kind, Scene, Seen};

/// Waits until the status tells of a pass in these words.
async fn at_work<K: Kind>(scene: &Scene, name: &str, message: &str) -> Seen {
    let seen = scene
        .until::<K>(name, message, |seen| seen.condition("Ready") == Some(("Unknown", "Progressing", message)))
        .await;
    assert_eq!(seen.condition("Reconciling"), Some(("True", "Progressing", message)));
    assert_ne!(seen.observed_generation, seen.generation.filter(|_| seen.artifact.is_some()));
    seen
}

async fn done<K: Kind>(scene: &Scene, name: &str) -> Seen {
    let seen = scene.ready::<K>(name).await;
    assert_eq!(seen.condition("Reconciling"), None);
    assert_eq!(seen.condition("ArtifactInStorage").map(|(status, ..)| status), Some("True"));
    seen
}

#[tokio::test]
async fn a_pass_that_takes_long_is_told_and_its_end_as_well() {
    let git = GitServer::start();
    let repository = git.repository("app");
    repository.commit("One", &[("a", Some("1"))]);
    let charts = ChartServer::start();
    charts.publish(&fixture_chart("nodejs"), "1.0.0");
    let scene = Scene::start("progress").await;
    git.behave(Behaviour::Hold);
    charts.behave(Behaviour::Hold);
    let spec =
        |more: &str| json!({"url": git.url(&repository), "interval": "1h", "ref": {"branch": "main"}, "ignore": more});
    scene.apply("GitRepository", "git", &spec(""));
    scene.apply("HelmRepository", "helm", &json!({"url": charts.url(), "interval": "1h"}));
    at_work::<GitRepository>(&scene, "git", "building artifact").await;
    at_work::<HelmRepository>(&scene, "helm", "building artifact").await;
    git.behave(Behaviour::Serve);
    charts.behave(Behaviour::Serve);
    let first = done::<GitRepository>(&scene, "git").await;
    let index = done::<HelmRepository>(&scene, "helm").await;

    git.behave(Behaviour::Hold);
    scene.apply("GitRepository", "git", &spec("*.md"));
    let seen = at_work::<GitRepository>(&scene, "git", "processing object: new generation 1 -> 2").await;
    assert_eq!(seen.artifact, first.artifact, "what is there goes on being served");
    git.behave(Behaviour::Serve);
    done::<GitRepository>(&scene, "git").await;

    charts.behave(Behaviour::Hold);
    let artifact = index.artifact.expect("an artifact");
    std::fs::remove_file(scene.operator.data_dir().join("artifacts/names").join(&artifact.path)).expect("lose it");
    scene.annotate::<HelmRepository>("helm", "reconcile.fluxcd.io/requestedAt", "lost").await;
    let seen = at_work::<HelmRepository>(&scene, "helm", "building artifact: disappeared from storage").await;
    assert!(seen.artifact.is_none() && seen.status["url"].is_null(), "{}", seen.status);
    assert_eq!(seen.condition("ArtifactInStorage"), None);
    charts.behave(Behaviour::Serve);
    let seen = done::<HelmRepository>(&scene, "helm").await;
    assert_eq!(seen.revision(), artifact.revision);
    assert!(seen.status["url"].is_string());
}
