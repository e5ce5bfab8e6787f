//! What following a repository with a long and heavy history costs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fairlead_testbench::objects::{Cluster, ready};
use fairlead_testbench::tools::{git as git_binary, try_run};
use fairlead_testbench::{GitServer, Operator, TestBench, try_wait_for};
use serde_json::json;

use crate::report::{Report, mebibytes};

const NAMESPACE: &str = "history";
const COMMITS: usize = 50_000;
/// Bytes that each commit adds: 2 GB in all.
const SIZE: usize = 40_000;
/// Of the time that a clone takes.
const FACTOR: f64 = 0.2;
const MIRROR: u64 = 1 << 20;

/// Measures it.
pub async fn measure(fairlead: &Path, report: &mut Report) -> Result<(), String> {
    eprintln!("bench: a repository with {COMMITS} commits and 2 GB");
    let bench = TestBench::start().await;
    bench.install_crds().await;
    bench.create_namespace(NAMESPACE).await;
    let git = GitServer::start();
    let repository = git.repository("long");
    let head = repository.history(COMMITS, SIZE);
    let url = git.url(&repository);
    let operator = Operator::builder(fairlead, &bench).args(["--controllers", "source"]).start().await;
    let cluster = Cluster::new(bench.client().await);

    let start = Instant::now();
    bench.apply(&object(&url));
    stored(&cluster, &head).await?;
    let ours = start.elapsed();
    let start = Instant::now();
    clone(&url)?;
    let figure = format!("first artifact of {COMMITS} commits and 2 GB, against a clone");
    report.ratio(&figure, ours, start.elapsed(), FACTOR);
    let kept = size_of(&operator.data_dir().join("git"));
    report.limit("what is kept of that history", &format!("{:.2} MiB", mebibytes(kept)), kept < MIRROR);
    Ok(())
}

fn object(url: &str) -> String {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "long", "namespace": NAMESPACE},
        "spec": {"interval": "1h", "url": url, "ref": {"branch": "main"}},
    })
    .to_string()
}

async fn stored(cluster: &Cluster, head: &str) -> Result<(), String> {
    let waited = try_wait_for(Duration::from_mins(2), || async {
        let object = cluster.api("GitRepository", NAMESPACE).get("long").await.map_err(|error| error.to_string())?;
        let object = serde_json::to_value(object).map_err(|error| error.to_string())?;
        let is_ready = ready(&object).is_some_and(|state| state.status == "True" && state.current);
        let revision = object.pointer("/status/artifact/revision").and_then(|revision| revision.as_str());
        if is_ready && revision.is_some_and(|revision| revision.ends_with(head)) {
            Ok(())
        } else {
            Err(object["status"].to_string())
        }
    });
    waited.await.map_err(|seen| format!("not Ready: {seen}"))
}

fn clone(url: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut clone = Command::new(git_binary());
    clone.args(["clone", "--quiet", "--bare", url]).arg(dir.path().join("clone"));
    try_run(&mut clone).map(drop)
}

fn size_of(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
