//! A namespace with a chart repository, a release, and an operator over it.

use std::path::Path;
use std::time::Duration;

use fairlead_testbench::{ChartServer, Helm, Operator, OperatorBuilder, TestBench, fixture_chart, shared, wait_for};
use serde_json::{Value, json};

/// Long enough for a busy machine of two cores.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub struct World {
    pub bench: &'static TestBench,
    pub namespace: String,
    pub charts: ChartServer,
}

impl World {
    /// A namespace with a `HelmRepository` named `charts` that holds `nodejs` 1.0.0.
    pub async fn new(prefix: &str) -> Self {
        let bench = shared().await;
        bench.install_crds().await;
        let namespace = bench.namespace(prefix).await;
        let charts = ChartServer::start();
        charts.publish(&fixture_chart("nodejs"), "1.0.0");
        let world = Self { bench, namespace, charts };
        world.apply(&json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository",
            "metadata": {"name": "charts"}, "spec": {"url": world.charts.url(), "interval": "1s"},
        }));
        world
    }

    pub fn operator(&self) -> OperatorBuilder {
        Operator::builder(Path::new(env!("CARGO_BIN_EXE_fairlead")), self.bench).watch_namespace(&self.namespace)
    }

    pub async fn started(&self, helm: Helm) -> Operator {
        self.operator().helm(helm).start().await
    }

    /// Applies an object, in the namespace unless it names another.
    pub fn apply(&self, object: &Value) {
        let mut object = object.clone();
        if object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = self.namespace.clone().into();
        }
        self.bench.apply(&object.to_string());
    }

    /// A `HelmRelease` of `nodejs` with these additions to its spec.
    pub fn release(&self, name: &str, spec: &Value) -> Value {
        self.chart_release(name, "nodejs", spec)
    }

    pub fn chart_release(&self, name: &str, chart: &str, spec: &Value) -> Value {
        let mut object = json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"interval": "10m", "timeout": "1m", "chart": {"spec": {
                "chart": chart, "version": "*", "interval": "1s", "sourceRef": {"kind": "HelmRepository", "name": "charts"},
            }}},
        });
        for (key, value) in spec.as_object().expect("an object") {
            object["spec"][key] = value.clone();
        }
        object
    }

    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let args = ["get", kind, name, "--namespace", &self.namespace, "--output=json"];
        self.bench.try_kubectl(&args).ok().map(|text| serde_json::from_str(&text).expect("kubectl prints JSON"))
    }

    /// Waits until the release's object satisfies `seen`.
    pub async fn until(&self, name: &str, what: &str, seen: impl Fn(&Value) -> bool) -> Value {
        let what = format!("{name} {what}");
        wait_for(&what, PATIENCE, || async {
            let object = self.get("helmrelease", name).ok_or("it does not exist")?;
            if seen(&object) { Ok(object) } else { Err(object["status"].to_string()) }
        })
        .await
    }

    /// Waits until the release is ready in this revision, of its present spec.
    pub async fn ready(&self, name: &str, version: i64) -> Value {
        self.until(name, &format!("is ready in revision {version}"), |object| {
            is(object, "Ready", "True")
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
                && object["status"]["history"][0]["version"] == version
        })
        .await
    }

    /// Waits for a condition, whose message has to contain some words.
    pub async fn says(&self, name: &str, type_: &str, status: &str, words: &str) -> Value {
        self.until(name, &format!("says {type_}={status} with {words:?}"), |object| {
            is(object, type_, status) && message(object, type_).contains(words)
        })
        .await
    }

    /// Revisions and their status, oldest first, as helm keeps them.
    pub fn history(&self, release: &str) -> Vec<(i64, String)> {
        let selector = format!("--selector=owner=helm,name={release}");
        let args = ["get", "secrets", &selector, "--namespace", &self.namespace, "--output=json"];
        let listed: Value = serde_json::from_str(&self.bench.kubectl(&args)).expect("kubectl prints JSON");
        let label =
            |secret: &Value, key: &str| secret["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned();
        let items = listed["items"].as_array().expect("a list");
        let mut found: Vec<(i64, String)> = items
            .iter()
            .map(|secret| (label(secret, "version").parse().expect("a number"), label(secret, "status")))
            .collect();
        found.sort();
        found
    }

    /// The port of the release's Service.
    pub fn port(&self, name: &str) -> i64 {
        self.get("service", name).and_then(|service| service["spec"]["ports"][0]["port"].as_i64()).unwrap_or_default()
    }

    pub async fn gone(&self, kind: &str, name: &str) {
        wait_for(&format!("{kind} {name} to be gone"), PATIENCE, || async {
            self.get(kind, name).map_or(Ok(()), |object| Err(object["status"].to_string()))
        })
        .await;
    }

    pub fn delete(&self, kind: &str, name: &str) {
        self.bench.kubectl(&["delete", kind, name, "--namespace", &self.namespace, "--wait=false"]);
    }

    pub fn annotate(&self, name: &str, annotation: &str) {
        self.bench.kubectl(&[
            "annotate",
            "--overwrite",
            "helmrelease",
            name,
            annotation,
            "--namespace",
            &self.namespace,
        ]);
    }

    /// Events about the release: reason and message.
    pub fn events(&self, name: &str) -> Vec<(String, String)> {
        let args = ["get", "events", "--namespace", &self.namespace, "--output=json"];
        let listed: Value = serde_json::from_str(&self.bench.kubectl(&args)).expect("kubectl prints JSON");
        let of = |event: &&Value| event["involvedObject"]["name"] == name || event["regarding"]["name"] == name;
        let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let items = listed["items"].as_array().expect("a list");
        items.iter().filter(of).map(|event| (text(event, "reason"), text(event, "message"))).collect()
    }
}

pub fn condition<'o>(object: &'o Value, type_: &str) -> Option<&'o Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

pub fn is(object: &Value, type_: &str, status: &str) -> bool {
    condition(object, type_).is_some_and(|condition| condition["status"] == status)
}

pub fn message<'o>(object: &'o Value, type_: &str) -> &'o str {
    condition(object, type_).and_then(|condition| condition["message"].as_str()).unwrap_or_default()
}

pub fn reason<'o>(object: &'o Value, type_: &str) -> &'o str {
    condition(object, type_).and_then(|condition| condition["reason"].as_str()).unwrap_or_default()
}
