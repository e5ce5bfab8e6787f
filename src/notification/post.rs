//! Sends one request, again where that may help.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};
use jiff::Timestamp;
use reqwest::redirect::{Attempt, Policy as Redirects};
use reqwest::{Client, ClientBuilder};
use url::Url;

use super::retry::{self, Policy};
use crate::cause;
use crate::redact::bounded;

/// Bytes of an answer that are read.
const ANSWER_LIMIT: usize = 1 << 20;

/// Bytes of a refusal that are told.
const REFUSAL_LIMIT: usize = 256;

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 5;

/// A request.
#[derive(Debug)]
pub struct Post {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why a request has failed for good. The texts are as they came: they may hold secrets.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The server refused it.
    #[error("it answers {status}{}{said}", if said.is_empty() { "" } else { ": " })]
    Refused { status: u16, said: String },
    /// The server was not reached, or did not answer.
    #[error("{0}")]
    Broken(String),
}

impl Post {
    /// A POST of JSON.
    pub fn json(url: Url, body: Vec<u8>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        Self { method: Method::POST, url, headers, body }
    }
}

/// What every client here has in common: credentials stay with their server, and a POST stays one.
pub fn client() -> ClientBuilder {
    Client::builder().user_agent("fairlead").redirect(Redirects::custom(|attempt: Attempt<'_>| {
        let same_server = attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
        let same_method = matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        if same_server && same_method && attempt.previous().len() <= MOST_REDIRECTS {
            attempt.follow()
        } else {
            attempt.stop()
        }
    }))
}

/// Sends the request until it succeeds, or the policy says that it is the end; gives the answer.
/// Each attempt may take as long as `timeout`.
pub async fn send(client: &Client, post: &Post, timeout: Duration, policy: Policy) -> Result<Vec<u8>, PostError> {
    let mut attempt = 1;
    loop {
        let (error, asked) = match send_once(client, post, timeout).await {
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        let status = match &error {
            PostError::Refused { status, .. } => Some(*status),
            PostError::Broken(_) => None,
        };
        let Some(pause) = policy.pause(attempt, status, asked) else { return Err(error) };
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

/// One attempt; a failure with the pause that the server asks for.
async fn send_once(client: &Client, post: &Post, timeout: Duration) -> Result<Vec<u8>, (PostError, Option<Duration>)> {
    let broken = |error: &reqwest::Error| (PostError::Broken(innermost(error)), None);
    let request = client.request(post.method.clone(), post.url.clone()).headers(post.headers.clone());
    let sent = request.body(post.body.clone()).timeout(timeout).send().await;
    let mut response = sent.map_err(|error| broken(&error))?;
    let status = response.status();
    let asked = response.headers().get(header::RETRY_AFTER).and_then(|header| header.to_str().ok());
    let asked = asked.and_then(|header| retry::retry_after(header, Timestamp::now()));
    let mut answer = Vec::new();
    while answer.len() < ANSWER_LIMIT {
        match response.chunk().await {
            Ok(Some(chunk)) => answer.extend_from_slice(&chunk),
            Ok(None) => break,
            // It was taken, and that is what matters; a refusal is one with half a reason, too.
            Err(_) if !status.is_success() || post.method == Method::POST => break,
            Err(error) => return Err(broken(&error)),
        }
    }
    if status.is_success() {
        return Ok(answer);
    }
    let said = String::from_utf8_lossy(&answer);
    let said = bounded(said.trim(), REFUSAL_LIMIT).into_owned();
    Err((PostError::Refused { status: status.as_u16(), said }, asked))
}

/// The cause that says most, which does not repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() { "no answer in time".to_owned() } else { cause::innermost(error).to_string() }
}
