//! etcd, the API server, the controller manager, the scheduler and kwok, as child processes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::pki::{self, Authority};
use crate::ports::free_port;
use crate::tools::tool;

pub mod audit;
mod kubeconfig;
mod stages;

/// Who a kubeconfig of the bench speaks for; all but [`User::Admin`] start without any right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// In `system:masters`: may do everything.
    Admin,
    /// `operator`: for an operator with just the rights that a test gives it.
    Operator,
    /// `tenant-a`, in the group `tenants`.
    TenantA,
    /// `tenant-b`, in the group `tenants`.
    TenantB,
    /// `viewer`.
    Viewer,
}

impl User {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Operator, Self::TenantA, Self::TenantB, Self::Viewer];

    /// The user name as the API server sees it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::TenantA => "tenant-a",
            Self::TenantB => "tenant-b",
            Self::Viewer => "viewer",
        }
    }

    const fn group(self) -> &'static str {
        match self {
            Self::Admin => "system:masters",
            Self::TenantA | Self::TenantB => "tenants",
            Self::Operator | Self::Viewer => "",
        }
    }

    /// The bearer token; the same in every bench, worth nothing outside of its loopback port.
    pub fn token(self) -> String {
        format!("{}-token-of-the-bench", self.name())
    }
}

/// The running processes, in the order of their start.
#[derive(Debug)]
pub struct ControlPlane {
    folder: PathBuf,
    server: String,
    daemons: Vec<Daemon>,
}

impl ControlPlane {
    /// Starts everything below `folder` and waits until the API server is ready, which keeps an [`audit`] log if it is to.
    ///
    /// # Panics
    /// When a process ends or the API server is not ready after 60 s, with the end of its log.
    pub async fn start(folder: &Path, audit: bool) -> Self {
        let api_port = free_port();
        let mut plane =
            Self { folder: folder.to_owned(), server: format!("https://127.0.0.1:{api_port}"), daemons: Vec::new() };
        plane.write_files();
        let etcd = plane.start_etcd();
        plane.start_api_server(api_port, &etcd, audit);
        plane.wait_until_ready().await;
        plane.start_controllers();
        plane
    }

