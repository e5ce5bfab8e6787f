//! A releases repository whose folder holds a release, everything that follows it, and an operator.

use std::path::Path;
use std::time::Duration;

use fairlead_testbench::{ChartServer, GitServer, Operator, Repository, TestBench, fixture_chart, shared, wait_for};
use serde_json::{Value, json};

/// Long enough for a busy machine of two cores.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub struct World {
    pub bench: &'static TestBench,
    pub operator: Operator,
    pub namespace: String,
    pub releases: Repository,
    _git: GitServer,
    charts: ChartServer,
}

impl World {
    /// `ui` is released by the Kustomization `production` with these values, and all is looked at every second.
    pub async fn new(prefix: &str, values: &Value) -> Self {
        Self::with_args(prefix, values, &[]).await
    }

    pub async fn with_args(prefix: &str, values: &Value, args: &[&str]) -> Self {
        let bench = shared().await;
        bench.install_crds().await;
        let namespace = bench.namespace(prefix).await;
        let (git, charts) = (GitServer::start(), ChartServer::start());
        charts.publish(&fixture_chart("nodejs"), "1.0.0");
        let releases = git.repository("releases");
        let operator = Operator::builder(Path::new(env!("CARGO_BIN_EXE_fairlead")), bench)
            .watch_namespace(&namespace)
            .args(args.iter().copied())
            .start()
            .await;
        let url = git.url(&releases);
        let world = Self { bench, operator, namespace, releases, _git: git, charts };
        world.commit(values);
        let source = "source.toolkit.fluxcd.io/v1";
        world.apply(source, "HelmRepository", "charts", &json!({"url": world.charts.url(), "interval": "1s"}));
        world.apply(
            source,
            "GitRepository",
            "releases",
            &json!({"url": url, "interval": "1s", "ref": {"branch": "main"}}),
        );
        let reference = json!({"kind": "GitRepository", "name": "releases"});
        let folder = json!({"interval": "1s", "path": "./production", "prune": true, "sourceRef": reference});
        world.apply("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "production", &folder);
        world
    }

    fn apply(&self, api_version: &str, kind: &str, name: &str, spec: &Value) {
        let metadata = json!({"name": name, "namespace": self.namespace});
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec});
        self.bench.apply(&object.to_string());
    }

    /// An alert that is suspended, and its provider.
    pub fn alert(&self, name: &str) {
        let notification = "notification.toolkit.fluxcd.io/v1beta3";
        let sources = json!([{"kind": "HelmRelease", "name": "*"}]);
        let alert = json!({"suspend": true, "providerRef": {"name": name}, "eventSources": sources});
        self.apply(notification, "Alert", name, &alert);
        self.apply(notification, "Provider", name, &json!({"type": "generic", "address": "http://127.0.0.1:1/"}));
    }

    /// Commits the release with these values; gives the revision.
    pub fn commit(&self, values: &Value) -> String {
        let release = json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "ui", "namespace": self.namespace},
            "spec": {"interval": "1s", "timeout": "2s", "values": values, "chart": {"spec": {
                "chart": "nodejs", "version": "*", "interval": "1s",
                "sourceRef": {"kind": "HelmRepository", "name": "charts"},
            }}},
        });
        format!("main@sha1:{}", self.releases.commit("Update", &[("production/ui.yaml", Some(&release.to_string()))]))
    }

    /// Waits until the release's Ready condition has this status.
    pub async fn ready(&self, status: &str) {
        let args = ["get", "helmrelease", "ui", "--namespace", &self.namespace, "--output=json"];
        wait_for(&format!("ui to be Ready={status}"), PATIENCE, || async {
            let object: Value = serde_json::from_str(&self.bench.try_kubectl(&args)?).map_err(|e| e.to_string())?;
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default();
            if ready["status"] == status { Ok(()) } else { Err(object["status"].to_string()) }
        })
        .await;
    }

    /// Waits until a sample, given by all that it has to contain, has a value that fits.
    pub async fn sample(&self, parts: &[&str], fits: impl Fn(f64) -> bool) -> f64 {
        wait_for(&format!("{parts:?} in /metrics"), PATIENCE, || async {
            let text = self.operator.get("/metrics").await;
            match value(&text, parts) {
                Some(found) if fits(found) => Ok(found),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }
}

/// The value of the first sample that begins with the first of these texts and contains the others.
pub fn value(metrics: &str, parts: &[&str]) -> Option<f64> {
    let mut lines = metrics.lines();
    let fits = |line: &&str| line.starts_with(parts[0]) && parts.iter().all(|part| line.contains(part));
    lines.find(fits)?.rsplit_once(' ')?.1.parse().ok()
}
