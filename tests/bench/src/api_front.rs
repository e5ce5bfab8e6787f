//! Stands before the API server over HTTPS: it passes everything on and keeps what was asked, but may give itself out for
//! another version of Kubernetes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::bench::TestBench;
use crate::http_server::{Auth, Control, HttpServer};
use crate::pki::Authority;

/// A running front; stops when dropped.
#[derive(Debug)]
pub struct ApiFront {
    _server: HttpServer,
    control: Arc<Control>,
    version: Version,
    kubeconfig: PathBuf,
}

/// Major and minor, as `/version` tells them; the API server's own answer without.
type Version = Arc<Mutex<Option<(String, String)>>>;

#[derive(Clone)]
struct Upstream {
    client: reqwest::Client,
    url: String,
    version: Version,
}

impl ApiFront {
    /// Passes on to the API server of this bench.
    ///
    /// # Panics
    /// When a port or a file cannot be had.
    pub fn of(bench: &TestBench) -> Self {
        let (control, version, authority) = (Arc::new(Control::default()), Version::default(), Authority::new());
        let client = bench.http_client();
        let upstream = Upstream { client, url: bench.server().to_owned(), version: version.clone() };
        let router = Router::new().fallback(answer).with_state(upstream);
        let server = HttpServer::start(router, Auth::None, Some(&authority), control.clone());
        let kubeconfig = bench.kubeconfig_of_server(server.url(), &authority.certificate());
        Self { _server: server, control, version, kubeconfig }
    }

    /// A kubeconfig file of the administrator that leads through here.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Gives itself out for Kubernetes `major.minor`; with `None` for what the API server is.
    pub fn claims(&self, version: Option<(&str, &str)>) {
        let version = version.map(|(major, minor)| (major.to_owned(), minor.to_owned()));
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }

    /// What was asked, as `GET /path?query`.
    pub fn requests(&self) -> Vec<String> {
        self.control.requests()
    }
}

async fn answer(State(upstream): State<Upstream>, request: Request) -> Response {
    let claimed = upstream.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match claimed {
        Some((major, minor)) if request.uri().path() == "/version" => version(&major, &minor),
        _ => pass_on(&upstream, request).await.unwrap_or_else(|error| {
            (StatusCode::BAD_GATEWAY, format!("the front cannot reach the API server: {error}")).into_response()
        }),
    }
}

fn version(major: &str, minor: &str) -> Response {
    let build = |name: &str| (name.to_owned(), Value::from("unknown"));
    let mut answer: serde_json::Map<String, Value> =
        ["gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"]
            .map(build)
            .into_iter()
            .collect();
    answer.insert("major".to_owned(), json!(major));
    answer.insert("minor".to_owned(), json!(minor));
    answer.insert("gitVersion".to_owned(), json!(format!("v{major}.{minor}.0")));
    ([(header::CONTENT_TYPE, "application/json")], Value::from(answer).to_string()).into_response()
}

async fn pass_on(upstream: &Upstream, request: Request) -> Result<Response, reqwest::Error> {
    let (mut head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{target}", upstream.url);
    of_one_connection(&mut head.headers);
    let body = reqwest::Body::wrap_stream(body.into_data_stream());
    let answer = upstream.client.request(head.method, url).headers(head.headers).body(body).send().await?;
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    of_one_connection(&mut headers);
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Takes out what is between two neighbours only.
fn of_one_connection(headers: &mut http::HeaderMap) {
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
}
