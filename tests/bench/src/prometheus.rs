//! A real Prometheus that scrapes and evaluates every second.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{Daemon, Scratch};
use crate::ports::free_port;
use crate::tools::tool;
use crate::wait::wait_for;

/// A running Prometheus; ended when dropped and when this process ends.
#[derive(Debug)]
pub struct Prometheus {
    url: String,
    _daemon: Daemon,
    _scratch: Scratch,
}

/// An alert that waits to fire or fires.
#[derive(Clone, Debug)]
pub struct Alert {
    /// `labels.alertname`.
    pub name: String,
    /// `pending` or `firing`.
    pub state: String,
    /// All of its labels.
    pub labels: Value,
    /// All of its annotations, filled in.
    pub annotations: Value,
}

impl Prometheus {
    /// Scrapes these base URLs as the job `fairlead`, with a file of rules.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start(targets: &[&str], rules: &str) -> Self {
        crate::runtime::install_crypto();
        let scratch = Scratch::new("prometheus");
        let file = |name: &str| scratch.path().join(name);
        let hosts: Vec<_> = targets.iter().map(|target| target.trim_start_matches("http://")).collect();
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [file("rules.yaml")],
            "scrape_configs": [{"job_name": "fairlead", "static_configs": [{"targets": hosts}]}],
        });
        std::fs::write(file("rules.yaml"), rules).expect("write the rules");
        std::fs::write(file("prometheus.yaml"), config.to_string()).expect("write the configuration");
        let listen = format!("127.0.0.1:{}", free_port());
        let args = [
            flag("config.file", &file("prometheus.yaml")),
            flag("storage.tsdb.path", &file("data")),
            format!("--web.listen-address={listen}"),
        ];
        let mut daemon = Daemon::start("prometheus", &tool("prometheus"), args, &[], &file("prometheus.log"));
        let prometheus_url = format!("http://{listen}");
        let ready = format!("{prometheus_url}/-/ready");
        let running = std::sync::Mutex::new(&mut daemon);
        wait_for("Prometheus to be ready", Duration::from_secs(30), || async {
            running.lock().expect("one waits").assert_running();
            let answer = client().get(&ready).send().await.map_err(|error| error.to_string())?;
            answer.status().is_success().then_some(()).ok_or_else(|| answer.status().to_string())
        })
        .await;
        Self { url: prometheus_url, _daemon: daemon, _scratch: scratch }
    }

    /// The `data` of an answer of its API, or its error.
    pub async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let query: Vec<_> = query.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let url = format!("{}/api/v1/{path}?{}", self.url, query.join("&"));
        let answer = client().get(url).send().await.map_err(|error| error.to_string())?;
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(answer["error"].to_string()) }
    }

    /// The alerts that wait to fire or fire.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn alerts(&self) -> Vec<Alert> {
        let data = self.ask("alerts", &[]).await.expect("Prometheus knows its alerts");
        let alerts = data["alerts"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let alert = |alert: &Value| Alert {
            name: text(&alert["labels"]["alertname"]),
            state: text(&alert["state"]),
            labels: alert["labels"].clone(),
            annotations: alert["annotations"].clone(),
        };
        alerts.iter().map(alert).collect()
    }

    /// The names of the metrics that an expression reads.
    pub async fn metrics_of(&self, expression: &str) -> Result<Vec<String>, String> {
        let tree = self.ask("parse_query", &[("query", expression)]).await?;
        let mut names = Vec::new();
        collect(&tree, &mut names);
        Ok(names)
    }
}

/// The names in the selectors of a parsed expression.
fn collect(node: &Value, names: &mut Vec<String>) {
    if (node["type"] == "vectorSelector" || node["type"] == "matrixSelector")
        && let Some(name) = node["name"].as_str()
    {
        names.push(name.to_owned());
    }
    match node {
        Value::Object(fields) => fields.values().for_each(|field| collect(field, names)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        _ => {}
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("an HTTP client")
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn encoded(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(byte).collect()
}
