//! Git's own `http-backend` behind an HTTP server.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::tools::git;

/// Pushes of tests are far smaller.
const BODY_LIMIT: usize = 64 << 20;

/// Answers every path by the repositories below `root`.
pub fn router(root: &Path) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(root.to_owned()))
}

async fn answer(State(root): State<Arc<PathBuf>>, request: Request) -> Response {
    let command = backend(&root, &request);
    let Ok(body) = to_bytes(request.into_body(), BODY_LIMIT).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    match run(command, &body).await {
        Ok(output) => parse(&output).unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response()),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

fn backend(root: &Path, request: &Request) -> Command {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut command = Command::new(git());
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REMOTE_USER", "bench")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REQUEST_METHOD", request.method().as_str())
        .env("PATH_INFO", request.uri().path())
        .env("QUERY_STRING", request.uri().query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    command
}

async fn run(mut command: Command, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut child = command.env("CONTENT_LENGTH", body.len().to_string()).spawn()?;
    let mut stdin = child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
    let write = async {
        // The backend may answer without reading all of it.
        let _ = stdin.write_all(body).await;
        drop(stdin);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    Ok(output?.stdout)
}

/// Splits a CGI answer into its status, headers and body.
fn parse(output: &[u8]) -> Option<Response> {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&output[..end]).ok()?;
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(": ")?;
        if name.eq_ignore_ascii_case("status") {
            status = StatusCode::from_bytes(value.get(..3)?.as_bytes()).ok()?;
        } else {
            headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
        }
    }
    let mut response = Response::new(Body::from(output[end + 4..].to_vec()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Some(response)
}
