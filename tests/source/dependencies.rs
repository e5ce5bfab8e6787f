//! Charts in git that need other charts.

use std::collections::BTreeMap;

use fairlead::api::source::v1::{GitRepository, HelmChart, HelmRepository};
use fairlead_testbench::{ChartServer, GitServer, OciRegistry, fixture_chart, wait_for};
use serde_json::{Value, json};

use crate::scene::{PATIENCE, Scene};

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

/// The folder of a chart whose one object tells its name and its version.
fn leaf() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let templates = folder.path().join("templates");
    std::fs::create_dir(&templates).expect("make a folder");
    std::fs::write(templates.join("map.yaml"), format!("{MAP}data:\n  version: {{{{ .Chart.Version }}}}\n"))
        .expect("write a file");
    std::fs::write(folder.path().join("Chart.yaml"), chart_yaml("leaf", &json!([]))).expect("write a file");
    folder
}

#[tokio::test]
async fn aliases_and_conditions_hold_for_charts_of_registries_and_an_old_lock_is_named() {
    let registry = OciRegistry::start().await;
    let leaf = leaf();
    for version in ["1.0.0", "1.2.0"] {
        registry.push_chart("charts", leaf.path(), version);
    }
    let git = GitServer::start();
    let repository = git.repository("charts");
    let needed = |version: &str, alias: &str| {
        json!({"name": "leaf", "version": version, "repository": registry.url("charts"), "alias": alias,
               "condition": format!("{alias}.enabled")})
    };
    let umbrella = chart_yaml("umbrella", &json!([needed("~1.2", "newest"), needed("1.0.0", "older")]));
    let values = "newest: {enabled: true}\nolder: {enabled: false}\n";
    let files = [("umbrella/Chart.yaml", Some(umbrella.as_str())), ("umbrella/values.yaml", Some(values))];
    repository.commit("A chart twice", &files);
    let scene = Scene::running("aliases", "source,helm").await;
    let source = json!({"url": git.url(&repository), "interval": "1s", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "charts", &source);
    let known = json!({"type": "oci", "url": registry.url("charts"), "insecure": true});
    scene.apply("HelmRepository", "registry", &known);
    let release = |older: bool| {
        let values = json!({"older": {"enabled": older}});
        let spec = json!({"interval": "1m", "chart": {"spec": spec("umbrella")}, "values": values});
        scene.apply_of("helm.toolkit.fluxcd.io/v2", "HelmRelease", "all", &spec);
    };
    let wait = |object: &str, condition: &str| {
        let condition = format!("--for={condition}");
        scene.bench.kubectl(&["wait", &condition, "--timeout=60s", object, "--namespace", &scene.namespace]);
    };
    release(false);
    wait("helmrelease/all", "condition=Ready");
    wait("configmap/all-newest", "jsonpath={.data.version}=1.2.0");
    let get = ["get", "configmap", "all-older", "--namespace", &scene.namespace];
    assert!(scene.bench.try_kubectl(&get).is_err(), "its condition does not hold");
    release(true);
    wait("configmap/all-older", "create");
    wait("configmap/all-older", "jsonpath={.data.version}=1.0.0");

    // A lock of an earlier Chart.yaml: helm would refuse what were packaged by it.
    let lock = json!({"dependencies": []});
    repository.commit("Forget the lock", &[("umbrella/Chart.lock", Some(&lock.to_string()))]);
    let name = format!("{}-all", scene.namespace);
    let words = "Chart.lock is out of date: it does not have 'leaf'; run `helm dependency update`";
    let seen = scene.failed::<HelmChart>(&name, "BuildFailed", words).await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("DependencyBuildError"));
    let healed = repository.commit("No lock", &[("umbrella/Chart.lock", None)]);
    scene.ready_at::<HelmChart>(&name, &format!("1.0.0+{}", &healed[..12])).await;
}

#[tokio::test]
async fn a_chart_is_packaged_the_same_again_with_nothing_left_of_the_first_time() {
    let charts = ChartServer::start();
    charts.publish(&fixture_chart("hooks"), "1.1.0");
    let git = GitServer::start();
    let repository = git.repository("charts");
    let needed = json!([
        {"name": "lib", "version": "*", "repository": "file://../lib"},
        {"name": "hooks", "version": "*", "repository": charts.url()},
    ]);
    let (umbrella, lib) = (chart_yaml("umbrella", &needed), chart_yaml("lib", &json!([])));
    let files = [
        ("umbrella/Chart.yaml", Some(umbrella.as_str())),
        ("umbrella/templates/map.yaml", Some(MAP)),
        ("umbrella/values.yaml", Some("z: 1\na: 2\n")),
        ("umbrella/more.yaml", Some("b: {d: 1, c: 2.50}\n")),
        ("lib/Chart.yaml", Some(&lib)),
        ("lib/templates/map.yaml", Some(MAP)),
    ];
    repository.commit("Charts", &files);
    let mut scene = Scene::start("again").await;
    let source = json!({"url": git.url(&repository), "interval": "10m", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "charts", &source);
    scene.apply("HelmChart", "plain", &spec("umbrella"));
    let mut with_values = spec("umbrella");
    with_values["valuesFiles"] = json!(["umbrella/values.yaml", "umbrella/more.yaml"]);
    scene.apply("HelmChart", "values", &with_values);
    let mut first = BTreeMap::new();
    for name in ["plain", "values"] {
        let artifact = scene.ready::<HelmChart>(name).await.artifact.expect("an artifact");
        first.insert(name, (scene.download(&artifact).await, artifact));
    }
    assert_ne!(first["plain"].1.digest, first["values"].1.digest);

    scene.operator.kill();
    std::fs::remove_dir_all(scene.operator.data_dir()).expect("remove the data directory");
    scene.operator.restart().await;
    for (name, (bytes, artifact)) in &first {
        wait_for(&format!("{name} to be served again"), PATIENCE, || async {
            let answer = reqwest::get(&artifact.url).await.map_err(|error| error.to_string())?;
            if answer.status() == 200 { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await;
        let again = scene.ready::<HelmChart>(name).await.artifact.expect("an artifact");
        assert_eq!((&again.digest, &again.revision), (&artifact.digest, &artifact.revision), "{name}");
        assert!(scene.download(&again).await == *bytes, "{name} is another package");
    }
}
