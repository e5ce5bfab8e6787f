//! A whole Kubernetes control plane on loopback, for tests, the demo and the benchmarks.
//!
//! ```no_run
//! # async fn test() {
//! use std::time::Duration;
//! use fairlead_testbench::{shared, wait_for};
//!
//! let bench = shared().await; // one control plane per test binary; needs `make tools`
//! bench.install_crds().await; // the repository's crds/, once
//! let namespace = bench.namespace("ui").await; // ui-0, with its service account
//! bench.apply("…YAML…"); // server-side; panics with the API server's words
//! let client = bench.client().await; // one per test: it lives on the test's runtime
//! let value = wait_for("a ready replica", Duration::from_secs(30), || async {
//!     Err::<(), _>("what is seen instead, for the error text".to_owned())
//! })
//! .await;
//! let pods = bench.kubectl(&["get", "pods", "--namespace", &namespace]);
//! # }
//! ```
//!
//! The operator runs as a child process, with its log kept and printed when a test fails; tests that share a control
//! plane give each operator its own namespace:
//!
//! ```no_run
//! # async fn test(bench: &fairlead_testbench::TestBench) {
//! use fairlead_testbench::{Helm, Operator};
//! let binary = std::path::Path::new("…"); // env!("CARGO_BIN_EXE_fairlead")
//! let mut operator = Operator::builder(binary, bench).helm(Helm::V3).watch_namespace("ui-0").start().await;
//! operator.kill(); // SIGKILL
//! operator.restart().await; // same data directory
//! assert!(operator.log_lines().iter().any(|line| line["level"] == "INFO"));
//! # }
//! ```
//!
//! Remotes are real as well: git's own `http-backend`, an SSH server, and a Helm repository, all on loopback:
//!
//! ```no_run
//! use fairlead_testbench::{Behaviour, ChartServer, GitServer, KeyKind, SshKey, fixture_chart};
//!
//! let key = SshKey::generate(KeyKind::EcdsaP384); // key.private, key.public: a Secret's identity, identity.pub
//! let git = GitServer::builder().ssh(&key).start(); // also basic_auth(), bearer(), tls()
//! let releases = git.repository("releases");
//! let sha = releases.commit("a message", &[("production/ui.yaml", Some("…")), ("old.yaml", None)]);
//! let (http, ssh, hosts) = (git.url(&releases), git.ssh_url(&releases), git.known_hosts());
//! git.behave(Behaviour::Refuse); // or Hang, or Serve again; git.count() and git.requests() tell who asked
//!
//! let charts = ChartServer::start(); // also builder().basic_auth().tls()
//! charts.publish(&fixture_chart("nodejs"), "1.2.3"); // tests/fixtures/charts/{nodejs,hooks}
//! ```
//!
//! Packages can be signed by helm itself:
//!
//! ```no_run
//! use fairlead_testbench::signing::PgpKey;
//! use fairlead_testbench::{ChartServer, Helm, SignedPackage, fixture_chart};
//!
//! let (charts, key) = (ChartServer::start(), PgpKey::generate());
//! SignedPackage::make(Helm::V4, &fixture_chart("nodejs"), "1.2.3", &key).publish(&charts); // with its .prov
//! ```
//!
//! And an OCI registry, `crane registry serve`:
//!
//! ```no_run
//! # async fn test() {
//! use fairlead_testbench::{CosignKey, NotationKey, OciRegistry, fixture_chart, tarball};
//! let registry = OciRegistry::start().await; // also builder().basic_auth().tls().mutual_tls()
//! let digest = registry.push("app", "1.0.0", &[("a/media-type", tarball(&[("a.yaml", "…")]))], &[]).await;
//! registry.push_chart("charts", &fixture_chart("nodejs"), "1.2.3"); // by `helm push`
//! CosignKey::generate().sign(&registry, "app", &digest);
//! NotationKey::generate("authors").sign(&registry, "app", &digest);
//! # }
//! ```
//!
//! An S3 compatible store checks its clients' signatures:
//!
//! ```no_run
//! use fairlead_testbench::S3Server;
//!
//! let store = S3Server::builder().keys("robot", "secret").start(); // also tls()
//! store.put("charts/ui/Chart.yaml", "…"); // into the bucket store.bucket() at store.endpoint()
//! ```
//!
//! An operator behind a line of its own to the API server can be cut off from it:
//!
//! ```no_run
//! # async fn test(bench: &fairlead_testbench::TestBench, binary: &std::path::Path) {
//! use fairlead_testbench::{FaultProxy, Line, Operator};
//!
//! let line = FaultProxy::to(bench.server().trim_start_matches("https://"));
//! let operator = Operator::builder(binary, bench).kubeconfig(&bench.kubeconfig_via(&line)).start().await;
//! line.behave(Line::Hangs); // or Cut, or Works again
//! # }
//! ```
//!
//! One that stands behind a front sees another version of Kubernetes, and what it asks for is kept:
//!
//! ```no_run
//! # async fn test(bench: &fairlead_testbench::TestBench, binary: &std::path::Path) {
//! use fairlead_testbench::{ApiFront, Operator};
//!
//! let front = ApiFront::of(bench);
//! front.claims(Some(("1", "28"))); // None: what it is
//! let operator = Operator::builder(binary, bench).kubeconfig(front.kubeconfig()).spawn();
//! let asked = front.requests(); // GET /version …
//! # }
//! ```
//!
//! And a Prometheus scrapes what it is told to:
//!
//! ```no_run
//! # async fn test() {
//! use fairlead_testbench::Prometheus;
//! let prometheus = Prometheus::start(&["http://127.0.0.1:9090"], "groups: []").await;
//! let alerts = prometheus.alerts().await; // name, state and labels
//! # }
//! ```
//!
//! What is sent to a webhook is kept:
//!
//! ```no_run
//! use fairlead_testbench::WebhookServer;
//!
//! let chat = WebhookServer::start(); // also start_mutual(&authority)
//! chat.answer(&[(429, &[("Retry-After", "0")])]); // then 200 again
//! let received = chat.received(); // path, headers, body
//! ```
//!
//! An OpenTelemetry collector decodes what it is sent:
//!
//! ```no_run
//! use fairlead_testbench::OtlpCollector;
//!
//! let collector = OtlpCollector::start(); // collector.webhooks() tells and changes how it answers
//! let spans = collector.spans(); // with ids, parents, attributes and those of the process
//! ```
//!
//! Pods run on a simulated node. A pod asks for trouble by the annotation (or label) `bench.fairlead.dev/fault`:
//!
//! | fault | what it does |
//! |---|---|
//! | `never-ready` | runs, but is never ready |
//! | `crash-loop` | `CrashLoopBackOff`; the last run ended with exit code 3 and left a log |
//! | `image-pull` | `ImagePullBackOff`, with the image in the message |
//! | `job-fails` | a Job's pod ends with exit code 1 (without it: it completes) |
//! | `test-fails` | a pod with a `helm.sh/hook` annotation ends with exit code 1 (without it: it completes) |
//!
//! `bench.fairlead.dev/ready-after: 3s` delays readiness, `bench.fairlead.dev/complete-after: 3s` completion.
//!
//! `TestBench::start_audited` writes down what service accounts ask the API server for (`bench.requests()`), and
//! `bench.kubeconfig_of_account` speaks as one.
//!
//! No process survives the test process, however that ends. A failed test's logs are kept in `target/bench-failures/`.

