//! An HTTP(S) server on loopback that can ask for credentials, refuse, hang, and count.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::pki::Authority;
use crate::ports;

/// What a client must send.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// A user name and a password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// A bearer token.
    Bearer {
        /// The token.
        token: String,
    },
}

impl Auth {
    fn header(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Basic { username, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
            }
            Self::Bearer { token } => Some(format!("Bearer {token}")),
        }
    }
}

/// Who shows a certificate of an authority that is made for the server.
#[derive(Clone, Copy, Debug, Default)]
pub enum Tls {
    /// Nobody: plain HTTP.
    #[default]
    None,
    /// The server.
    Server,
    /// The server, and its clients too.
    Mutual,
}

/// How a server treats its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It answers.
    Serve,
    /// It answers 503 (HTTP) or closes the connection (SSH).
    Refuse,
    /// It accepts a request and never answers.
    Hang,
    /// It accepts a request (HTTP) and answers as soon as it behaves otherwise.
    Hold,
}

/// What can be asked and told while a server runs.
#[derive(Debug, Default)]
pub struct Control {
    behaviour: AtomicU8,
    changed: Notify,
    count: AtomicU64,
    requests: Mutex<Vec<String>>,
    credentials: AtomicBool,
    redirect: Mutex<Option<(String, String)>>,
    auth: Mutex<Auth>,
}

impl Control {
    /// Changes the behaviour for all requests to come.
    pub fn behave(&self, behaviour: Behaviour) {
        let code = match behaviour {
            Behaviour::Serve => 0,
            Behaviour::Refuse => 1,
            Behaviour::Hang => 2,
            Behaviour::Hold => 3,
        };
        self.behaviour.store(code, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// The behaviour.
    pub fn behaviour(&self) -> Behaviour {
        match self.behaviour.load(Ordering::SeqCst) {
            0 => Behaviour::Serve,
            1 => Behaviour::Refuse,
            2 => Behaviour::Hang,
            _ => Behaviour::Hold,
        }
    }

    /// The behaviour once it is another one than to hold.
    async fn resolved(&self) -> Behaviour {
        loop {
            let changed = self.changed.notified();
            match self.behaviour() {
                Behaviour::Hold => changed.await,
                other => return other,
            }
        }
    }

    /// How many requests came, refused ones included.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// The requests as `GET /path?query`, or the command of an SSH session.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends requests for paths that begin with `prefix` to where `place` stands in its stead.
    pub fn redirect(&self, prefix: &str, place: String) {
        *self.redirect.lock().unwrap_or_else(PoisonError::into_inner) = Some((prefix.to_owned(), place));
    }

    /// Changes what clients must send.
    pub fn ask_for(&self, auth: Auth) {
        *self.auth.lock().unwrap_or_else(PoisonError::into_inner) = auth;
    }

    fn wanted(&self) -> Option<String> {
        self.auth.lock().unwrap_or_else(PoisonError::into_inner).header()
    }

    fn elsewhere(&self, uri: &axum::http::Uri) -> Option<Response> {
        let (prefix, place) = self.redirect.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let rest = uri.path_and_query()?.as_str().strip_prefix(&prefix)?;
        let place = format!("{place}{rest}");
        let place = HeaderValue::from_str(&place).ok()?;
        Some((StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, place)]).into_response())
    }

    /// Whether any request came with credentials, wanted or not.
    pub fn saw_credentials(&self) -> bool {
        self.credentials.load(Ordering::SeqCst)
    }

    pub(crate) fn note(&self, request: String) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }
}

/// A running server; stops to accept when dropped.
#[derive(Debug)]
pub struct HttpServer {
    url: String,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Serves `router` on a free loopback port, over TLS when there is an authority to vouch for it.
    ///
    /// # Panics
    /// When the port cannot be bound.
    pub fn start(router: Router, auth: Auth, authority: Option<&Authority>, control: Arc<Control>) -> Self {
        Self::listen(router, auth, authority.map(|authority| tls_config(authority, false)), control)
    }

    /// As [`Self::start`], over TLS and only to clients that show a certificate of the authority.
    ///
    /// # Panics
    /// When the port cannot be bound.
    pub fn start_mutual(router: Router, auth: Auth, authority: &Authority, control: Arc<Control>) -> Self {
        Self::listen(router, auth, Some(tls_config(authority, true)), control)
    }

    /// As [`Self::start`] or [`Self::start_mutual`]; gives the authority too.
    ///
    /// # Panics
    /// When the port cannot be bound.
    pub fn start_as(router: Router, auth: Auth, tls: Tls, control: &Arc<Control>) -> (Self, Option<Authority>) {
        let (authority, mutual) = match tls {
            Tls::None => (None, false),
            Tls::Server => (Some(Authority::new()), false),
            Tls::Mutual => (Some(Authority::new()), true),
        };
        let config = authority.as_ref().map(|authority| tls_config(authority, mutual));
        (Self::listen(router, auth, config, Arc::clone(control)), authority)
    }

    fn listen(router: Router, auth: Auth, tls: Option<ServerConfig>, control: Arc<Control>) -> Self {
        let (listener, port) = ports::listen();
        control.ask_for(auth);
        let router = router.layer(middleware::from_fn_with_state(control, pass));
        let runtime = crate::runtime::handle();
        let (scheme, task) = match tls {
            None => ("http", runtime.spawn(serve(listener, router))),
            Some(tls) => ("https", runtime.spawn(serve(TlsListener::new(listener, tls), router))),
        };
        Self { url: format!("{scheme}://127.0.0.1:{port}"), task }
    }

    /// `http(s)://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<L: Listener<Addr: std::fmt::Debug>>(listener: L, router: Router) {
    if let Err(error) = axum::serve(listener, router).await {
        eprintln!("bench: an HTTP server ended: {error}");
    }
}

async fn pass(State(control): State<Arc<Control>>, request: Request, next: Next) -> Response {
    control.note(format!("{} {}", request.method(), request.uri()));
    if request.headers().contains_key(header::AUTHORIZATION) {
        control.credentials.store(true, Ordering::SeqCst);
    }
    match control.resolved().await {
        Behaviour::Serve | Behaviour::Hold => {}
        Behaviour::Refuse => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Behaviour::Hang => std::future::pending().await,
    }
    if let Some(elsewhere) = control.elsewhere(request.uri()) {
        return elsewhere;
    }
    let sent = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match control.wanted() {
        Some(wanted) if sent != Some(&wanted) => unauthorized(),
        _ => next.run(request).await,
    }
}

fn unauthorized() -> Response {
    let mut response = Response::new(Body::from("unauthorized"));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let challenge = HeaderValue::from_static("Basic realm=\"bench\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    fn new(tcp: TcpListener, config: ServerConfig) -> Self {
        Self { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

/// A certificate of the authority for loopback; `mutual` asks clients for one as well.
fn tls_config(authority: &Authority, mutual: bool) -> ServerConfig {
    crate::runtime::install_crypto();
    let pem = |text: &str| CertificateDer::from_pem_slice(text.as_bytes()).expect("a certificate");
    let identity = authority.loopback();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let builder = ServerConfig::builder();
    let builder = if mutual {
        let mut roots = RootCertStore::empty();
        roots.add(pem(&authority.certificate())).expect("an authority");
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    builder.with_single_cert(vec![pem(&identity.certificate)], key).expect("a certificate that fits its key")
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // A client that does not trust the certificate breaks off: the next one is welcome.
            if let Ok((stream, address)) = self.tcp.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
