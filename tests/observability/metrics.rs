//! `/metrics` while a commit becomes a release, and after it is gone.

use std::io::Write as _;
use std::process::{Command, Stdio};

use fairlead_testbench::tools::tool;
use fairlead_testbench::wait_for;
use serde_json::json;

use crate::world::{PATIENCE, World, value};

#[tokio::test]
async fn a_commit_shows_until_its_release_is_ready_and_an_object_until_it_is_gone() {
    let world = World::with_args("metrics", &json!({"port": 3001}), &["--metrics-per-object"]).await;
    world.alert("ops", true);
    world.ready("True").await;
    let namespace = format!("exported_namespace=\"{}\"", world.namespace);
    let info = |kind: &str, more: &str| {
        [
            "gotk_resource_info{".to_owned(),
            format!("customresource_kind=\"{kind}\""),
            namespace.clone(),
            more.to_owned(),
        ]
    };
    for (kind, more) in [
        ("GitRepository", "name=\"releases\""),
        ("HelmRepository", "name=\"charts\""),
        ("Kustomization", "source_name=\"releases\""),
        ("HelmRelease", "chart_name=\"nodejs\""),
    ] {
        let parts = info(kind, more);
        let parts: Vec<&str> =
            parts.iter().map(String::as_str).chain(["ready=\"True\"", "suspended=\"false\""]).collect();
        world.sample(&parts, |value| value > 0.0).await;
    }
    for (kind, suspended) in [("Alert", "suspended=\"true\""), ("Provider", "suspended=\"false\"")] {
        let parts = info(kind, "name=\"ops\"");
        let parts: Vec<&str> = parts.iter().map(String::as_str).chain(["ready=\"\"", suspended]).collect();
        world.sample(&parts, |value| value > 0.0).await;
    }
    let before = world.sample(&["fairlead_commit_to_ready_seconds_count"], |count| count >= 1.0).await;
    let took = world.sample(&["fairlead_commit_to_ready_seconds_sum"], |sum| sum > 0.0).await;
    let revision = world.commit(&json!({"port": 3002}));
    world.sample(&["fairlead_commit_to_ready_seconds_count"], |count| count >= before + 1.0).await;
    let sum = world.sample(&["fairlead_commit_to_ready_seconds_sum"], |sum| sum > took).await;
    // A commit's time is in whole seconds.
    assert!(sum - took < PATIENCE.as_secs_f64(), "{sum} - {took}");
    let revision = format!("revision=\"{revision}\"");
    world.sample(&["gotk_resource_info{", "customresource_kind=\"Kustomization\"", &revision], |one| one > 0.0).await;

    world.sample(&["fairlead_helm_actions_total{", "\"upgrade\"", "\"success\""], |count| count >= 1.0).await;
    world.sample(&["fairlead_helm_action_duration_seconds_sum{", "\"install\""], |sum| sum > 0.0).await;
    world.sample(&["fairlead_child_processes_total{program=\"git\",outcome=\"success\""], |count| count >= 1.0).await;
    world.sample(&["fairlead_child_processes_running{program=\"helm4\"}"], |count| count == 0.0).await;
    world.sample(&["fairlead_objects{kind=\"HelmRelease\"}"], |count| count >= 1.0).await;
    for controller in ["gitrepository", "helmchart", "helmrelease", "helmrepository", "kustomization"] {
        let named = format!("controller=\"{controller}\"");
        let result = "result=\"requeue_after\"";
        world.sample(&["controller_runtime_reconcile_total{", &named, result], |count| count >= 1.0).await;
        world.sample(&["workqueue_depth{", &named], |depth| depth < 2.0).await;
    }
    let own = format!("{{kind=\"HelmRelease\",name=\"ui\",namespace=\"{}\"}}", world.namespace);
    world.sample(&[&format!("gotk_reconcile_duration_seconds_count{own}")], |count| count >= 1.0).await;
    let text = world.operator.get("/metrics").await;
    let resident = value(&text, &["process_resident_memory_bytes "]).expect("the memory of the process");
    #[allow(clippy::cast_precision_loss, reason = "a process has less than 2^52 bytes")]
    let seen = world.operator.rss() as f64;
    assert!((resident - seen).abs() < 16e6, "{resident} is not {seen}");
    for name in ["process_cpu_seconds_total", "process_open_fds", "process_max_fds", "process_start_time_seconds"] {
        assert!(value(&text, &[&format!("{name} ")]).is_some_and(|value| value > 0.0), "{name} is not in\n{text}");
    }

    let metadata = json!({"name": "left", "namespace": world.namespace});
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}).to_string();
    world.releases.commit("Away with it", &[("production/ui.yaml", None), ("production/other.yaml", Some(&other))]);
    wait_for("the series of the release to end", PATIENCE, || async {
        let text = world.operator.get("/metrics").await;
        let left: Vec<_> = text.lines().filter(|line| line.contains("name=\"ui\"")).collect();
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    })
    .await;
}

/// What a client that sends this `Accept` gets: the content type and the text.
async fn accepted(url: &str, accept: Option<&str>) -> (String, String) {
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let mut request = client.get(format!("{url}/metrics"));
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    let answer = request.send().await.expect("the operator answers");
    let kind = answer.headers()["content-type"].to_str().expect("a content type").to_owned();
    (kind, answer.text().await.expect("text"))
}

#[tokio::test]
async fn both_text_formats_are_served_and_a_linter_likes_them() {
    let world = World::new("formats", &json!({})).await;
    world.ready("True").await;
    let url = world.operator.url();
    let (kind, open) = accepted(&url, Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")).await;
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE fairlead_helm_actions counter\n"), "{open}");
    let (kind, plain) = accepted(&url, None).await;
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert!(!plain.contains("# EOF") && plain.contains("# TYPE fairlead_helm_actions_total counter\n"), "{plain}");

    let mut linter = Command::new(tool("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    linter.stdin.take().expect("a pipe").write_all(plain.as_bytes()).expect("promtool reads");
    let output = linter.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}\n{plain}");
}