pub mod api_front;
pub mod bench;
pub mod chart_server;
pub mod control_plane;
pub mod cosign;
pub mod daemon;
mod failure;
pub mod fault_proxy;
pub mod git_server;
pub mod github_api;
pub mod http_server;
pub mod notation;
pub mod objects;
pub mod operator;
pub mod otlp_collector;
pub mod pki;
pub mod ports;
pub mod prometheus;
pub mod provenance;
pub mod proxy;
pub mod registry;
pub mod runtime;
pub mod s3_server;
pub mod signing;
pub mod sigstore;
pub mod tools;
pub mod wait;
pub mod webhook_server;

pub use api_front::ApiFront;
pub use bench::{Helm, TestBench, shared};
pub use chart_server::{ChartServer, chart_files, fixture_chart, package};
pub use control_plane::User;
pub use control_plane::audit::Request;
pub use cosign::CosignKey;
pub use fault_proxy::{FaultProxy, Line};
pub use git_server::{GitServer, KeyKind, Repository, SshKey};
pub use http_server::Behaviour;
pub use notation::NotationKey;
pub use operator::{Operator, OperatorBuilder};
pub use otlp_collector::OtlpCollector;
pub use prometheus::Prometheus;
pub use provenance::SignedPackage;
pub use registry::{OciRegistry, tarball};
pub use s3_server::S3Server;
pub use sigstore::Sigstore;
pub use wait::{try_wait_for, wait_for};
pub use webhook_server::{Received, WebhookServer};
