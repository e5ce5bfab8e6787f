//! `HelmRepository` and `HelmChart`.

use std::fmt::Write as _;

use fairlead::api::source::v1::{Bucket, GitRepository, HelmChart, HelmRepository};
use fairlead_testbench::{Behaviour, ChartServer, GitServer, S3Server, chart_files, daemon, fixture_chart, wait_for};
use serde_json::{Value, json};

use crate::scene::{PATIENCE, Scene};

fn chart(repository: &str, version: &str) -> Value {
    json!({"chart": "nodejs", "version": version, "interval": "1m", "sourceRef": {"kind": "HelmRepository", "name": repository}})
}

#[tokio::test]
async fn a_version_in_range_is_pulled_and_a_newer_one_followed() {
    let server = ChartServer::start();
    let nodejs = fixture_chart("nodejs");
    server.publish(&nodejs, "1.0.0");
    server.publish(&nodejs, "1.2.0");
    server.publish(&nodejs, "2.0.0");
    let scene = Scene::start("helmrepo").await;
    scene.apply("HelmRepository", "charts", &json!({"url": server.url(), "interval": "1s"}));
    let seen = scene.ready::<HelmRepository>("charts").await;
    let artifact = seen.artifact.clone().unwrap();
    assert!(artifact.revision.starts_with("sha256:"), "{artifact:?}");
    let message = format!("stored artifact: revision '{}'", artifact.revision);
    assert_eq!(seen.condition("ArtifactInStorage"), Some(("True", "Succeeded", message.as_str())));
    let index: Value = serde_json::from_slice(&scene.download(&artifact).await).unwrap();
    assert_eq!(index["entries"]["nodejs"].as_array().unwrap().len(), 3);
    scene.event("charts", "NewArtifact").await;

    scene.apply("HelmChart", "one", &chart("charts", "1.x"));
    let seen = scene.ready_at::<HelmChart>("one", "1.2.0").await;
    let pulled = "pulled 'nodejs' chart with version '1.2.0'";
    assert_eq!(seen.condition("Ready"), Some(("True", "ChartPullSucceeded", pulled)));
    assert_eq!(seen.status["observedChartName"], "nodejs");
    assert_eq!(seen.status["observedSourceArtifactRevision"], artifact.revision.as_str());
    assert!(scene.files(&seen.artifact.unwrap()).await.contains_key("nodejs/Chart.yaml"));
    server.publish(&nodejs, "1.3.0");
    scene.ready_at::<HelmChart>("one", "1.3.0").await;
}

#[tokio::test]
async fn an_index_that_did_not_change_is_not_sent_again() {
    let server = ChartServer::start();
    let nodejs = fixture_chart("nodejs");
    server.publish(&nodejs, "1.0.0");
    let scene = Scene::start("etag").await;
    scene.apply("HelmRepository", "charts", &json!({"url": server.url(), "interval": "1s"}));
    let first = scene.ready::<HelmRepository>("charts").await;
    let polls = || server.requests().iter().filter(|request| *request == "GET /index.yaml").count();
    let more = |number: usize| {
        let wanted = polls() + number;
        wait_for("more polls", PATIENCE, move || async move {
            let now = polls();
            if now >= wanted { Ok(()) } else { Err(format!("{now} of {wanted}")) }
        })
    };
    more(3).await;
    assert_eq!(server.sent("index.yaml"), 1, "{:?}", server.requests());
    assert_eq!(scene.see::<HelmRepository>("charts").await.artifact, first.artifact);

    server.publish(&nodejs, "1.1.0");
    scene.apply("HelmChart", "one", &chart("charts", "*"));
    scene.ready_at::<HelmChart>("one", "1.1.0").await;
    more(2).await;
    assert_eq!(server.sent("index.yaml"), 2, "{:?}", server.requests());
}

