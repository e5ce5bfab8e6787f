//! Installed, at work, upgraded, removed, and installed again.

use std::path::{Path, PathBuf};

use fairlead_testbench::tools::run;
use fairlead_testbench::{Helm, Operator};
use serde_json::{Value, json};

use crate::site::{PATIENCE, Site, chart, is_ready};

const RECEIVERS: &str = "receivers.notification.toolkit.fluxcd.io";
const RELEASES: &str = "helmreleases.helm.toolkit.fluxcd.io";
pub const DESCRIPTION: &str = "A Helm release that the cluster follows.";

/// The chart as an earlier version of it: without one kind, and with another description of another.
fn earlier(site: &Site, helm: Helm) -> PathBuf {
    let folder = site.bench.folder().join(format!("earlier-{}", site.namespace));
    run(std::process::Command::new("cp").arg("-r").arg(chart()).arg(&folder));
    let edit = |file: &str, from: &str, to: &str| {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).expect("reads");
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::write(path, text.replace(from, to)).expect("writes");
    };
    edit("Chart.yaml", "\nversion: 0.1.0\n", "\nversion: 0.0.9\n");
    edit("crds/helm.toolkit.fluxcd.io_helmreleases.yaml", DESCRIPTION, "An earlier description.");
    std::fs::remove_file(folder.join("crds/notification.toolkit.fluxcd.io_receivers.yaml")).expect("is there");
    let target = folder.display().to_string();
    site.bench.helm(helm, &["package", &target, "--destination", &target]);
    folder.join("fairlead-0.0.9.tgz")
}

pub fn description(site: &Site) -> Value {
    let definition = site.get("", "crd", RELEASES).expect("is there");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"].clone()
}

/// Nothing of Fairlead is in the cluster.
fn forget_definitions(site: &Site) {
    let all = site.bench.kubectl(&["get", "crd", "--output=name"]);
    let names = all.lines().filter_map(|name| name.split_once('/')).map(|(_, name)| name);
    let ours: Vec<&str> = names.filter(|name| name.ends_with(".toolkit.fluxcd.io")).collect();
    if !ours.is_empty() {
        site.bench.delete_crds(&ours);
    }
}

fn commit(site: &Site, port: u16) {
    let release = site.release(&site.namespace, "ui", port).to_string();
    site.releases.commit(&format!("port {port}"), &[("production/ui.yaml", Some(&release))]);
}

fn port(site: &Site) -> Value {
    site.get(&site.namespace, "service", "ui")
        .map(|service| service["spec"]["ports"][0]["port"].clone())
        .unwrap_or_default()
}

fn end(mut operator: Operator) {
    assert_eq!(operator.terminate(PATIENCE), 0);
}

async fn lives(helm: Helm, prefix: &str) {
    let site = Site::new(prefix).await;
    let namespace = site.namespace.as_str();
    forget_definitions(&site);

    // One command, on an empty cluster, and the folder is followed.
    site.install(helm, &earlier(&site, helm), &["crds.upgrade=false"]);
    assert_eq!(description(&site), "An earlier description.");
    commit(&site, 3000);
    let operator = site.operator(helm).await;
    site.released(namespace, "ui", 1).await;
    assert_eq!(port(&site), 3000);
    site.until((namespace, "kustomization", namespace), "is ready", is_ready).await;
    end(operator);

    // Upgraded: helm leaves definitions alone, the new pod does not; nothing is released again.
    site.install(helm, &chart(), &[]);
    assert_eq!(description(&site), "An earlier description.");
    let operator = site.operator(helm).await;
    assert_eq!(description(&site), DESCRIPTION);
    assert!(site.get("", "crd", RECEIVERS).is_some(), "a kind that is new is made");
    commit(&site, 3001);
    site.released(namespace, "ui", 2).await;
    end(operator);

    // Removed: what it has released stays, and so does the memory of it.
    site.uninstall(helm);
    for (kind, name) in [("deployment", "fairlead"), ("service", "fairlead"), ("serviceaccount", "fairlead")] {
        assert!(site.get(namespace, kind, name).is_none(), "{kind} {name} stays");
    }
    for kind in ["clusterrolebindings", "clusterroles"] {
        let left = site.bench.kubectl(&["get", kind, "--output=name"]);
        assert!(!left.contains(namespace), "{left}");
    }
    for (kind, name) in
        [("deployment", "ui"), ("helmrelease", "ui"), ("gitrepository", namespace), ("kustomization", namespace)]
    {
        let object = site.get(namespace, kind, name).unwrap_or_else(|| panic!("{kind} {name} is gone"));
        assert_eq!(object["metadata"]["deletionTimestamp"], Value::Null, "{kind} {name}");
    }
    assert!(site.get("", "crd", RELEASES).is_some());

    // Installed again: it goes on where it was.
    site.install(helm, &chart(), &[]);
    let operator = site.operator(helm).await;
    commit(&site, 3002);
    site.released(namespace, "ui", 3).await;
    assert_eq!(port(&site), 3002);

    // With everything it holds: the environment first, then the chart.
    site.leave(helm, namespace).await;
    assert!(site.get(namespace, "deployment", "ui").is_none());
    end(operator);
}

