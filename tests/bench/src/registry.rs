//! An OCI registry: `crane registry serve`, and in front of it, where asked for, a server that wants credentials,
//! speaks TLS, counts, and passes on what is read.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::bench::Helm;
use crate::chart_server::{hex, package};
use crate::daemon::{Daemon, Scratch};
use crate::http_server::{Auth, Control, HttpServer, Tls};
use crate::pki::Authority;
use crate::ports::free_port;
use crate::tools::{run, tool};
use crate::wait::wait_for;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Headers of an answer that are passed on.
const PASSED_ON: [&str; 4] = ["docker-content-digest", "content-type", "content-length", "link"];

/// How a registry is to be started.
#[derive(Debug, Default)]
pub struct OciRegistryBuilder {
    auth: Auth,
    tls: Tls,
}

/// A registry on loopback.
#[derive(Debug)]
pub struct OciRegistry {
    address: String,
    front: HttpServer,
    control: Arc<Control>,
    authority: Option<Authority>,
    scratch: Scratch,
    _daemon: Daemon,
}

/// One layer of an artifact: its media type and its bytes.
pub type Layer<'l> = (&'l str, Vec<u8>);

impl OciRegistryBuilder {
    /// Asks readers for a user name and a password.
    #[must_use]
    pub fn basic_auth(mut self, username: &str, password: &str) -> Self {
        self.auth = Auth::Basic { username: username.to_owned(), password: password.to_owned() };
        self
    }

    /// Serves readers over HTTPS with a certificate that only [`OciRegistry::authority`] vouches for.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = Tls::Server;
        self
    }

    /// Serves over HTTPS only readers that show a certificate of [`OciRegistry::authority`].
    #[must_use]
    pub fn mutual_tls(mut self) -> Self {
        self.tls = Tls::Mutual;
        self
    }

    /// Starts it, empty, and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(self) -> OciRegistry {
        crate::runtime::install_crypto();
        let scratch = Scratch::new("registry");
        let address = format!("127.0.0.1:{}", free_port());
        let args = ["registry", "serve", "--address", &address];
        let daemon = Daemon::start("crane", &tool("crane"), args, &[], &scratch.path().join("crane.log"));
        let control = Arc::new(Control::default());
        let router =
            Router::new().fallback(pass_on).with_state(Arc::new(Inner { address: address.clone(), client: client() }));
        let (front, authority) = HttpServer::start_as(router, self.auth, self.tls, &control);
        let registry = OciRegistry { address, front, control, authority, scratch, _daemon: daemon };
        let ping = format!("http://{}/v2/", registry.address);
        wait_for("the registry to answer", Duration::from_secs(30), || async {
            client().get(&ping).send().await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        registry
    }
}

impl OciRegistry {
    /// Plain HTTP, open to all.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// To ask for more than plain HTTP.
    pub fn builder() -> OciRegistryBuilder {
        OciRegistryBuilder::default()
    }

    /// What readers connect to: `127.0.0.1:<port>`.
    pub fn host(&self) -> &str {
        self.front.url().rsplit('/').next().unwrap_or_default()
    }

    /// Where plain HTTP without credentials leads to the same artifacts, for writers: `127.0.0.1:<port>`.
    pub fn open_host(&self) -> &str {
        &self.address
    }

    /// `oci://<host>/<repository>`.
    pub fn url(&self, repository: &str) -> String {
        format!("oci://{}/{repository}", self.host())
    }

    /// `http(s)://<host>`: the front, which serves as an HTTP proxy as well.
    pub fn front(&self) -> &str {
        self.front.url()
    }

    /// The authority that vouches for the HTTPS server.
    ///
    /// # Panics
    /// When TLS was not asked for.
    pub fn authority(&self) -> &Authority {
        self.authority.as_ref().expect("built with tls()")
    }

    /// All requests of readers so far: `GET /path`.
    pub fn requests(&self) -> Vec<String> {
        self.control.requests()
    }

