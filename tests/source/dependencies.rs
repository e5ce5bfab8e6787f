//! Charts in git that need other charts.

use std::collections::BTreeMap;

use fairlead::api::source::v1::{GitRepository, HelmChart, HelmRepository};
use fairlead_testbench::{ChartServer, GitServer, OciRegistry, fixture_chart};
use serde_json::{Value, json};

use crate::scene::Scene;

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-{{ .Chart.Name }}\n";

fn chart_yaml(name: &str, dependencies: &Value) -> String {
    json!({"apiVersion": "v2", "name": name, "version": "1.0.0", "dependencies": dependencies}).to_string()
}

fn spec(path: &str) -> Value {
    json!({"chart": path, "interval": "1m", "sourceRef": {"kind": "GitRepository", "name": "charts"}, "reconcileStrategy": "Revision"})
}

#[tokio::test]
async fn dependencies_are_gathered_from_the_tree_and_from_repositories() {
    let private = ChartServer::builder().basic_auth("robot", "hunter2").start();
    let open = ChartServer::start();
    for server in [&private, &open] {
        for version in ["1.0.0", "1.2.0", "2.0.0"] {
            server.publish(&fixture_chart("nodejs"), version);
        }
    }
    open.publish(&fixture_chart("hooks"), "1.1.0");
    let git = GitServer::start();
    let repository = git.repository("charts");
    let needed = json!([
        {"name": "nodejs", "version": "1.x", "repository": private.url(), "alias": "web"},
        {"name": "lib", "version": "^1.0.0", "repository": "file://../lib"},
    ]);
    let umbrella = chart_yaml("umbrella", &needed);
    let lib = chart_yaml("lib", &json!([{"name": "deep", "version": "*", "repository": "file://../deep"}]));
    let (deep, named) = (
        chart_yaml("deep", &json!([])),
        chart_yaml("named", &json!([{"name": "a", "version": "1", "repository": "@stable"}])),
    );
    let open_to_all =
        chart_yaml("open", &json!([{"name": "hooks", "version": "~1.1", "repository": format!("{}/", open.url())}]));
    let missing = chart_yaml("missing", &json!([{"name": "nodejs", "version": "9.x", "repository": open.url()}]));
    let climbs = chart_yaml("climbs", &json!([{"name": "a", "version": "*", "repository": "file://../../../etc"}]));
    let circle = chart_yaml("circle", &json!([{"name": "circle", "version": "*", "repository": "file://."}]));
    let mut files: Vec<(&str, Option<&str>)> = vec![
        ("umbrella/templates/map.yaml", Some(MAP)),
        ("umbrella/Chart.yaml", Some(&umbrella)),
        ("lib/templates/map.yaml", Some(MAP)),
        ("lib/Chart.yaml", Some(&lib)),
        ("deep/templates/map.yaml", Some(MAP)),
        ("deep/Chart.yaml", Some(&deep)),
        ("open/Chart.yaml", Some(&open_to_all)),
    ];
    let refused = [
        ("named", named.as_str(), "only a helm command line knows"),
        ("missing", &missing, "no 'nodejs' chart with version matching '9.x' found"),
        ("climbs", &climbs, "leads out of the source"),
        ("circle", &circle, "leads back to a chart that needs it"),
    ];
    let paths: BTreeMap<&str, String> =
        refused.iter().map(|(name, ..)| (*name, format!("{name}/Chart.yaml"))).collect();
    files.extend(refused.iter().map(|(name, text, _)| (paths[name].as_str(), Some(*text))));
    repository.commit("Charts with dependencies", &files);

    let scene = Scene::running("dependencies", "source,helm").await;
    let source = json!({"url": git.url(&repository), "interval": "1s", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "charts", &source);
    scene.ready::<GitRepository>("charts").await;
    for (name, _, needle) in refused {
        scene.apply("HelmChart", name, &spec(name));
        let seen = scene.failed::<HelmChart>(name, "BuildFailed", needle).await;
        assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("DependencyBuildError"), "{name}");
    }
    scene.apply("HelmChart", "open", &spec("open"));
    let seen = scene.ready::<HelmChart>("open").await;
    assert!(scene.files(&seen.artifact.unwrap()).await.contains_key("open/charts/hooks-1.1.0.tgz"));

    scene.apply("HelmChart", "umbrella", &spec("umbrella"));
    scene.failed::<HelmChart>("umbrella", "BuildFailed", "answered 401").await;
    scene.secret("login", &json!({"username": "robot", "password": "hunter2"}));
    // The object is found by its URL, whatever it is called.
    let login = json!({"url": format!("{}/", private.url()), "interval": "1m", "secretRef": {"name": "login"}});
    scene.apply("HelmRepository", "anything", &login);
    scene.ready::<HelmRepository>("anything").await;
    let seen = scene.ready::<HelmChart>("umbrella").await;
    let made = scene.files(&seen.artifact.clone().unwrap()).await;
    let charts: Vec<_> = made.keys().filter(|file| file.contains("/charts/")).collect();
    assert_eq!(charts, ["umbrella/charts/lib-1.0.0.tgz", "umbrella/charts/nodejs-1.2.0.tgz"]);
    scene.keeps_secret(&["hunter2"]).await;

    // What helm thinks of it: the alias, and the dependency of the dependency.
    scene.apply_of(
        "helm.toolkit.fluxcd.io/v2",
        "HelmRelease",
        "all",
        &json!({"interval": "1m", "chart": {"spec": spec("umbrella")}}),
    );
    let wait = ["wait", "--for=condition=Ready", "--timeout=60s", "helmrelease/all", "--namespace", &scene.namespace];
    scene.bench.kubectl(&wait);
    let get = ["get", "configmaps,services", "--output=name", "--namespace", &scene.namespace];
    let objects = scene.bench.kubectl(&get);
    for name in ["configmap/all-umbrella", "configmap/all-lib", "configmap/all-deep", "service/"] {
        assert!(objects.contains(name), "{name} is not in {objects}");
    }

    // A lock file holds the older version.
    let lock = json!({"dependencies": [
        {"name": "nodejs", "version": "1.0.0", "repository": private.url()},
        {"name": "lib", "version": "1.0.0", "repository": "file://../lib"},
    ]});
    let second = repository.commit("Lock", &[("umbrella/Chart.lock", Some(&lock.to_string()))]);
    let seen = scene.ready_at::<HelmChart>("umbrella", &format!("1.0.0+{}", &second[..12])).await;
    assert!(scene.files(&seen.artifact.unwrap()).await.contains_key("umbrella/charts/nodejs-1.0.0.tgz"));
}

