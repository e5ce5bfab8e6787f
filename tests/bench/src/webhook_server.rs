//! An HTTP(S) server on loopback that keeps what it is sent, and answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde_json::Value;

use crate::http_server::{Auth, Behaviour, Control, HttpServer};
use crate::pki::Authority;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Method, such as `POST`.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// The bytes of the body.
    pub body: Bytes,
}

impl Received {
    /// A header as text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Kept {
    received: Mutex<Vec<Received>>,
    answers: Mutex<VecDeque<(StatusCode, HeaderMap)>>,
}

/// The running server; stops when dropped.
#[derive(Debug)]
pub struct WebhookServer {
    http: HttpServer,
    control: Arc<Control>,
    kept: Arc<Kept>,
}

impl WebhookServer {
    /// Serves plain HTTP.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn start() -> Self {
        Self::serve(|router, control| HttpServer::start(router, Auth::None, None, control))
    }

    /// Serves HTTPS, to clients that show a certificate of the authority.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn start_mutual(authority: &Authority) -> Self {
        Self::serve(|router, control| HttpServer::start_mutual(router, Auth::None, authority, control))
    }

    fn serve(start: impl FnOnce(Router, Arc<Control>) -> HttpServer) -> Self {
        let (control, kept) = (Arc::new(Control::default()), Arc::new(Kept::default()));
        let router = Router::new().fallback(keep).with_state(Arc::clone(&kept));
        Self { http: start(router, Arc::clone(&control)), control, kept }
    }

    /// `http(s)://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        self.http.url()
    }

    /// Changes what becomes of all requests to come.
    pub fn behave(&self, behaviour: Behaviour) {
        self.control.behave(behaviour);
    }

    /// How many requests came, those included that were not answered.
    pub fn count(&self) -> u64 {
        self.control.count()
    }

    /// The requests that were answered.
    pub fn received(&self) -> Vec<Received> {
        self.kept.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers the next requests with these statuses and headers, and then with 200 again.
    ///
    /// # Panics
    /// When a status or a header is none.
    pub fn answer(&self, answers: &[(u16, &[(&str, &str)])]) {
        let header = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
            (name, HeaderValue::from_str(value).expect("a header's value"))
        };
        let answers = answers.iter().map(|(status, headers)| {
            (StatusCode::from_u16(*status).expect("a status"), headers.iter().map(header).collect())
        });
        self.kept.answers.lock().unwrap_or_else(PoisonError::into_inner).extend(answers);
    }
}

/// Refusals repeat the path, as those of many servers do.
async fn keep(
    State(kept): State<Arc<Kept>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    let path = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let told = format!("{method} {path}");
    kept.received.lock().unwrap_or_else(PoisonError::into_inner).push(Received { method, path, headers, body });
    let next = kept.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let (status, headers) = next.unwrap_or((StatusCode::OK, HeaderMap::new()));
    (status, headers, if status.is_success() { "ok".to_owned() } else { format!("cannot {told}") })
}
