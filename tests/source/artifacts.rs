//! Artifacts between us and Flux's own controllers, in both directions, and what may befall them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use fairlead::api::meta::Artifact;
use fairlead::api::source::v1::{Bucket, GitRepository, HelmChart, HelmRepository};
use fairlead::source::archive::{Content, pack_files};
use fairlead::source::digest::{Algorithm, sha256};
use fairlead_testbench::{ChartServer, GitServer, S3Server, fixture_chart, package};
use serde_json::{Value, json};

use crate::scene::{Kind, Scene, Seen};

/// What Flux's consumers do with `.status.artifact`: fetch it, compare its digest, unpack it.
/// Gives the files' names as `tar` lists them.
async fn consume(artifact: &Artifact) -> Vec<String> {
    let client = reqwest::Client::new();
    let head = client.head(&artifact.url).send().await.expect("ask for the size");
    let length = head.headers()["content-length"].to_str().expect("a number").to_owned();
    assert_eq!((head.status().as_u16(), length.parse().ok()), (200, artifact.size), "{artifact:?}");
    assert!(head.bytes().await.expect("no body").is_empty());
    let answer = client.get(&artifact.url).send().await.expect("ask for the artifact");
    assert_eq!(answer.status(), 200);
    let bytes = answer.bytes().await.expect("read the artifact");
    assert_eq!(artifact.digest, format!("sha256:{}", sha256(&bytes)));
    if !artifact.path.ends_with("gz") {
        return Vec::new();
    }
    let mut tar = Command::new("tar")
        .args(["--list", "--gzip", "--file=-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start tar");
    tar.stdin.take().expect("a pipe").write_all(&bytes).expect("write to tar");
    let listed = tar.wait_with_output().expect("wait for tar");
    assert!(listed.status.success(), "tar cannot read {}", artifact.path);
    String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
}

async fn served<K: Kind>(scene: &Scene, kind: &str, name: &str, file: &str, latest: &str) -> (Seen, Vec<String>) {
    let seen = scene.ready::<K>(name).await;
    let artifact = seen.artifact.clone().expect("an artifact");
    let place = format!("{kind}/{}/{name}", scene.namespace);
    assert_eq!(artifact.path, format!("{place}/{file}"));
    assert_eq!(artifact.url, format!("{}/{}", scene.operator.url(), artifact.path));
    let alias = Artifact { url: format!("{}/{place}/{latest}", scene.operator.url()), ..artifact.clone() };
    consume(&alias).await;
    let files = consume(&artifact).await;
    (seen, files)
}

#[tokio::test]
async fn what_is_served_is_what_flux_s_consumers_fetch() {
    let git = GitServer::start();
    let repository = git.repository("releases");
    let first = repository.commit("One", &[("production/api.yaml", Some("a: 1\n"))]);
    let charts = ChartServer::start();
    charts.publish(&fixture_chart("nodejs"), "1.0.0");
    let store = S3Server::start();
    store.put("production/api.yaml", "a: 1\n");
    let scene = Scene::start("served").await;
    let source = json!({"url": git.url(&repository), "interval": "1s", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "git", &source);
    scene.apply("HelmRepository", "helm", &json!({"url": charts.url(), "interval": "1m"}));
    let chart = json!({"chart": "nodejs", "interval": "1m", "sourceRef": {"kind": "HelmRepository", "name": "helm"}});
    scene.apply("HelmChart", "chart", &chart);
    let bucket =
        json!({"endpoint": store.endpoint(), "bucketName": store.bucket(), "insecure": true, "interval": "1m"});
    scene.apply("Bucket", "bucket", &bucket);

    let file = format!("{first}.tar.gz");
    let (old, files) = served::<GitRepository>(&scene, "gitrepository", "git", &file, "latest.tar.gz").await;
    assert!(files.contains(&"production/api.yaml".to_owned()), "{files:?}");
    let (_, files) = served::<HelmChart>(&scene, "helmchart", "chart", "nodejs-1.0.0.tgz", "latest.tar.gz").await;
    assert!(files.contains(&"nodejs/Chart.yaml".to_owned()), "{files:?}");
    let revision = scene.ready::<HelmRepository>("helm").await.revision().replace(':', "-");
    let file = format!("{}.yaml", revision.replace("sha256-", "index-"));
    served::<HelmRepository>(&scene, "helmrepository", "helm", &file, "index.yaml").await;
    let revision = scene.ready::<Bucket>("bucket").await.revision().replace("sha256:", "");
    let (_, files) = served::<Bucket>(&scene, "bucket", "bucket", &format!("{revision}.tar.gz"), "latest.tar.gz").await;
    assert!(files.contains(&"production/api.yaml".to_owned()), "{files:?}");

    // Whoever has just read of the old one still finds it; the one before that is gone.
    let second = repository.commit("Two", &[("production/api.yaml", Some("a: 2\n"))]);
    scene.ready_at::<GitRepository>("git", &format!("main@sha1:{second}")).await;
    let old = old.artifact.expect("an artifact");
    consume(&old).await;
    let third = repository.commit("Three", &[("production/api.yaml", Some("a: 3\n"))]);
    let newest = scene.ready_at::<GitRepository>("git", &format!("main@sha1:{third}")).await;
    assert_eq!(reqwest::get(&old.url).await.expect("an answer").status(), 404);
    consume(&newest.artifact.expect("an artifact")).await;
}

#[tokio::test]
async fn damage_is_told_and_healed_and_a_second_operator_keeps_out() {
    let git = GitServer::start();
    let repository = git.repository("releases");
    repository.commit("One", &[("production/api.yaml", Some("a: 1\n"))]);
    let scene = Scene::start("damage").await;
    let source = json!({"url": git.url(&repository), "interval": "1s", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "git", &source);
    let seen = scene.ready::<GitRepository>("git").await;
    let artifact = seen.artifact.clone().expect("an artifact");
    let blob = scene.operator.data_dir().join("artifacts/blobs").join(artifact.digest.trim_start_matches("sha256:"));
    std::fs::write(&blob, "damaged").expect("damage the artifact");
    let event = scene.event("git", "ArtifactVerificationFailed").await;
    assert!(event.message.unwrap_or_default().contains("does not match its digest"));
    scene
        .until::<GitRepository>("git", "served again", |seen| {
            seen.artifact.is_some() && blob_is(&blob, &artifact.digest)
        })
        .await;
    consume(&scene.ready::<GitRepository>("git").await.artifact.expect("an artifact")).await;

    let second = Command::new(env!("CARGO_BIN_EXE_fairlead"))
        .args(["run", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(scene.operator.data_dir())
        .env("KUBECONFIG", scene.bench.kubeconfig())
        .output()
        .expect("start a second operator");
    let told = String::from_utf8_lossy(&[second.stdout, second.stderr].concat()).into_owned();
    assert!(!second.status.success());
    let words = format!("another operator (process {}) works there", scene.operator.pid());
    assert!(told.contains(&words), "{told}");
}

/// Text of so many bytes that nothing makes much smaller.
fn incompressible(length: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/"
            [usize::try_from(state >> 58).expect("6 bits")]
    };
    (0..length).map(|_| char::from(next())).collect()
}

#[tokio::test]
async fn a_full_disk_is_named_and_what_is_stored_goes_on_being_served() {
    let git = GitServer::start();
    let repository = git.repository("releases");
    let first = repository.commit("Small", &[("a.yaml", Some("a: 1\n"))]);
    let scene = Scene::on_a_disk_of("fulldisk", 8).await;
    let spec = json!({"url": git.url(&repository), "interval": "1s", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "releases", &spec);
    let seen = scene.ready_at::<GitRepository>("releases", &format!("main@sha1:{first}")).await;
    let stored = seen.artifact.expect("an artifact");

    repository.commit("Large", &[("large.txt", Some(&incompressible(12 << 20)))]);
    let seen = scene.failed::<GitRepository>("releases", "Reconciling", "No space left on device").await;
    assert_eq!(seen.condition("Ready").map(|(status, _, _)| status), Some("False"));
    assert_eq!(seen.artifact.as_ref(), Some(&stored), "the last good one stays");
    assert_eq!(consume(&stored).await, ["a.yaml"]);

    let third = repository.commit("Small again", &[("large.txt", None), ("a.yaml", Some("a: 2\n"))]);
    scene.ready_at::<GitRepository>("releases", &format!("main@sha1:{third}")).await;
}

fn blob_is(blob: &Path, digest: &str) -> bool {
    std::fs::read(blob).is_ok_and(|bytes| format!("sha256:{}", sha256(&bytes)) == digest)
}

fn folder(text: &str) -> Vec<u8> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": text}}).to_string();
    let files = [(format!("production/{text}.yaml"), Content::Bytes(map.into_bytes()))];
    let mut archive = Vec::new();
    pack_files(&files.into_iter().collect(), &mut archive).expect("pack a folder");
    archive
}

#[tokio::test]
async fn another_operator_s_artifacts_are_applied_and_released() {
    // It is no chart server here: it serves any file.
    let server = ChartServer::start();
    let artifact = |file: &str, revision: &str, bytes: &[u8]| {
        server.replace(file, bytes);
        let algorithm = if file.contains('2') || file.contains("1.1") { Algorithm::Sha512 } else { Algorithm::Sha256 };
        json!({
            "path": format!("somewhere/{file}"), "url": format!("{}/{file}", server.url()), "revision": revision,
            "digest": algorithm.digest(bytes).to_string(), "lastUpdateTime": "2026-01-01T00:00:00Z",
            "size": bytes.len(),
        })
    };
    let scene = Scene::running("foreign", "kustomize,helm").await;
    let ready = json!([{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let publish = |kind: &str, name: &str, artifact: &Value| {
        let status =
            json!({"status": {"observedGeneration": 1, "conditions": ready, "artifact": artifact}}).to_string();
        let args = ["patch", kind, name, "--namespace", &scene.namespace, "--subresource=status", "--type=merge"];
        scene.bench.kubectl(&[&args[..], &["--patch", &status]].concat());
    };
    let wait = |object: &str, condition: &str| {
        let condition = format!("--for={condition}");
        scene.bench.kubectl(&["wait", &condition, "--timeout=60s", object, "--namespace", &scene.namespace]);
    };
    scene.apply("GitRepository", "git", &json!({"url": "https://git.example.org/x", "interval": "1m"}));
    scene.apply("ExternalArtifact", "external", &json!({}));
    for (name, kind, source) in [("of-git", "GitRepository", "git"), ("of-external", "ExternalArtifact", "external")] {
        let spec = json!({
            "interval": "1m", "retryInterval": "1s", "path": "production", "prune": true,
            "targetNamespace": scene.namespace, "sourceRef": {"kind": kind, "name": source},
        });
        scene.apply_of("kustomize.toolkit.fluxcd.io/v1", "Kustomization", name, &spec);
    }
    let mut false_one = artifact("git-1.tar.gz", "main@sha1:1", &folder("of-git-one"));
    let good = false_one["digest"].take();
    false_one["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    publish("gitrepository", "git", &false_one);
    wait("kustomization/of-git", "condition=Ready=False");
    let text = scene.bench.kubectl(&["get", "kustomization/of-git", "--output=yaml", "--namespace", &scene.namespace]);
    assert!(text.contains("integrity failure"), "{text}");
    false_one["digest"] = good;
    publish("gitrepository", "git", &false_one);
    publish("externalartifact", "external", &artifact("external-1.tar.gz", "1", &folder("of-external-one")));
    for kind in ["git", "external"] {
        wait(&format!("kustomization/of-{kind}"), "condition=Ready");
        wait(&format!("configmap/of-{kind}-one"), "create");
    }
    publish("gitrepository", "git", &artifact("git-2.tar.gz", "main@sha1:2", &folder("of-git-two")));
    wait("configmap/of-git-two", "create");
    wait("configmap/of-git-one", "delete");

    let source = json!({"kind": "GitRepository", "name": "git"});
    let release = json!({"interval": "1m", "chart": {"spec": {"chart": "charts/nodejs", "sourceRef": source}}});
    scene.apply_of("helm.toolkit.fluxcd.io/v2", "HelmRelease", "ui", &release);
    let chart = format!("{}-ui", scene.namespace);
    wait(&format!("helmchart/{chart}"), "create");
    for version in ["1.0.0", "1.1.0"] {
        let (_, bytes) = package(&fixture_chart("nodejs"), version);
        publish("helmchart", &chart, &artifact(&format!("nodejs-{version}.tgz"), version, &bytes));
        wait("helmrelease/ui", &format!("jsonpath={{.status.history[0].chartVersion}}={version}"));
        wait("helmrelease/ui", "condition=Ready");
    }
    let names = scene.operator.data_dir().join("artifacts/names");
    assert!(names.join("kustomization").join(&scene.namespace).join("of-git").exists());
    scene.bench.kubectl(&["delete", "kustomization/of-git", "--namespace", &scene.namespace]);
    assert!(!names.join("kustomization").join(&scene.namespace).join("of-git").exists());
}
