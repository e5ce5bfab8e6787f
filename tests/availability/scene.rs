//! Operators that stand for one lease, and what they tell of it.

use std::path::PathBuf;
use std::time::Duration;

use fairlead_testbench::{Operator, OperatorBuilder, fixture_chart, wait_for};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::{PATIENCE, World};

/// How long the lease of a holder that is gone keeps the others waiting, with some time for a busy machine.
pub const TAKE_OVER: Duration = Duration::from_secs(25);

/// A namespace with the lease and the releases of its operators.
pub struct Scene {
    pub world: World,
    pub folder: tempfile::TempDir,
}

impl Scene {
    pub async fn new(prefix: &str) -> Self {
        let world = World::new(prefix).await;
        world.charts.publish(&fixture_chart("slow"), "1.0.0");
        Self { world, folder: tempfile::tempdir().expect("a folder") }
    }

    /// An operator that stands for the lease in the namespace.
    pub fn candidate(&self) -> OperatorBuilder {
        let namespace = self.world.namespace.as_str();
        self.world.operator().args(["--leader-elect", "--leader-election-namespace", namespace])
    }

    /// A release whose hook takes some time.
    pub fn slow(&self, message: &str, hook_takes: &str) -> Value {
        let values = json!({"message": message, "hookTakes": hook_takes});
        self.world.chart_release("ui", "slow", &json!({"values": values, "maxHistory": 0}))
    }

    /// The lease, as it is.
    pub fn lease(&self) -> Value {
        let listed = self.world.bench.kubectl(&["get", "lease", "--namespace", &self.world.namespace, "--output=json"]);
        let listed: Value = serde_json::from_str(&listed).expect("kubectl prints JSON");
        listed["items"][0].clone()
    }

    /// Waits until helm holds a revision in this state.
    pub async fn revision_is(&self, version: i64, status: &str) {
        wait_for(&format!("revision {version} to be {status}"), Duration::from_secs(30), || async {
            let history = self.world.history("ui");
            if history.contains(&(version, status.to_owned())) { Ok(()) } else { Err(format!("{history:?}")) }
        })
        .await;
    }

    /// A helm that notes each change of a release that it makes, and whether another one was under way.
    pub fn watched_helm(&self) -> PathBuf {
        let script = self.folder.path().join("helm");
        let text = include_str!("../fixtures/fake-helm/notes-overlaps")
            .replace("@helm@", &fairlead_testbench::Helm::V4.path().display().to_string())
            .replace("@folder@", &self.folder.path().display().to_string());
        std::fs::write(&script, text).expect("write a script");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, executable).expect("make it executable");
        script
    }

    /// What the watched helm has noted: `begin <pid>`, and `overlap <pid> <pid>`.
    pub fn notes(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("notes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// When an operator logged a line that contains these words last.
pub fn said_at(operator: &Operator, words: &str) -> Option<Timestamp> {
    let lines = operator.log_lines();
    let line = lines.iter().rev().find(|line| line["message"].as_str().is_some_and(|said| said.contains(words)))?;
    line["timestamp"].as_str()?.parse().ok()
}

/// Waits for a line of the log.
pub async fn says(operator: &Operator, words: &str, patience: Duration) -> Timestamp {
    wait_for(&format!("the log to say {words:?}"), patience, || async {
        said_at(operator, words).ok_or_else(|| operator.log().lines().last().unwrap_or_default().to_owned())
    })
    .await
}

/// Waits until an operator ends by itself; its exit code.
pub async fn ends(operator: &mut Operator, patience: Duration) -> i32 {
    let operator = std::sync::Mutex::new(operator);
    wait_for("the operator to end", patience, || async {
        operator.lock().expect("one waits").ended().ok_or_else(|| "it runs".to_owned())
    })
    .await
}

/// Waits for an answer of `/readyz` that contains all of these words.
pub async fn ready_says(operator: &Operator, status: u16, words: &[&str]) {
    wait_for(&format!("/readyz to answer {status} with {words:?}"), PATIENCE, || async {
        let (found, text) = operator.try_get("/readyz").await?;
        let told = found == status && words.iter().all(|words| text.contains(words));
        if told { Ok(()) } else { Err(format!("{found} {text}")) }
    })
    .await;
}

pub const LEADS: &str = "leads: this operator works from now on";
