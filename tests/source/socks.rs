//! Sources behind a SOCKS5 proxy, at names that nobody but the proxy knows.

use fairlead::api::source::v1::{Bucket, GitRepository, OCIRepository};
use fairlead_testbench::github_api::GitHubApi;
use fairlead_testbench::proxy::Proxy;
use fairlead_testbench::{CosignKey, GitServer, OciRegistry, S3Server, tarball};
use serde_json::{Value, json};

use crate::scene::Scene;

/// The same address under a name that leads to it through the proxy only.
fn hidden(url: &str) -> String {
    url.replace("127.0.0.1", "bench.invalid").replace("localhost", "bench.invalid")
}

#[tokio::test]
async fn every_source_goes_through_it() {
    let api = GitHubApi::start(false);
    let git = GitServer::builder().basic_auth("x-access-token", &api.next_token()).start();
    let repository = git.repository("app");
    let head = repository.commit("One", &[("a", Some("1"))]);
    let store = S3Server::builder().keys("robot", "hunter2-of-s3").start();
    store.put("a.yaml", "a: 1\n");
    let (registry, author) = (OciRegistry::start().await, CosignKey::generate());
    let layer = ("application/vnd.cncf.flux.content.v1.tar+gzip", tarball(&[("a.yaml", "a: 1\n")]));
    let digest = registry.push("app", "latest", &[layer], &[]).await;
    author.sign(&registry, "app", &digest);

    let socks = Proxy::start_socks("me", "p@ss/word-of-the-proxy");
    let scene = Scene::start("socks").await;
    let way = |password: &str| {
        let address = format!("socks5://{}", socks.address());
        scene.secret("way", &json!({"address": address, "username": "me", "password": password}));
    };
    way("wrong-for-the-proxy");
    let behind = |more: Value| {
        let mut spec = json!({"interval": "1m", "timeout": "20s", "proxySecretRef": {"name": "way"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    scene.secret("keys", &json!({"accesskey": "robot", "secretkey": "hunter2-of-s3"}));
    let bucket = json!({
        "endpoint": hidden(store.endpoint()), "bucketName": store.bucket(), "insecure": true,
        "secretRef": {"name": "keys"},
    });
    scene.apply("Bucket", "bucket", &behind(bucket));
    scene.failed::<Bucket>("bucket", "FetchFailed", "cannot reach").await;
    let mut app = api.secret(false);
    app["githubAppBaseURL"] = hidden(app["githubAppBaseURL"].as_str().unwrap()).into();
    scene.secret("app", &app);
    let of_app = json!({
        "url": hidden(&git.url(&repository)), "ref": {"branch": "main"}, "provider": "github",
        "secretRef": {"name": "app"},
    });
    scene.apply("GitRepository", "git", &behind(of_app));
    scene.failed::<GitRepository>("git", "FetchFailed", "failed to configure authentication options").await;
    scene.secret("cosign", &json!({"author.pub": author.public()}));
    let oci = json!({
        "url": hidden(&registry.url("app")), "insecure": true,
        "verify": {"provider": "cosign", "secretRef": {"name": "cosign"}},
    });
    scene.apply("OCIRepository", "oci", &behind(oci));
    scene.failed::<OCIRepository>("oci", "FetchFailed", "failed to pull artifact").await;
    assert_eq!(socks.targets(), [""; 0], "nothing goes past the proxy");

    way("p@ss/word-of-the-proxy");
    scene.ready::<Bucket>("bucket").await;
    scene.ready_at::<GitRepository>("git", &format!("main@sha1:{head}")).await;
    let seen = scene.ready_at::<OCIRepository>("oci", &format!("latest@{digest}")).await;
    assert_eq!(seen.condition("SourceVerified").map(|(status, ..)| status), Some("True"));
    scene.keeps_secret(&["word-of-the-proxy", "p%40ss", "wrong-for-the-proxy", "hunter2-of-s3"]).await;
}
