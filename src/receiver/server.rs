//! The HTTP server for webhooks: on an address of its own, because it may face the internet, and
//! with every resource bounded that a stranger can make it use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use futures::StreamExt as _;
use http::{StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use super::bucket::{Bucket, Rate};
use super::handle::{Answer, Handler, LIMITED, SUSPENDED};
use super::routes::{Key, Routes};
use crate::controller::{Context, namespaced_name};
use crate::forward::{Forwarder, to_the_leader};

const TOO_LARGE: Answer = (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n");
const TOO_SLOW: Answer = (StatusCode::REQUEST_TIMEOUT, "the body took too long\n");
const BROKEN: Answer = (StatusCode::BAD_REQUEST, "the body ended early\n");

/// How often one receiver may be called.
pub const RATE_OF_ONE: Rate = Rate { burst: 30, per_second: 5 };

/// Pause after a connection could not be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What strangers may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// Bytes of the headers.
    pub headers: usize,
    /// Connections at a time.
    pub connections: usize,
    /// Requests of known paths at a time; each may hold one body in memory.
    pub at_work: usize,
    /// How long the headers may take, and how long a connection may be idle.
    pub header_time: Duration,
    /// How long the body may take.
    pub body_time: Duration,
    /// How often all receivers together may be called.
    pub rate: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 3 << 20,
            headers: 256 << 10,
            connections: 256,
            at_work: 16,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(10),
            rate: Rate { burst: 200, per_second: 50 },
        }
    }
}

/// What has to be known before requests are answered.
#[derive(Clone)]
pub struct Opening {
    context: Context,
    routes: Routes,
}

impl Opening {
    /// Every receiver was looked at once.
    pub(super) fn of(context: Context, routes: Routes) -> Self {
        Self { context, routes }
    }

    /// Waits for it: a webhook that comes while the operator starts is answered a little later
    /// rather than refused.
    pub async fn ready(&self) {
        let receivers = &self.context.caches.receivers;
        receivers.ready().await;
        let own = receivers.all().into_iter().filter(|receiver| self.context.is_own(receiver.as_ref()));
        let all: Vec<Key> = own.map(|receiver| namespaced_name(receiver.as_ref())).collect();
        self.routes.all_passed(&all).await;
    }
}

/// Serves webhooks; to be run for as long as the operator runs.
pub struct Server {
    listener: TcpListener,
    door: Arc<Door>,
    forwarder: Forwarder,
}

/// What all requests pass.
struct Door {
    opening: Opening,
    is_open: OnceCell<()>,
    handler: Handler,
    limits: Limits,
    rate: Bucket,
    at_work: Semaphore,
}

impl Server {
    /// A server on a listener.
    pub(super) fn new(
        listener: TcpListener,
        handler: Handler,
        opening: Opening,
        forwarder: Forwarder,
        limits: Limits,
    ) -> Self {
        let (rate, at_work) = (Bucket::new(limits.rate), Semaphore::new(limits.at_work));
        let door = Door { opening, is_open: OnceCell::new(), handler, limits, rate, at_work };
        Self { listener, door: Arc::new(door), forwarder }
    }

    /// Runs for ever. Connections end with this future.
    pub async fn run(self) {
        let limits = self.door.limits;
        let forwarding = from_fn_with_state(self.forwarder, to_the_leader);
        let router = Router::new().fallback(answer).with_state(self.door).layer(forwarding);
        let free = Arc::new(Semaphore::new(limits.connections));
        let mut connections = JoinSet::new();
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&free).acquire_owned().await else { return };
            while connections.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let router = router.clone();
                    connections.spawn(async move {
                        serve(stream, router, limits).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection for a webhook could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router, limits: Limits) {
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.headers)
        .half_close(false);
    // A client that breaks off, or is broken off, is no news.
    let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}

async fn answer(State(door): State<Arc<Door>>, request: Request) -> axum::response::Response {
    door.is_open.get_or_init(|| door.opening.ready()).await;
    let (status, text) = door.pass(request).await;
    let mut response = axum::response::Response::new(Body::from(text));
    *response.status_mut() = status;
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

impl Door {
    async fn pass(&self, request: Request) -> Answer {
        let metrics = &self.handler.context.metrics;
        let route = match self.handler.route(request.uri().path()) {
            Ok(route) => route,
            Err(answer) => {
                metrics.webhook("unknown", if answer == SUSPENDED { "suspended" } else { "unknown" });
                return answer;
            }
        };
        let now = Instant::now();
        if !route.rate.take(now) || !self.rate.take(now) {
            metrics.webhook(route.kind.as_str(), "limited");
            return LIMITED;
        }
        let (head, body) = request.into_parts();
        let body = tokio::time::timeout(self.limits.body_time, async {
            // The semaphore is never closed.
            let place = self.at_work.acquire().await.map_err(|_| BROKEN)?;
            Ok((self.read(body).await?, place))
        });
        match body.await {
            Ok(Ok((body, _place))) => self.handler.handle(&route, &head.headers, &body).await,
            Ok(Err(answer)) => self.unread(route.kind.as_str(), answer),
            Err(_) => self.unread(route.kind.as_str(), TOO_SLOW),
        }
    }

    fn unread(&self, kind: &'static str, answer: Answer) -> Answer {
        self.handler.context.metrics.webhook(kind, "unread");
        answer
    }

    async fn read(&self, body: Body) -> Result<Vec<u8>, Answer> {
        let mut bytes = Vec::new();
        let mut stream = body.into_data_stream();
        while let Some(part) = stream.next().await {
            let part = part.map_err(|_| BROKEN)?;
            if bytes.len() + part.len() > self.limits.body {
                return Err(TOO_LARGE);
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}
