//! Traces: one per change, as an OpenTelemetry collector gets them.

use std::collections::{BTreeSet, HashSet};
use std::process::Command;
use std::time::Duration;

use fairlead::source::digest::sha256;
use fairlead_testbench::otlp_collector::Span;
use fairlead_testbench::{Behaviour, FaultProxy, Line, OtlpCollector, wait_for};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World};

/// A change's trace, once its root is there.
async fn trace_of(collector: &OtlpCollector, revision: &str) -> Vec<Span> {
    root_where(collector, &format!("the change {revision}"), |span| {
        span.name == "change" && span.text("fairlead.revision") == revision
    })
    .await
}

/// The spans of the trace whose root is such a one, once that is there.
async fn root_where(collector: &OtlpCollector, what: &str, fits: impl Fn(&Span) -> bool) -> Vec<Span> {
    wait_for(&format!("{what} at the collector"), PATIENCE, || async {
        let spans = collector.spans();
        match spans.iter().find(|span| span.parent.is_empty() && fits(span)).map(|root| root.trace.clone()) {
            Some(trace) => Ok(spans.into_iter().filter(|span| span.trace == trace).collect()),
            None => Err(format!("{:#?}", spans.iter().map(|span| (&span.name, &span.attributes)).collect::<Vec<_>>())),
        }
    })
    .await
}

fn parent<'s>(spans: &'s [Span], of: &Span) -> Option<&'s Span> {
    spans.iter().find(|span| span.id == of.parent)
}

/// Where a span is in its tree, by names.
fn path(spans: &[Span], span: &Span) -> String {
    let own = match span.text("fairlead.release.name") {
        "" => span.name.clone(),
        name => format!("{} {name}", span.name),
    };
    assert!(span.parent.is_empty() || parent(spans, span).is_some(), "{span:?} has lost its parent");
    parent(spans, span).map(|parent| format!("{} / {own}", path(spans, parent))).unwrap_or(own)
}

fn paths(spans: &[Span]) -> Vec<String> {
    let mut paths: Vec<_> = spans.iter().map(|span| path(spans, span)).collect();
    paths.sort();
    paths
}

fn named<'s>(spans: &'s [Span], name: &str, of: &str) -> &'s Span {
    let fits = |span: &&Span| span.name == name && span.text("fairlead.release.name") == of;
    spans.iter().find(fits).unwrap_or_else(|| panic!("no {name} {of} in {spans:#?}"))
}

/// The identity of a change, as anybody can compute it.
fn identity(world: &World, revision: &str) -> String {
    let uid = world.get("gitrepository", "releases")["metadata"]["uid"].as_str().expect("a uid").to_owned();
    sha256(format!("{uid}{revision}").as_bytes())[..32].to_owned()
}

/// Each span lies within its parent, and the stages come one after the other.
fn assert_in_order(spans: &[Span]) {
    for span in spans {
        assert!(span.start <= span.end, "{span:?}");
        if let Some(parent) = parent(spans, span) {
            assert!(parent.start <= span.start && span.end <= parent.end, "{span:#?} is not within {parent:#?}");
        }
    }
    let [fetch, apply] = ["fetch", "apply"].map(|name| named(spans, name, ""));
    assert!(fetch.end <= apply.start, "{fetch:?} {apply:?}");
    for release in spans.iter().filter(|span| span.name == "release") {
        assert!(apply.start <= release.start, "{apply:?} {release:?}");
    }
}

