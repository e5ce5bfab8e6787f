//! While another operator leads, requests that reach this one are passed on to that one: a Service
//! may choose any of them.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::TryStreamExt as _;
use http::{HeaderMap, HeaderName, StatusCode, header};
use tokio::sync::watch;

/// Marks what was passed on, so that nothing goes in circles while the leader changes.
const PASSED_ON: HeaderName = HeaderName::from_static("fairlead-passed-on");

/// How long the leader may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Headers of one connection.
const OF_THE_CONNECTION: [HeaderName; 6] =
    [header::CONNECTION, header::HOST, header::TE, header::TRAILER, header::TRANSFER_ENCODING, header::UPGRADE];

/// Where requests are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Desk {
    /// Nowhere that is known.
    #[default]
    Closed,
    /// In this process.
    Here,
    /// At this address.
    At(String),
}

/// Knows where requests are answered. Cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    desk: watch::Receiver<Desk>,
    http: reqwest::Client,
}

impl Forwarder {
    /// Follows a desk.
    pub fn to(desk: watch::Receiver<Desk>) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(2))
            .read_timeout(PATIENCE)
            .build()?;
        Ok(Self { desk, http })
    }

    async fn pass_on(&self, address: &str, request: Request) -> Result<Response, reqwest::Error> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let answer = self
            .http
            .request(parts.method, format!("http://{address}{path}"))
            .headers(end_to_end(parts.headers))
            .header(PASSED_ON, "1")
            .body(reqwest::Body::wrap_stream(body.into_data_stream()))
            .send()
            .await?;
        let (status, headers) = (answer.status(), end_to_end(answer.headers().clone()));
        let body = answer.bytes_stream().map_err(std::io::Error::other);
        Ok((status, headers, Body::from_stream(body)).into_response())
    }
}

fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in &OF_THE_CONNECTION {
        headers.remove(name);
    }
    headers
}

/// Middleware: goes on where this process leads, and passes on what belongs elsewhere.
pub async fn to_the_leader(State(forwarder): State<Forwarder>, request: Request, next: Next) -> Response {
    let desk = forwarder.desk.borrow().clone();
    match desk {
        Desk::Here => next.run(request).await,
        Desk::At(address) if !request.headers().contains_key(PASSED_ON) => {
            forwarder.pass_on(&address, request).await.unwrap_or_else(|error| {
                tracing::debug!(address, %error, "the leader does not answer");
                unavailable()
            })
        }
        Desk::At(_) | Desk::Closed => unavailable(),
    }
}

fn unavailable() -> Response {
    let headers = [(header::RETRY_AFTER, "2")];
    (StatusCode::SERVICE_UNAVAILABLE, headers, "no operator leads at the moment\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;

    async fn served(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(axum::serve(listener, router).into_future());
        address
    }

    fn desk(of: Desk) -> (watch::Sender<Desk>, Router) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (sender, receiver) = watch::channel(of);
        let router = Router::new().route("/{*path}", post(|body: String| async move { format!("got {body}") }));
        (sender, router.layer(from_fn_with_state(Forwarder::to(receiver).unwrap(), to_the_leader)))
    }

    async fn ask(address: &str) -> (u16, String) {
        let answer = reqwest::Client::new().post(format!("http://{address}/a?b=c")).body("x").send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn requests_reach_the_leader_and_do_not_go_in_circles() {
        let (leader, router) = desk(Desk::Here);
        let to_leader = served(router).await;
        assert_eq!(ask(&to_leader).await, (200, "got x".to_owned()));
        let (standby, router) = desk(Desk::At(to_leader.clone()));
        let to_standby = served(router).await;
        assert_eq!(ask(&to_standby).await, (200, "got x".to_owned()));
        leader.send_replace(Desk::At(to_standby.clone()));
        assert_eq!(ask(&to_standby).await.0, 503, "both believe in the other");
        for nobody in [Desk::Closed, Desk::At("127.0.0.1:9".to_owned())] {
            standby.send_replace(nobody);
            assert_eq!(ask(&to_standby).await.0, 503);
        }
    }
}