#[tokio::test]
async fn another_server_s_index_is_not_taken_for_the_one_that_is_stored() {
    let (old, new) = (ChartServer::builder().dated().start(), ChartServer::builder().dated().start());
    old.publish(&fixture_chart("nodejs"), "1.0.0");
    new.publish(&fixture_chart("nodejs"), "2.0.0");
    let scene = Scene::start("moved").await;
    let spec = |server: &ChartServer| json!({"url": server.url(), "interval": "1s"});
    scene.apply("HelmRepository", "charts", &spec(&old));
    let first = scene.ready::<HelmRepository>("charts").await;
    let polls = || old.requests().len();
    wait_for("two more polls", PATIENCE, || async { (polls() >= 3).then_some(()).ok_or_else(|| polls().to_string()) })
        .await;
    assert_eq!(old.sent("index.yaml"), 1, "{:?}", old.requests());
    scene.apply("HelmRepository", "charts", &spec(&new));
    let second = scene.ready::<HelmRepository>("charts").await;
    assert_ne!(first.revision(), second.revision());
    let index: Value = serde_json::from_slice(&scene.download(&second.artifact.unwrap()).await).unwrap();
    assert_eq!(index["entries"]["nodejs"][0]["version"], "2.0.0");
}

#[tokio::test]
async fn what_a_repository_lacks_or_falsifies_is_named_and_heals() {
    let server = ChartServer::start();
    let nodejs = fixture_chart("nodejs");
    server.publish(&nodejs, "1.0.0");
    let scene = Scene::start("badcharts").await;
    scene.apply("HelmRepository", "charts", &json!({"url": server.url(), "interval": "1s"}));
    scene.ready::<HelmRepository>("charts").await;
    scene.apply("HelmChart", "missing", &chart("charts", "9.*"));
    let words = "no 'nodejs' chart with version matching '9.*' found";
    let seen = scene.failed::<HelmChart>("missing", "Stalled", words).await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("InvalidChartReference"));
    scene.apply("HelmChart", "orphan", &chart("nowhere", "*"));
    scene.failed::<HelmChart>("orphan", "FetchFailed", "HelmRepository").await;
    server.publish(&nodejs, "9.1.0");
    scene.ready_at::<HelmChart>("missing", "9.1.0").await;

    server.replace("nodejs-1.0.0.tgz", b"not what the index promises");
    scene.apply("HelmChart", "false", &chart("charts", "1.0.0"));
    let seen = scene.failed::<HelmChart>("false", "FetchFailed", "the index says").await;
    assert_eq!(seen.condition("FetchFailed").map(|(_, reason, _)| reason), Some("ChartPullError"));

    let before = scene.see::<HelmRepository>("charts").await;
    server.replace("index.yaml", b"<html>a login page</html>");
    let seen = scene.failed::<HelmRepository>("charts", "FetchFailed", "index.yaml").await;
    assert_eq!(seen.artifact, before.artifact);
    server.behave(Behaviour::Refuse);
    scene.failed::<HelmRepository>("charts", "FetchFailed", "503").await;
    server.behave(Behaviour::Serve);
    server.publish(&nodejs, "9.2.0");
    scene.ready::<HelmRepository>("charts").await;
}

#[tokio::test]
async fn a_private_repository_wants_its_secrets() {
    let server = ChartServer::builder().basic_auth("robot", "hunter2-correct").tls().start();
    server.publish(&fixture_chart("nodejs"), "1.0.0");
    let scene = Scene::start("private").await;
    scene.secret("login", &json!({"username": "robot", "password": "hunter2-wrong"}));
    scene.secret("authority", &json!({"ca.crt": server.authority()}));
    let spec = json!({
        "url": server.url(), "interval": "1m",
        "secretRef": {"name": "login"}, "certSecretRef": {"name": "authority"},
    });
    scene.apply("HelmRepository", "charts", &spec);
    let seen = scene.failed::<HelmRepository>("charts", "FetchFailed", "answered 401").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("AuthenticationFailed"));
    scene.secret("login", &json!({"username": "robot", "password": "hunter2-correct"}));
    scene.ready::<HelmRepository>("charts").await;
    scene.apply("HelmChart", "one", &chart("charts", "*"));
    scene.ready_at::<HelmChart>("one", "1.0.0").await;
    scene.keeps_secret(&["hunter2"]).await;
}

