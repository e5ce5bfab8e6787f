//! How a `HelmRepository` and a `HelmChart` rest, change their type and go.

use fairlead::api::source::v1::{HelmChart, HelmRepository};
use fairlead_testbench::{ChartServer, fixture_chart, package, wait_for};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::scene::{Kind, PATIENCE, Scene, Seen};

/// What gzip makes of nothing.
const EMPTY_GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0";

async fn has_finalizer<K: Kind>(scene: &Scene, name: &str) -> bool {
    !scene.api::<K>().get(name).await.expect("read the object").finalizers().is_empty()
}

async fn gone(url: &str) {
    wait_for(url, PATIENCE, || async {
        match reqwest::get(url).await.map(|answer| answer.status().as_u16()) {
            Ok(404) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn repositories_and_charts_rest_and_go() {
    let server = ChartServer::start();
    let nodejs = fixture_chart("nodejs");
    server.publish(&nodejs, "1.0.0");
    let scene = Scene::start("chartslife").await;
    let repository = |more: Value| {
        let mut spec = json!({"url": server.url(), "interval": "1s"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        scene.apply("HelmRepository", "charts", &spec);
    };
    let chart = |name: &str, suspend: bool| {
        let source = json!({"kind": "HelmRepository", "name": "charts"});
        let spec =
            json!({"chart": "nodejs", "version": "*", "interval": "1s", "sourceRef": source, "suspend": suspend});
        scene.apply("HelmChart", name, &spec);
    };
    repository(json!({}));
    chart("one", false);
    let kept = scene.ready_at::<HelmChart>("one", "1.0.0").await;

    // A chart that rests does not follow its repository, which another one does.
    chart("one", true);
    server.publish(&nodejs, "1.1.0");
    scene.annotate::<HelmChart>("one", "reconcile.fluxcd.io/requestedAt", "resting").await;
    chart("two", false);
    scene.ready_at::<HelmChart>("two", "1.1.0").await;
    assert_eq!(scene.see::<HelmChart>("one").await.artifact, kept.artifact);
    chart("one", false);
    let one = scene.ready_at::<HelmChart>("one", "1.1.0").await;

    // A repository that rests is not looked at; a second one of the same server is.
    repository(json!({"suspend": true}));
    let resting = scene.see::<HelmRepository>("charts").await;
    server.publish(&nodejs, "1.2.0");
    scene.annotate::<HelmRepository>("charts", "reconcile.fluxcd.io/requestedAt", "resting").await;
    scene.apply("HelmRepository", "other", &json!({"url": server.url(), "interval": "1m"}));
    scene.ready::<HelmRepository>("other").await;
    assert_eq!(scene.see::<HelmRepository>("charts").await.artifact, resting.artifact);
    repository(json!({}));
    scene.ready_at::<HelmChart>("two", "1.2.0").await;

    // What goes takes its artifacts along.
    let (first, index) = (one.artifact.unwrap().url, scene.see::<HelmRepository>("other").await.status);
    scene.delete::<HelmChart>("one").await;
    gone(&first).await;
    scene.delete::<HelmRepository>("other").await;
    gone(index["artifact"]["url"].as_str().unwrap()).await;
    gone(index["url"].as_str().unwrap()).await;
}

#[tokio::test]
async fn a_chart_that_moves_to_a_broken_repository_is_made_anew_when_that_is_mended() {
    let (old, new) = (ChartServer::start(), ChartServer::start());
    let nodejs = fixture_chart("nodejs");
    let (metadata, mut other) = package(&nodejs, "1.0.0");
    old.publish_archive(metadata.clone(), &other);
    // The same chart and version, in other bytes: what comes after the end of gzip's stream is another one.
    other.extend_from_slice(EMPTY_GZIP);
    new.publish_archive(metadata, &other);
    let scene = Scene::start("moves").await;
    scene.apply("HelmRepository", "old", &json!({"url": old.url(), "interval": "1m"}));
    scene.apply(
        "HelmRepository",
        "new",
        &json!({"type": "oci", "url": "https://no.registry/charts", "interval": "1m"}),
    );
    let chart = |repository: &str| {
        let source = json!({"kind": "HelmRepository", "name": repository});
        let spec = json!({"chart": "nodejs", "version": "1.0.0", "interval": "1m", "sourceRef": source});
        scene.apply("HelmChart", "app", &spec);
    };
    chart("old");
    let before = scene.ready_at::<HelmChart>("app", "1.0.0").await;
    chart("new");
    scene.failed::<HelmChart>("app", "Stalled", "invalid OCI registry URL").await;
    scene.apply("HelmRepository", "new", &json!({"type": "default", "url": new.url(), "interval": "1m"}));
    let digest = before.artifact.expect("an artifact").digest;
    let is_another = |seen: &Seen| seen.artifact.as_ref().is_some_and(|artifact| artifact.digest != digest);
    let after = scene.until::<HelmChart>("app", "the new repository's chart", is_another).await;
    assert_eq!(scene.download(&after.artifact.expect("an artifact")).await, other);
}

#[tokio::test]
async fn a_repository_that_becomes_a_registry_keeps_nothing_and_comes_back() {
    let server = ChartServer::start();
    server.publish(&fixture_chart("nodejs"), "1.0.0");
    let scene = Scene::start("becomesoci").await;
    let plain = json!({"url": server.url(), "interval": "1m"});
    scene.apply("HelmRepository", "charts", &plain);
    let seen = scene.ready::<HelmRepository>("charts").await;
    assert!(has_finalizer::<HelmRepository>(&scene, "charts").await);
    let artifact = seen.artifact.expect("an artifact");

    scene.apply(
        "HelmRepository",
        "charts",
        &json!({"url": "oci://registry.invalid/charts", "interval": "1m", "type": "oci"}),
    );
    let seen = scene
        .until::<HelmRepository>("charts", "nothing", |seen| seen.conditions.is_empty() && seen.artifact.is_none())
        .await;
    assert!(seen.status["url"].is_null(), "{}", seen.status);
    assert!(!has_finalizer::<HelmRepository>(&scene, "charts").await);
    gone(&artifact.url).await;

    let back = json!({"url": server.url(), "interval": "1m", "type": "default"});
    scene.apply("HelmRepository", "charts", &back);
    let seen = scene.ready::<HelmRepository>("charts").await;
    assert_eq!(seen.revision(), artifact.revision);
    assert!(has_finalizer::<HelmRepository>(&scene, "charts").await);
    scene.download(&seen.artifact.expect("an artifact")).await;
    scene.apply(
        "HelmRepository",
        "charts",
        &json!({"url": "oci://registry.invalid/charts", "type": "oci", "interval": "1m"}),
    );
    scene.delete::<HelmRepository>("charts").await;
}