#[tokio::test]
async fn dependencies_are_pulled_from_registries() {
    let registry = OciRegistry::builder().basic_auth("robot", "hunter2").start().await;
    for version in ["1.0.0", "1.2.0", "2.0.0"] {
        registry.push_chart("charts", &fixture_chart("nodejs"), version);
    }
    let git = GitServer::start();
    let repository = git.repository("charts");
    let needed = json!([{"name": "nodejs", "version": "1.x", "repository": format!("{}/", registry.url("charts"))}]);
    let missing = json!([{"name": "nodejs", "version": "9.x", "repository": registry.url("charts")}]);
    let (umbrella, missing) = (chart_yaml("umbrella", &needed), chart_yaml("missing", &missing));
    let files = [
        ("umbrella/templates/map.yaml", Some(MAP)),
        ("umbrella/Chart.yaml", Some(&umbrella)),
        ("missing/Chart.yaml", Some(&missing)),
    ];
    repository.commit("Charts with dependencies in a registry", &files);
    let scene = Scene::start("ocidependencies").await;
    let source = json!({"url": git.url(&repository), "interval": "1s", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "charts", &source);
    scene.apply("HelmChart", "umbrella", &spec("umbrella"));
    scene.apply("HelmChart", "missing", &spec("missing"));
    // Without an object for it, the registry is asked as one that is open to all, and over HTTPS.
    let needle = "failed to add remote dependency 'nodejs': chart pull error: failed to get chart from the registry: \
                  cannot reach 'https://";
    let seen = scene.failed::<HelmChart>("umbrella", "BuildFailed", needle).await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("DependencyBuildError"));

    scene.secret("login", &json!({"username": "robot", "password": "hunter2"}));
    let known = json!({"type": "oci", "url": registry.url("charts"), "insecure": true, "secretRef": {"name": "login"}});
    scene.apply("HelmRepository", "anything", &known);
    let seen = scene.ready::<HelmChart>("umbrella").await;
    assert!(scene.files(&seen.artifact.unwrap()).await.contains_key("umbrella/charts/nodejs-1.2.0.tgz"));
    scene.failed::<HelmChart>("missing", "BuildFailed", "no match found for semver: 9.x").await;

    // A lock file holds the older version.
    let lock = json!({"dependencies": [{"name": "nodejs", "version": "1.0.0", "repository": registry.url("charts")}]});
    let second = repository.commit("Lock", &[("umbrella/Chart.lock", Some(&lock.to_string()))]);
    let seen = scene.ready_at::<HelmChart>("umbrella", &format!("1.0.0+{}", &second[..12])).await;
    assert!(scene.files(&seen.artifact.unwrap()).await.contains_key("umbrella/charts/nodejs-1.0.0.tgz"));
    scene.keeps_secret(&["hunter2"]).await;
}