#[tokio::test]
async fn a_repository_may_ask_for_a_client_s_certificate() {
    let server = ChartServer::builder().mutual_tls().start();
    server.publish(&fixture_chart("nodejs"), "1.0.0");
    let client = server.client();
    let scene = Scene::start("mutual").await;
    scene.secret("tls", &json!({"ca.crt": server.authority()}));
    scene.apply(
        "HelmRepository",
        "charts",
        &json!({"url": server.url(), "interval": "1m", "certSecretRef": {"name": "tls"}}),
    );
    scene.failed::<HelmRepository>("charts", "FetchFailed", "cannot download").await;
    let whole = json!({"ca.crt": server.authority(), "tls.crt": client.certificate, "tls.key": client.key});
    scene.secret("tls", &whole);
    scene.ready::<HelmRepository>("charts").await;
    scene.apply("HelmChart", "one", &chart("charts", "*"));
    scene.ready_at::<HelmChart>("one", "1.0.0").await;
    let line = client.key.lines().nth(1).expect("a key");
    scene.keeps_secret(&[line]).await;
}

#[tokio::test]
async fn a_login_goes_to_another_host_only_when_that_is_asked_for() {
    let front = ChartServer::builder().basic_auth("robot", "hunter2-front").start();
    let files = ChartServer::builder().basic_auth("robot", "hunter2-front").start();
    files.publish(&fixture_chart("nodejs"), "1.0.0");
    let index = format!(
        "apiVersion: v1\nentries:\n  nodejs:\n  - name: nodejs\n    version: 1.0.0\n    urls: [{}/nodejs-1.0.0.tgz]\n",
        files.url(),
    );
    front.replace("index.yaml", index.as_bytes());
    let scene = Scene::start("elsewhere").await;
    scene.secret("login", &json!({"username": "robot", "password": "hunter2-front"}));
    let mut spec = json!({"url": front.url(), "interval": "1m", "secretRef": {"name": "login"}});
    scene.apply("HelmRepository", "charts", &spec);
    scene.ready::<HelmRepository>("charts").await;
    scene.apply("HelmChart", "one", &chart("charts", "*"));
    scene.failed::<HelmChart>("one", "FetchFailed", "answered 401").await;
    spec["passCredentials"] = json!(true);
    scene.apply("HelmRepository", "charts", &spec);
    scene.ready_at::<HelmChart>("one", "1.0.0").await;
    scene.keeps_secret(&["hunter2"]).await;
}

/// An index of 25 MB as helm writes it: 250 charts of 100 versions each, then `nodejs`.
fn large_index() -> String {
    let mut index = String::from("apiVersion: v1\nentries:\n");
    let words = "a word and another one, ".repeat(38);
    for chart in 0..250 {
        let _ = writeln!(index, "  chart-{chart:03}:");
        for version in 0..100 {
            let _ = writeln!(
                index,
                "  - apiVersion: v2\n    created: \"2026-01-01T00:00:00Z\"\n    description: {words}\n    name: \
                 chart-{chart:03}\n    urls:\n    - chart-{chart:03}-1.{version}.0.tgz\n    version: 1.{version}.0"
            );
        }
    }
    index
        + "  nodejs:\n  - name: nodejs\n    version: \"2.0.0\n  - name: nodejs\n    urls: [nodejs-1.0.0.tgz]\n    \
             version: 1.0.0\ngenerated: \"2026-01-01T00:00:00Z\"\n"
}

#[tokio::test]
async fn an_index_of_25_megabytes_takes_little_memory_and_one_bad_entry_costs_itself() {
    let server = ChartServer::start();
    server.publish(&fixture_chart("nodejs"), "1.0.0");
    let scene = Scene::start("large").await;
    scene.apply("HelmRepository", "small", &json!({"url": server.url(), "interval": "10m"}));
    scene.apply("HelmChart", "small", &chart("small", "*"));
    scene.ready_at::<HelmChart>("small", "1.0.0").await;
    let index = large_index();
    assert!(index.len() > 25_000_000, "{}", index.len());
    server.replace("index.yaml", index.as_bytes());
    let (pid, rest) = (scene.operator.pid(), scene.operator.rss());
    daemon::forget_peak(pid);
    let started = std::time::Instant::now();
    scene.apply("HelmRepository", "large", &json!({"url": server.url(), "interval": "10m"}));
    let seen = scene.ready::<HelmRepository>("large").await;
    assert_eq!(seen.artifact.expect("an artifact").size, i64::try_from(index.len()).ok());
    scene.apply("HelmChart", "large", &chart("large", "*"));
    scene.ready_at::<HelmChart>("large", "1.0.0").await;
    let more = daemon::peak(pid).expect("it runs").saturating_sub(rest) / 1024;
    eprintln!("an index of {} bytes: {more} KiB more than at rest, {:?}", index.len(), started.elapsed());
    assert!(more < 10 * 1024, "{more} KiB more than at rest");
    scene.apply("HelmChart", "bad", &chart("large", "2.0.0"));
    scene.failed::<HelmChart>("bad", "Stalled", "1 of its entries is not valid: line ").await;
    assert!(scene.operator.log().contains("1 of its entries is not valid: line "));
}

