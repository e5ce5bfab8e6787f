//! `Receiver`: webhooks by HTTP, as senders send them.

use std::collections::HashMap;
use std::time::Duration;

use fairlead::api::helm::v2::HelmRelease;
use fairlead::api::notification::v1::Receiver;
use fairlead::api::source::v1::GitRepository;
use fairlead_testbench::ports::free_port;
use fairlead_testbench::{GitServer, wait_for};
use hmac::{Hmac, KeyInit, Mac};
use kube::ResourceExt as _;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::scene::{PATIENCE, Scene, Seen};

const TOKEN: &str = "s3cret-t0ken-of-the-webhook";

struct Hooks {
    scene: Scene,
    address: String,
}

impl Hooks {
    async fn start(prefix: &str, flags: &[&str]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let flags = [&["--receiver-listen", &address], flags].concat();
        let scene = Scene::start_with(prefix, &flags).await;
        scene.secret("token", &json!({"token": TOKEN}));
        Self { scene, address }
    }

    /// Applies a receiver; `resources` and `more` are its spec.
    fn receiver(&self, name: &str, kind: &str, resources: &Value, more: &Value) {
        let mut spec = json!({"type": kind, "secretRef": {"name": "token"}, "resources": resources});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        self.scene.bench.apply(
            &json!({
                "apiVersion": "notification.toolkit.fluxcd.io/v1",
                "kind": "Receiver",
                "metadata": {"name": name, "namespace": self.scene.namespace},
                "spec": spec,
            })
            .to_string(),
        );
    }

    /// The path of a receiver that is Ready.
    async fn path(&self, name: &str) -> String {
        path(&self.scene.ready::<Receiver>(name).await)
    }

    /// Waits for a receiver whose `Stalled` says this.
    async fn stalled(&self, name: &str, reason: &str, needle: &str) {
        let seen = self.scene.failed::<Receiver>(name, "Stalled", needle).await;
        assert_eq!(seen.condition("Ready").map(|(status, told, _)| (status, told)), Some(("False", reason)), "{name}");
        assert_eq!((path(&seen).as_str(), seen.observed_generation), ("", seen.generation), "{name}");
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        self.request(Method::POST, path, headers, body).await
    }

    async fn request(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().expect("a header's name");
                (name, HeaderValue::from_str(value).expect("a header's value"))
            })
            .collect();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let url = format!("http://{}{path}", self.address);
        let request = client.request(method, url).headers(headers).body(body.to_owned());
        request.send().await.expect("an answer").status().as_u16()
    }

    /// As GitHub does it.
    async fn github(&self, path: &str, event: &str, token: &str, body: &str) -> u16 {
        let signature = signature(token, body);
        let headers = [
            ("X-GitHub-Event", event),
            ("X-Hub-Signature-256", signature.as_str()),
            ("Content-Type", "application/json"),
        ];
        self.post(path, &headers, body).await
    }
}

fn path(seen: &Seen) -> String {
    seen.status["webhookPath"].as_str().unwrap_or_default().to_owned()
}

fn hex(bytes: &[u8]) -> String {
    fairlead::source::digest::hex(bytes)
}

fn signature(token: &str, body: &str) -> String {
    format!("sha256={}", mac::<Hmac<Sha256>>(token, body))
}

fn mac<M: KeyInit + Mac>(token: &str, body: &str) -> String {
    let mac = <M as KeyInit>::new_from_slice(token.as_bytes()).expect("a key").chain_update(body);
    hex(&mac.finalize().into_bytes())
}

fn git(name: &str) -> Value {
    json!({"kind": "GitRepository", "name": name})
}