    /// The API server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The kubeconfig file for a user.
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        self.folder.join(format!("{}.kubeconfig", user.name()))
    }

    /// The kubeconfig file for whoever has this token, which is written anew.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn kubeconfig_with_token(&self, name: &str, token: &str) -> PathBuf {
        let authority = std::fs::read_to_string(self.folder.join("ca.crt")).expect("read ca.crt");
        let path = self.folder.join(format!("{name}.kubeconfig"));
        std::fs::write(&path, kubeconfig::render(&self.server, &authority, name, token)).expect("write a kubeconfig");
        path
    }

    /// The administrator's kubeconfig file for another server, which is written anew.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn kubeconfig_of_server(&self, url: &str, authority: &str) -> PathBuf {
        let name = url.rsplit_once(':').map_or(url, |(_, port)| port);
        let path = self.folder.join(format!("front-{name}.kubeconfig"));
        let text = kubeconfig::render(url, authority, User::Admin.name(), &User::Admin.token());
        std::fs::write(&path, text).expect("write a kubeconfig");
        path
    }

    /// The API server's audit log, if it keeps one.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// The ids of all processes.
    pub fn pids(&self) -> Vec<u32> {
        self.daemons.iter().map(Daemon::pid).collect()
    }

    /// The log files of all processes.
    pub fn logs(&self) -> Vec<&Path> {
        self.daemons.iter().map(Daemon::log).collect()
    }

    fn write_files(&self) {
        let authority = Authority::new();
        let identity = authority.loopback();
        let (signing_key, verifying_key) = pki::signing_key();
        self.write("ca.crt", &authority.certificate());
        self.write("server.crt", &identity.certificate);
        self.write("server.key", &identity.key);
        self.write("service-account.key", &signing_key);
        self.write("service-account.pub", &verifying_key);
        self.write("tokens.csv", &User::ALL.map(token_line).concat());
        for user in User::ALL {
            let text = kubeconfig::render(&self.server, &authority.certificate(), user.name(), &user.token());
            std::fs::write(self.kubeconfig(user), text).expect("write a kubeconfig");
        }
        self.write("container.log", stages::CONTAINER_LOG);
        self.write("container-previous.log", stages::PREVIOUS_CONTAINER_LOG);
        self.write("stages.yaml", &stages::render(&self.folder));
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap_or_else(|error| panic!("write {name}: {error}"));
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn spawn(&mut self, name: &str, args: &[String]) {
        let log = self.folder.join(format!("{name}.log"));
        self.daemons.push(Daemon::start(name, &tool(name), args, &[], &log));
    }

    fn start_etcd(&mut self) -> String {
        let client = format!("http://127.0.0.1:{}", free_port());
        let peer = format!("http://127.0.0.1:{}", free_port());
        let args = [
            format!("--data-dir={}", self.file("etcd")),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            // The data is thrown away; a crash of the machine may take it.
            "--unsafe-no-fsync=true".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        self.spawn("etcd", &args);
        client
    }

    fn start_api_server(&mut self, port: u16, etcd: &str, audit: bool) {
        let mut args = vec![
            format!("--etcd-servers={etcd}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", self.file("server.crt")),
            format!("--tls-private-key-file={}", self.file("server.key")),
            format!("--token-auth-file={}", self.file("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", self.file("service-account.pub")),
            format!("--service-account-signing-key-file={}", self.file("service-account.key")),
            "--service-cluster-ip-range=10.0.0.0/16".to_owned(),
            // A loopback address is not allowed as an endpoint of the service `kubernetes`.
            "--endpoint-reconciler-type=none".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            // The one node is always healthy, however late a busy machine writes its heartbeat.
            "--disable-admission-plugins=TaintNodesByCondition".to_owned(),
            "--profiling=false".to_owned(),
        ];
        if audit {
            self.write("audit-policy.yaml", audit::POLICY);
            args.push(format!("--audit-policy-file={}", self.file("audit-policy.yaml")));
            args.push(format!("--audit-log-path={}", self.audit_log().display()));
        }
        self.spawn("kube-apiserver", &args);
    }

    fn start_controllers(&mut self) {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig(User::Admin).display());
        let common = [kubeconfig.clone(), "--leader-elect=false".to_owned(), "--secure-port=0".to_owned()];
        let quick = ["--kube-api-qps=500".to_owned(), "--kube-api-burst=1000".to_owned()];
        let manager = [
            "--controllers=*,-node-lifecycle-controller,-node-ipam-controller,-cloud-node-lifecycle-controller"
                .to_owned(),
            format!("--service-account-private-key-file={}", self.file("service-account.key")),
            format!("--root-ca-file={}", self.file("ca.crt")),
        ];
        self.spawn("kube-controller-manager", &[&common[..], &quick[..], &manager[..]].concat());
        self.spawn("kube-scheduler", &[&common[..], &quick[..]].concat());
        let port = free_port();
        let kwok = [
            kubeconfig,
            format!("--config={}", self.file("stages.yaml")),
            "--manage-all-nodes=true".to_owned(),
            "--node-ip=127.0.0.1".to_owned(),
            format!("--node-port={port}"),
            format!("--server-address=127.0.0.1:{port}"),
            // Heartbeats are written by a stage; nothing looks at leases here.
            "--node-lease-duration-seconds=0".to_owned(),
        ];
        self.spawn("kwok", &kwok);
    }

    async fn wait_until_ready(&mut self) {
        let client = self.http_client();
        let start = Instant::now();
        loop {
            for daemon in &mut self.daemons {
                daemon.assert_running();
            }
            let url = format!("{}/readyz", self.server);
            let answer = client.get(&url).bearer_auth(User::Admin.token()).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            assert!(
                start.elapsed() < Duration::from_mins(1),
                "the API server is not ready after 60 s:\n{}",
                crate::daemon::tail(&self.folder.join("kube-apiserver.log"), 30)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A client that trusts the API server.
    pub(crate) fn http_client(&self) -> reqwest::Client {
        crate::runtime::install_crypto();
        let pem = std::fs::read(self.folder.join("ca.crt")).expect("read ca.crt");
        let authority = reqwest::Certificate::from_pem(&pem).expect("a certificate");
        reqwest::Client::builder().tls_certs_only([authority]).no_proxy().build().expect("an HTTP client")
    }
}

fn token_line(user: User) -> String {
    format!("{},{},{},\"{}\"\n", user.token(), user.name(), user.name(), user.group())
}
