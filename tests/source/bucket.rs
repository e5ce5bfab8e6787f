//! `Bucket`, against a store that checks signatures.

use fairlead::api::source::v1::{Bucket, HelmChart};
use fairlead::source::digest::sha256;
use fairlead_testbench::proxy::Proxy;
use fairlead_testbench::{Behaviour, S3Server, chart_files, fixture_chart, wait_for};
use serde_json::{Value, json};

use crate::scene::{PATIENCE, Scene};

/// The MD5 of `port: 1` and of `port: 2`, each with a line end: the store's entity tags.
const ONE: &str = "774ae78218c5330426b1cdf8352e2f2e";
const TWO: &str = "e5c81be9bbc628a4fe7a4372b09a4b77";

fn spec(store: &S3Server, more: &Value) -> Value {
    let mut spec =
        json!({"endpoint": store.endpoint(), "bucketName": store.bucket(), "insecure": true, "interval": "1s"});
    for (key, value) in more.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    spec
}

fn revision(lines: &str) -> String {
    format!("sha256:{}", sha256(lines.as_bytes()))
}

#[tokio::test]
async fn objects_become_an_artifact_and_are_followed() {
    let store = S3Server::builder().keys("robot", "hunter2-correct").start();
    store.put("production/api.yaml", "port: 1\n");
    store.put("logo.png", "image");
    let scene = Scene::start("bucket").await;
    scene.secret("keys", &json!({"accesskey": "robot", "secretkey": "hunter2-correct"}));
    scene.apply("Bucket", "b", &spec(&store, &json!({"secretRef": {"name": "keys"}})));
    let first = revision(&format!("production/api.yaml {ONE}\n"));
    let seen = scene.ready_at::<Bucket>("b", &first).await;
    let message = format!("stored artifact: revision '{first}'");
    for condition in ["Ready", "ArtifactInStorage"] {
        assert_eq!(seen.condition(condition), Some(("True", "Succeeded", message.as_str())));
    }
    assert_eq!(seen.conditions.len(), 2, "{:?}", seen.conditions);
    let artifact = seen.artifact.clone().unwrap();
    let hex = first.trim_start_matches("sha256:");
    assert_eq!(artifact.path, format!("bucket/{}/b/{hex}.tar.gz", scene.namespace));
    assert_eq!(scene.files(&artifact).await.keys().collect::<Vec<_>>(), ["production/api.yaml"]);
    let latest = seen.status["url"].as_str().unwrap();
    assert!(latest.ends_with("/b/latest.tar.gz"), "{latest}");
    let served = reqwest::get(latest).await.unwrap().bytes().await.unwrap();
    assert_eq!(format!("sha256:{}", sha256(&served)), artifact.digest);
    let event = scene.event("b", "NewArtifact").await;
    assert_eq!(event.message.as_deref(), Some("stored artifact with 1 fetched files from 'charts' bucket"));

    let fetched = || store.requests().iter().filter(|request| request.contains("/production/api.yaml")).count();
    let polls = || store.requests().iter().filter(|request| request.contains("list-type=2")).count();
    let before = polls();
    wait_for("two more polls", PATIENCE, || async {
        (polls() >= before + 2).then_some(()).ok_or_else(|| polls().to_string())
    })
    .await;
    assert_eq!(fetched(), 1, "what has not changed is not fetched again");
    store.put("production/api.yaml", "port: 2\n");
    scene.ready_at::<Bucket>("b", &revision(&format!("production/api.yaml {TWO}\n"))).await;
    store.put("production/ui.yaml", "port: 1\n");
    let both = revision(&format!("production/api.yaml {TWO}\nproduction/ui.yaml {ONE}\n"));
    let seen = scene.ready_at::<Bucket>("b", &both).await;
    assert_eq!(scene.files(&seen.artifact.unwrap()).await["production/api.yaml"], "port: 2\n");
    scene.keeps_secret(&["hunter2"]).await;
    scene.delete::<Bucket>("b").await;
    assert_eq!(reqwest::get(latest).await.unwrap().status(), 404);
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_heals() {
    let store = S3Server::builder().keys("robot", "hunter2-correct").start();
    store.put("api.yaml", "port: 1\n");
    let scene = Scene::start("badbucket").await;
    let spec = |more: Value| spec(&store, &more);
    let keys = json!({"secretRef": {"name": "keys"}, "timeout": "2s"});
    for (name, more, condition, reason, needle) in [
        ("none", json!({}), "FetchFailed", "AuthenticationFailed", "403: AccessDenied"),
        ("missing", keys.clone(), "FetchFailed", "AuthenticationFailed", "it does not exist"),
        ("scheme", json!({"endpoint": "http://store"}), "Stalled", "URLInvalid", "without a scheme"),
        ("gcp", json!({"provider": "gcp"}), "Stalled", "InvalidProviderConfiguration", "'gcp' is not acted on"),
        ("aws", json!({"provider": "aws"}), "Stalled", "InvalidProviderConfiguration", "spec.secretRef"),
        (
            "sts",
            json!({"sts": {"provider": "ldap", "endpoint": "https://sts"}}),
            "Stalled",
            "NotActedOn",
            "spec.sts is not acted on",
        ),
    ] {
        scene.apply("Bucket", name, &spec(more));
        let seen = scene.failed::<Bucket>(name, condition, needle).await;
        assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some(reason), "{name}");
    }
    scene.secret("keys", &json!({"accesskey": "robot"}));
    scene.failed::<Bucket>("missing", "FetchFailed", "required fields 'accesskey' and 'secretkey'").await;
    scene.secret("keys", &json!({"accesskey": "robot", "secretkey": "hunter2-wrong"}));
    scene.failed::<Bucket>("missing", "FetchFailed", "SignatureDoesNotMatch").await;
    scene.secret("keys", &json!({"accesskey": "robot", "secretkey": "hunter2-correct"}));
    let good = scene.ready::<Bucket>("missing").await;

    store.behave(Behaviour::Refuse);
    let seen = scene.failed::<Bucket>("missing", "FetchFailed", "answered 503").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("BucketOperationFailed"));
    assert_eq!(seen.artifact, good.artifact, "the last good artifact stays");
    store.behave(Behaviour::Hang);
    scene.failed::<Bucket>("missing", "FetchFailed", "within spec.timeout (2s)").await;
    store.behave(Behaviour::Serve);
    scene.ready::<Bucket>("missing").await;
    store.remove_bucket();
    let seen = scene.failed::<Bucket>("missing", "FetchFailed", "bucket 'charts' not found").await;
    assert_eq!(scene.files(&seen.artifact.unwrap()).await["api.yaml"], "port: 1\n");
    store.put("api.yaml", "port: 2\n");
    scene.ready_at::<Bucket>("missing", &revision(&format!("api.yaml {TWO}\n"))).await;
    scene.keeps_secret(&["hunter2", "X-Amz-Signature"]).await;
}

