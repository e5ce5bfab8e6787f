//! Many releases at once, by helm in a loop and by the operator.

use std::collections::BTreeSet;
use std::ops::Range;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fairlead_testbench::chart_server::package;
use fairlead_testbench::objects::{Cluster, ready, revision};
use fairlead_testbench::{ChartServer, Helm, TestBench, fixture_chart};
use futures::{StreamExt, TryStreamExt, stream};
use kube::ResourceExt;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};

const BARE: &str = "bare";
const OURS: &str = "ours";
const AT_A_TIME: usize = 4;
const TIMEOUT: Duration = Duration::from_mins(10);

/// A chart, served over HTTP and as a file, and the namespaces for both sides.
pub struct Scene<'a> {
    bench: &'a TestBench,
    helm: Helm,
    count: usize,
    cluster: Cluster,
    archive: std::path::PathBuf,
    charts: ChartServer,
}

impl<'a> Scene<'a> {
    /// Sets it up.
    pub async fn set(bench: &'a TestBench, helm: Helm, count: usize) -> Self {
        let charts = ChartServer::start();
        let chart = fixture_chart("nodejs");
        charts.publish(&chart, "1.0.0");
        let archive = bench.folder().join("nodejs-1.0.0.tgz");
        std::fs::write(&archive, package(&chart, "1.0.0").1).expect("write a chart");
        for namespace in [BARE, OURS] {
            bench.create_namespace(namespace).await;
        }
        let cluster = Cluster::new(bench.client().await);
        Self { bench, helm, count, cluster, archive, charts }
    }

    /// Runs `helm install` or `helm upgrade` for releases of helm's own, four at a time, from the chart's file.
    pub async fn bare(&self, which: Range<usize>, verb: &str, args: &[&str]) -> Result<Duration, String> {
        let start = Instant::now();
        let failures: Vec<String> = stream::iter(which)
            .map(|index| {
                let mut command = self.helm_command(verb, index, args);
                async move {
                    let done = tokio::task::spawn_blocking(move || command.output()).await;
                    match done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())? {
                        output if output.status.success() => Ok(()),
                        output => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
                    }
                }
            })
            .buffer_unordered(AT_A_TIME)
            .filter_map(|done: Result<(), String>| async { done.err() })
            .collect()
            .await;
        failures.first().map_or(Ok(start.elapsed()), |failure| Err(format!("helm {verb}: {failure}")))
    }

    fn helm_command(&self, verb: &str, index: usize, args: &[&str]) -> Command {
        let mut command = self.bench.command(self.helm.name());
        command
            .args([verb, &name(index), "--namespace", BARE, "--set", "replicas=0"])
            .args(args)
            .arg(&self.archive)
            .stdin(Stdio::null());
        command
    }

    /// Applies all releases with this port at once; what it takes until all are Ready at this revision.
    pub async fn apply(&self, port: u16, target: i64) -> Result<Duration, String> {
        let start = Instant::now();
        self.put("HelmRepository", "charts", json!({"interval": "10m", "url": self.charts.url()})).await?;
        let failures: Vec<String> = stream::iter(0..self.count)
            .map(|index| async move { self.put("HelmRelease", &name(index), release_spec(port)).await })
            .buffer_unordered(16)
            .filter_map(|done| async { done.err() })
            .collect()
            .await;
        if let Some(failure) = failures.first() {
            return Err(failure.clone());
        }
        let waited = tokio::time::timeout(TIMEOUT, self.all_ready(target)).await;
        waited.map_err(|_| format!("not all are Ready after {TIMEOUT:?}"))?.map(|()| start.elapsed())
    }

    async fn put(&self, kind: &str, name: &str, spec: Value) -> Result<(), String> {
        let api_version = match kind {
            "HelmRelease" => "helm.toolkit.fluxcd.io/v2",
            _ => "source.toolkit.fluxcd.io/v1",
        };
        let object = json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": OURS}, "spec": spec,
        });
        let params = PatchParams::apply("bench").force();
        let put = self.cluster.api(kind, OURS).patch(name, &params, &Patch::Apply(&object)).await;
        put.map(drop).map_err(|error| format!("{kind} {name}: {error}"))
    }

    /// Waits until all are Ready at this revision. It watches: to ask again and again for a hundred objects would weigh
    /// on the API server that is measured.
    async fn all_ready(&self, target: i64) -> Result<(), String> {
        let api = self.cluster.api("HelmRelease", OURS);
        let mut changes = pin!(watcher(api, watcher::Config::default()).applied_objects());
        let mut late: BTreeSet<String> = (0..self.count).map(name).collect();
        while let Some(object) = changes.try_next().await.map_err(|error| error.to_string())? {
            let name = object.name_any();
            if is_ready(&object, target) {
                late.remove(&name)
            } else {
                late.insert(name)
            };
            if late.is_empty() {
                return Ok(());
            }
        }
        Err("the watch ended".to_owned())
    }
}

fn is_ready(object: &DynamicObject, target: i64) -> bool {
    let Ok(object) = serde_json::to_value(object) else { return false };
    let state = ready(&object).is_some_and(|state| state.status == "True" && state.current);
    state && revision(&object) == Some(target)
}

fn name(index: usize) -> String {
    format!("app-{index:03}")
}

fn release_spec(port: u16) -> Value {
    json!({
        "interval": "10m",
        "chart": {"spec": {
            "chart": "nodejs", "version": "1.0.0",
            "sourceRef": {"kind": "HelmRepository", "name": "charts"}, "interval": "10m",
        }},
        "values": {"replicas": 0, "port": port},
    })
}