    /// Pushes an artifact of these layers under a tag; gives its digest.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub async fn push(
        &self,
        repository: &str,
        tag: &str,
        layers: &[Layer<'_>],
        annotations: &[(&str, &str)],
    ) -> String {
        let mut described = Vec::new();
        for (media_type, bytes) in layers {
            described.push(self.push_blob(repository, media_type, bytes).await);
        }
        let annotations: Map<String, Value> = annotations.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        let config = self.push_blob(repository, "application/vnd.cncf.flux.config.v1+json", b"{}").await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": described, "annotations": annotations, "config": config,
        });
        let described = self.push_manifest(repository, tag, &manifest).await;
        described["digest"].as_str().expect("a descriptor has a digest").to_owned()
    }

    /// Pushes something that is about the artifact with this digest, so that it is found from there.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub async fn attach(&self, repository: &str, digest: &str, media_type: &str, bytes: &[u8]) {
        let layer = self.push_blob(repository, media_type, bytes).await;
        let config = self.push_blob(repository, "application/vnd.oci.empty.v1+json", b"{}").await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": media_type, "config": config,
            "layers": [layer], "subject": {"mediaType": MANIFEST, "digest": digest, "size": 0},
        });
        let mut described = self.push_manifest(repository, &format!("about-{}", &digest[7..]), &manifest).await;
        described["artifactType"] = json!(media_type);
        // Crane's registry lists nothing by itself: this tag is where clients look instead.
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [described]});
        self.push_manifest(repository, &digest.replace(':', "-"), &index).await;
    }

    async fn push_blob(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Value {
        let digest = format!("sha256:{}", hex(&Sha256::digest(bytes)));
        let url = format!("http://{}/v2/{repository}/blobs/uploads/?digest={digest}", self.address);
        let answer = client().post(url).body(bytes.to_vec()).send().await.expect("push a blob");
        assert!(answer.status().is_success(), "push a blob: {}", answer.status());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    async fn push_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Value {
        let media_type = manifest["mediaType"].as_str().expect("a manifest has a media type");
        let text = manifest.to_string();
        let digest = format!("sha256:{}", hex(&Sha256::digest(&text)));
        let described = json!({"mediaType": media_type, "digest": digest, "size": text.len()});
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.address);
        let request = client().put(url).header(header::CONTENT_TYPE, media_type).body(text);
        let answer = request.send().await.expect("push a manifest");
        assert!(answer.status().is_success(), "push a manifest: {}", answer.status());
        described
    }

    /// The digest of what a tag names.
    ///
    /// # Panics
    /// When there is no such tag.
    pub async fn digest(&self, repository: &str, tag: &str) -> String {
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.address);
        let answer = client().head(&url).send().await.expect("ask for a manifest");
        let digest = answer.headers().get("docker-content-digest").expect("a manifest has a digest");
        digest.to_str().expect("a digest is text").to_owned()
    }

    /// `helm push` of a chart's folder as this version to `<repository>/<name of the chart>`.
    ///
    /// # Panics
    /// When helm fails.
    pub fn push_chart(&self, repository: &str, chart: &Path, version: &str) {
        let (_, archive) = package(chart, version);
        let file = self.scratch.path().join(format!("chart-{version}.tgz"));
        std::fs::write(&file, archive).expect("write a package");
        self.push_package(repository, &file);
    }

    /// `helm push` of a package, and of the provenance file beside it, to `<repository>/<name of the chart>`.
    ///
    /// # Panics
    /// When helm fails.
    pub fn push_package(&self, repository: &str, file: &Path) {
        let target = format!("oci://{}/{repository}", self.address);
        let mut helm = Command::new(Helm::V4.path());
        helm.args(["push", "--plain-http"]).arg(file).arg(target).env("HELM_CONFIG_HOME", self.scratch.path());
        run(&mut helm);
    }
}

/// A gzip-compressed tar of these files.
///
/// # Panics
/// When memory ends.
pub fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, text.as_bytes()).expect("append to an archive");
    }
    archive.into_inner().and_then(GzEncoder::finish).expect("finish an archive")
}

struct Inner {
    address: String,
    client: reqwest::Client,
}

fn client() -> reqwest::Client {
    crate::runtime::install_crypto();
    reqwest::Client::builder().no_proxy().build().expect("an HTTP client")
}

/// Whatever host was asked, this registry answers.
async fn pass_on(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    if !request.method().is_safe() {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let url = format!("http://{}{path}", inner.address);
    let accept = request.headers().get_all(header::ACCEPT).iter().cloned();
    let sent = accept
        .fold(inner.client.request(request.method().clone(), url), |sent, accept| sent.header(header::ACCEPT, accept));
    let Ok(answer) = sent.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    for name in PASSED_ON {
        if let Some(value) = answer.headers().get(name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    let Ok(body) = answer.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
    response.map(|_| Body::from(body))
}