#[tokio::test]
async fn a_public_bucket_over_tls_is_narrowed_down_and_suspended() {
    let store = S3Server::builder().tls().start();
    for key in ["deploy/a.yaml", "deploy/notes.md", "deploy/logo.png", "other/a.yaml"] {
        store.put(key, "port: 1\n");
    }
    let scene = Scene::start("public").await;
    let spec = |more: Value| {
        let mut spec = spec(&store, &json!({"insecure": false, "prefix": "deploy/", "interval": "10m"}));
        for (key, value) in more.as_object().expect("an object") {
            spec[key] = value.clone();
        }
        spec
    };
    scene.apply("Bucket", "b", &spec(json!({})));
    scene.failed::<Bucket>("b", "FetchFailed", "cannot reach").await;
    scene.secret("authority", &json!({"ca.crt": store.authority()}));
    let trusted = json!({"certSecretRef": {"name": "authority"}});
    scene.apply("Bucket", "b", &spec(trusted.clone()));
    let seen = scene.ready::<Bucket>("b").await;
    let files = |seen: &crate::scene::Seen| seen.artifact.clone().expect("an artifact");
    assert_eq!(
        scene.files(&files(&seen)).await.keys().collect::<Vec<_>>(),
        ["deploy/a.yaml", "deploy/notes.md"],
        "the usual rules hold"
    );
    store.put(".sourceignore", "*.md\n");
    scene.annotate::<Bucket>("b", "reconcile.fluxcd.io/requestedAt", "now").await;
    let without_notes = revision(&format!("deploy/a.yaml {ONE}\ndeploy/logo.png {ONE}\n"));
    let seen = scene.ready_at::<Bucket>("b", &without_notes).await;
    assert_eq!(seen.status["lastHandledReconcileAt"], "now");
    assert!(scene.files(&files(&seen)).await.contains_key(".sourceignore"), "as Flux has it");
    let mut ignoring = trusted.clone();
    ignoring["ignore"] = json!("*.png\n!*.md\n");
    scene.apply("Bucket", "b", &spec(ignoring.clone()));
    let seen = scene.ready_at::<Bucket>("b", &revision(&format!("deploy/a.yaml {ONE}\ndeploy/notes.md {ONE}\n"))).await;
    assert_eq!(seen.status["observedIgnore"], "*.png\n!*.md\n");

    ignoring["suspend"] = json!(true);
    scene.apply("Bucket", "b", &spec(ignoring.clone()));
    store.put("deploy/late.yaml", "port: 1\n");
    scene.annotate::<Bucket>("b", "reconcile.fluxcd.io/requestedAt", "later").await;
    scene.apply("Bucket", "other", &spec(trusted));
    scene.ready::<Bucket>("other").await;
    assert_eq!(scene.see::<Bucket>("b").await.artifact, seen.artifact);
    ignoring["suspend"] = json!(false);
    scene.apply("Bucket", "b", &spec(ignoring));
    let late = revision(&format!("deploy/a.yaml {ONE}\ndeploy/late.yaml {ONE}\ndeploy/notes.md {ONE}\n"));
    scene.ready_at::<Bucket>("b", &late).await;
}

