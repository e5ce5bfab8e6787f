//! The operator may die at any moment: started again, it goes on where it was, with no second revision of anything.

use std::path::Path;
use std::time::Duration;

use fairlead_testbench::objects::{Cluster, ready};
use fairlead_testbench::{
    GitServer, Helm, Operator, Repository, TestBench, chart_files, fixture_chart, shared, wait_for,
};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use serde_json::json;

const NAMES: [&str; 3] = ["api", "ui", "worker"];
const TIMEOUT: Duration = Duration::from_mins(2);

struct Scene {
    bench: &'static TestBench,
    namespace: String,
    cluster: Cluster,
    git: GitServer,
    charts: Repository,
    releases: Repository,
}

impl Scene {
    async fn set(moment: u64) -> Self {
        let bench = shared().await;
        bench.install_crds().await;
        let namespace = bench.namespace(&format!("killed-{moment}")).await;
        let git = GitServer::start();
        let (charts, releases) = (git.repository("charts"), git.repository("releases"));
        let files = chart_files(&fixture_chart("nodejs"));
        charts.commit("A chart", &files.iter().map(|(path, text)| (&**path, Some(&**text))).collect::<Vec<_>>());
        let cluster = Cluster::new(bench.client().await);
        let scene = Self { bench, namespace, cluster, git, charts, releases };
        scene.commit(3000);
        bench.apply(&scene.follow());
        scene
    }

    fn commit(&self, port: u16) {
        let files = NAMES.map(|name| (format!("production/{name}.yaml"), self.release(name, port)));
        let files = files.each_ref().map(|(path, text)| (path.as_str(), Some(text.as_str())));
        self.releases.commit(&format!("port {port}"), &files);
    }

    fn git_repository(&self, repository: &Repository, interval: &str) -> String {
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": repository.name(), "namespace": self.namespace},
            "spec": {"interval": interval, "url": self.git.url(repository), "ref": {"branch": "main"}},
        })
        .to_string()
    }

    fn follow(&self) -> String {
        let kustomization = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": {"name": "releases", "namespace": self.namespace},
            "spec": {
                "interval": "10m", "path": "./production", "prune": true,
                "sourceRef": {"kind": "GitRepository", "name": "releases"},
            },
        });
        let sources = [self.git_repository(&self.releases, "1s"), self.git_repository(&self.charts, "10m")];
        format!("{}\n---\n{kustomization}", sources.join("\n---\n"))
    }

    fn release(&self, name: &str, port: u16) -> String {
        json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2",
            "kind": "HelmRelease",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "interval": "10m",
                "chart": {"spec": {"chart": ".", "sourceRef": {"kind": "GitRepository", "name": "charts"}}},
                "values": {"port": port},
            },
        })
        .to_string()
    }

    fn operator(&self, helm: Helm) -> Operator {
        let binary = Path::new(env!("CARGO_BIN_EXE_fairlead"));
        Operator::builder(binary, self.bench).helm(helm).watch_namespace(&self.namespace).spawn()
    }

    /// Every release is Ready, and helm's storage holds `revisions` of it: the last deployed, the others superseded.
    async fn converged(&self, revisions: usize, port: u16) {
        let secrets = Api::<Secret>::namespaced(self.bench.client().await, &self.namespace);
        for name in NAMES {
            let what = format!("{}/{name} to be Ready with {revisions} revisions", self.namespace);
            wait_for(&what, TIMEOUT, || async {
                let object = self.cluster.get("HelmRelease", &self.namespace, name).await?;
                let state = ready(&object).ok_or("no condition yet")?;
                let served = self.cluster.port(&self.namespace, name).await?;
                let done = state.status == "True" && state.current && served == i32::from(port);
                if done { Ok(()) } else { Err(format!("{state:?}, port {served}")) }
            })
            .await;
            let statuses = revision_statuses(&secrets, name).await;
            let mut expected = vec!["superseded"; revisions - 1];
            expected.push("deployed");
            assert_eq!(statuses, expected, "{}/{name}", self.namespace);
        }
    }
}

async fn revision_statuses(secrets: &Api<Secret>, release: &str) -> Vec<String> {
    let params = ListParams::default().labels(&format!("owner=helm,name={release}"));
    let mut found: Vec<(u32, String)> = secrets
        .list(&params)
        .await
        .unwrap()
        .into_iter()
        .map(|secret| {
            let labels = secret.metadata.labels.unwrap_or_default();
            (labels["version"].parse().unwrap(), labels["status"].clone())
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, status)| status).collect()
}

fn helm_of(moment: u64) -> Helm {
    if moment.is_multiple_of(2) { Helm::V4 } else { Helm::V3 }
}

/// Kills the operator at one moment of the installs and at one of the upgrades; the ten moments are spread over what
/// both take on a busy machine.
async fn killed_at(moment: u64) {
    let scene = Scene::set(moment).await;
    let mut operator = scene.operator(helm_of(moment));
    tokio::time::sleep(Duration::from_millis(moment * 350)).await;
    operator.kill();
    operator.restart().await;
    scene.converged(1, 3000).await;

    scene.commit(8080);
    tokio::time::sleep(Duration::from_millis(moment * 200)).await;
    operator.kill();
    operator.restart().await;
    scene.converged(2, 8080).await;
}

#[tokio::test]
async fn ten_sudden_deaths_cost_no_second_revision() {
    stream::iter(1..=10).for_each_concurrent(2, killed_at).await;
}

/// Waits for the first release Secret of this status, looking as often as the API server answers.
async fn first_with_status(scene: &Scene, status: &str) {
    let secrets = Api::<Secret>::namespaced(scene.bench.client().await, &scene.namespace);
    let params = ListParams::default().labels(&format!("owner=helm,status={status}"));
    tokio::time::timeout(TIMEOUT, async { while secrets.list(&params).await.unwrap().items.is_empty() {} })
        .await
        .unwrap_or_else(|_| panic!("no release was ever {status}"));
}

#[tokio::test]
async fn a_death_in_the_middle_of_helm_leaves_no_lock() {
    for moment in [11, 12] {
        let scene = Scene::set(moment).await;
        let mut operator = scene.operator(helm_of(moment));
        first_with_status(&scene, "pending-install").await;
        operator.kill();
        operator.restart().await;
        scene.converged(1, 3000).await;

        scene.commit(8080);
        first_with_status(&scene, "pending-upgrade").await;
        operator.kill();
        operator.restart().await;
        scene.converged(2, 8080).await;
    }
}
