//! `kubectl apply -k deploy/` and `helm install` make the same.

use std::collections::BTreeMap;

use fairlead_testbench::tools::workspace;
use fairlead_testbench::{Helm, TestBench};
use serde_json::Value;

use crate::site::{bench, chart};

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

#[tokio::test]
async fn the_kustomize_base_is_the_chart_with_its_default_values() {
    let bench = bench().await;
    let mut built =
        objects(bench, "built.yaml", &bench.kubectl(&["kustomize", &workspace().join("deploy").display().to_string()]));
    assert!(built.remove(&format!("\"Namespace\" \"{NAMESPACE}\"")).is_some(), "helm makes that by --create-namespace");
    let chart = chart().display().to_string();
    let template = ["template", "fairlead", &chart, "--namespace", NAMESPACE, "--include-crds"];
    let rendered = objects(bench, "rendered.yaml", &bench.helm(Helm::V4, &template));
    assert!(rendered.len() > 12, "{:?}", rendered.keys());
    assert_eq!(built.keys().collect::<Vec<_>>(), rendered.keys().collect::<Vec<_>>());
    for (name, object) in &rendered {
        assert_eq!(&built[name], object, "{name}");
    }
}