#[tokio::test]
async fn a_chart_in_git_follows_its_commits() {
    let git = GitServer::start();
    let charts = git.repository("charts");
    let files: Vec<(String, String)> = chart_files(&fixture_chart("nodejs"))
        .into_iter()
        .map(|(path, text)| (format!("charts/nodejs/{path}"), text))
        .collect();
    let changes: Vec<(&str, Option<&str>)> =
        files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let first = charts.commit("Add the chart", &changes);
    let scene = Scene::start("gitchart").await;
    scene.apply(
        "GitRepository",
        "charts",
        &json!({"url": git.url(&charts), "interval": "1s", "ref": {"branch": "main"}}),
    );
    let source = json!({"kind": "GitRepository", "name": "charts"});
    let spec = |path: &str, strategy: &str| json!({"chart": path, "interval": "1m", "sourceRef": source, "reconcileStrategy": strategy});
    scene.apply("HelmChart", "revision", &spec("charts/nodejs/", "Revision"));
    scene.apply("HelmChart", "version", &spec("./charts/nodejs", "ChartVersion"));
    scene.apply("HelmChart", "missing", &spec("chart-infra/", "Revision"));
    let version = scene.ready::<HelmChart>("version").await;
    let base = version.revision().to_owned();
    let seen = scene.ready_at::<HelmChart>("revision", &format!("{base}+{}", &first[..12])).await;
    let packaged = format!("packaged 'nodejs' chart with version '{base}+{}'", &first[..12]);
    assert_eq!(seen.condition("Ready"), Some(("True", "ChartPackageSucceeded", packaged.as_str())));
    let package = scene.files(&seen.artifact.unwrap()).await;
    assert!(package["nodejs/Chart.yaml"].contains(&format!("{base}+{}", &first[..12])));
    scene.failed::<HelmChart>("missing", "Stalled", "no chart found at path 'chart-infra/'").await;

    let moved: Vec<(String, &str)> =
        files.iter().map(|(path, text)| (path.replace("charts/nodejs", "chart-infra"), text.as_str())).collect();
    let changes: Vec<(&str, Option<&str>)> = moved.iter().map(|(path, text)| (path.as_str(), Some(*text))).collect();
    let second = charts.commit("Add another", &changes);
    for name in ["revision", "missing"] {
        scene.ready_at::<HelmChart>(name, &format!("{base}+{}", &second[..12])).await;
    }
    scene.ready_at::<GitRepository>("charts", &format!("main@sha1:{second}")).await;
    assert_eq!(scene.see::<HelmChart>("version").await.artifact, version.artifact);
}

/// Values files beside those of the chart.
const MORE_VALUES: [(&str, &str); 2] = [
    ("eu.yaml", "replicas: 2\nimage: {tag: eu, pullPolicy: Always}\nlist: [1, 2]\n"),
    ("large.yaml", "replicas: 3\nimage: {tag: large}\nlist: [3]\n"),
];

/// Waits until a chart's package has these values, and was made of these files.
async fn has_values(scene: &Scene, name: &str, spec: &Value, wanted: &Value, observed: &Value) -> String {
    scene.apply("HelmChart", name, spec);
    let seen = scene.ready::<HelmChart>(name).await;
    let generation = seen.generation.expect("a generation");
    let revision = seen.revision().to_owned();
    assert!(revision.ends_with(&format!("+{generation}")), "{name}: {revision}");
    let found = seen.status.get("observedValuesFiles").cloned().unwrap_or(Value::Null);
    assert_eq!(found, *observed, "{name}");
    let files = scene.files(&seen.artifact.expect("an artifact")).await;
    let values: Value = serde_saphyr::from_str(&files["nodejs/values.yaml"]).expect("YAML");
    for (pointer, value) in wanted.as_object().expect("wanted values") {
        assert_eq!(values.pointer(pointer).unwrap_or(&Value::Null), value, "{name}: {pointer} of {values}");
    }
    seen.conditions.iter().find(|found| found.type_ == "Ready").expect("it is ready").message.clone()
}

