//! A Helm repository over HTTP(S).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::daemon::Scratch;
use crate::http_server::{Auth, Behaviour, Control, HttpServer, Tls};
use crate::pki::{Authority, Identity};
use crate::tools::workspace;

/// How a chart server is to be started.
#[derive(Debug, Default)]
pub struct ChartServerBuilder {
    auth: Auth,
    tls: Tls,
    dated: bool,
}

/// A Helm repository on loopback that serves packaged charts and their index.
#[derive(Debug)]
pub struct ChartServer {
    control: Arc<Control>,
    authority: Option<Authority>,
    http: HttpServer,
    entries: Mutex<Vec<Value>>,
    sent: Arc<Mutex<Vec<String>>>,
    compressed: Arc<Mutex<Vec<String>>>,
    scratch: Scratch,
}

impl ChartServerBuilder {
    /// Asks clients for a user name and a password.
    #[must_use]
    pub fn basic_auth(mut self, username: &str, password: &str) -> Self {
        self.auth = Auth::Basic { username: username.to_owned(), password: password.to_owned() };
        self
    }

    /// Serves HTTPS with a certificate that only [`ChartServer::authority`] vouches for.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = Tls::Server;
        self
    }

    /// As [`ChartServerBuilder::tls`], and asks clients for a certificate such as [`ChartServer::client`] gives.
    #[must_use]
    pub fn mutual_tls(mut self) -> Self {
        self.tls = Tls::Mutual;
        self
    }

    /// Tells of its files when they were changed (all at the same time, [`DATE`]), and no entity tags.
    #[must_use]
    pub fn dated(mut self) -> Self {
        self.dated = true;
        self
    }

    /// Starts it, without any chart.
    ///
    /// # Panics
    /// When the port cannot be bound.
    pub fn start(self) -> ChartServer {
        let scratch = Scratch::new("charts");
        let control = Arc::new(Control::default());
        let (sent, compressed) = (Arc::default(), Arc::default());
        let files = Files {
            folder: scratch.path().to_owned(),
            sent: Arc::clone(&sent),
            compressed: Arc::clone(&compressed),
            dated: self.dated,
        };
        let router = Router::new().fallback(answer).with_state(files);
        let (http, authority) = HttpServer::start_as(router, self.auth, self.tls, &control);
        let server = ChartServer { control, authority, http, entries: Mutex::default(), sent, compressed, scratch };
        server.write_index(&[]);
        server
    }
}

impl ChartServer {
    /// Plain HTTP, open to all.
    ///
    /// # Panics
    /// When the port cannot be bound.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// To ask for more than plain HTTP.
    pub fn builder() -> ChartServerBuilder {
        ChartServerBuilder::default()
    }

    /// The repository's address.
    pub fn url(&self) -> &str {
        self.http.url()
    }

    /// The PEM certificate that vouches for the HTTPS server.
    ///
    /// # Panics
    /// When TLS was not asked for.
    pub fn authority(&self) -> String {
        self.authority.as_ref().expect("built with tls()").certificate()
    }

    /// A client's certificate that the server accepts.
    ///
    /// # Panics
    /// When TLS was not asked for.
    pub fn client(&self) -> Identity {
        self.authority.as_ref().expect("built with mutual_tls()").client()
    }

    /// Packages a chart's folder as this version and adds it to the index.
    ///
    /// # Panics
    /// When the folder holds no chart.
    pub fn publish(&self, chart: &Path, version: &str) {
        let (metadata, archive) = package(chart, version);
        self.publish_archive(metadata, &archive);
    }