#[tokio::test]
async fn a_bucket_is_reached_through_a_proxy() {
    let store = S3Server::builder().keys("robot", "hunter2-correct").start();
    store.put("production/api.yaml", "port: 1\n");
    let proxy = Proxy::start(Some(("walker", "hunter2-proxy")));
    let scene = Scene::start("bucketproxy").await;
    scene.secret("keys", &json!({"accesskey": "robot", "secretkey": "hunter2-correct"}));
    let way = |password: &str| json!({"address": proxy.url(), "username": "walker", "password": password});
    scene.secret("way", &way("hunter2-wrong"));
    let more = json!({"secretRef": {"name": "keys"}, "proxySecretRef": {"name": "way"}});
    scene.apply("Bucket", "b", &spec(&store, &more));
    scene.failed::<Bucket>("b", "FetchFailed", "407").await;
    assert_eq!(store.requests(), [""; 0], "nothing goes past the proxy");
    scene.secret("way", &way("hunter2-proxy"));
    scene.ready_at::<Bucket>("b", &revision(&format!("production/api.yaml {ONE}\n"))).await;
    assert!(proxy.targets().iter().any(|line| line.contains("/production/api.yaml")), "{:?}", proxy.targets());
    scene.keeps_secret(&["hunter2"]).await;
}

#[tokio::test]
async fn keys_may_be_of_any_text_and_an_object_that_vanishes_prunes_nothing() {
    let store = S3Server::builder().keys("robot", "hunter2-correct").start();
    let keys = ["a b+c.yaml", "folder with spaces/ä&=%2B.yaml", "plain.yaml"];
    for key in keys {
        store.put(key, "port: 1\n");
    }
    let scene = Scene::start("keys").await;
    scene.secret("keys", &json!({"accesskey": "robot", "secretkey": "hunter2-correct"}));
    scene.apply("Bucket", "b", &spec(&store, &json!({"secretRef": {"name": "keys"}})));
    let first = revision(&keys.map(|key| format!("{key} {ONE}\n")).concat());
    let seen = scene.ready_at::<Bucket>("b", &first).await;
    let files = scene.files(&seen.artifact.expect("an artifact")).await;
    assert_eq!(files.into_iter().collect::<Vec<_>>(), keys.map(|key| (key.to_owned(), "port: 1\n".to_owned())));

    store.vanish(keys[0], true);
    store.put("plain.yaml", "port: 2\n");
    let seen = scene.failed::<Bucket>("b", "FetchFailed", "'a b+c.yaml' object: it is listed").await;
    assert_eq!(seen.revision(), first, "the last good artifact stays");
    store.vanish(keys[0], false);
    let second = format!("{} {ONE}\n{} {ONE}\nplain.yaml {TWO}\n", keys[0], keys[1]);
    scene.ready_at::<Bucket>("b", &revision(&second)).await;
}

#[tokio::test]
async fn charts_releases_and_folders_come_from_a_bucket() {
    let store = S3Server::start();
    for (path, text) in chart_files(&fixture_chart("nodejs")) {
        store.put(&format!("charts/nodejs/{path}"), text);
    }
    let map = |text: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "of-the-bucket"}, "data": {"key": text}})
            .to_string()
    };
    store.put("production/map.yaml", map("one"));
    let scene = Scene::running("bucketrelease", "source,kustomize,helm").await;
    scene.apply("Bucket", "b", &spec(&store, &json!({})));
    let source = json!({"kind": "Bucket", "name": "b"});
    let chart =
        json!({"chart": "charts/nodejs", "reconcileStrategy": "Revision", "interval": "1m", "sourceRef": source});
    scene.apply_of(
        "helm.toolkit.fluxcd.io/v2",
        "HelmRelease",
        "ui",
        &json!({"interval": "1m", "chart": {"spec": chart}}),
    );
    let folder = json!({"interval": "1m", "path": "production", "prune": true, "sourceRef": source, "targetNamespace": scene.namespace});
    scene.apply_of("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "folder", &folder);
    let first = scene.ready::<Bucket>("b").await;
    let wait = |object: &str, jsonpath: &str| {
        let condition = format!("--for={jsonpath}");
        scene.bench.kubectl(&["wait", &condition, "--timeout=60s", object, "--namespace", &scene.namespace]);
    };
    wait("helmrelease/ui", "condition=Ready");
    wait("kustomization/folder", "condition=Ready");
    wait("configmap/of-the-bucket", "jsonpath={.data.key}=one");
    let name = format!("{}-ui", scene.namespace);
    let seen = scene.ready::<HelmChart>(&name).await;
    let build = format!("+{}", &first.revision()["sha256:".len()..][..12]);
    assert!(seen.revision().ends_with(&build), "{} is not of {build}", seen.revision());
    assert_eq!(seen.status["observedSourceArtifactRevision"], first.revision());

    store.put("production/map.yaml", map("two"));
    wait("configmap/of-the-bucket", "jsonpath={.data.key}=two");
    let second = scene.until::<Bucket>("b", "moves", |seen| seen.revision() != first.revision()).await;
    let build = format!("+{}", &second.revision()["sha256:".len()..][..12]);
    scene.until::<HelmChart>(&name, &build, |seen| seen.revision().ends_with(&build)).await;
}