#[tokio::test]
async fn values_files_are_merged_in_their_order_from_any_source() {
    let mut files = chart_files(&fixture_chart("nodejs"));
    files.extend(MORE_VALUES.map(|(path, text)| (path.to_owned(), text.to_owned())));
    let (git, store, server) = (GitServer::start(), S3Server::start(), ChartServer::start());
    let charts = git.repository("charts");
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in &files {
        store.put(&format!("charts/nodejs/{path}"), text);
        let file = folder.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("make a folder");
        std::fs::write(file, text).expect("write a file");
    }
    let paths: Vec<_> = files.iter().map(|(path, text)| (format!("charts/nodejs/{path}"), text)).collect();
    let changes: Vec<_> = paths.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    charts.commit("Add the chart", &changes);
    server.publish(folder.path(), "1.0.0");

    let scene = Scene::start("values").await;
    let reference = json!({"branch": "main"});
    scene.apply("GitRepository", "charts", &json!({"url": git.url(&charts), "interval": "1h", "ref": reference}));
    scene.apply("HelmRepository", "charts", &json!({"url": server.url(), "interval": "1h"}));
    let bucket = json!({
        "endpoint": store.endpoint(), "bucketName": store.bucket(), "insecure": true, "interval": "1h",
    });
    scene.apply("Bucket", "charts", &bucket);
    scene.ready::<GitRepository>("charts").await;
    scene.ready::<HelmRepository>("charts").await;
    scene.ready::<Bucket>("charts").await;
    for (kind, chart, place) in [
        // In a tree, files are named from its root; in a package, from the chart.
        ("GitRepository", "charts/nodejs", "charts/nodejs/"),
        ("Bucket", "./charts/nodejs", "./charts/nodejs/"),
        ("HelmRepository", "nodejs", ""),
    ] {
        let name = kind.to_lowercase();
        let spec = |files: &[&str], ignore: bool| {
            let files: Vec<_> = files.iter().map(|file| format!("{place}{file}")).collect();
            json!({"chart": chart, "interval": "1h", "sourceRef": {"kind": kind, "name": "charts"},
                   "valuesFiles": files, "ignoreMissingValuesFiles": ignore})
        };
        let wanted = json!({
            "/replicas": 3, "/image/tag": "large", "/image/pullPolicy": "Always", "/list": [3],
            "/image/repository": "app", "/port": 3000,
        });
        let all = spec(&["values.yaml", "eu.yaml", "large.yaml"], false);
        let message = has_values(&scene, &name, &all, &wanted, &Value::Null).await;
        let merged = format!("and merged values files [{place}values.yaml {place}eu.yaml {place}large.yaml]");
        assert!(message.contains(&merged), "{kind}: {message}");

        // Another order, without the defaults of the chart.
        let wanted = json!({
            "/replicas": 2, "/image/tag": "eu", "/list": [1, 2], "/image/repository": null, "/port": null,
        });
        has_values(&scene, &name, &spec(&["large.yaml", "eu.yaml"], false), &wanted, &Value::Null).await;

        // One that is missing is an error, unless that is allowed.
        let missing = ["values.yaml", "missing.yaml", "eu.yaml"];
        scene.apply("HelmChart", &name, &spec(&missing, false));
        let words = format!("no values file found at path '{place}missing.yaml'");
        let seen = scene.failed::<HelmChart>(&name, "BuildFailed", &words).await;
        assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("ValuesFilesError"), "{kind}");
        let wanted = json!({"/replicas": 2, "/image/tag": "eu", "/image/repository": "app"});
        let observed = json!([format!("{place}values.yaml"), format!("{place}eu.yaml")]);
        has_values(&scene, &name, &spec(&missing, true), &wanted, &observed).await;
    }
}