    /// Serves an archive as the chart that `metadata` (the fields of a `Chart.yaml`) describes.
    ///
    /// # Panics
    /// When the metadata has no name or version.
    pub fn publish_archive(&self, mut metadata: Value, archive: &[u8]) {
        let text = |field: &str| metadata[field].as_str().expect("a chart's name and version").to_owned();
        let file = format!("{}-{}.tgz", text("name"), text("version"));
        std::fs::write(self.scratch.path().join(&file), archive).expect("write a chart");
        metadata["urls"] = json!([file]);
        metadata["digest"] = json!(hex(&Sha256::digest(archive)));
        metadata["created"] = json!(jiff::Timestamp::now().to_string());
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry["urls"] != metadata["urls"]);
        entries.push(metadata);
        self.write_index(&entries);
    }

    /// Replaces a served file (`index.yaml`, `name-version.tgz`) by any bytes.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn replace(&self, file: &str, bytes: &[u8]) {
        std::fs::write(self.scratch.path().join(file), bytes).expect("write a file");
    }

    /// Serves a file with `Content-Encoding: gzip` from now on, as servers do that go by a file's name.
    pub fn mark_compressed(&self, file: &str) {
        self.compressed.lock().unwrap_or_else(PoisonError::into_inner).push(file.to_owned());
    }

    /// Sends clients to another server from now on.
    pub fn redirect_to(&self, other: &Self) {
        self.control.redirect("/", format!("{}/", other.url()));
    }

    /// Whether any request came with an `Authorization` header.
    pub fn saw_credentials(&self) -> bool {
        self.control.saw_credentials()
    }

    /// Serves, refuses or hangs from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.control.behave(behaviour);
    }

    /// All requests so far: `GET /path`.
    pub fn requests(&self) -> Vec<String> {
        self.control.requests()
    }

    /// How many requests for a file got its bytes; those that had it already get none.
    pub fn sent(&self, file: &str) -> usize {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().filter(|name| *name == file).count()
    }

    fn write_index(&self, entries: &[Value]) {
        let mut index = json!({"apiVersion": "v1", "entries": {}, "generated": jiff::Timestamp::now().to_string()});
        for entry in entries {
            let name = entry["name"].as_str().expect("a chart's name");
            match &mut index["entries"][name] {
                Value::Array(versions) => versions.push(entry.clone()),
                missing => *missing = json!([entry]),
            }
        }
        // JSON is YAML.
        self.replace("index.yaml", index.to_string().as_bytes());
    }
}

/// What is served.
#[derive(Clone)]
struct Files {
    folder: PathBuf,
    sent: Arc<Mutex<Vec<String>>>,
    compressed: Arc<Mutex<Vec<String>>>,
    dated: bool,
}

/// When all files of a server were changed that tells dates.
pub const DATE: &str = "Wed, 21 Oct 2015 07:28:00 GMT";

async fn answer(State(files): State<Files>, request: Request) -> Response {
    let name = request.uri().path().trim_start_matches('/');
    if name.contains('/') {
        return StatusCode::NOT_FOUND.into_response();
    }
    let Ok(bytes) = std::fs::read(files.folder.join(name)) else { return StatusCode::NOT_FOUND.into_response() };
    let (asks, tells, age) = if files.dated {
        (header::IF_MODIFIED_SINCE, header::LAST_MODIFIED, DATE.to_owned())
    } else {
        (header::IF_NONE_MATCH, header::ETAG, format!("\"{}\"", hex(&Sha256::digest(&bytes))))
    };
    let known = request.headers().get(asks).and_then(|value| value.to_str().ok());
    if known == Some(&*age) {
        return (StatusCode::NOT_MODIFIED, [(tells, age)]).into_response();
    }
    files.sent.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
    let mut response = ([(tells, age)], bytes).into_response();
    if files.compressed.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|file| file == name) {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// The folder of a fixture chart in `tests/fixtures/charts/`.
///
/// # Panics
/// When there is none of this name.
pub fn fixture_chart(name: &str) -> PathBuf {
    let folder = workspace().join("tests/fixtures/charts").join(name);
    assert!(folder.join("Chart.yaml").exists(), "no fixture chart {}", folder.display());
    folder
}

/// The files of a chart's folder as (path, text), for committing them to a git repository.
///
/// # Panics
/// When a file is not text.
pub fn chart_files(chart: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(chart, chart, &mut files);
    files.sort();
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("read a chart's folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            files.push((name, std::fs::read_to_string(&path).expect("a text file")));
        }
    }
}

/// The metadata of a chart's folder with this version, and the `.tgz` that `helm package` would make of it.
///
/// # Panics
/// When the folder holds no chart.
pub fn package(chart: &Path, version: &str) -> (Value, Vec<u8>) {
    let text = std::fs::read_to_string(chart.join("Chart.yaml")).expect("a Chart.yaml");
    let mut metadata: Value = serde_saphyr::from_str(&text).expect("a Chart.yaml that parses");
    metadata["version"] = json!(version);
    let name = metadata["name"].as_str().expect("a chart's name").to_owned();
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in chart_files(chart) {
        let text = if path == "Chart.yaml" { metadata.to_string() } else { text };
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("{name}/{path}"), text.as_bytes()).expect("append to an archive");
    }
    let bytes = archive.into_inner().and_then(GzEncoder::finish).expect("finish an archive");
    (metadata, bytes)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
