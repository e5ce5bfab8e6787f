use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, Request};
use axum::response::IntoResponse;

use super::*;
use crate::proxy::{Kinds, Proxy};

const PAGE: &str = r#"<?xml version="1.0"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>charts</Name><KeyCount>1</KeyCount>
<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>
<Contents><Key>a%20b/c.yaml</Key><ETag>&quot;abc&quot;</ETag><Size>3</Size></Contents></ListBucketResult>"#;

fn place(endpoint: &str, insecure: bool, region: Option<&str>) -> Place {
    Place::new(endpoint, insecure, "charts", region).unwrap()
}

#[test]
fn endpoints_are_hosts() {
    for (endpoint, needle) in [
        ("https://s3.example.com", "without a scheme"),
        ("s3.example.com/charts", "nothing behind it"),
        ("robot:hunter2@s3.example.com", "nothing behind it"),
        ("", "host or host:port"),
        ("s3.example.com:port", "host or host:port"),
    ] {
        let error = Place::new(endpoint, false, "charts", None).unwrap_err();
        assert!(error.contains(needle) && !error.contains("hunter2"), "{endpoint}: {error}");
    }
    assert!(Place::new("s3.example.com", false, "a/b", None).is_err());
}

#[test]
fn a_bucket_is_addressed_as_its_store_wants_it() {
    for (endpoint, insecure, given, url, region) in [
        ("minio.minio.svc:9000", true, None, "http://minio.minio.svc:9000/charts/", "us-east-1"),
        ("s3.amazonaws.com", false, None, "https://charts.s3.amazonaws.com/", "us-east-1"),
        ("s3.eu-west-1.amazonaws.com", false, None, "https://charts.s3.eu-west-1.amazonaws.com/", "eu-west-1"),
        ("s3.amazonaws.com", false, Some("eu-west-2"), "https://charts.s3.amazonaws.com/", "eu-west-2"),
        ("storage.googleapis.com", false, Some(""), "https://charts.storage.googleapis.com/", "us-east-1"),
    ] {
        let place = place(endpoint, insecure, given);
        let bucket = place.bucket(place.presumed_region()).unwrap();
        assert_eq!((bucket.base_url().as_str(), bucket.region()), (url, region));
    }
    let dotted = Place::new("s3.amazonaws.com", false, "my.charts", None).unwrap();
    assert_eq!(dotted.bucket("x").unwrap().base_url().as_str(), "https://s3.amazonaws.com/my.charts/");
}

#[test]
fn an_error_page_is_told_as_far_as_it_is_one() {
    let xml = "<Error><Code>NoSuchKey</Code><Message>gone</Message><Empty></Empty></Error>";
    assert_eq!(element(xml, "Code"), Some("NoSuchKey"));
    assert_eq!(element(xml, "Empty"), None);
    assert_eq!(element("<html><Code>", "Code"), None);
}

/// A server that answers every request alike and keeps what it was asked.
async fn server(
    answer: impl Fn(&str) -> axum::response::Response + Clone + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<(String, HeaderMap)>>>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let asked: Arc<Mutex<Vec<(String, HeaderMap)>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let routes = Router::new().fallback(move |request: Request<axum::body::Body>| {
        let url = request.uri().to_string();
        seen.lock().unwrap().push((url.clone(), request.headers().clone()));
        let response = answer(&url);
        async move { response }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (address, asked)
}

fn s3(endpoint: &str, region: Option<&str>) -> S3 {
    let credentials = Credentials::new("robot", "hunter2");
    S3::new(Client::new(), place(endpoint, true, region), Some(credentials)).unwrap()
}

#[tokio::test]
async fn the_region_that_the_store_tells_is_used() {
    let answer = |url: &str| {
        if url.contains("eu-west-9") {
            PAGE.into_response()
        } else {
            (StatusCode::BAD_REQUEST, [("x-amz-bucket-region", "eu-west-9")], "<Error/>").into_response()
        }
    };
    let (address, asked) = server(answer).await;
    let mut bucket = s3(&address, None);
    let page = bucket.list(Some("a b/"), None).await.unwrap();
    let object = Listed { key: "a b/c.yaml".to_owned(), etag: "abc".to_owned(), size: 3 };
    assert_eq!((page.objects, page.next), (vec![object], None));
    bucket.list(None, None).await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), 3, "it is asked for once");
    let error = s3(&address, Some("us-east-1")).list(None, None).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, S3Error::Answer { status: 400, .. }), "what the spec names holds: {error}");
}

#[tokio::test]
async fn what_is_no_s3_store_and_what_is_too_large_is_refused() {
    let (address, _) = server(|_| "<html>a login page</html>".into_response()).await;
    let mut bucket = s3(&address, None);
    let error = bucket.list(None, None).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, S3Error::Malformed { .. }), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let error = bucket.fetch("a", &dir.path().join("a"), 5).await.unwrap_err();
    assert!(error.to_string().contains("larger than 5 bytes"), "{error}");
    let error = bucket.fetch("a", &dir.path().join("none/a"), 500).await.unwrap_err();
    assert!(matches!(error, S3Error::Write { .. }), "{error}");
    let error = s3("127.0.0.1:1", None).list(None, None).await.map(|_| ()).unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(told.contains("127.0.0.1:1") && !told.contains("X-Amz-Signature"), "{told}");
}

#[tokio::test]
async fn a_proxy_is_asked_with_its_login() {
    let (address, asked) = server(|_| PAGE.into_response()).await;
    let secret = [("address", format!("http://{address}")), ("username", "robot".into()), ("password", "p".into())];
    let data = secret.into_iter().map(|(k, v)| (k.to_owned(), k8s_openapi::ByteString(v.into_bytes()))).collect();
    let client = Client::builder()
        .proxy(Proxy::from_secret(&data, Kinds::HttpAndSocks).unwrap().for_client().unwrap())
        .build()
        .unwrap();
    let mut bucket = S3::new(client, place("store.invalid:9000", true, None), None).unwrap();
    bucket.list(None, None).await.unwrap();
    let asked = asked.lock().unwrap();
    let (url, headers) = &asked[0];
    assert!(url.starts_with("http://store.invalid:9000/charts/?"), "{url}");
    assert!(!url.contains("X-Amz"), "without credentials nothing is signed: {url}");
    assert_eq!(headers["proxy-authorization"], "Basic cm9ib3Q6cA==");
}
