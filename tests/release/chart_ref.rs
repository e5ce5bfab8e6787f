//! Charts that `spec.chartRef` refers to, with a status that somebody else writes or that we write, and charts of
//! registries.

use fairlead::source::digest::sha256;
use fairlead_testbench::{Helm, OciRegistry, fixture_chart, package};
use serde_json::{Value, json};

use crate::world::{World, message, reason};

/// A release whose chart is in an object of this kind, of its own name.
fn release(world: &World, name: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"interval": "10m", "timeout": "1m", "chartRef": {"kind": kind, "name": name}},
    })
}

fn source(name: &str, kind: &str) -> Value {
    let spec = if kind == "OCIRepository" {
        json!({"url": "oci://registry.example.org/ui", "interval": "1h"})
    } else {
        json!({})
    };
    json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// Serves the chart `nodejs` in a version and gives the artifact that tells of it.
fn artifact(world: &World, version: &str, revision: &str) -> Value {
    let (_, bytes) = package(&fixture_chart("nodejs"), version);
    let file = format!("{version}.tgz");
    world.charts.replace(&file, &bytes);
    json!({
        "path": format!("elsewhere/{file}"), "url": format!("{}/{file}", world.charts.url()), "revision": revision,
        "digest": format!("sha256:{}", sha256(&bytes)), "lastUpdateTime": "2026-01-01T00:00:00Z", "size": bytes.len(),
    })
}

fn publish(world: &World, kind: &str, name: &str, status: &Value) {
    let patch = json!({"status": status}).to_string();
    let namespace = world.namespace.as_str();
    let args =
        ["patch", kind, name, "--namespace", namespace, "--subresource=status", "--type=merge", "--patch", &patch];
    world.bench.kubectl(&args);
}

async fn an_external_artifact(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let _operator = world.started(helm).await;
    let (namespace, kind) = (world.namespace.as_str(), "ExternalArtifact");
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    world.apply(&release(&world, "ui", kind));
    let missing = format!("could not get Source object: ExternalArtifact '{namespace}/ui' not found");
    let object = world.says("ui", "Ready", "False", &missing).await;
    assert_eq!(reason(&object, "Ready"), "ArtifactFailed");
    world.apply(&source("ui", kind));
    let unready = format!("ExternalArtifact '{namespace}/ui' is not ready: does not have an artifact");
    let object = world.says("ui", "Ready", "False", &unready).await;
    assert_eq!(reason(&object, "Ready"), "SourceNotReady");

    let first = artifact(&world, "1.0.0", &format!("1.0.0@{}", digest("a")));
    publish(&world, kind, "ui", &json!({"artifact": first}));
    let object = world.ready("ui", 1).await;
    assert!(message(&object, "Ready").ends_with("with chart nodejs@1.0.0+aaaaaaaaaaaa"), "{object}");
    let status = &object["status"];
    assert_eq!(status["lastAttemptedRevision"], "1.0.0+aaaaaaaaaaaa");
    assert_eq!(status["lastAttemptedRevisionDigest"], digest("a"));
    assert_eq!(status["history"][0]["ociDigest"], digest("a"));

    // The same chart under a new digest is a new release; nothing but the event wakes it.
    let again = artifact(&world, "1.0.0", &format!("latest@{}", digest("b")));
    publish(&world, kind, "ui", &json!({"artifact": again}));
    let object = world.ready("ui", 2).await;
    assert_eq!(object["status"]["history"][0]["chartVersion"], "1.0.0+bbbbbbbbbbbb");
    assert_eq!(object["status"]["history"][1]["ociDigest"], digest("a"));

    // A plain version has no digest.
    publish(&world, kind, "ui", &json!({"artifact": artifact(&world, "1.1.0", "1.1.0")}));
    let object = world.ready("ui", 3).await;
    assert_eq!(object["status"]["history"][0]["chartVersion"], "1.1.0");
    assert_eq!(object["status"]["lastAttemptedRevisionDigest"], Value::Null);
}

#[tokio::test]
async fn an_external_artifact_is_followed_with_helm_3() {
    an_external_artifact(Helm::V3, "external3").await;
}

#[tokio::test]
async fn an_external_artifact_is_followed_with_helm_4() {
    an_external_artifact(Helm::V4, "external4").await;
}

#[tokio::test]
async fn an_artifact_that_cannot_be_used_says_why_and_heals() {
    let world = World::new("badref").await;
    let _operator = world.started(Helm::V4).await;
    let kind = "ExternalArtifact";
    world.apply(&source("ui", kind));
    world.apply(&release(&world, "ui", kind));
    let good = artifact(&world, "1.0.0", "1.0.0");
    let with = |field: &str, value: &str| {
        let mut artifact = good.clone();
        artifact[field] = json!(value);
        publish(&world, kind, "ui", &json!({"artifact": artifact}));
    };
    let other = format!("sha256:{}", "0".repeat(64));
    with("digest", &other);
    let object = world.says("ui", "Ready", "False", "integrity failure").await;
    assert_eq!(reason(&object, "Ready"), "ArtifactFailed");
    with("url", &format!("{}/nothing.tgz", world.charts.url()));
    world.says("ui", "Ready", "False", "Source not ready: artifact not found").await;
    with("revision", &format!("2.0.0@{other}"));
    let object = world.says("ui", "Ready", "False", "artifact revision 2.0.0 does not match chart version 1.0.0").await;
    assert_eq!(reason(&object, "Ready"), "ChartMutateError");
    assert!(world.history("ui").is_empty());
    with("revision", "1.0.0");
    world.ready("ui", 1).await;
    world.delete("helmrelease", "ui");
    world.gone("helmrelease", "ui").await;
}

#[tokio::test]
async fn a_registry_s_chart_has_its_digest_in_its_version_unless_that_is_switched_off() {
    let world = World::new("oci").await;
    // Somebody else's source controller is at work.
    let helm_only = ["--controllers", "helm"];
    let operator = world.operator().args(helm_only).start().await;
    let (namespace, kind) = (world.namespace.as_str(), "OCIRepository");
    let revision = |digit: &str| format!("1.0.0@sha256:{}", digit.repeat(64));
    let condition = |type_: &str, status: &str| json!([{"type": type_, "status": status, "reason": "R", "message": "no such tag", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let generation = 1;
    world.apply(&source("ui", kind));
    world.apply(&release(&world, "ui", kind));
    publish(&world, kind, "ui", &json!({"observedGeneration": generation, "conditions": condition("Stalled", "True")}));
    world.says("ui", "Ready", "False", &format!("OCIRepository '{namespace}/ui' is not ready: no such tag")).await;
    let status = |digit: &str| json!({"observedGeneration": generation, "conditions": condition("Ready", "True"), "artifact": artifact(&world, "1.0.0", &revision(digit))});
    publish(&world, kind, "ui", &status("a"));
    let object = world.ready("ui", 1).await;
    assert_eq!(object["status"]["lastAttemptedRevision"], "1.0.0+aaaaaaaaaaaa");
    drop(operator);

    let _operator = world.operator().args(["--controllers", "helm", "--disable-chart-digest-tracking"]).start().await;
    let object = world.ready("ui", 2).await;
    assert_eq!(object["status"]["history"][0]["chartVersion"], "1.0.0");
    publish(&world, kind, "ui", &status("b"));
    world.annotate("ui", "reconcile.fluxcd.io/requestedAt=one");
    world.until("ui", "notes the request", |object| object["status"]["lastHandledReconcileAt"] == "one").await;
    assert_eq!(world.history("ui").len(), 2, "a new digest alone makes no release");
}

#[tokio::test]
async fn a_helm_chart_that_somebody_made_is_followed() {
    let world = World::new("chartref").await;
    let _operator = world.started(Helm::V4).await;
    world.apply(&json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart", "metadata": {"name": "ui"},
        "spec": {"chart": "nodejs", "version": "*", "interval": "1s", "sourceRef": {"kind": "HelmRepository", "name": "charts"}},
    }));
    world.apply(&release(&world, "ui", "HelmChart"));
    let object = world.ready("ui", 1).await;
    assert_eq!(object["status"]["helmChart"], Value::Null);
    world.charts.publish(&fixture_chart("nodejs"), "1.1.0");
    world.ready("ui", 2).await;
    world.delete("helmrelease", "ui");
    world.gone("helmrelease", "ui").await;
    assert!(world.get("helmchart", "ui").is_some(), "it belongs to somebody else");
}

#[tokio::test]
async fn a_chart_that_helm_pushes_to_a_registry_is_released_and_its_versions_followed() {
    let world = World::new("registry").await;
    let registry = OciRegistry::start().await;
    registry.push_chart("charts", &fixture_chart("nodejs"), "1.0.0");
    let _operator = world.started(Helm::V4).await;
    let spec = json!({
        "url": registry.url("charts/nodejs"), "interval": "1s", "insecure": true, "ref": {"semver": "1.x"},
        "layerSelector": {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "operation": "copy"},
    });
    world.apply(&json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": {"name": "ui"}, "spec": spec,
    }));
    world.apply(&release(&world, "ui", "OCIRepository"));
    let follows = |object: &Value, version: &str| {
        let source = world.get("ocirepository", "ui").expect("the source");
        let revision = source["status"]["artifact"]["revision"].as_str().unwrap_or_default().to_owned();
        let (tag, digest) = revision.split_once('@').expect("a tag and a digest");
        assert_eq!(tag, version);
        let last = &object["status"]["history"][0];
        assert_eq!(last["ociDigest"], digest);
        assert_eq!(last["chartVersion"], format!("{version}+{}", &digest["sha256:".len()..][..12]));
    };
    follows(&world.ready("ui", 1).await, "1.0.0");
    registry.push_chart("charts", &fixture_chart("nodejs"), "2.0.0");
    registry.push_chart("charts", &fixture_chart("nodejs"), "1.1.0");
    follows(&world.ready("ui", 2).await, "1.1.0");

    // The same registry as a HelmRepository: there the version alone makes a release.
    world.apply(&json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository", "metadata": {"name": "registry"},
        "spec": {"url": registry.url("charts"), "type": "oci", "insecure": true},
    }));
    let source = json!({"kind": "HelmRepository", "name": "registry"});
    let template = json!({"chart": "nodejs", "version": "1.x", "interval": "1s", "sourceRef": source});
    world.apply(&world.release("web", &json!({"chart": {"spec": template}})));
    let object = world.ready("web", 1).await;
    assert_eq!(object["status"]["history"][0]["chartVersion"], "1.1.0");
    registry.push_chart("charts", &fixture_chart("nodejs"), "1.2.0");
    let object = world.ready("web", 2).await;
    assert_eq!(object["status"]["history"][0]["chartVersion"], "1.2.0");
}