#[tokio::test]
async fn a_commit_is_one_trace_until_each_release_that_it_changed_is_ready_or_failed() {
    const CANARY: &str = "canary-0c41d7fe";
    const KEY: &str = "canary-of-the-key-93be";
    let collector = OtlpCollector::start();
    let mut world = World::with("traces", &json!({"port": 3001}), |operator| {
        let headers = format!("x-scope=a%2Cb,api-key={KEY}");
        operator.args(["--otlp-endpoint", collector.url()]).env("OTEL_EXPORTER_OTLP_HEADERS", headers)
    })
    .await;
    world.ready("True").await;
    let first = root_where(&collector, "the first change", |span| span.name == "change").await;
    let expected = [
        "change",
        "change / apply",
        "change / fetch",
        "change / release ui",
        "change / release ui / helm install ui",
        "change / release ui / wait ui",
    ];
    assert_eq!(paths(&first), expected);

    world.bench.apply(
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "account", "namespace": world.namespace},
            "stringData": {"port": format!("{CANARY}_is_no_port"), "values.yaml": format!("env: {{TOKEN: {CANARY}}}")}})
        .to_string(),
    );
    let mut ui = world.release("ui", "30s", &json!({"port": 3002}));
    ui["spec"]["valuesFrom"] = json!([{"kind": "Secret", "name": "account"}]);
    let mut api = world.release("api", "30s", &json!({}));
    // A rejection quotes the value.
    api["spec"]["valuesFrom"] =
        json!([{"kind": "Secret", "name": "account", "valuesKey": "port", "targetPath": "port"}]);
    let revision = world.commit_all(&[ui, api]);
    let spans = trace_of(&collector, &revision).await;
    let expected = [
        "change",
        "change / apply",
        "change / fetch",
        "change / release api",
        "change / release api / helm install api",
        "change / release ui",
        "change / release ui / helm upgrade ui",
        "change / release ui / wait ui",
    ];
    assert_eq!(paths(&spans), expected);
    assert_in_order(&spans);
    let ids: HashSet<_> = spans.iter().map(|span| &span.id).collect();
    assert_eq!((ids.len(), spans[0].trace.as_str()), (spans.len(), identity(&world, &revision).as_str()));

    let failed: BTreeSet<_> = spans.iter().filter(|span| span.error.is_some()).map(|span| path(&spans, span)).collect();
    let expected = ["change", "change / release api", "change / release api / helm install api"];
    assert_eq!(failed, expected.map(str::to_owned).into());
    let ready = world.get("helmrelease", "api")["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = ready.iter().find(|condition| condition["type"] == "Ready").cloned().expect("a condition");
    let release = named(&spans, "release", "api");
    assert_eq!((release.text("error.type"), release.error.as_deref()), ("InstallFailed", ready["message"].as_str()));
    assert!(release.error.as_ref().is_some_and(|message| message.contains("*****")), "{release:?}");

    let root = named(&spans, "change", "");
    let commit = revision.split_once("@sha1:").expect("a revision").1;
    for (key, expected) in [
        ("vcs.ref.head.revision", json!(commit)),
        ("vcs.ref.head.name", json!("main")),
        ("k8s.namespace.name", json!(world.namespace)),
        ("fairlead.source.name", json!("releases")),
        ("fairlead.releases.ready", json!(1)),
        ("fairlead.releases.failed", json!(1)),
    ] {
        assert_eq!(root.attributes.get(key), Some(&expected), "{key}: {root:#?}");
    }
    assert!(root.text("vcs.repository.url.full").starts_with("http://127.0.0.1"), "{root:#?}");
    let apply = named(&spans, "apply", "");
    assert_eq!(
        (&apply.attributes["fairlead.objects.changed"], &apply.attributes["fairlead.objects.failed"]),
        (&json!(2), &json!(0))
    );
    let upgrade = named(&spans, "helm upgrade", "ui");
    assert_eq!(
        (upgrade.text("fairlead.chart.version"), &upgrade.attributes["fairlead.helm.revision"]),
        ("1.0.0", &json!(2))
    );
    assert!(upgrade.text("fairlead.helm.version").starts_with("v4."), "{upgrade:#?}");
    assert_eq!(
        (&root.resource["service.name"], root.resource["service.instance.id"].is_string()),
        (&json!("fairlead"), true)
    );
    let traces = || collector.spans().into_iter().map(|span| span.trace).collect::<BTreeSet<_>>();
    assert_eq!(traces().len(), 2, "a trace for each commit, and no other");

    let before = world.sample(&["fairlead_commit_to_ready_seconds_count"], |_| true).await;
    let revision = world.commit_all(&[world.release("api", "30s", &json!({"port": 3004}))]);
    world.sample(&["fairlead_commit_to_ready_seconds_count"], |count| count > before).await;
    // What is told last is sent before the operator ends.
    assert_eq!(world.operator.terminate(Duration::from_secs(20)), 0);
    let third: Vec<_> =
        collector.spans().into_iter().filter(|span| span.trace == identity(&world, &revision)).collect();
    assert!(paths(&third).iter().any(|path| path == "change / release api"), "{third:#?}");
    assert!(third.iter().all(|span| span.error.is_none()), "{third:#?}");
    assert_eq!(traces().len(), 3);

    for request in collector.requests() {
        assert_eq!((request.header("api-key"), request.header("x-scope")), (KEY, "a,b"));
        let body = String::from_utf8_lossy(&request.body).into_owned();
        assert!(!body.contains(CANARY) && !body.contains(KEY), "a secret is in a request: {body}");
    }
    assert!(!world.operator.log().contains(KEY) && !world.operator.log().contains(CANARY), "a secret is in the log");
}

