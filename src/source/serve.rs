//! Serves artifacts over HTTP, at the paths that their URLs name, for other consumers of
//! Flux's source API.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::io::ReaderStream;

use super::store::ArtifactStore;

/// A store that may be opened later than it is asked for.
pub type Shelf = Arc<OnceLock<Arc<ArtifactStore>>>;

/// Routes `GET /<kind>/<namespace>/<name>/<file>`.
pub fn router(shelf: Shelf) -> Router {
    Router::new().route("/{kind}/{namespace}/{name}/{file}", get(serve)).with_state(shelf)
}

async fn serve(
    State(shelf): State<Shelf>,
    Path((kind, namespace, name, file)): Path<(String, String, String, String)>,
) -> Response {
    let Some(store) = shelf.get() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let Some(path) = store.named_file(&kind, &namespace, &name, &file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Ok(content) = tokio::fs::File::open(&path).await else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Ok(meta) = content.metadata().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = Body::from_stream(ReaderStream::new(content)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(meta.len()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(&file)));
    response
}

fn content_type(file: &str) -> &'static str {
    if file.ends_with("gz") { "application/gzip" } else { "application/octet-stream" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::store::Owner;

    #[tokio::test]
    async fn artifacts_are_served_by_their_path_and_nothing_else_is() {
        let root = tempfile::tempdir().unwrap();
        let store = Arc::new(ArtifactStore::open(root.path(), String::new()).unwrap());
        let owner = Owner { kind: "HelmChart".into(), namespace: "a".into(), name: "b".into() };
        store.put_file(&owner, "1.0.0", "b-1.0.0.tgz", b"chart".to_vec()).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router(Arc::new(store.into()))).await });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fetch = async |path: &str| reqwest::get(format!("http://{address}/{path}")).await.unwrap();
        let found = fetch("helmchart/a/b/b-1.0.0.tgz").await;
        assert_eq!(found.status(), 200);
        assert_eq!(found.bytes().await.unwrap(), "chart".as_bytes());
        for path in ["helmchart/a/b/missing.tgz", "helmchart/a/..%2Fb/b-1.0.0.tgz", "helmchart/a/b/..%2F..%2Fx"] {
            assert_eq!(fetch(path).await.status(), 404, "{path}");
        }
        server.abort();
    }
}