#[tokio::test]
async fn the_chart_lives_from_install_to_removal_with_helm_3() {
    lives(Helm::V3, "life3").await;
}

#[tokio::test]
async fn the_chart_lives_from_install_to_removal_with_helm_4() {
    lives(Helm::V4, "life4").await;
}

/// The chart in the folder that the operator follows.
fn own_release(site: &Site, concurrent: u16) -> String {
    let environment = json!({
        "url": site.git.url(&site.releases), "path": "./production", "interval": "1s",
    });
    json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": "fairlead", "namespace": site.namespace},
        "spec": {
            "interval": "10m", "values": {"environment": environment, "concurrent": concurrent},
            "chart": {"spec": {"chart": "charts/fairlead", "sourceRef": {
                "kind": "GitRepository", "name": site.namespace,
            }}},
        },
    })
    .to_string()
}

fn commit_itself(site: &Site, concurrent: u16) {
    site.releases.commit("The operator", &[("production/fairlead.yaml", Some(&own_release(site, concurrent)))]);
}

fn commit_chart(site: &Site, folder: &Path) {
    let files = fairlead_testbench::chart_files(folder);
    let files: Vec<_> = files.iter().map(|(path, text)| (format!("charts/fairlead/{path}"), text)).collect();
    site.releases.commit("Its chart", &files.iter().map(|(path, text)| (&**path, Some(&***text))).collect::<Vec<_>>());
}

fn revisions(site: &Site) -> usize {
    let selector = "--selector=owner=helm,name=fairlead";
    site.bench.kubectl(&["get", "secrets", selector, "--namespace", &site.namespace, "--output=name"]).lines().count()
}

#[tokio::test]
async fn the_operator_manages_its_own_release_and_does_not_remove_itself() {
    let site = Site::new("itself").await;
    let namespace = site.namespace.as_str();
    site.install(Helm::V4, &chart(), &[]);
    let operator = site.operator(Helm::V4).await;
    commit_chart(&site, &chart());
    commit(&site, 3000);

    // It takes its release over, and upgrades it.
    commit_itself(&site, 5);
    site.until((namespace, "deployment", "fairlead"), "has the new arguments", |deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["args"].to_string().contains("--concurrent=5")
    })
    .await;
    // The old pod is ended in the middle of that; the new one, which has none of its files, ends what was begun.
    end(operator);
    let operator = site.operator(Helm::V4).await;
    site.until((namespace, "helmrelease", "fairlead"), "is ready", |object| {
        is_ready(object) && object["status"]["history"][0]["status"] == "deployed"
    })
    .await;
    assert_eq!(revisions(&site), 2, "one change, one revision");

    // A broken folder is no reason to set the operator back.
    site.releases.commit(
        "Broken",
        &[("production/broken.yaml", Some("a: [")), ("production/fairlead.yaml", Some(&own_release(&site, 6)))],
    );
    site.until((namespace, "kustomization", namespace), "is broken", |object| !is_ready(object)).await;
    site.releases.commit("Mended", &[("production/broken.yaml", None)]);

    // The HelmRelease goes; the branch that the operator sits on stays.
    site.releases.commit("No operator", &[("production/fairlead.yaml", None)]);
    site.gone(namespace, "helmrelease", "fairlead").await;
    assert!(site.get(namespace, "deployment", "fairlead").is_some());
    let events = site.bench.kubectl(&["get", "events", "--namespace", namespace, "--output=json"]);
    assert!(events.contains("contains the operator itself and is left as it is"), "{events}");
    commit(&site, 3001);
    site.released(namespace, "ui", 2).await;

    site.leave(Helm::V4, namespace).await;
    drop(operator);
}