#[tokio::test]
async fn what_happens_while_the_collector_is_away_is_told_when_it_is_back() {
    let collector = OtlpCollector::start();
    let line = FaultProxy::to(collector.url().trim_start_matches("http://"));
    line.behave(Line::Cut);
    let address = format!("http://{}", line.address());
    let mut world = World::with_args("away", &json!({"port": 3001}), &["--otlp-endpoint", &address]).await;
    world.ready("True").await;
    let told = |words: &str| {
        let lines = world.operator.log_lines();
        lines.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.contains(words))).count()
    };
    wait_for("a line about the collector", PATIENCE, || async {
        if told("their collector is not reached") > 0 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    collector.webhooks().behave(Behaviour::Refuse);
    line.behave(Line::Works);
    wait_for("the collector to be asked again", PATIENCE, || async {
        let count = collector.webhooks().count();
        if count > 0 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
    collector.webhooks().behave(Behaviour::Serve);
    let spans = root_where(&collector, "the first change", |span| span.name == "change").await;
    assert_eq!(paths(&spans).len(), 6, "{spans:#?}");
    assert_in_order(&spans);
    world.sample(&["fairlead_spans_total{outcome=\"sent\"}"], |sent| sent >= 6.0).await;
    wait_for("a line about its return", PATIENCE, || async {
        if told("reach their collector again") > 0 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    assert_eq!((told("their collector is not reached"), told("reach their collector again")), (1, 1));

    // A new chart is no change of the folder.
    world.charts.publish(&fairlead_testbench::fixture_chart("nodejs"), "1.1.0");
    let own = root_where(&collector, "a trace of the release", |span| span.name == "release").await;
    assert_eq!(paths(&own), ["release ui", "release ui / helm upgrade ui", "release ui / wait ui"]);
    assert_eq!(named(&own, "release", "ui").text("fairlead.chart.version"), "1.1.0");
    assert_ne!(own[0].trace, spans[0].trace);

    // One that never answers is not waited for.
    collector.webhooks().behave(Behaviour::Hang);
    let before = world.sample(&["fairlead_commit_to_ready_seconds_count"], |_| true).await;
    world.commit(&json!({"port": 3002}));
    world.sample(&["fairlead_commit_to_ready_seconds_count"], |count| count > before).await;
    assert_eq!(world.operator.terminate(Duration::from_secs(20)), 0);
}

#[tokio::test]
async fn a_restart_goes_on_in_the_same_trace() {
    let collector = OtlpCollector::start();
    let mut world = World::with_args("resumed", &json!({"port": 3001}), &["--otlp-endpoint", collector.url()]).await;
    world.ready("True").await;
    root_where(&collector, "the first change", |span| span.name == "change").await;
    let slow = json!({"port": 3002, "podAnnotations": {"bench.fairlead.dev/ready-after": "6s"}});
    let revision = world.commit_all(&[world.release("ui", "60s", &slow)]);
    wait_for("the release to wait for its objects", PATIENCE, || async {
        let (folder, release) = (world.get("kustomization", "production"), world.get("helmrelease", "ui"));
        let seen = json!([folder["status"]["lastAppliedRevision"], release["status"]["conditions"]]);
        let waits = |condition: &Value| {
            condition["type"] == "Ready" && condition["message"].as_str().unwrap_or_default().starts_with("Waiting for")
        };
        let waits = release["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(waits));
        if waits && folder["status"]["lastAppliedRevision"] == revision.as_str() {
            Ok(())
        } else {
            Err(seen.to_string())
        }
    })
    .await;
    world.operator.restart().await;
    let spans = trace_of(&collector, &revision).await;
    assert_eq!(spans[0].trace, identity(&world, &revision));
    let root = named(&spans, "change", "");
    let release = named(&spans, "release", "ui");
    assert_eq!((&release.parent, &release.error, &root.error), (&root.id, &None, &None));
    assert_eq!(spans.iter().filter(|span| span.parent.is_empty()).count(), 1, "{spans:#?}");
}

#[tokio::test]
async fn without_the_flag_nothing_is_sent_and_a_bad_one_is_refused() {
    let collector = OtlpCollector::start();
    let mut world = World::with("untraced", &json!({"port": 3001}), |operator| {
        operator.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
    })
    .await;
    world.ready("True").await;
    let metrics = world.operator.get("/metrics").await;
    assert!(!metrics.contains("fairlead_spans_total{"), "{metrics}");
    assert_eq!(world.operator.terminate(Duration::from_secs(20)), 0);
    assert_eq!(collector.webhooks().count(), 0);

    let mut run = Command::new(env!("CARGO_BIN_EXE_fairlead"));
    let output = run.args(["run", "--otlp-endpoint", "https://ann:hunter2@collector"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--otlp-endpoint") && !said.contains("hunter2"), "{said}");
}
