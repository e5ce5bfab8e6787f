use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::response::IntoResponse;

use super::*;

/// A registry that hands out tokens for one login and counts what it is asked.
struct Fake {
    address: String,
    manifest: String,
    tokens: AtomicU32,
}

const LAYER: &[u8] = b"a layer";

async fn answer(State(fake): State<Arc<Fake>>, request: Request) -> axum::response::Response {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if path == "/token" {
        fake.tokens.fetch_add(1, Ordering::SeqCst);
        return match header {
            "Basic dTpw" => r#"{"token":"granted"}"#.into_response(),
            _ => (StatusCode::UNAUTHORIZED, r#"{"errors":[{"code":"DENIED","message":"wrong password"}]}"#)
                .into_response(),
        };
    }
    if header != "Bearer granted" {
        let challenge = format!("Bearer realm=\"http://{}/token\",service=\"fake\"", fake.address);
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)], Body::empty()).into_response();
    }
    match path {
        "/v2/a/b/tags/list" if query.contains("last=") => r#"{"name":"a/b","tags":["2","3"]}"#.into_response(),
        "/v2/a/b/tags/list" => {
            let next = "</v2/a/b/tags/list?n=2&last=1>; rel=\"next\"";
            ([(LINK, next)], r#"{"name":"a/b","tags":["0","1"]}"#).into_response()
        }
        "/v2/a/b/manifests/1.0.0" => fake.manifest.clone().into_response(),
        path if path == format!("/v2/a/b/manifests/{}", Digest::of(fake.manifest.as_bytes())) => {
            fake.manifest.clone().into_response()
        }
        path if path.starts_with("/v2/a/b/manifests/sha256:") => "{}".into_response(),
        path if path.starts_with("/v2/a/b/blobs/") => LAYER.into_response(),
        _ => (StatusCode::NOT_FOUND, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such tag"}]}"#)
            .into_response(),
    }
}

async fn fake() -> Arc<Fake> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let layer = format!(r#"{{"mediaType":"x","digest":"{}","size":{}}}"#, Digest::of(LAYER), LAYER.len());
    let fake = Arc::new(Fake { address, manifest: format!(r#"{{"layers":[{layer}]}}"#), tokens: AtomicU32::new(0) });
    let routes = Router::new().fallback(answer).with_state(Arc::clone(&fake));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    fake
}

fn registry(fake: &Fake, password: &str) -> Registry {
    let repository = Repository::parse(&format!("oci://{}/a/b", fake.address)).unwrap();
    let secret = |text: &str| Zeroizing::new(text.to_owned());
    let login = Login::Password(secret("u"), secret(password));
    let proxy = None;
    Registry::new(repository, Some(login), Transport { insecure: true, proxy, ..Transport::default() }).unwrap()
}

#[tokio::test]
async fn one_token_reads_tags_manifests_and_layers() {
    let fake = fake().await;
    let registry = registry(&fake, "p");
    assert_eq!(registry.tags().await.unwrap(), ["0", "1", "2", "3"]);
    let digest = registry.digest(&Reference::tag("1.0.0").unwrap()).await.unwrap();
    assert_eq!(digest, Digest::of(fake.manifest.as_bytes()));
    let manifest = registry.manifest(&digest).await.unwrap();
    let mut layer = Vec::new();
    registry.layer(&manifest.layers[0], 100, &mut layer).await.unwrap();
    assert_eq!(layer, LAYER);
    assert_eq!(fake.tokens.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_not_what_was_asked_for_is_refused() {
    let fake = fake().await;
    let registry = registry(&fake, "p");
    let other = Digest::of(b"other");
    assert!(matches!(registry.manifest(&other).await, Err(OciError::Mismatch { .. })));
    let digest = registry.digest(&Reference::tag("1.0.0").unwrap()).await.unwrap();
    let layer = registry.manifest(&digest).await.unwrap().layers.remove(0);
    let fetch = async |layer: &Descriptor, limit| registry.layer(layer, limit, &mut tokio::io::sink()).await;
    assert!(matches!(fetch(&layer, 3).await, Err(OciError::TooLarge { .. })));
    assert!(matches!(fetch(&Descriptor { size: 1, ..layer.clone() }, 3).await, Err(OciError::TooLarge { .. })));
    let changed = Descriptor { digest: other.to_string(), ..layer };
    assert!(matches!(fetch(&changed, 100).await, Err(OciError::Mismatch { .. })));
    let error = registry.digest(&Reference::tag("2.0.0").unwrap()).await.unwrap_err().to_string();
    assert!(error.ends_with("/a/b:2.0.0' not found: MANIFEST_UNKNOWN: no such tag"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_told_from_an_outage() {
    let fake = fake().await;
    let error = registry(&fake, "hunter2").tags().await.unwrap_err();
    assert!(error.is_authentication(), "{error}");
    let error = error.to_string();
    assert!(error.contains("401") && error.contains("DENIED: wrong password") && !error.contains("hunter2"), "{error}");
    let secure = Registry::new(registry(&fake, "p").repository().clone(), None, Transport::default()).unwrap();
    let error = secure.tags().await.unwrap_err();
    assert!(matches!(error, OciError::Transfer { .. }), "plain HTTP has to be asked for: {error}");
}

#[test]
fn pages_stay_on_their_server_and_end() {
    let page = Url::parse("https://ghcr.io/v2/x/tags/list?n=2").unwrap();
    let next = |link: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(LINK, HeaderValue::from_str(link).unwrap());
        next_page(&page, &headers)
    };
    let found = next("</v2/x/tags/list?last=b&n=2>; rel=\"next\"").unwrap().unwrap();
    assert_eq!(found.as_str(), "https://ghcr.io/v2/x/tags/list?last=b&n=2");
    assert_eq!(next("</v2/x/tags/list?n=2>; rel=\"next\""), Ok(None));
    assert_eq!(next("</v2/x>; rel=\"prev\""), Ok(None));
    assert!(next("<https://evil.io/v2/x>; rel=\"next\"").is_err());
    assert_eq!(next_page(&page, &HeaderMap::new()), Ok(None));
}