#[tokio::test]
async fn a_webhook_has_the_push_fetched_at_once_and_only_a_genuine_one_does() {
    let server = GitServer::start();
    let releases = server.repository("releases");
    let first = releases.commit("One", &[("a", Some("1"))]);
    let hooks = Hooks::start("hook", &[]).await;
    let scene = &hooks.scene;
    let spec = json!({"url": server.url(&releases), "interval": "1h", "ref": {"branch": "main"}});
    for name in ["releases", "twin"] {
        scene.apply("GitRepository", name, &spec);
        scene.ready_at::<GitRepository>(name, &format!("main@sha1:{first}")).await;
    }
    hooks.receiver("push", "github", &json!([git("releases"), git("twin")]), &json!({"events": ["push"]}));
    let path = hooks.path("push").await;
    let salted = format!("{TOKEN}push{}", scene.namespace);
    assert_eq!(path, format!("/hook/{}", hex(&Sha256::digest(salted))));

    // Nothing of this asks the remote.
    let asked = server.count();
    let second = releases.commit("Two", &[("a", Some("2"))]);
    let pushed = server.count() - asked;
    assert_eq!(hooks.github("/hook/0123", "push", TOKEN, "{}").await, 404);
    assert_eq!(hooks.github(&path, "push", "another token", "{}").await, 400);
    assert_eq!(hooks.post(&path, &[("X-GitHub-Event", "push")], "{}").await, 400);
    assert_eq!(hooks.github(&path, "ping", TOKEN, "{}").await, 200);
    assert_eq!(hooks.request(Method::GET, &path, &[], "").await, 400, "it proves nothing");
    assert_eq!(hooks.request(Method::GET, "/", &[], "").await, 404);
    assert_eq!(server.count(), asked + pushed, "{:?}", server.requests());

    assert_eq!(hooks.github(&path, "push", TOKEN, r#"{"ref": "refs/heads/main"}"#).await, 200);
    for name in ["releases", "twin"] {
        scene.ready_at::<GitRepository>(name, &format!("main@sha1:{second}")).await;
        // It was told in the process: no annotation, so no write to the API server.
        let object = scene.api::<GitRepository>().get(name).await.expect("read");
        assert!(!object.annotations().contains_key("reconcile.fluxcd.io/requestedAt"));
    }
    // Both share one poll, which with protocol version 2 is two requests.
    let polls = |requests: &[String]| requests.iter().filter(|request| request.contains("info/refs")).count();
    let since = &server.requests()[usize::try_from(asked + pushed).expect("few requests")..];
    // The poll, and the one fetch, each ask for the refs first.
    assert_eq!(polls(since), 2, "{since:?}");

    // The same request again finds nothing new, and is answered the same.
    assert_eq!(hooks.github(&path, "push", TOKEN, r#"{"ref": "refs/heads/main"}"#).await, 200);
    wait_for("another poll", PATIENCE, || async {
        let now = polls(&server.requests()[usize::try_from(asked + pushed).expect("few")..]);
        if now == 3 { Ok(()) } else { Err(now.to_string()) }
    })
    .await;

    // A new token makes a new path; the old one is closed.
    scene.secret("token", &json!({"token": "an0ther-t0ken"}));
    let seen =
        scene.until::<Receiver>("push", "a new path", |seen| !self::path(seen).is_empty() && self::path(seen) != path);
    let moved = self::path(&seen.await);
    assert_eq!(hooks.github(&path, "push", TOKEN, "{}").await, 404);
    assert_eq!(hooks.github(&moved, "push", TOKEN, "{}").await, 400);
    assert_eq!(hooks.github(&moved, "push", "an0ther-t0ken", "{}").await, 200);
    scene.secret("token", &json!({"token": ""}));
    let seen = scene.until::<Receiver>("push", "no path", |seen| self::path(seen).is_empty()).await;
    assert_eq!(seen.condition("Ready").map(|(status, reason, _)| (status, reason)), Some(("False", "TokenNotFound")));
    assert_eq!(hooks.github(&moved, "push", "an0ther-t0ken", "{}").await, 404);

    scene.keeps_secret(&[TOKEN, "an0ther-t0ken"]).await;
    assert!(!scene.operator.log().contains(path.trim_start_matches("/hook/")), "the log tells a path");
    let metrics = scene.operator.get("/metrics").await;
    assert!(metrics.contains(r#"fairlead_webhooks_total{type="github",outcome="refused"}"#), "{metrics}");
}

/// How a sender names the event, and proves with a token that a body is its own.
struct Sender {
    kind: &'static str,
    event: Option<(&'static str, &'static str)>,
    header: &'static str,
    proof: fn(&str, &str) -> String,
}

fn senders() -> Vec<Sender> {
    let sender = |kind, event, header, proof: fn(&str, &str) -> String| Sender { kind, event, header, proof };
    let sha1 = |token: &str, body: &str| format!("sha1={}", mac::<Hmac<Sha1>>(token, body));
    let sha512 = |token: &str, body: &str| format!("sha512={}", mac::<Hmac<Sha512>>(token, body));
    let push = Some(("X-GitHub-Event", "push"));
    vec![
        sender("github", push, "X-Hub-Signature", sha1),
        // As Gitea sends it, which is a `github` to a receiver.
        sender("github", push, "X-Hub-Signature-256", signature),
        sender("gitlab", Some(("X-Gitlab-Event", "Push Hook")), "X-Gitlab-Token", |token, _| token.to_owned()),
        sender("bitbucket", Some(("X-Event-Key", "repo:refs_changed")), "X-Hub-Signature", signature),
        sender("generic-hmac", None, "X-Signature", sha1),
        sender("generic-hmac", None, "X-Signature", signature),
        sender("generic-hmac", None, "X-Signature", sha512),
        sender("harbor", None, "Authorization", |token, _| token.to_owned()),
        sender("nexus", None, "X-Nexus-Webhook-Signature", mac::<Hmac<Sha1>>),
    ]
}

#[tokio::test]
async fn each_sender_proves_itself_in_its_own_way() {
    let server = GitServer::start();
    let releases = server.repository("releases");
    let first = releases.commit("First", &[("a", Some("0"))]);
    let hooks = Hooks::start("senders", &[]).await;
    let scene = &hooks.scene;
    let spec = json!({"url": server.url(&releases), "interval": "1h", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "releases", &spec);
    let mut revision = format!("main@sha1:{first}");
    scene.ready_at::<GitRepository>("releases", &revision).await;
    for (number, Sender { kind, event, header, proof }) in senders().into_iter().enumerate() {
        let name = format!("sender-{number}");
        let more = event.map_or(json!({}), |(_, event)| json!({"events": [event]}));
        hooks.receiver(&name, kind, &json!([git("releases")]), &more);
        let path = hooks.path(&name).await;
        let commit = releases.commit("Next", &[("a", Some(&name))]);
        let body = json!({"ref": "refs/heads/main", "after": commit}).to_string();
        let (event_header, named) = event.unzip();
        let send = |event: Option<&'static str>, proof: Option<String>| {
            let (hooks, path, body) = (&hooks, &path, &body);
            async move {
                let proof = proof.map(|proof| (header, proof));
                let mut headers = vec![("Content-Type", "application/json")];
                headers.extend(proof.as_ref().map(|(name, value)| (*name, value.as_str())));
                headers.extend(event_header.zip(event));
                hooks.post(path, &headers, body).await
            }
        };
        let case = format!("{kind} with {header} of {}", proof("token", "body"));
        for wrong in [None, Some(String::new()), Some(proof("another token", &body))] {
            assert_eq!(send(named, wrong).await, 400, "{case}");
        }
        if proof(TOKEN, "a body") != proof(TOKEN, "another body") {
            assert_eq!(send(named, Some(proof(TOKEN, "another body"))).await, 400, "{case}");
        }
        if event.is_some() {
            assert_eq!(send(Some("Another Event"), Some(proof(TOKEN, &body))).await, 200, "{case}");
        }
        assert_eq!(scene.see::<GitRepository>("releases").await.revision(), revision, "{case}: nothing of this counts");
        assert_eq!(send(named, Some(proof(TOKEN, &body))).await, 200, "{case}");
        revision = format!("main@sha1:{commit}");
        scene.ready_at::<GitRepository>("releases", &revision).await;
    }
}

/// Headers and body of a call; what is wrong with another body; the filter that it passes.
struct Unsigned {
    kind: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
    malformed: &'static str,
    filter: &'static str,
}

fn unsigned() -> Vec<Unsigned> {
    let sender = |kind, body: Value, malformed, filter| {
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Unsigned { kind, headers, body: body.to_string(), malformed, filter }
    };
    let docker = json!({"push_data": {"tag": "1"}, "repository": {"repo_url": "https://hub.docker.com/r/a/b"}});
    let quay = json!({"docker_url": "quay.io/a/b", "updated_tags": ["1"]});
    let acr = json!({"action": "push", "target": {"repository": "a", "tag": "1"}});
    let context = json!({"version": "0.4.1", "id": "1", "source": "/ci", "type": "dev.cdevents.change.merged.0.2.0",
                         "timestamp": "2026-01-02T03:04:05Z"});
    let event = json!({"context": context, "subject": {"id": "x", "content": {}}});
    let mut cdevents = sender("cdevents", event, r#"{"context": {}}"#, "req.subject.id == 'x'");
    cdevents.headers.push(("ce-type", "dev.cdevents.change.merged.0.2.0".to_owned()));
    // GitHub's other encoding, which is signed as it is sent.
    let form = "payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D".to_owned();
    let headers = vec![
        ("Content-Type", "application/x-www-form-urlencoded".to_owned()),
        ("X-GitHub-Event", "push".to_owned()),
        ("X-Hub-Signature-256", signature(TOKEN, &form)),
    ];
    vec![
        sender("dockerhub", docker, r#"{"push_data": "x"}"#, "req.push_data.tag == '1'"),
        sender("quay", quay, r#"{"updated_tags": "1"}"#, "req.docker_url == 'quay.io/a/b'"),
        sender("acr", acr, "[1]", "req.target.tag == '1'"),
        cdevents,
        Unsigned {
            kind: "github",
            headers,
            body: form,
            malformed: "payload=%7B%7D",
            filter: "req.ref == 'refs/heads/main'",
        },
    ]
}

#[tokio::test]
async fn senders_that_sign_nothing_or_send_a_form_are_read_in_their_own_way() {
    let server = GitServer::start();
    let releases = server.repository("releases");
    let first = releases.commit("First", &[("a", Some("0"))]);
    let hooks = Hooks::start("unsigned", &[]).await;
    let scene = &hooks.scene;
    let spec = json!({"url": server.url(&releases), "interval": "1h", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "releases", &spec);
    let mut revision = format!("main@sha1:{first}");
    scene.ready_at::<GitRepository>("releases", &revision).await;
    for Unsigned { kind, headers, body, malformed, filter } in unsigned() {
        hooks.receiver(kind, kind, &json!([git("releases")]), &json!({"resourceFilter": filter}));
        let path = hooks.path(kind).await;
        let commit = releases.commit("Next", &[("a", Some(kind))]);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(hooks.post(&path, &headers, malformed).await, 400, "{kind}");
        assert_eq!(scene.see::<GitRepository>("releases").await.revision(), revision, "{kind}: it does not count");
        assert_eq!(hooks.post(&path, &headers, &body).await, 200, "{kind}");
        revision = format!("main@sha1:{commit}");
        scene.ready_at::<GitRepository>("releases", &revision).await;
    }
}

#[tokio::test]
async fn labels_filters_and_other_controllers_kinds_choose_what_is_told() {
    let server = GitServer::start();
    let hooks = Hooks::start("choose", &[]).await;
    let scene = &hooks.scene;
    let mut remotes = Vec::new();
    for (name, team) in [("ui", "web"), ("api", "web"), ("etl", "data")] {
        // Each has a remote of its own, as one poll would serve all.
        let remote = server.repository(name);
        let first = remote.commit("One", &[("a", Some(name))]);
        scene.bench.apply(
            &json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1",
                "kind": "GitRepository",
                "metadata": {"name": name, "namespace": scene.namespace, "labels": {"team": team}},
                "spec": {"url": server.url(&remote), "interval": "1h", "ref": {"branch": "main"}},
            })
            .to_string(),
        );
        let first = scene.ready_at::<GitRepository>(name, &format!("main@sha1:{first}")).await;
        remotes.push((name, remote, first.revision().to_owned()));
    }
    scene.bench.apply(
        &json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2",
            "kind": "HelmRelease",
            "metadata": {"name": "elsewhere", "namespace": scene.namespace},
            "spec": {"interval": "1h", "chartRef": {"kind": "HelmChart", "name": "none"}},
        })
        .to_string(),
    );
    let resources = json!([
        {"kind": "GitRepository", "name": "*", "matchLabels": {"team": "web"}, "filter": "res.metadata.name in req.names"},
        {"kind": "HelmRelease", "name": "elsewhere"},
    ]);
    hooks.receiver("any", "generic", &resources, &json!({"resourceFilter": "req.go"}));
    let path = hooks.path("any").await;
    let second: HashMap<&str, String> = remotes
        .iter()
        .map(|(name, remote, _)| (*name, format!("main@sha1:{}", remote.commit("Two", &[("a", Some("2"))]))))
        .collect();
    let json_body = [("Content-Type", "application/json")];
    // The filter of all says no; then it gives no result; then there is nothing to filter by.
    assert_eq!(hooks.post(&path, &json_body, r#"{"go": false}"#).await, 200);
    assert_eq!(hooks.post(&path, &json_body, "{}").await, 500);
    assert_eq!(hooks.post(&path, &json_body, "no JSON").await, 400);
    assert_eq!(hooks.post(&path, &json_body, r#"{"go": true, "names": ["ui", "etl"]}"#).await, 200);
    scene.ready_at::<GitRepository>("ui", &second["ui"]).await;
    // This operator runs the sources alone: a release is another controller's, and annotated for it.
    let release = scene.api::<HelmRelease>().get("elsewhere").await.expect("read");
    assert!(release.annotations().contains_key("reconcile.fluxcd.io/requestedAt"), "{:?}", release.annotations());
    for (name, _, first) in &remotes[1..] {
        assert_eq!(scene.see::<GitRepository>(name).await.revision(), first, "{name}");
    }
    hooks.receiver("missing", "generic", &json!([git("nothing"), git("api")]), &json!({}));
    assert_eq!(hooks.post(&hooks.path("missing").await, &[], "").await, 500);
    scene.ready_at::<GitRepository>("api", &second["api"]).await;
}

#[tokio::test]
async fn what_strangers_can_use_is_bounded_and_what_cannot_work_is_stalled() {
    let hooks = Hooks::start("bounds", &["--no-cross-namespace-refs"]).await;
    let scene = &hooks.scene;
    hooks.receiver("any", "generic", &json!([]), &json!({}));
    let path = hooks.path("any").await;
    // As in Flux, a sender that has to prove nothing may use any method.
    for method in [Method::GET, Method::PUT, Method::HEAD, Method::DELETE] {
        assert_eq!(hooks.request(method.clone(), &path, &[], "").await, 200, "{method}");
    }

    // A head and a body that never end. Both connections are closed, while others are served.
    let mut connections = Vec::new();
    let unfinished =
        ["POST /hook/".to_owned(), format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf")];
    for text in &unfinished {
        let mut stream = tokio::net::TcpStream::connect(&hooks.address).await.expect("connect");
        stream.write_all(text.as_bytes()).await.expect("write");
        connections.push(stream);
    }

    for (name, kind, resources, more, reason, needle) in [
        (
            "foreign",
            "generic",
            json!([{"kind": "GitRepository", "name": "x", "namespace": "other"}]),
            json!({}),
            "AccessDenied",
            "cross-namespace references are not allowed",
        ),
        (
            "all",
            "generic",
            json!([{"kind": "GitRepository", "name": "*"}]),
            json!({}),
            "ValidationFailed",
            "needs matchLabels",
        ),
        (
            "filter",
            "generic",
            json!([git("x")]),
            json!({"resourceFilter": "req."}),
            "InvalidCELExpression",
            "spec.resourceFilter: column",
        ),
        ("google", "gcr", json!([git("x")]), json!({}), "NotActedOn", "not acted on yet"),
    ] {
        hooks.receiver(name, kind, &resources, &more);
        hooks.stalled(name, reason, needle).await;
    }
    hooks.receiver("filter", "generic", &json!([]), &json!({"resourceFilter": "true"}));
    assert_eq!(scene.ready::<Receiver>("filter").await.condition("Stalled"), None);

    let large = "x".repeat((3 << 20) + 1);
    assert_eq!(hooks.post(&path, &[], &large).await, 413);
    let mut answers = Vec::new();
    for _ in 0..60 {
        answers.push(hooks.post(&path, &[], "").await);
    }
    assert!(answers.starts_with(&[200; 10]) && answers.contains(&429), "{answers:?}");

    hooks.receiver("any", "generic", &json!([]), &json!({"suspend": true}));
    wait_for("a suspended receiver", PATIENCE, || async {
        let answer = hooks.post(&path, &[], "").await;
        if answer == 503 { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    scene.delete::<Receiver>("any").await;
    wait_for("a receiver that is gone", PATIENCE, || async {
        let answer = hooks.post(&path, &[], "").await;
        if answer == 404 { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;

    for (mut stream, text) in connections.into_iter().zip(&unfinished) {
        let mut answer = String::new();
        let closed = tokio::time::timeout(Duration::from_mins(1), stream.read_to_string(&mut answer)).await;
        closed.unwrap_or_else(|_| panic!("not closed after: {text}")).expect("read");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}
