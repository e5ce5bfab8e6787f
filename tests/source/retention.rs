//! How long artifacts are kept, and under which addresses they are told.

use fairlead::api::source::v1::{Bucket, GitRepository, HelmChart, HelmRepository, OCIRepository};
use fairlead_testbench::{ChartServer, GitServer, OciRegistry, S3Server, fixture_chart, tarball, wait_for};
use serde_json::json;

use crate::scene::{Kind, PATIENCE, Scene};

async fn served(url: &str) -> bool {
    reqwest::get(url).await.expect("an answer").status() == 200
}

#[tokio::test]
async fn the_flags_say_how_many_artifacts_are_kept_and_for_how_long() {
    let git = GitServer::start();
    let repository = git.repository("app");
    let scene = Scene::start_with("retention", &["--artifact-retention-records", "3"]).await;
    let mut urls = Vec::new();
    for text in ["1", "2", "3", "4"] {
        let head = repository.commit(text, &[("a", Some(text))]);
        let spec = json!({"url": git.url(&repository), "interval": "1s", "ref": {"branch": "main"}});
        scene.apply("GitRepository", "app", &spec);
        let seen = scene.ready_at::<GitRepository>("app", &format!("main@sha1:{head}")).await;
        urls.push(seen.artifact.expect("an artifact").url);
    }
    assert!(!served(&urls[0]).await, "one more than three");
    for url in &urls[1..] {
        assert!(served(url).await, "{url}");
    }

    let mut scene = scene;
    scene.operator.restart_with(["--artifact-retention-ttl", "1s"]).await;
    for url in &urls[1..3] {
        wait_for("old artifacts to go", PATIENCE, || async {
            if served(url).await { Err(url.clone()) } else { Ok(()) }
        })
        .await;
    }
    assert!(served(&urls[3]).await);
}

async fn told_at<K: Kind>(scene: &Scene, name: &str, host: &str) {
    scene
        .until::<K>(name, host, |seen| {
            let alias = seen.status["url"].as_str();
            seen.artifact.as_ref().is_some_and(|artifact| artifact.url.starts_with(host))
                && alias.is_none_or(|url| url.starts_with(host))
                && (alias.is_some() || seen.status["url"].is_null())
        })
        .await;
}

#[tokio::test]
async fn another_address_is_told_without_a_new_revision() {
    let git = GitServer::start();
    let repository = git.repository("app");
    repository.commit("One", &[("a", Some("1"))]);
    let (charts, store, registry) = (ChartServer::start(), S3Server::start(), OciRegistry::start().await);
    charts.publish(&fixture_chart("nodejs"), "1.0.0");
    store.put("a.yaml", "a: 1\n");
    registry
        .push("app", "latest", &[("application/vnd.cncf.flux.content.v1.tar+gzip", tarball(&[("a", "1")]))], &[])
        .await;
    let mut scene = Scene::start("address").await;
    scene.apply(
        "GitRepository",
        "git",
        &json!({"url": git.url(&repository), "interval": "1m", "ref": {"branch": "main"}}),
    );
    scene.apply("HelmRepository", "helm", &json!({"url": charts.url(), "interval": "1m"}));
    let source = json!({"kind": "HelmRepository", "name": "helm"});
    scene.apply("HelmChart", "chart", &json!({"chart": "nodejs", "interval": "1m", "sourceRef": source}));
    let bucket =
        json!({"endpoint": store.endpoint(), "bucketName": store.bucket(), "insecure": true, "interval": "1m"});
    scene.apply("Bucket", "bucket", &bucket);
    scene.apply("OCIRepository", "oci", &json!({"url": registry.url("app"), "interval": "1m", "insecure": true}));
    let all = async |scene: &Scene, host: &str| {
        told_at::<GitRepository>(scene, "git", host).await;
        told_at::<HelmRepository>(scene, "helm", host).await;
        told_at::<HelmChart>(scene, "chart", host).await;
        told_at::<Bucket>(scene, "bucket", host).await;
        told_at::<OCIRepository>(scene, "oci", host).await;
    };
    all(&scene, &format!("{}/", scene.operator.url())).await;
    let before = scene.see::<HelmChart>("chart").await;
    assert!(before.status["url"].is_string());
    scene.operator.restart_with(["--artifact-url", "http://artifacts.invalid"]).await;
    all(&scene, "http://artifacts.invalid/").await;
    let after = scene.see::<HelmChart>("chart").await;
    assert_eq!(after.artifact.map(|artifact| artifact.digest), before.artifact.map(|artifact| artifact.digest));
    assert!(after.status["url"].as_str().is_some_and(|url| url.ends_with("/chart/latest.tar.gz")), "{}", after.status);
}
