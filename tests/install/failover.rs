//! Two replicas of the chart, by its own account, rights and flags: the leader dies in the middle of an install.

use std::time::{Duration, Instant};

use fairlead_testbench::{Helm, chart_files, fixture_chart, wait_for};
use serde_json::{Value, json};

use crate::rights::deployer;
use crate::site::{PATIENCE, RELEASE, Site, chart, text};

/// How long the lease of a leader that is gone keeps the other one waiting, with some time for a busy machine.
const TAKE_OVER: Duration = Duration::from_secs(25);

async fn leads(site: &Site, pod: &str) {
    let place = (site.namespace.as_str(), "lease", RELEASE);
    site.until(place, &format!("is held by {pod}"), |lease| {
        text(&lease["spec"]["holderIdentity"]).starts_with(&format!("{pod}_"))
    })
    .await;
}

/// Helm's records of a release: version and status.
fn records(site: &Site, name: &str) -> Vec<(String, String)> {
    let selector = format!("--selector=owner=helm,name={name}");
    let listed = site.bench.kubectl(&["get", "secrets", &selector, "--namespace", &site.namespace, "--output=json"]);
    let listed: Value = serde_json::from_str(&listed).expect("kubectl prints JSON");
    let labels = listed["items"].as_array().into_iter().flatten().map(|secret| &secret["metadata"]["labels"]);
    labels.map(|labels| (text(&labels["version"]), text(&labels["status"]))).collect()
}

fn commit_slow_release(site: &Site) {
    let mut release = site.release(&site.namespace, "ui", 3000);
    release["spec"]["values"] = json!({"message": "one", "hookTakes": "8s"});
    release["spec"]["chart"]["spec"]["chart"] = "charts/slow".into();
    let chart = chart_files(&fixture_chart("slow"));
    let mut files: Vec<_> = chart.into_iter().map(|(path, text)| (format!("charts/slow/{path}"), text)).collect();
    files.push(("production/ui.yaml".to_owned(), release.to_string()));
    site.releases
        .commit("A slow release", &files.iter().map(|(path, text)| (&**path, Some(&**text))).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_other_replica_ends_an_install_that_the_leader_died_in() {
    let site = Site::new("failover").await;
    deployer(&site, &site.namespace);
    site.install(Helm::V4, &chart(), &["replicas=2", "leaderElection.enabled=true", "defaultServiceAccount=deployer"]);
    let mut first = site.replica(Helm::V4, 0).await;
    leads(&site, "fairlead-0").await;
    let second = site.replica(Helm::V4, 1).await;
    commit_slow_release(&site);
    wait_for("helm to be in the middle of the install", PATIENCE, || async {
        let found = records(&site, "ui");
        if found == [("1".to_owned(), "pending-install".to_owned())] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;

    first.kill();
    let died = Instant::now();
    leads(&site, "fairlead-1").await;
    assert!(died.elapsed() < TAKE_OVER, "the other one leads after {:?}", died.elapsed());
    site.released(&site.namespace, "ui", 1).await;
    assert_eq!(records(&site, "ui"), [("1".to_owned(), "deployed".to_owned())]);

    site.leave(Helm::V4, &site.namespace).await;
    drop(second);
}
