//! `HelmRepository` of the type `oci`, and charts from it.

use fairlead::api::source::v1::{HelmChart, HelmRepository};
use fairlead_testbench::{OciRegistry, fixture_chart, package};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::scene::Scene;

const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

fn chart(version: &str, interval: &str) -> Value {
    let source = json!({"kind": "HelmRepository", "name": "charts"});
    json!({"chart": "nodejs", "version": version, "interval": interval, "sourceRef": source})
}

#[tokio::test]
async fn the_tags_of_a_registry_are_the_versions_of_a_chart() {
    let registry = OciRegistry::start().await;
    let nodejs = fixture_chart("nodejs");
    for version in ["1.0.0", "1.2.0+build.5", "2.0.0"] {
        registry.push_chart("charts", &nodejs, version);
    }
    let scene = Scene::start("ocicharts").await;
    let spec = |url: &str| json!({"type": "oci", "url": url, "insecure": true});
    scene.apply("HelmRepository", "charts", &spec(&registry.url("charts")));
    scene.apply("HelmChart", "range", &chart("1.x", "1s"));
    scene.apply("HelmChart", "exact", &chart("2.0.0", "1m"));
    scene.apply("HelmChart", "none", &chart("3.x", "1s"));
    scene.apply("HelmChart", "missing", &chart("3.0.0", "1s"));
    let seen = scene.ready_at::<HelmChart>("range", "1.2.0+build.5").await;
    let pulled = "pulled 'nodejs' chart with version '1.2.0+build.5'";
    assert_eq!(seen.condition("Ready"), Some(("True", "ChartPullSucceeded", pulled)));
    assert_eq!(seen.status["observedChartName"], "nodejs");
    assert_eq!(seen.status["observedSourceArtifactRevision"], Value::Null);
    assert!(scene.files(&seen.artifact.unwrap()).await.contains_key("nodejs/Chart.yaml"));
    scene.event("range", "ChartPullSucceeded").await;
    scene.ready_at::<HelmChart>("exact", "2.0.0").await;
    let seen = scene.failed::<HelmChart>("none", "FetchFailed", "no match found for semver: 3.x").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("InvalidChartReference"));
    let seen = scene.failed::<HelmChart>("missing", "FetchFailed", "charts/nodejs:3.0.0' not found").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("ChartPullError"));
    registry.push_chart("charts", &nodejs, "1.3.0");
    registry.push_chart("charts", &nodejs, "3.0.0");
    scene.ready_at::<HelmChart>("range", "1.3.0").await;
    scene.ready_at::<HelmChart>("none", "3.0.0").await;
    scene.ready_at::<HelmChart>("missing", "3.0.0").await;

    // A package under a false tag is refused; the repository itself has nothing to tell.
    let (_, bytes) = package(&nodejs, "1.0.0");
    registry.push("charts/nodejs", "4.0.0", &[(CHART_LAYER, bytes)], &[]).await;
    scene.apply("HelmChart", "false", &chart("4.0.0", "1m"));
    let words = "the downloaded package is 'nodejs' 1.0.0, its tag promises 'nodejs' 4.0.0";
    scene.failed::<HelmChart>("false", "FetchFailed", words).await;
    let repository = scene.api::<HelmRepository>().get("charts").await.unwrap();
    assert!(repository.finalizers().is_empty());
    assert_eq!(repository.status.unwrap_or_default().conditions, []);
    scene.apply("HelmRepository", "tagged", &spec(&format!("{}:1.0.0", registry.url("charts"))));
    let seen = scene.failed::<HelmRepository>("tagged", "Stalled", "remove ':1.0.0'").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("URLInvalid"));
    scene.apply("HelmRepository", "tagged", &spec(&registry.url("charts")));
    scene.until::<HelmRepository>("tagged", "says nothing", |seen| seen.conditions.is_empty()).await;
}

#[tokio::test]
async fn charts_of_a_private_registry_want_its_secrets() {
    let registry = OciRegistry::builder().basic_auth("robot", "hunter2-correct").tls().start().await;
    registry.push_chart("charts", &fixture_chart("nodejs"), "1.0.0");
    let scene = Scene::start("ociprivchart").await;
    scene.secret("login", &json!({"username": "robot", "password": "hunter2-wrong"}));
    scene.secret("authority", &json!({"ca.crt": registry.authority().certificate()}));
    let spec = json!({
        "type": "oci", "url": registry.url("charts"),
        "secretRef": {"name": "login"}, "certSecretRef": {"name": "authority"},
    });
    scene.apply("HelmRepository", "charts", &spec);
    scene.apply("HelmChart", "one", &chart("*", "1h"));
    let seen = scene.failed::<HelmChart>("one", "FetchFailed", "answered 401").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("AuthenticationFailed"));
    let auths = json!({"auths": {registry.host(): {"username": "robot", "password": "hunter2-correct"}}});
    scene.secret("login", &json!({".dockerconfigjson": auths.to_string()}));
    scene.ready_at::<HelmChart>("one", "1.0.0").await;
    scene.keeps_secret(&["hunter2"]).await;
}
