use axum::routing::any;
use serde_json::Value;

use super::*;

/// What an API server was asked, as its answer.
async fn echo(request: Request) -> String {
    let headers = request.headers().clone();
    let header = |name: &str| headers.get(name).map(|value| value.to_str().expect("text").to_owned());
    let asked = request.uri().to_string();
    let body = axum::body::to_bytes(request.into_body(), REQUEST_LIMIT).await.expect("a body");
    let seen = json!({
        "asked": asked, "body": String::from_utf8_lossy(&body), "accept": header("accept"),
        "user": header("impersonate-user"), "group": header("impersonate-group"),
        "authorization": header("authorization"), "proxy": header("proxy-authorization"),
    });
    seen.to_string()
}

/// A client with an identity, for an API server that echoes.
async fn upstream() -> Client {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(echo))).await });
    let mut config = kube::Config::new(url.parse().expect("a URL"));
    config.auth_info.impersonate = Some("system:serviceaccount:apps:deployer".to_owned());
    Client::try_from(config).expect("a client")
}

async fn admitted() -> (Admission, tempfile::TempDir) {
    let data_dir = tempfile::tempdir().expect("a folder");
    let (endpoint, server) = Endpoint::open(data_dir.path()).expect("opens");
    tokio::spawn(server.run());
    let records = Records { release: "ui".to_owned(), namespace: "web".to_owned(), storage: "apps".to_owned() };
    let access = Access { client: upstream().await, cluster: "own".to_owned(), records: Some(records) };
    (endpoint.admit(access).expect("admits"), data_dir)
}

fn proxy(admission: &Admission) -> String {
    let text = std::fs::read_to_string(admission.kubeconfig()).expect("reads");
    let kubeconfig: Value = serde_json::from_str(&text).expect("JSON");
    kubeconfig["clusters"][0]["cluster"]["proxy-url"].as_str().expect("a URL").to_owned()
}

/// Through the proxy, as helm does it.
fn request(proxy: &str, path: &str) -> reqwest::RequestBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let proxy = reqwest::Proxy::http(proxy).expect("a proxy");
    let client = reqwest::Client::builder().proxy(proxy).build().expect("a client");
    client.post(format!("http://own.cluster.invalid{path}"))
}

async fn json(request: reqwest::RequestBuilder) -> Value {
    let text = request.send().await.expect("answers").text().await.expect("a body");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn a_request_goes_on_in_the_name_of_the_release_whatever_helm_claims() {
    let (admission, _data) = admitted().await;
    let asked = request(&proxy(&admission), "/apis/apps/v1/deployments?limit=5&x=a%2Cb")
        .header("accept", "application/json;as=Table")
        .header("authorization", "Bearer stolen")
        .header("impersonate-user", "admin")
        .header("impersonate-group", "system:masters")
        .body("{}");
    let seen = json(asked).await;
    assert_eq!(seen["asked"], "/apis/apps/v1/deployments?limit=5&x=a%2Cb");
    assert_eq!((&seen["body"], &seen["accept"]), (&json!("{}"), &json!("application/json;as=Table")));
    assert_eq!(seen["user"], "system:serviceaccount:apps:deployer");
    for gone in ["group", "authorization", "proxy"] {
        assert_eq!(seen[gone], Value::Null, "{gone}");
    }
    let record = request(&proxy(&admission), "/api/v1/namespaces/web/secrets").body(r#"{"type":"helm.sh/release.v1"}"#);
    assert_eq!(json(record).await["asked"], "/api/v1/namespaces/apps/secrets");
}

#[tokio::test]
async fn nobody_else_gets_through_and_nobody_after_the_action() {
    use std::os::unix::fs::PermissionsExt as _;

    let (admission, _data) = admitted().await;
    let (proxy, file) = (proxy(&admission), admission.kubeconfig().to_owned());
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let other = proxy.replace(admission.secret(), &"0".repeat(32));
    let nobody = format!("http://{}", proxy.rsplit_once('@').expect("a password").1);
    for stranger in [other, nobody] {
        assert_eq!(json(request(&stranger, "/version")).await["code"], 401, "{stranger}");
    }
    assert_eq!(json(request(&proxy, "/version")).await["asked"], "/version");
    drop(admission);
    assert_eq!(json(request(&proxy, "/version")).await["code"], 401);
    assert!(!file.exists());
}

#[tokio::test]
async fn an_api_server_that_is_away_is_a_status() {
    let data_dir = tempfile::tempdir().expect("a folder");
    let (endpoint, server) = Endpoint::open(data_dir.path()).expect("opens");
    tokio::spawn(server.run());
    let config = kube::Config::new("http://127.0.0.1:9".parse().expect("a URL"));
    let client = Client::try_from(config).expect("a client");
    let admission = endpoint.admit(Access { client, cluster: "own".to_owned(), records: None }).expect("admits");
    let answer = json(request(&proxy(&admission), "/version")).await;
    let message = answer["message"].as_str().expect("a message");
    assert!(answer["kind"] == "Status" && message.starts_with("the API server did not answer"), "{answer}");
}
