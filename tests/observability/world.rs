//! A releases repository whose folder holds a release, everything that follows it, and an operator.

use std::path::Path;
use std::time::Duration;

use fairlead_testbench::{
    ChartServer, GitServer, Operator, OperatorBuilder, Repository, TestBench, fixture_chart, shared, wait_for,
};
use serde_json::{Value, json};

/// Long enough for a busy machine of two cores.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub struct World {
    pub bench: &'static TestBench,
    pub operator: Operator,
    pub namespace: String,
    pub releases: Repository,
    pub charts: ChartServer,
    _git: GitServer,
}

impl World {
    /// `ui` is released by the Kustomization `production` with these values, and all is looked at every second.
    pub async fn new(prefix: &str, values: &Value) -> Self {
        Self::with_args(prefix, values, &[]).await
    }

    pub async fn with_args(prefix: &str, values: &Value, args: &[&str]) -> Self {
        Self::with(prefix, values, |operator| operator.args(args.iter().copied())).await
    }

    pub async fn with(prefix: &str, values: &Value, prepared: impl FnOnce(OperatorBuilder) -> OperatorBuilder) -> Self {
        let bench = shared().await;
        bench.install_crds().await;
        let namespace = bench.namespace(prefix).await;
        let (git, charts) = (GitServer::start(), ChartServer::start());
        charts.publish(&fixture_chart("nodejs"), "1.0.0");
        let releases = git.repository("releases");
        let operator = Operator::builder(Path::new(env!("CARGO_BIN_EXE_fairlead")), bench).watch_namespace(&namespace);
        let operator = prepared(operator).start().await;
        let url = git.url(&releases);
        let world = Self { bench, operator, namespace, releases, charts, _git: git };
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

    /// An alert, and its provider, which refuses everything.
    pub fn alert(&self, name: &str, suspend: bool) {
        let notification = "notification.toolkit.fluxcd.io/v1beta3";
        let sources = json!([{"kind": "HelmRelease", "name": "*"}]);
        let alert = json!({"suspend": suspend, "providerRef": {"name": name}, "eventSources": sources});
        self.apply(notification, "Alert", name, &alert);
        let address = format!("{}/nobody", self.operator.url());
        self.apply(notification, "Provider", name, &json!({"type": "generic", "address": address}));
    }

    /// A release with these values, which may take that long.
    pub fn release(&self, name: &str, timeout: &str, values: &Value) -> Value {
        json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"interval": "1s", "timeout": timeout, "values": values, "chart": {"spec": {
                "chart": "nodejs", "version": "*", "interval": "1s",
                "sourceRef": {"kind": "HelmRepository", "name": "charts"},
            }}},
        })
    }

    /// Commits these releases; gives the revision.
    pub fn commit_all(&self, releases: &[Value]) -> String {
        let file = |release: &Value| {
            let name = release["metadata"]["name"].as_str().expect("a name");
            (format!("production/{name}.yaml"), release.to_string())
        };
        let files: Vec<_> = releases.iter().map(file).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
        format!("main@sha1:{}", self.releases.commit("Update", &files))
    }

    /// Commits the release with these values; gives the revision.
    pub fn commit(&self, values: &Value) -> String {
        self.commit_all(&[self.release("ui", "2s", values)])
    }

    /// An object of the world, as it is now.
    pub fn get(&self, kind: &str, name: &str) -> Value {
        let text = self.bench.kubectl(&["get", kind, name, "--namespace", &self.namespace, "--output=json"]);
        serde_json::from_str(&text).expect("JSON")
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
