//! `kubectl apply -k deploy/…` and `helm install` make the same.

use std::collections::BTreeMap;
use std::process::Command;

use fairlead_testbench::tools::{run, workspace};
use fairlead_testbench::{Helm, TestBench};
use serde_json::Value;

use crate::job::{DESCRIPTION, description};
use crate::site::{Site, bench, chart};

const NAMESPACE: &str = "fairlead-system";

/// The objects of a stream by kind and name, without the labels that tell who made them.
fn objects(bench: &TestBench, file: &str, yaml: &str) -> BTreeMap<String, Value> {
    let file = bench.folder().join(file);
    std::fs::write(&file, yaml).expect("writes");
    let args = ["create", "--dry-run=client", "--validate=false", "--output=json", "--filename"];
    let json = bench.kubectl(&[&args[..], &[&file.display().to_string()]].concat());
    // One document after the other, or one list.
    let read =
        serde_json::Deserializer::from_str(&json).into_iter::<Value>().map(|value| value.expect("kubectl prints JSON"));
    let all = read.flat_map(|value| value["items"].as_array().cloned().unwrap_or_else(|| vec![value.clone()]));
    all.map(|mut object| {
        if let Some(labels) = object["metadata"]["labels"].as_object_mut() {
            labels.remove("helm.sh/chart");
            labels.remove("app.kubernetes.io/managed-by");
        }
        (format!("{} {}", object["kind"], object["metadata"]["name"]), object)
    })
    .collect()
}

/// A folder of `deploy/` makes what the chart makes with these values, and the namespace, which helm makes by
/// `--create-namespace`.
async fn is_the_chart(folder: &str, flags: &[&str]) {
    let bench = bench().await;
    let path = workspace().join(folder).display().to_string();
    let file = |kind: &str| format!("{kind}-{}.yaml", folder.replace('/', "-"));
    let mut built = objects(bench, &file("built"), &bench.kubectl(&["kustomize", &path]));
    assert!(built.remove(&format!("\"Namespace\" \"{NAMESPACE}\"")).is_some(), "{:?}", built.keys());
    let chart = chart().display().to_string();
    let template = [&["template", "fairlead", &chart, "--namespace", NAMESPACE][..], flags].concat();
    let rendered = objects(bench, &file("rendered"), &bench.helm(Helm::V4, &template));
    assert_eq!(built.keys().collect::<Vec<_>>(), rendered.keys().collect::<Vec<_>>());
    for (name, object) in &rendered {
        assert_eq!(&built[name], object, "{name}");
    }
}

#[tokio::test]
async fn the_kustomize_base_is_the_chart_with_its_default_values() {
    is_the_chart("deploy", &["--include-crds"]).await;
}

#[tokio::test]
async fn the_overlay_for_high_availability_is_the_chart_with_an_elected_leader() {
    let values = ["--include-crds", "--set", "replicas=2,leaderElection.enabled=true"];
    is_the_chart("deploy/high-availability", &values).await;
}

#[tokio::test]
async fn the_overlay_for_a_tenant_is_the_chart_for_one_namespace() {
    let values = "watchNamespace=team-a,defaultServiceAccount=deployer,noCrossNamespaceRefs=true";
    is_the_chart("deploy/tenant", &["--set", values]).await;
}

#[tokio::test]
async fn the_documented_command_upgrades_definitions_that_the_operator_has_written() {
    const COMMAND: [&str; 4] = ["apply", "--server-side", "--force-conflicts", "-k"];
    let documented = std::fs::read_to_string(workspace().join("docs/install.md")).expect("reads");
    assert!(documented.contains(&format!("`kubectl {} deploy/`", COMMAND.join(" "))));
    let site = Site::new("again").await;
    let folder = site.bench.folder().join("next-version");
    std::fs::create_dir_all(&folder).expect("makes a folder");
    let sources = ["deploy", "crds"].map(|name| workspace().join(name));
    run(Command::new("cp").arg("-r").args(sources).arg(&folder));
    let deploy = folder.join("deploy").display().to_string();
    let kubectl = |args: &[&str]| site.bench.try_kubectl(&[args, &[&deploy]].concat());
    let operator = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
        run(command.args(["crds", "--apply"]).env("KUBECONFIG", site.bench.kubeconfig()));
    };
    kubectl(&COMMAND).expect("installs");
    operator();
    let file = folder.join("crds/helm.toolkit.fluxcd.io_helmreleases.yaml");
    let next = std::fs::read_to_string(&file).expect("reads").replace(DESCRIPTION, "The next description.");
    std::fs::write(&file, next).expect("writes");

    let refused = kubectl(&["apply", "--server-side", "-k"]).expect_err("the operator has the definitions");
    assert!(refused.contains("conflicts with \"fairlead\""), "{refused}");
    kubectl(&COMMAND).expect("upgrades");
    assert_eq!(description(&site), "The next description.");

    operator();
    assert_eq!(description(&site), DESCRIPTION);
    site.bench.kubectl(&["delete", "deployment,service,serviceaccount", "fairlead", "--namespace", NAMESPACE]);
    site.bench.kubectl(&["delete", "-k", &workspace().join("deploy/cluster-rights").display().to_string()]);
}
