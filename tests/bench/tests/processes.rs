//! No process and no folder outlives a bench.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fairlead_testbench::daemon::is_running;
use fairlead_testbench::{TestBench, wait_for};

const TIMEOUT: Duration = Duration::from_secs(20);

async fn gone(pids: &[u32], folder: &Path) {
    wait_for("the processes and the folder to be gone", TIMEOUT, || async {
        let left: Vec<&u32> = pids.iter().filter(|pid| is_running(**pid)).collect();
        (left.is_empty() && !folder.exists()).then_some(()).ok_or_else(|| format!("{left:?}, {}", folder.display()))
    })
    .await;
}

#[tokio::test]
async fn dropping_a_bench_ends_it() {
    let bench = TestBench::start().await;
    let (pids, folder) = (bench.pids(), bench.folder().to_owned());
    assert_eq!(pids.len(), 5);
    assert!(pids.iter().all(|pid| is_running(*pid)));
    drop(bench);
    gone(&pids, &folder).await;
}

/// Not a test of its own: what the next one starts and kills.
#[tokio::test]
#[ignore = "run by a_killed_test_leaves_nothing"]
async fn victim() {
    let bench = TestBench::start().await;
    let pids: Vec<String> = bench.pids().iter().map(u32::to_string).collect();
    println!("\nvictim {} {}", bench.folder().display(), pids.join(" "));
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_test_leaves_nothing() {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("victim ")).expect("the victim starts");
    let mut words = line.split(' ').skip(1);
    let folder = PathBuf::from(words.next().unwrap());
    let pids: Vec<u32> = words.map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.len() == 5 && pids.iter().all(|pid| is_running(*pid)), "{line}");

    victim.kill().unwrap();
    victim.wait().unwrap();
    gone(&pids, &folder).await;
}
