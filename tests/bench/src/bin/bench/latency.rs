//! How soon helm starts after a commit or a changed spec.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fairlead_testbench::objects::{Cluster, ready, revision};
use fairlead_testbench::{GitServer, Helm, Repository, TestBench, chart_files, fixture_chart, try_wait_for};
use kube::api::{Patch, PatchParams};
use serde_json::json;

pub const NAMESPACE: &str = "latency";
const TIMEOUT: Duration = Duration::from_mins(3);
/// Long enough for allocators to give memory back and for pollers to become idle.
const REST: Duration = Duration::from_secs(10);

/// A helm that notes when it is started, then is helm.
pub struct HelmWatch {
    program: PathBuf,
    starts: PathBuf,
}

impl HelmWatch {
    /// Makes it beside the bench.
    pub fn new(bench: &TestBench, helm: Helm) -> Self {
        let (program, starts) = (bench.folder().join("helm-watch"), bench.folder().join("helm-starts"));
        let (list, real) = (starts.display(), helm.path());
        let real = real.display();
        let script = format!("#!/bin/sh\necho \"$(date +%s%N) $*\" >> '{list}'\nexec '{real}' \"$@\"\n");
        std::fs::write(&program, script).expect("write a script");
        std::fs::write(&starts, "").expect("write a file");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("make it executable");
        Self { program, starts }
    }

    /// What the operator gets as its helm.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// When the first install or upgrade after `since` started, as a duration from then.
    fn started_after(&self, since: SystemTime) -> Result<Duration, String> {
        let since = since.duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
        let list = std::fs::read_to_string(&self.starts).map_err(|error| error.to_string())?;
        list.lines()
            .filter(|line| line.contains(" install ") || line.contains(" upgrade "))
            .filter_map(|line| line.split(' ').next()?.parse().ok().map(Duration::from_nanos))
            .find_map(|start| start.checked_sub(since))
            .ok_or_else(|| format!("helm has not been started; the last start: {:?}", list.lines().last()))
    }
}

/// Releases that are Ready.
pub struct Scene {
    names: Vec<String>,
    cluster: Cluster,
    releases: Repository,
    charts: String,
    git: GitServer,
}

impl Scene {
    /// Sets it up by a commit, as a user would: `ui` and `api`, and others up to that many, from a repository that is
    /// looked at in this interval.
    pub async fn set(bench: &TestBench, count: usize, interval: &str) -> Result<Self, String> {
        let git = GitServer::start();
        let charts = git.repository("charts");
        let files = chart_files(&fixture_chart("nodejs"));
        let files: Vec<(String, String)> =
            files.into_iter().map(|(path, text)| (format!("nodejs/{path}"), text)).collect();
        charts.commit("A chart", &files.iter().map(|(path, text)| (&**path, Some(&**text))).collect::<Vec<_>>());
        let releases = git.repository("releases");
        bench.create_namespace(NAMESPACE).await;
        let cluster = Cluster::new(bench.client().await);
        let others = (0..count.saturating_sub(2)).map(|index| format!("worker-{index:03}"));
        let names = ["api", "ui"].map(str::to_owned).into_iter().chain(others).collect();
        let scene = Self { names, cluster, charts: git.url(&charts), releases, git };
        scene.commit(3000);
        bench.apply(&follow(&scene.git.url(&scene.releases), interval));
        for name in &scene.names {
            scene.wait_ready(name, 1).await?;
        }
        Ok(scene)
    }

    /// Changes the port of `ui`.
    pub fn commit(&self, port: usize) {
        let port_of = |name: &str| if name == "ui" { port } else { 3000 };
        let texts = self.names.iter().map(|name| (format!("production/{name}.yaml"), release(name, port_of(name))));
        let texts: Vec<_> = texts.collect();
        let mut files: Vec<(&str, Option<&str>)> = texts.iter().map(|(path, text)| (&**path, Some(&**text))).collect();
        let source = source(&self.charts);
        files.push(("production/charts.yaml", Some(&source)));
        self.releases.commit(&format!("ui listens on {port}"), &files);
    }

    /// Waits until a release is Ready at that revision, or a later one.
    pub async fn wait_ready(&self, name: &str, at_least: i64) -> Result<(), String> {
        let waited = try_wait_for(TIMEOUT, || async {
            let object = self.cluster.get("HelmRelease", NAMESPACE, name).await?;
            let state = ready(&object).ok_or("no condition yet")?;
            let done = state.status == "True" && state.current && revision(&object).unwrap_or(0) >= at_least;
            if done { Ok(()) } else { Err(format!("{}: {}", state.reason, state.message)) }
        });
        waited.await.map_err(|seen| format!("{name} does not become Ready; last seen: {seen}"))
    }
}

/// Waits for `helm` to have been started after `since`.
pub async fn started(watch: &HelmWatch, since: SystemTime) -> Result<Duration, String> {
    try_wait_for(TIMEOUT, || async { watch.started_after(since) }).await
}

/// Commits one by one, each with what it took until helm was started.
pub async fn pushes(scene: &Scene, watch: &HelmWatch, count: usize) -> Result<Vec<Duration>, String> {
    let mut samples = Vec::new();
    for index in 0..count {
        let since = SystemTime::now();
        scene.commit(4000 + index);
        samples.push(started(watch, since).await?);
        scene.wait_ready("ui", i64::try_from(index).unwrap_or(0) + 2).await?;
    }
    Ok(samples)
}

/// Changes the spec of `api` again and again, each with what it took until helm was started.
pub async fn changed_specs(scene: &Scene, watch: &HelmWatch, count: usize) -> Result<Vec<Duration>, String> {
    let releases = scene.cluster.api("HelmRelease", NAMESPACE);
    let mut samples = Vec::new();
    for index in 0..count {
        let patch = json!({"spec": {"values": {"port": 5000 + index}}});
        let since = SystemTime::now();
        releases
            .patch("api", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map_err(|error| error.to_string())?;
        samples.push(started(watch, since).await?);
        scene.wait_ready("api", i64::try_from(index).unwrap_or(0) + 2).await?;
    }
    Ok(samples)
}

/// Lets the operator come to rest.
pub async fn rest() {
    tokio::time::sleep(REST).await;
}

fn follow(url: &str, interval: &str) -> String {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "releases", "namespace": NAMESPACE},
        "spec": {"interval": interval, "url": url, "ref": {"branch": "main"}},
    })
    .to_string()
        + "\n---\n"
        + &json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": {"name": "releases", "namespace": NAMESPACE},
            "spec": {
                "interval": "10m", "path": "./production", "prune": true,
                "sourceRef": {"kind": "GitRepository", "name": "releases"},
            },
        })
        .to_string()
}

fn source(url: &str) -> String {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "charts", "namespace": NAMESPACE},
        "spec": {"interval": "10m", "url": url, "ref": {"branch": "main"}},
    })
    .to_string()
}

fn release(name: &str, port: usize) -> String {
    json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "interval": "10m",
            "chart": {"spec": {"chart": "nodejs", "sourceRef": {"kind": "GitRepository", "name": "charts"}}},
            "values": {"port": port, "replicas": 0},
        },
    })
    .to_string()
}
