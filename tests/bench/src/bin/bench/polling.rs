//! What following many repositories costs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use fairlead_testbench::objects::{Cluster, ready};
use fairlead_testbench::{GitServer, Operator, TestBench, daemon, try_wait_for};
use kube::api::ListParams;
use serde_json::json;

use crate::report::Report;

const NAMESPACE: &str = "polling";
const REMOTES: usize = 20;
const OBJECTS: usize = 500;
/// The interval that the budget is for, and the one that is measured, for the sake of time.
const MEANT: Duration = Duration::from_secs(30);
const MEASURED: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_mins(1);
/// A jittered interval may be a twentieth shorter, and a window may begin just before a poll.
const POLLS: f64 = 1.05 + 1.0 / 6.0;
const CPU: f64 = 0.05;

/// Measures it.
pub async fn measure(fairlead: &Path, report: &mut Report) -> Result<(), String> {
    eprintln!("bench: {OBJECTS} GitRepositories of {REMOTES} remotes");
    let bench = TestBench::start().await;
    bench.install_crds().await;
    bench.create_namespace(NAMESPACE).await;
    let git = GitServer::start();
    let remotes: Vec<String> = (0..REMOTES)
        .map(|number| {
            let remote = git.repository(&format!("remote-{number:02}"));
            remote.commit("One", &[("file", Some("text"))]);
            git.url(&remote)
        })
        .collect();
    let operator = Operator::builder(fairlead, &bench).args(["--controllers", "source"]).start().await;
    let objects: Vec<String> = (0..OBJECTS).map(|number| object(number, &remotes[number % REMOTES])).collect();
    bench.apply(&objects.join("\n---\n"));
    all_ready(&Cluster::new(bench.client().await)).await?;
    // Past the first interval, whose polls are those of new objects.
    tokio::time::sleep(MEASURED * 2).await;

    let (start, spent, asked) = (Instant::now(), daemon::cpu(operator.pid()), git.requests().len());
    tokio::time::sleep(WINDOW).await;
    let (elapsed, spent) = (start.elapsed(), daemon::cpu(operator.pid()).saturating_sub(spent));
    let mut polls: BTreeMap<String, u32> = BTreeMap::new();
    for request in git.requests().drain(asked..).filter(|request| request.contains("info/refs")) {
        *polls.entry(request).or_default() += 1;
    }
    let intervals = elapsed.as_secs_f64() / MEASURED.as_secs_f64();
    let most = f64::from(polls.values().copied().max().unwrap_or(0)) / intervals;
    let mean = f64::from(polls.values().sum::<u32>()) / intervals / f64::from(u32::try_from(REMOTES).unwrap_or(1));
    let share = spent.as_secs_f64() / elapsed.as_secs_f64() * MEASURED.as_secs_f64() / MEANT.as_secs_f64();
    let figure = format!("polls per remote and interval, {OBJECTS} objects of {REMOTES} remotes");
    report.limit(&figure, &format!("{mean:.2}, at most {most:.2}"), polls.len() == REMOTES && most <= POLLS);
    let figure = format!("CPU of the operator and its children for that at {} s", MEANT.as_secs());
    report.limit(&figure, &format!("{:.1} % of a core", share * 100.0), share < CPU);
    Ok(())
}

async fn all_ready(cluster: &Cluster) -> Result<(), String> {
    let waited = try_wait_for(Duration::from_mins(3), || async {
        let list = cluster.api("GitRepository", NAMESPACE).list(&ListParams::default()).await;
        let list = list.map_err(|error| error.to_string())?;
        let objects = list.items.iter().filter_map(|object| serde_json::to_value(object).ok());
        let states = objects.filter_map(|object| ready(&object));
        let count = states.filter(|state| state.status == "True" && state.current).count();
        if count == OBJECTS { Ok(()) } else { Err(format!("{count} are")) }
    });
    waited.await.map_err(|seen| format!("not all become Ready: {seen}"))
}

fn object(number: usize, url: &str) -> String {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": format!("object-{number:03}"), "namespace": NAMESPACE},
        "spec": {"interval": format!("{}s", MEASURED.as_secs()), "url": url, "ref": {"branch": "main"}},
    })
    .to_string()
}
