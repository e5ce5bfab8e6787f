//! The API server as helm sees it, on a loopback address, for releases that act in another name,
//! in another cluster, or whose records helm would not find.
//!
//! ```text
//! helm ──kubeconfig of one action──► 127.0.0.1 ──the release's own client──► its API server
//! ```
//!
//! Who acts, and where, is decided here and not asked of helm. A kubeconfig is good for one action
//! and goes with it. It names the endpoint as a proxy, because helm sends a proxy's password over
//! plain HTTP, but no token of a user; and the server's name in it stays the same for a cluster,
//! so that what helm keeps of it on disk is found again.

pub mod records;

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, StatusCode, header};
use kube::Client;
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;

use crate::source::digest::hex;
use records::{Asked, Records};

/// Cap on a request's body; the API server takes 3 MiB.
const REQUEST_LIMIT: usize = 8 << 20;

/// Headers of one connection, and those that say who asks: helm has no say in that.
const NOT_PASSED_ON: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("proxy-connection"),
];

/// What an action may reach.
#[derive(Clone)]
pub struct Access {
    /// Speaks with the identity that the action has.
    pub client: Client,
    /// A name for the cluster, the same each time: letters and digits.
    pub cluster: String,
    /// The release's records, when they are not where helm looks for them.
    pub records: Option<Records>,
}

/// Hands out admissions. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    address: SocketAddr,
    folder: PathBuf,
    grants: Grants,
}

/// Serves the admitted actions; to be run for as long as the operator runs.
pub struct Server {
    listener: std::net::TcpListener,
    grants: Grants,
}

type Grants = Arc<Mutex<HashMap<String, Arc<Grant>>>>;

struct Grant {
    token: String,
    access: Access,
}

/// The access of one action; dropped, it is void.
pub struct Admission {
    kubeconfig: NamedTempFile,
    token: String,
    id: String,
    grants: Grants,
}

impl Endpoint {
    /// Takes a free port. Kubeconfigs are kept in a private folder below `data_dir`; what an
    /// earlier process left there goes.
    pub fn open(data_dir: &Path) -> io::Result<(Self, Server)> {
        let folder = data_dir.join("access");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let endpoint = Self { address: listener.local_addr()?, folder, grants: Grants::default() };
        let server = Server { listener, grants: endpoint.grants.clone() };
        Ok((endpoint, server))
    }

    /// Lets one action in.
    pub fn admit(&self, access: Access) -> io::Result<Admission> {
        let (id, token) = (random(), random());
        let kubeconfig = self.kubeconfig(&access.cluster, &id, &token).to_string();
        // Only its owner can read a temporary file.
        let mut file = tempfile::Builder::new().prefix("kubeconfig-").tempfile_in(&self.folder)?;
        file.write_all(kubeconfig.as_bytes())?;
        locked(&self.grants).insert(id.clone(), Arc::new(Grant { token: token.clone(), access }));
        Ok(Admission { kubeconfig: file, token, id, grants: self.grants.clone() })
    }

    fn kubeconfig(&self, cluster: &str, id: &str, token: &str) -> serde_json::Value {
        let server = format!("http://{cluster}.cluster.invalid");
        let proxy = format!("http://{id}:{token}@{}", self.address);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "release",
            "clusters": [{"name": "release", "cluster": {"server": server, "proxy-url": proxy}}],
            "contexts": [{"name": "release", "context": {"cluster": "release", "user": "release"}}],
            "users": [{"name": "release", "user": {}}],
        })
    }
}

impl Admission {
    /// The kubeconfig for helm.
    pub fn kubeconfig(&self) -> &Path {
        self.kubeconfig.path()
    }

    /// What must not show in what helm says.
    pub fn secret(&self) -> &str {
        &self.token
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        locked(&self.grants).remove(&self.id);
    }
}

fn locked(grants: &Grants) -> MutexGuard<'_, HashMap<String, Arc<Grant>>> {
    grants.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 128 bits in hexadecimal.
fn random() -> String {
    hex(&rand::random::<[u8; 16]>())
}

impl Server {
    /// Serves for ever.
    pub async fn run(self) -> io::Result<()> {
        let routes = Router::new().fallback(answer).with_state(self.grants);
        axum::serve(TcpListener::from_std(self.listener)?, routes).await
    }
}

async fn answer(State(grants): State<Grants>, request: Request) -> Response {
    let Some(grant) = granted(&grants, request.headers()) else {
        return refusal(StatusCode::UNAUTHORIZED, "Unauthorized", "this address serves running helm actions only");
    };
    forward(&grant.access, request).await.unwrap_or_else(|refused| refused)
}

/// The grant that the request has the token of.
fn granted(grants: &Grants, headers: &HeaderMap) -> Option<Arc<Grant>> {
    let given = headers.get(header::PROXY_AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let given = String::from_utf8(STANDARD.decode(given).ok()?).ok()?;
    let (id, token) = given.split_once(':')?;
    let grant = locked(grants).get(id).cloned()?;
    same(grant.token.as_bytes(), token.as_bytes()).then_some(grant)
}

/// Compares in a time that does not tell where two texts differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (one, other)| sum | (one ^ other));
    one.len() == other.len() && std::hint::black_box(difference) == 0
}

/// Passes a request on and streams the answer back; the error is an answer, too.
async fn forward(access: &Access, request: Request) -> Result<Response, Response> {
    let (mut parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, REQUEST_LIMIT).await.map_err(|error| {
        refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &format!("the request cannot be read: {error}"))
    })?;
    let (path, query) = (parts.uri.path(), parts.uri.query());
    let asked = Asked { method: &parts.method, path, query: query.unwrap_or_default(), body: &body };
    let moved = access.records.as_ref().and_then(|records| records.moved(&asked));
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let uri = format!("{}{query}", moved.as_deref().unwrap_or(path));
    let bad = |error: http::Error| refusal(StatusCode::BAD_REQUEST, "BadRequest", &error.to_string());
    let mut passed = http::Request::builder().method(parts.method).uri(uri);
    if let Some(headers) = passed.headers_mut() {
        headers.extend(passed_on(&mut parts.headers));
    }
    let passed = passed.body(kube::client::Body::from(body)).map_err(bad)?;
    let answer = access.client.send(passed).await.map_err(|error| {
        refusal(StatusCode::BAD_GATEWAY, "ServiceUnavailable", &format!("the API server did not answer: {error}"))
    })?;
    let (mut parts, body) = answer.into_parts();
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = parts.status;
    response.headers_mut().extend(passed_on(&mut parts.headers));
    Ok(response)
}

/// The headers that are about the message and not about the connection or its user.
fn passed_on(headers: &mut HeaderMap) -> HeaderMap {
    for name in &NOT_PASSED_ON {
        headers.remove(name);
    }
    let impersonates = |name: &HeaderName| name.as_str().starts_with("impersonate-");
    headers.iter().filter(|(name, _)| !impersonates(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A failure as the API server says it, so that helm shows the message.
fn refusal(code: StatusCode, reason: &str, message: &str) -> Response {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "reason": reason, "message": message, "code": code.as_u16(),
    });
    (code, [(header::CONTENT_TYPE, "application/json")], status.to_string()).into_response()
}

#[cfg(test)]
mod tests;
