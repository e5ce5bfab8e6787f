//! The control plane with what tests need around it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node, ServiceAccount};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::OnceCell;

use crate::control_plane::audit::{self, Request};
use crate::control_plane::{ControlPlane, User};
use crate::daemon::Scratch;
use crate::fault_proxy::FaultProxy;
use crate::tools::{self, tool, workspace};
use crate::wait::wait_for;

/// A running control plane. Its processes end when it is dropped and when this process ends, in whatever way.
#[derive(Debug)]
pub struct TestBench {
    plane: ControlPlane,
    namespaces: AtomicU32,
    crds: OnceCell<()>,
    // Last, so that the folder goes after the processes that write to it.
    scratch: Scratch,
}

/// The control plane that all tests of this binary share; started by the first one that asks.
pub async fn shared() -> &'static TestBench {
    static SHARED: OnceCell<TestBench> = OnceCell::const_new();
    SHARED.get_or_init(TestBench::start).await
}

impl TestBench {
    /// Starts a control plane of one's own, with one node and the CRDs not installed.
    ///
    /// # Panics
    /// When a tool is missing or does not start.
    pub async fn start() -> Self {
        Self::start_with(false).await
    }

    /// As [`TestBench::start`], with an API server that writes down what service accounts ask for.
    ///
    /// # Panics
    /// As [`TestBench::start`].
    pub async fn start_audited() -> Self {
        Self::start_with(true).await
    }

    /// What service accounts have asked the API server of [`TestBench::start_audited`] for until now.
    ///
    /// # Panics
    /// When it was started otherwise.
    pub fn requests(&self) -> Vec<Request> {
        audit::read(&self.plane.audit_log())
    }

    async fn start_with(audit: bool) -> Self {
        crate::runtime::install_crypto();
        let scratch = Scratch::new("bench");
        let plane = ControlPlane::start(scratch.path(), audit).await;
        let bench = Self { plane, namespaces: AtomicU32::new(0), crds: OnceCell::new(), scratch };
        bench.create_node().await;
        bench
    }

    /// A client with all rights; make one per test, as it lives on the runtime that it was made on.
    ///
    /// # Panics
    /// When the kubeconfig cannot be read.
    pub async fn client(&self) -> Client {
        self.client_as(User::Admin).await
    }

    /// A client for a user.
    ///
    /// # Panics
    /// When the kubeconfig cannot be read.
    pub async fn client_as(&self, user: User) -> Client {
        let file = Kubeconfig::read_from(self.kubeconfig_as(user)).expect("read a kubeconfig");
        let config =
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("use a kubeconfig");
        Client::try_from(config).expect("make a client")
    }

