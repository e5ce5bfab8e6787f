//! Flux's own command line, `flux`, works against this operator: it needs nothing but the resources as Flux's
//! controllers write them.

use std::path::Path;
use std::time::Duration;

use fairlead_testbench::{GitServer, Operator, Repository, TestBench, chart_files, fixture_chart, shared, wait_for};
use serde_json::{Value, json};

struct Cli {
    bench: &'static TestBench,
    namespace: String,
}

impl Cli {
    /// What it prints: results on standard output, progress on standard error.
    fn run(&self, args: &str) -> Result<String, String> {
        let fixed = ["--namespace", &self.namespace, "--timeout=60s"];
        let output = self.bench.command("flux").args(fixed).args(args.split(' ')).output().expect("start flux");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        if output.status.success() { Ok(text) } else { Err(text) }
    }

    /// Runs it and looks for words in what it prints.
    fn says(&self, args: &str, words: &[&str]) {
        let text = self.run(args).unwrap_or_else(|text| panic!("flux {args} fails:\n{text}"));
        for words in words {
            assert!(text.contains(words), "flux {args}: no {words:?} in\n{text}");
        }
    }

    fn get(&self, kind: &str, name: &str) -> Value {
        let text = self.bench.kubectl(&["get", kind, name, "--namespace", &self.namespace, "--output", "json"]);
        serde_json::from_str(&text).expect("an object")
    }

    fn revision(&self) -> u64 {
        self.get("helmrelease", "ui")["status"]["history"][0]["version"].as_u64().expect("a revision")
    }
}

fn release(namespace: &str, port: u16) -> String {
    json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": "ui", "namespace": namespace},
        "spec": {
            "interval": "10m",
            "chart": {"spec": {"chart": ".", "sourceRef": {"kind": "GitRepository", "name": "charts"}}},
            "values": {"port": port},
        },
    })
    .to_string()
}

fn environment(namespace: &str, git: &GitServer, releases: &Repository, charts: &Repository) -> String {
    let source = |repository: &Repository| {
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": repository.name(), "namespace": namespace},
            "spec": {"interval": "10m", "url": git.url(repository), "ref": {"branch": "main"}},
        })
    };
    let folder = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "apps", "namespace": namespace},
        "spec": {
            "interval": "10m", "path": "./production", "prune": true,
            "sourceRef": {"kind": "GitRepository", "name": releases.name()},
        },
    });
    [source(releases), source(charts), folder].map(|object| object.to_string()).join("\n---\n")
}

#[tokio::test]
async fn flux_get_reconcile_suspend_resume_events_tree_trace_and_debug_work() {
    let bench = shared().await;
    bench.install_crds().await;
    let namespace = bench.namespace("cli").await;
    let git = GitServer::start();
    let (charts, releases) = (git.repository("charts"), git.repository("releases"));
    let files = chart_files(&fixture_chart("nodejs"));
    charts.commit("A chart", &files.iter().map(|(path, text)| (&**path, Some(&**text))).collect::<Vec<_>>());
    let push = |port| releases.commit("A port", &[("production/ui.yaml", Some(&release(&namespace, port)))]);
    let first = push(3000);
    bench.apply(&environment(&namespace, &git, &releases, &charts));
    let operator =
        Operator::builder(Path::new(env!("CARGO_BIN_EXE_fairlead")), bench).watch_namespace(&namespace).start().await;
    let cli = Cli { bench, namespace: namespace.clone() };
    wait_for("the release to be made", Duration::from_mins(1), || async {
        let state = cli.run("get helmreleases ui").unwrap_or_else(|error| error);
        state.contains("True").then_some(()).ok_or_else(|| format!("{state}\n{}", operator.log()))
    })
    .await;

    cli.says("get all", &["gitrepository/releases", "helmchart/", "Helm install succeeded", "kustomization/apps"]);
    cli.says("get sources git releases", &[&format!("main@sha1:{}", &first[..8]), "False", "stored artifact"]);
    cli.says("get kustomizations apps", &[&format!("Applied revision: main@sha1:{}", &first[..8])]);
    cli.says("stats", &["GitRepository"]);

    // A commit that nobody has polled for yet, because the intervals are long.
    let second = push(3001);
    cli.says(
        "reconcile kustomization apps --with-source",
        &[&format!("fetched revision main@sha1:{second}"), &format!("applied revision main@sha1:{second}")],
    );
    cli.says("reconcile helmrelease ui --with-source", &["HelmChart annotated", "applied revision"]);
    assert_eq!(cli.revision(), 2);
    cli.says("reconcile source git charts", &["fetched revision main@sha1:"]);
    cli.says("reconcile helmrelease ui --force", &["applied revision"]);
    assert_eq!(cli.revision(), 3, "forced");
    cli.says("reconcile helmrelease ui --reset", &["applied revision"]);
    assert_eq!(cli.revision(), 3);

    for (kind, name) in [("helmrelease", "ui"), ("kustomization", "apps"), ("source git", "releases")] {
        cli.says(&format!("suspend {kind} {name}"), &["suspended"]);
        cli.says(&format!("resume {kind} {name}"), &["reconciliation completed"]);
    }
    assert_eq!(cli.revision(), 3);

    cli.says("events --for HelmRelease/ui", &["InstallSucceeded", "UpgradeSucceeded", "HelmRelease/ui"]);
    cli.says("events --for Kustomization/apps", &["ReconciliationSucceeded", "created"]);
    cli.says(
        "tree kustomization apps",
        &[&format!("HelmRelease/{namespace}/ui"), &format!("Deployment/{namespace}/ui")],
    );
    let trace = ["Managed by Flux", "HelmRelease:    ui", "GitRepository: charts", "Message:        Helm upgrade"];
    cli.says("trace deployment ui", &trace);
    cli.says("trace helmrelease ui", &["Kustomization:   apps", "Path:            ./production", &second]);
    cli.says("debug helmrelease ui --show-values", &["port: 3001"]);
    cli.says("debug helmrelease ui --show-status", &["UpgradeSucceeded"]);
    cli.says("debug kustomization apps --show-status", &["ReconciliationSucceeded"]);
    cli.says("export kustomization apps", &["path: ./production"]);

    // What cannot work is told to who waits for it.
    releases.commit("Broken", &[("production/ui.yaml", Some("a: b: c"))]);
    cli.run("reconcile kustomization apps --with-source --timeout=3s").expect_err("it waits for what gets ready");
    cli.says("get kustomizations apps", &["False", "production/ui.yaml:1"]);
    releases.commit("Gone", &[("production/ui.yaml", None), ("production/PLACEHOLDER", Some(""))]);
    cli.says("reconcile kustomization apps --with-source", &["applied revision"]);
    cli.says("delete kustomization apps --silent", &["kustomization deleted"]);
}
