//! A namespace of one's own, its objects, and operators for it.

use std::path::Path;
use std::time::Duration;

use fairlead_testbench::{Operator, Received, TestBench, WebhookServer, shared, wait_for};
use serde_json::{Value, json};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);

const NOTIFICATION: &str = "notification.toolkit.fluxcd.io/v1beta3";
const SOURCE: &str = "source.toolkit.fluxcd.io/v1";

pub struct Scene {
    pub bench: &'static TestBench,
    pub namespace: String,
}

impl Scene {
    pub async fn new(prefix: &str) -> Self {
        let bench = shared().await;
        bench.install_crds().await;
        Self { bench, namespace: bench.namespace(prefix).await }
    }

    /// An operator of this namespace alone. What is applied before is known to it when the first event happens.
    pub async fn operator(&self, controllers: &str, flags: &[&str]) -> Operator {
        Operator::builder(Path::new(env!("CARGO_BIN_EXE_fairlead")), self.bench)
            .watch_namespace(&self.namespace)
            .args(["--controllers", controllers])
            .args(flags.iter().copied())
            .start()
            .await
    }

    pub fn apply(&self, api_version: &str, kind: &str, metadata: &Value, more: &Value) {
        let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
        object["metadata"]["namespace"] = self.namespace.clone().into();
        for (field, value) in more.as_object().into_iter().flatten() {
            object[field] = value.clone();
        }
        self.bench.apply(&object.to_string());
    }

    pub fn secret(&self, name: &str, data: &Value) {
        self.apply("v1", "Secret", &json!({"name": name}), &json!({"stringData": data}));
    }

    pub fn provider(&self, name: &str, spec: &Value) {
        self.apply(NOTIFICATION, "Provider", &json!({"name": name}), &json!({"spec": spec}));
    }

    /// An alert for all of these kinds to the provider of its name; `more` is added to its spec.
    pub fn alert(&self, name: &str, kinds: &[&str], more: &Value) {
        let sources: Vec<Value> = kinds.iter().map(|kind| json!({"kind": kind, "name": "*"})).collect();
        let mut spec = json!({"providerRef": {"name": name}, "eventSources": sources});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        self.apply(NOTIFICATION, "Alert", &json!({"name": name}), &json!({"spec": spec}));
    }

    /// A repository that fails at once, for the sake of the event that tells it.
    pub fn broken(&self, name: &str) {
        self.repository(&json!({"name": name}), &broken_spec());
    }

    pub fn repository(&self, metadata: &Value, spec: &Value) {
        self.apply(SOURCE, "GitRepository", metadata, &json!({"spec": spec}));
    }

    /// Messages of the Kubernetes events about an object.
    pub fn told(&self, kind: &str, name: &str) -> Vec<String> {
        let selector = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let listed =
            self.bench.kubectl(&["get", "events", "-n", &self.namespace, "--field-selector", &selector, "-o", "json"]);
        let listed: Value = serde_json::from_str(&listed).expect("kubectl prints JSON");
        let items = listed["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|event| format!("{}: {}", text(&event["reason"]), text(&event["message"]))).collect()
    }

    /// Waits for a Kubernetes event about an object that says this.
    pub async fn tells(&self, kind: &str, name: &str, needle: &str) -> String {
        wait_for(&format!("an event about {kind} {name} with '{needle}'"), PATIENCE, || async {
            let told = self.told(kind, name);
            let found = told.iter().find(|message| message.contains(needle)).cloned();
            found.ok_or_else(|| format!("{told:?}"))
        })
        .await
    }

    /// Neither the operator's log nor its metrics nor any event or status of the namespace holds any of these.
    pub async fn keeps_secret(&self, operator: &Operator, secrets: &[&str]) {
        let kinds = "events,gitrepositories,kustomizations";
        let listed = self.bench.kubectl(&["get", kinds, "-n", &self.namespace, "-o", "json"]);
        let metrics = operator.get("/metrics").await;
        for secret in secrets {
            assert!(!operator.log().contains(secret), "the log tells {secret}");
            assert!(!listed.contains(secret), "an event or a status tells {secret}");
            assert!(!metrics.contains(secret), "a metric tells {secret}");
        }
    }
}

/// Only another spec helps a repository whose commit is none.
pub fn broken_spec() -> Value {
    json!({"url": "https://127.0.0.1:1/x", "interval": "1h", "ref": {"commit": "FILLED_IN_BY_CI"}})
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Waits until that many requests came, and gives them.
pub async fn received(server: &WebhookServer, count: usize) -> Vec<Received> {
    wait_for(&format!("{count} requests"), PATIENCE, || async {
        let received = server.received();
        let seen = || received.iter().map(|request| String::from_utf8_lossy(&request.body).into_owned());
        if received.len() >= count { Ok(received) } else { Err(format!("{:?}", seen().collect::<Vec<_>>())) }
    })
    .await
}

/// Waits for a line of the metrics.
pub async fn counts(operator: &Operator, line: &str) {
    wait_for(line, PATIENCE, || async {
        let metrics = operator.get("/metrics").await;
        let seen: Vec<&str> = metrics.lines().filter(|line| line.starts_with("fairlead_notifications")).collect();
        if seen.contains(&line) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}