    /// The administrator's kubeconfig file.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_as(User::Admin)
    }

    /// A user's kubeconfig file.
    pub fn kubeconfig_as(&self, user: User) -> PathBuf {
        self.plane.kubeconfig(user)
    }

    /// A kubeconfig file for a service account, with a token of an hour as a pod has it.
    ///
    /// # Panics
    /// When there is no such account.
    pub fn kubeconfig_of_account(&self, namespace: &str, account: &str) -> PathBuf {
        self.plane.kubeconfig_with_token(&format!("{namespace}-{account}"), &self.token_of_account(namespace, account))
    }

    /// A token of an hour for a service account.
    ///
    /// # Panics
    /// When there is no such account.
    pub fn token_of_account(&self, namespace: &str, account: &str) -> String {
        self.kubectl(&["create", "token", account, "--namespace", namespace, "--duration=1h"]).trim().to_owned()
    }

    /// The administrator's kubeconfig file, with another way to the API server.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn kubeconfig_via(&self, line: &FaultProxy) -> PathBuf {
        let direct = std::fs::read_to_string(self.kubeconfig()).expect("read a kubeconfig");
        let address = line.address();
        let file = self.folder().join(format!("{}.kubeconfig", address.replace(':', "-")));
        std::fs::write(&file, direct.replace(self.server(), &format!("https://{address}")))
            .expect("write a kubeconfig");
        file
    }

    /// A client that trusts the API server, and sends nobody's credentials.
    pub(crate) fn http_client(&self) -> reqwest::Client {
        self.plane.http_client()
    }

    /// The administrator's kubeconfig file for a server with another certificate.
    ///
    /// # Panics
    /// When it cannot be written.
    pub(crate) fn kubeconfig_of_server(&self, url: &str, authority: &str) -> PathBuf {
        self.plane.kubeconfig_of_server(url, authority)
    }

    /// The API server's address.
    pub fn server(&self) -> &str {
        self.plane.server()
    }

    /// A folder that lives as long as the bench.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The ids of the control plane's processes.
    pub fn pids(&self) -> Vec<u32> {
        self.plane.pids()
    }

    /// Makes a namespace `<prefix>-<n>` that no other test has, with its default service account.
    ///
    /// # Panics
    /// When the API server refuses.
    pub async fn namespace(&self, prefix: &str) -> String {
        let name = format!("{prefix}-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        self.create_namespace(&name).await;
        name
    }

    /// Makes a namespace of this very name.
    ///
    /// # Panics
    /// When there is one, or the API server refuses.
    pub async fn create_namespace(&self, name: &str) {
        let client = self.client().await;
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap_or_else(|error| panic!("create namespace {name}: {error}"));
        let accounts = Api::<ServiceAccount>::namespaced(client, name);
        wait_for("the default service account", Duration::from_secs(30), || async {
            accounts.get("default").await.map_err(|error| error.to_string())
        })
        .await;
    }

    /// Installs (once) the CRDs of the repository's `crds/` folder and waits until they are served.
    ///
    /// # Panics
    /// When one is refused.
    pub async fn install_crds(&self) {
        self.crds
            .get_or_init(|| async {
                let folder = workspace().join("crds").display().to_string();
                self.kubectl(&["apply", "--server-side", "--filename", &folder]);
                self.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]);
            })
            .await;
    }

    /// Removes definitions, with all that is of their kinds.
    ///
    /// The API server drops a removal when its own status updates collide, until it looks at everything again five
    /// minutes later; a change of the definition makes it look at once.
    ///
    /// # Panics
    /// When one stays for more than a minute.
    pub fn delete_crds(&self, names: &[&str]) {
        let crds = |args: &[&str], flags: &[&str]| self.try_kubectl(&[args, &["crd"], names, flags].concat());
        crds(&["delete"], &["--wait=false"]).expect("is told to go");
        let gone = (0..6).any(|look| {
            let awaited = crds(&["wait"], &["--for=delete", "--timeout=10s"]);
            if awaited.is_err() {
                // One that has just gone cannot be changed, which is no trouble.
                let _ = crds(&["annotate"], &["--overwrite", &format!("bench.fairlead/look={look}")]);
            }
            awaited.is_ok()
        });
        assert!(gone, "definitions stay: {}", self.kubectl(&["get", "crd", "--output=yaml"]));
    }

    /// Runs kubectl as administrator and gives its standard output.
    ///
    /// # Panics
    /// When it fails, with its output.
    pub fn kubectl(&self, args: &[&str]) -> String {
        tools::run(self.command("kubectl").args(args))
    }

    /// As [`TestBench::kubectl`], with a failure's output as the error.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        tools::try_run(self.command("kubectl").args(args))
    }

    /// Applies a stream of YAML documents, server-side.
    ///
    /// # Panics
    /// When one is refused.
    pub fn apply(&self, yaml: &str) {
        let mut child = self
            .command("kubectl")
            .args(["apply", "--server-side", "--force-conflicts", "--field-manager=bench", "--filename=-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start kubectl");
        child.stdin.take().expect("a pipe").write_all(yaml.as_bytes()).expect("write to kubectl");
        let output = child.wait_with_output().expect("wait for kubectl");
        assert!(output.status.success(), "kubectl apply: {}\n{yaml}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs helm of a major version (3 or 4) as administrator and gives its standard output.
    ///
    /// # Panics
    /// When it fails, with its output.
    pub fn helm(&self, helm: Helm, args: &[&str]) -> String {
        tools::run(self.command(helm.name()).args(args))
    }

    /// A pinned tool with this bench's administrator kubeconfig, and nothing kept outside of its folder.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(tool(name));
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.folder()).env("KUBECACHEDIR", self.folder());
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.folder().join("helm"));
        }
        command
    }

    async fn create_node(&self) {
        let nodes = Api::<Node>::all(self.client().await);
        let node = Node {
            metadata: ObjectMeta { name: Some("bench-node".to_owned()), ..ObjectMeta::default() },
            ..Node::default()
        };
        wait_for("the node to be accepted", Duration::from_secs(30), || async {
            nodes.create(&PostParams::default(), &node).await.map_err(|error| error.to_string())
        })
        .await;
    }
}

impl Drop for TestBench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::failure::keep("control-plane", &self.plane.logs());
        }
    }
}

/// A major version of helm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helm {
    /// Helm 3.
    V3,
    /// Helm 4.
    V4,
}

impl Helm {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V3, Self::V4];

    /// The name of the pinned tool.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V3 => "helm3",
            Self::V4 => "helm4",
        }
    }

    /// The path of the pinned tool.
    ///
    /// # Panics
    /// When it has not been built.
    pub fn path(self) -> PathBuf {
        tool(self.name())
    }
}
