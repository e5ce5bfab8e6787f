//! A cluster with the chart in it, and the operator that its Deployment describes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fairlead_testbench::tools::{try_run, workspace};
use fairlead_testbench::{GitServer, Helm, Operator, Repository, TestBench, chart_files, fixture_chart, wait_for};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Long enough for a busy machine of two cores.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub const RELEASE: &str = "fairlead";

/// A namespace with a releases repository, for as long as no other test installs something: definitions and cluster-wide
/// operators know no namespaces.
pub struct Site {
    pub bench: &'static TestBench,
    pub namespace: String,
    pub releases: Repository,
    pub git: GitServer,
    _turn: MutexGuard<'static, ()>,
}

pub async fn bench() -> &'static TestBench {
    static SHARED: OnceCell<TestBench> = OnceCell::const_new();
    SHARED.get_or_init(TestBench::start_audited).await
}

pub fn chart() -> PathBuf {
    workspace().join("charts/fairlead")
}

impl Site {
    /// A namespace, and a repository with the chart `nodejs` and an empty `production` folder.
    pub async fn new(prefix: &str) -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        let bench = bench().await;
        let namespace = bench.namespace(prefix).await;
        let git = GitServer::start();
        let releases = git.repository("releases");
        let chart = chart_files(&fixture_chart("nodejs"));
        let mut files: Vec<_> =
            chart.iter().map(|(path, text)| (format!("charts/nodejs/{path}"), text.clone())).collect();
        // A folder that is empty does not exist.
        files.push(("production/README.md".to_owned(), String::new()));
        releases.commit("A chart", &files.iter().map(|(path, text)| (&**path, Some(&**text))).collect::<Vec<_>>());
        Self { bench, namespace, releases, git, _turn: turn }
    }

    /// `helm install` or `helm upgrade --install` of a chart that follows the repository.
    pub fn try_install(&self, helm: Helm, chart: &Path, values: &[&str]) -> Result<String, String> {
        let environment = [
            format!("environment.url={}", self.git.url(&self.releases)),
            "environment.path=./production".to_owned(),
            "environment.interval=1s".to_owned(),
        ];
        let mut command = self.bench.command(helm.name());
        command.args(["upgrade", "--install", RELEASE]).arg(chart).args(["--namespace", &self.namespace]);
        for value in environment.iter().map(String::as_str).chain(values.iter().copied()) {
            command.args(["--set", value]);
        }
        try_run(&mut command)
    }

    pub fn install(&self, helm: Helm, chart: &Path, values: &[&str]) {
        self.try_install(helm, chart, values).unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn uninstall(&self, helm: Helm) {
        self.bench.helm(helm, &["uninstall", RELEASE, "--namespace", &self.namespace, "--wait"]);
    }

    /// The operator, as the live Deployment describes it.
    pub async fn operator(&self, helm: Helm) -> Operator {
        self.replica(helm, 0).await
    }

    /// One of several operators, as the live Deployment describes them.
    pub async fn replica(&self, helm: Helm, number: u8) -> Operator {
        let pod = self.pod();
        for container in pod["initContainers"].as_array().into_iter().flatten() {
            self.run_to_its_end(&pod, container, number);
        }
        let (args, env) = (args(&pod["containers"][0]), self.env(&pod["containers"][0], number));
        let [command, flags @ ..] = &args[..] else { panic!("no arguments") };
        assert_eq!(command, "run");
        let binary = Path::new(env!("CARGO_BIN_EXE_fairlead"));
        let builder = Operator::builder(binary, self.bench).kubeconfig(&self.kubeconfig(&pod)).helm(helm).args(flags);
        env.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).start().await
    }

    /// The spec of the pods of the live Deployment.
    pub fn pod(&self) -> Value {
        self.get(&self.namespace, "deployment", RELEASE).expect("there is a Deployment")["spec"]["template"]["spec"]
            .clone()
    }

    fn kubeconfig(&self, pod: &Value) -> PathBuf {
        self.bench.kubeconfig_of_account(&self.namespace, pod["serviceAccountName"].as_str().expect("a name"))
    }

    fn run_to_its_end(&self, pod: &Value, container: &Value, number: u8) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
        command.args(args(container)).envs(self.env(container, number)).env("KUBECONFIG", self.kubeconfig(pod));
        try_run(&mut command).unwrap_or_else(|error| panic!("init container {}: {error}", container["name"]));
    }

    /// The variables of a container, with what the kubelet would fill in for one of the pods.
    pub fn env(&self, container: &Value, number: u8) -> Vec<(String, String)> {
        let value = |variable: &Value| match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("metadata.name") => format!("{RELEASE}-{number}"),
            Some("metadata.namespace") => self.namespace.clone(),
            Some("status.podIP") => "127.0.0.1".to_owned(),
            Some(other) => panic!("what is {other}?"),
            None => text(&variable["value"]),
        };
        let variables = container["env"].as_array().into_iter().flatten();
        variables.map(|variable| (text(&variable["name"]), value(variable))).collect()
    }

    /// Applies an object, in the namespace unless it names another.
    pub fn apply(&self, object: &Value) {
        let mut object = object.clone();
        if object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = self.namespace.clone().into();
        }
        self.bench.apply(&object.to_string());
    }

    pub fn get(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let args = ["get", kind, name, "--namespace", namespace, "--output=json"];
        self.bench.try_kubectl(&args).ok().map(|text| serde_json::from_str(&text).expect("kubectl prints JSON"))
    }

    /// Waits until an object satisfies `seen`.
    pub async fn until(
        &self,
        (namespace, kind, name): (&str, &str, &str),
        what: &str,
        seen: impl Fn(&Value) -> bool,
    ) -> Value {
        wait_for(&format!("{kind} {namespace}/{name} {what}"), PATIENCE, || async {
            let object = self.get(namespace, kind, name).ok_or("it does not exist")?;
            if seen(&object) { Ok(object) } else { Err(object["status"].to_string()) }
        })
        .await
    }

    pub async fn gone(&self, namespace: &str, kind: &str, name: &str) {
        wait_for(&format!("{kind} {namespace}/{name} to be gone"), PATIENCE, || async {
            self.get(namespace, kind, name).map_or(Ok(()), |object| Err(object.to_string()))
        })
        .await;
    }

    /// Waits until a release is ready in this revision.
    pub async fn released(&self, namespace: &str, name: &str, version: i64) {
        self.until((namespace, "helmrelease", name), &format!("is ready in revision {version}"), |object| {
            is_ready(object)
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
                && object["status"]["history"][0]["version"] == version
        })
        .await;
    }

    /// A `HelmRelease` of `nodejs` from the environment's own repository.
    pub fn release(&self, namespace: &str, name: &str, port: u16) -> Value {
        let environment = &self.namespace;
        json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "interval": "10m", "values": {"port": port},
                "chart": {"spec": {"chart": "charts/nodejs", "sourceRef": {
                    "kind": "GitRepository", "name": environment, "namespace": environment,
                }}},
            },
        })
    }

    /// Takes everything down that the environment holds, as the documentation says, and then the chart.
    pub async fn leave(&self, helm: Helm, environment: &str) {
        for kind in ["kustomization", "gitrepository"] {
            self.bench.kubectl(&["delete", kind, environment, "--namespace", environment, "--wait=false"]);
            self.gone(environment, kind, environment).await;
        }
        // Deleted with the Kustomization, and still there while helm uninstalls them: without an operator they would stay.
        wait_for("all releases to be gone", PATIENCE, || async {
            let left = self.bench.kubectl(&["get", "helmreleases,helmcharts", "--all-namespaces", "--output=name"]);
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
        self.uninstall(helm);
    }
}

pub fn args(container: &Value) -> Vec<String> {
    container["args"].as_array().expect("arguments").iter().map(text).collect()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub fn condition<'o>(object: &'o Value, type_: &str) -> Option<&'o Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

pub fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|condition| condition["status"] == "True")
}
