//! The operator as a child process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::bench::{Helm, TestBench};
use crate::control_plane::User;
use crate::daemon::{self, Daemon, Scratch};
use crate::ports::free_port;
use crate::tools::{git, tool};
use crate::wait::try_wait_for;

/// How an operator is to be started; all has defaults but the binary.
#[derive(Debug, Clone)]
pub struct OperatorBuilder {
    binary: PathBuf,
    kubeconfig: PathBuf,
    helm: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
}

/// A running (or killed) `fairlead run`; ended when dropped and when this process ends, in whatever way.
#[derive(Debug)]
pub struct Operator {
    builder: OperatorBuilder,
    listen: String,
    daemon: Daemon,
    scratch: Scratch,
}

impl OperatorBuilder {
    /// Speaks for another user than the administrator.
    #[must_use]
    pub fn user(mut self, bench: &TestBench, user: User) -> Self {
        self.kubeconfig = bench.kubeconfig_as(user);
        self
    }

    /// Speaks by this kubeconfig file.
    #[must_use]
    pub fn kubeconfig(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.kubeconfig);
        self
    }

    /// Uses the pinned helm of this major version (4 by default).
    #[must_use]
    pub fn helm(self, helm: Helm) -> Self {
        self.helm_binary(&helm.path())
    }

    /// Uses this helm.
    #[must_use]
    pub fn helm_binary(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.helm);
        self
    }

    /// Works in one namespace only: what tests do that share a control plane.
    #[must_use]
    pub fn watch_namespace(self, namespace: &str) -> Self {
        self.args(["--watch-namespace", namespace])
    }

    /// Adds flags; one of those that every operator gets takes its place.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it and waits until `/readyz` says yes.
    ///
    /// # Panics
    /// When it ends or is not ready after 30 s, with the end of its log.
    pub async fn start(self) -> Operator {
        let mut operator = self.spawn();
        operator.wait_until_ready().await;
        operator
    }

    /// Starts it without waiting for anything.
    ///
    /// # Panics
    /// When the binary cannot be started.
    pub fn spawn(self) -> Operator {
        assert!(self.binary.exists(), "the operator {} has not been built", self.binary.display());
        let scratch = Scratch::new("operator");
        let listen = format!("127.0.0.1:{}", free_port());
        let daemon = self.daemon(&scratch, &listen);
        Operator { builder: self, listen, daemon, scratch }
    }

    fn daemon(&self, scratch: &Scratch, listen: &str) -> Daemon {
        let data = scratch.path().join("data");
        let mut args: Vec<OsString> = vec!["run".into()];
        args.extend(self.args.iter().cloned());
        // As variables, so that a test can give every flag.
        let mut env = vec![
            ("FAIRLEAD_LOG_FORMAT".to_owned(), "json".to_owned()),
            ("FAIRLEAD_LISTEN".to_owned(), listen.to_owned()),
        ];
        for (name, path) in [
            ("KUBECONFIG", self.kubeconfig.as_path()),
            ("FAIRLEAD_DATA_DIR", &data),
            ("FAIRLEAD_HELM", &self.helm),
            ("FAIRLEAD_GIT", &git()),
            ("FAIRLEAD_KUSTOMIZE", &tool("kustomize")),
            ("FAIRLEAD_SOPS", &tool("sops")),
            ("FAIRLEAD_COSIGN", &tool("cosign")),
            ("FAIRLEAD_NOTATION", &tool("notation")),
        ] {
            env.push((name.to_owned(), path.display().to_string()));
        }
        env.extend(self.env.iter().cloned());
        Daemon::start("fairlead", &self.binary, args, &env, &scratch.path().join("operator.log"))
    }
}

impl Operator {
    /// An operator for this bench: administrator's rights, helm 4, an empty data directory.
    ///
    /// Tests pass `Path::new(env!("CARGO_BIN_EXE_fairlead"))` as the binary.
    pub fn builder(binary: &Path, bench: &TestBench) -> OperatorBuilder {
        OperatorBuilder {
            binary: binary.to_owned(),
            kubeconfig: bench.kubeconfig(),
            helm: Helm::V4.path(),
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Where it serves health, metrics and artifacts: `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// All that it has written to its log, over restarts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.daemon.log()).unwrap_or_default()).into_owned()
    }

    /// Its log lines that are JSON, parsed.
    pub fn log_lines(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Its resident memory in bytes, without its children; 0 when it does not run.
    pub fn rss(&self) -> u64 {
        daemon::resident(self.pid()).unwrap_or(0)
    }

    /// The ids and command lines of its direct children.
    pub fn children(&self) -> Vec<(u32, String)> {
        daemon::children(self.pid())
    }

    /// Gets a path, such as `/metrics`, as text.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> String {
        self.try_get(path).await.unwrap_or_else(|error| panic!("{path}: {error}")).1
    }

    /// The status and the text at a path, or why there is no answer.
    ///
    /// # Panics
    /// When no client can be made.
    pub async fn try_get(&self, path: &str) -> Result<(u16, String), String> {
        crate::runtime::install_crypto();
        let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let answer = client.get(format!("{}{path}", self.url())).send().await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(|error| error.to_string())?))
    }

    /// SIGKILL to the operator alone: what it has started must end by its own means.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// SIGTERM; the exit code when it ends within `grace`.
    ///
    /// # Panics
    /// When it does not, with the end of its log.
    pub fn terminate(&mut self, grace: Duration) -> i32 {
        self.daemon.terminate(grace).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Its exit code, if it has ended (-1 when a signal ended it).
    pub fn ended(&mut self) -> Option<i32> {
        self.daemon.ended().map(|status| status.code().unwrap_or(-1))
    }

    /// Starts it again on the same data directory, without waiting for anything; SIGKILL first if it still runs.
    pub fn respawn(&mut self) {
        self.kill();
        self.daemon = self.builder.daemon(&self.scratch, &self.listen);
    }

    /// SIGKILL if it still runs, then starts it again on the same data directory and waits until it is ready.
    ///
    /// # Panics
    /// As [`OperatorBuilder::start`].
    pub async fn restart(&mut self) {
        self.respawn();
        self.wait_until_ready().await;
    }

    /// As [`Operator::restart`], with more flags from now on.
    ///
    /// # Panics
    /// As [`OperatorBuilder::start`].
    pub async fn restart_with<A: Into<OsString>>(&mut self, args: impl IntoIterator<Item = A>) {
        self.builder.args.extend(args.into_iter().map(Into::into));
        self.restart().await;
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Panics
    /// When it ends or is not ready after 30 s, with the end of its log.
    pub async fn wait_until_ready(&mut self) {
        crate::runtime::install_crypto();
        let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let url = format!("{}/readyz", self.url());
        let log = self.daemon.log().to_owned();
        let daemon = std::sync::Mutex::new(&mut self.daemon);
        let ready = try_wait_for(Duration::from_secs(30), || async {
            daemon.lock().expect("one waits").assert_running();
            let answer = client.get(&url).send().await.map_err(|error| error.to_string())?;
            let status = answer.status();
            status.is_success().then_some(()).ok_or_else(|| format!("{url} answers {status}"))
        });
        if let Err(seen) = ready.await {
            panic!("the operator is not ready after 30 s ({seen}):\n{}", daemon::tail(&log, 40));
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of the operator's log:\n{}", daemon::tail(self.daemon.log(), 60));
            crate::failure::keep("operator", &[self.daemon.log()]);
        }
    }
}
