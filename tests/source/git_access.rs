//! How a `GitRepository` reaches its remote: certificates, proxies, keys, GitHub apps, redirects, timeouts.

use std::time::{Duration, Instant};

use fairlead::api::source::v1::GitRepository;
use fairlead_testbench::github_api::GitHubApi;
use fairlead_testbench::http_server::Auth;
use fairlead_testbench::proxy::Proxy;
use fairlead_testbench::{Behaviour, GitServer, KeyKind, Repository, SshKey};
use serde_json::{Value, json};

use crate::scene::Scene;

fn filled(git: &GitServer) -> (Repository, String) {
    let repository = git.repository("app");
    let head = repository.commit("One", &[("a", Some("1"))]);
    (repository, format!("main@sha1:{head}"))
}

fn spec(url: &str, more: &Value) -> Value {
    let mut spec = json!({"url": url, "interval": "10m", "ref": {"branch": "main"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

#[tokio::test]
async fn a_client_certificate_opens_the_door() {
    let git = GitServer::builder().client_certificates().start();
    let (app, revision) = filled(&git);
    let (identity, other) = (git.client_identity(), git.client_identity());
    let scene = Scene::start("mtls").await;
    let secret = |certificate: &str, key: &str| {
        scene.secret("tls", &json!({"ca.crt": git.authority(), "tls.crt": certificate, "tls.key": key}));
    };
    scene.secret("tls", &json!({"ca.crt": git.authority(), "tls.crt": identity.certificate}));
    scene.apply("GitRepository", "app", &spec(&git.url(&app), &json!({"secretRef": {"name": "tls"}})));
    scene.failed::<GitRepository>("app", "FetchFailed", "'tls.crt' and 'tls.key' must be given together").await;
    secret(&identity.certificate, &other.key);
    let seen = scene.failed::<GitRepository>("app", "FetchFailed", "unable to fetch").await;
    assert!(seen.artifact.is_none());
    secret(&identity.certificate, &identity.key);
    scene.ready_at::<GitRepository>("app", &revision).await;
    let line = identity.key.lines().nth(1).unwrap().to_owned();
    scene.keeps_secret(&[&line]).await;
}

#[tokio::test]
async fn a_proxy_stands_between() {
    let git = GitServer::builder().basic_auth("robot", "hunter2-of-git").tls().start();
    let (app, revision) = filled(&git);
    let plain = GitServer::start();
    let (open, open_revision) = filled(&plain);
    let proxy = Proxy::start(Some(("me", "p@ss/word-of-the-proxy")));
    let scene = Scene::start("proxy").await;
    scene.secret("git", &json!({"username": "robot", "password": "hunter2-of-git", "ca.crt": git.authority()}));
    let behind = json!({"secretRef": {"name": "git"}, "proxySecretRef": {"name": "proxy"}});
    scene.apply("GitRepository", "app", &spec(&git.url(&app), &behind));
    let seen = scene.failed::<GitRepository>("app", "FetchFailed", "failed to configure proxy options").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("AuthenticationFailed"));
    scene.secret("proxy", &json!({"address": "nonsense"}));
    scene.failed::<GitRepository>("app", "FetchFailed", "'address' is not the URL of a proxy").await;
    scene.secret("proxy", &json!({"address": proxy.url(), "username": "me", "password": "wrong-for-the-proxy"}));
    scene.failed::<GitRepository>("app", "FetchFailed", "the proxy refused").await;
    assert!(proxy.targets().is_empty() && git.count() == 0, "nothing goes past the proxy");
    scene.secret("proxy", &json!({"address": proxy.url(), "username": "me", "password": "p@ss/word-of-the-proxy"}));
    scene.ready_at::<GitRepository>("app", &revision).await;
    let host = git.url(&app).replace("https://", "").replace("/app.git", "");
    assert!(
        proxy.targets().iter().all(|target| *target == format!("CONNECT {host} HTTP/1.1")),
        "{:?}",
        proxy.targets()
    );

    let before = proxy.targets().len();
    scene.apply("GitRepository", "open", &spec(&plain.url(&open), &json!({"proxySecretRef": {"name": "proxy"}})));
    scene.ready_at::<GitRepository>("open", &open_revision).await;
    assert!(proxy.targets().len() > before);
    scene.keeps_secret(&["word-of-the-proxy", "p%40ss", "wrong-for-the-proxy", "hunter2-of-git"]).await;

    let gone = spec("http://127.0.0.1:1/x", &json!({"proxySecretRef": {"name": "gone"}}));
    scene.secret("gone", &json!({"address": "http://127.0.0.1:1"}));
    scene.apply("GitRepository", "gone", &gone);
    scene.failed::<GitRepository>("gone", "FetchFailed", "cannot be reached").await;
}

#[tokio::test]
async fn a_proxy_stands_before_ssh() {
    let key = SshKey::generate(KeyKind::Ed25519);
    let git = GitServer::builder().ssh(&key).start();
    let (app, revision) = filled(&git);
    let socks = Proxy::start_socks("me", "p@ss/word-of-the-proxy");
    let scene = Scene::start("sshproxy").await;
    scene.secret("key", &json!({"identity": key.private, "known_hosts": git.known_hosts()}));
    let way = |scheme: &str, password: &str| {
        let address = format!("{scheme}://{}", socks.address());
        scene.secret("way", &json!({"address": address, "username": "me", "password": password}));
    };
    way("http", "p@ss/word-of-the-proxy");
    let behind = json!({"secretRef": {"name": "key"}, "proxySecretRef": {"name": "way"}});
    scene.apply("GitRepository", "app", &spec(&git.ssh_url(&app), &behind));
    scene.failed::<GitRepository>("app", "FetchFailed", "use socks5://host:port").await;
    way("socks5", "wrong-for-the-proxy");
    scene.failed::<GitRepository>("app", "FetchFailed", "the proxy does not let through").await;
    assert!(socks.targets().is_empty(), "nothing goes past it");
    way("socks5", "p@ss/word-of-the-proxy");
    scene.ready_at::<GitRepository>("app", &revision).await;
    assert!(!socks.targets().is_empty(), "it went through it");
    scene.keeps_secret(&["word-of-the-proxy", "p%40ss", "wrong-for-the-proxy"]).await;
}

#[tokio::test]
async fn what_lies_in_the_operator_s_home_opens_no_door() {
    let key = SshKey::generate(KeyKind::Ed25519);
    let git = GitServer::builder().basic_auth("robot", "hunter2-of-the-operator").ssh(&key).start();
    let (app, revision) = filled(&git);
    let open = GitServer::start();
    let (mirrored, mirrored_revision) = filled(&open);
    let home = tempfile::tempdir().unwrap();
    let netrc = "default login robot password hunter2-of-the-operator\n";
    std::fs::write(home.path().join(".netrc"), netrc).unwrap();
    let settings = home.path().join("settings");
    let base = open.url(&mirrored).replace("app.git", "");
    std::fs::write(&settings, format!("[url \"{base}\"]\n\tinsteadOf = http://mirror.invalid/\n")).unwrap();
    let env =
        [("HOME", home.path()), ("GIT_CONFIG_GLOBAL", &settings)].map(|(name, path)| (name, path.to_str().unwrap()));
    let scene = Scene::start_in("home", &env).await;
    scene.apply("GitRepository", "http", &spec(&git.url(&app), &json!({})));
    scene.apply("GitRepository", "ssh", &spec(&git.ssh_url(&app), &json!({})));
    for (name, needle) in [("http", "authentication"), ("ssh", "'identity' is required")] {
        let seen = scene.failed::<GitRepository>(name, "FetchFailed", needle).await;
        assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("AuthenticationFailed"), "{name}");
    }
    assert!(!git.saw_credentials(), "a login of the operator's own was sent");
    scene.secret("key", &json!({"identity": key.private, "known_hosts": git.known_hosts()}));
    scene.apply("GitRepository", "ssh", &spec(&git.ssh_url(&app), &json!({"secretRef": {"name": "key"}})));
    scene.ready_at::<GitRepository>("ssh", &revision).await;

    // What the operator's configuration says of addresses counts, where it is named.
    scene.apply("GitRepository", "mirrored", &spec("http://mirror.invalid/app.git", &json!({})));
    scene.ready_at::<GitRepository>("mirrored", &mirrored_revision).await;
}

#[tokio::test]
async fn keys_of_every_kind_open_ssh_with_and_without_a_passphrase() {
    let passphrase = "the passphrase's 'own' secret";
    let plain: Vec<(String, SshKey)> = [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Ed25519, KeyKind::Rsa]
        .map(|kind| (format!("{kind:?}").to_lowercase(), SshKey::generate(kind)))
        .into();
    let locked = SshKey::generate_encrypted(KeyKind::Ed25519, passphrase);
    let builder = plain.iter().fold(GitServer::builder(), |builder, (_, key)| builder.ssh(key));
    let git = builder.ssh(&locked).start();
    let (app, revision) = filled(&git);
    let scene = Scene::start("keys").await;
    let hosts = git.known_hosts();
    for (name, key) in &plain {
        scene.secret(name, &json!({"identity": key.private, "known_hosts": hosts}));
        scene.apply("GitRepository", name, &spec(&git.ssh_url(&app), &json!({"secretRef": {"name": name}})));
    }
    for (name, _) in &plain {
        scene.ready_at::<GitRepository>(name, &revision).await;
    }
    let secret = |password: Option<&str>| {
        let mut data = json!({"identity": locked.private, "known_hosts": hosts});
        if let Some(password) = password {
            data["password"] = password.into();
        }
        scene.secret("locked", &data);
    };
    secret(None);
    scene.apply("GitRepository", "locked", &spec(&git.ssh_url(&app), &json!({"secretRef": {"name": "locked"}})));
    let seen = scene.failed::<GitRepository>("locked", "FetchFailed", "is encrypted but no 'password' field").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("AuthenticationFailed"));
    secret(Some("not the right one"));
    let seen = scene.failed::<GitRepository>("locked", "FetchFailed", "authentication failed").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("AuthenticationFailed"));
    secret(Some(passphrase));
    scene.ready_at::<GitRepository>("locked", &revision).await;
    scene.keeps_secret(&[passphrase, "not the right one"]).await;
}

#[tokio::test]
async fn a_github_app_logs_in_with_tokens_that_are_renewed() {
    let api = GitHubApi::start(true);
    let first = api.next_token();
    let git = GitServer::builder().basic_auth("x-access-token", &first).start();
    let (app, revision) = filled(&git);
    let scene = Scene::start("githubapp").await;
    let behind = |more: &Value| {
        let mut all = json!({"provider": "github", "secretRef": {"name": "app"}});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec(&git.url(&app), &all)
    };
    scene.apply("GitRepository", "none", &spec(&git.url(&app), &json!({"provider": "github"})));
    let seen = scene.failed::<GitRepository>("none", "Stalled", "secretRef with github app data").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("InvalidProviderConfiguration"));
    scene.secret("app", &json!({"username": "me", "password": "x"}));
    scene.apply("GitRepository", "app", &behind(&json!({})));
    scene.failed::<GitRepository>("app", "FetchFailed", "secretRef with github app data").await;
    scene.secret("app", &api.secret(false));
    scene.ready_at::<GitRepository>("app", &revision).await;
    assert_eq!(api.tokens(), [first.as_str()]);
    let mirror = || {
        let all = std::fs::read_dir(scene.operator.data_dir().join("git")).unwrap().flatten();
        all.map(|entry| entry.file_name()).filter(|name| name != "tmp").collect::<Vec<_>>()
    };
    let before = mirror();
    assert_eq!(before.len(), 1);

    // A second object and another pass use the same token; a token that is refused is not used again.
    scene.secret("owner", &api.secret(false));
    scene.apply("GitRepository", "second", &behind(&json!({"secretRef": {"name": "owner"}})));
    scene.ready_at::<GitRepository>("second", &revision).await;
    assert_eq!(api.tokens().len(), 1);
    git.ask_for(Auth::Basic { username: "x-access-token".to_owned(), password: api.next_token() });
    let head = app.commit("Two", &[("a", Some("2"))]);
    scene.annotate::<GitRepository>("app", "reconcile.fluxcd.io/requestedAt", "revoked").await;
    scene.ready_at::<GitRepository>("app", &format!("main@sha1:{head}")).await;
    assert_eq!(api.tokens().len(), 2);
    assert_eq!(mirror(), before, "another token is no other mirror");

    // Found by its owner; a token that is about to expire is renewed.
    api.lifetime(Duration::from_secs(200));
    let third = api.next_token();
    git.ask_for(Auth::Basic { username: "x-access-token".to_owned(), password: third.clone() });
    scene.secret("by-owner", &api.secret(true));
    scene.apply("GitRepository", "owner", &behind(&json!({"secretRef": {"name": "by-owner"}})));
    scene.ready_at::<GitRepository>("owner", &format!("main@sha1:{head}")).await;
    let asked = api.requests();
    assert!(asked.iter().any(|request| request.ends_with("/users/bench-org/installation")), "{asked:?}");
    api.lifetime(Duration::from_hours(1));
    git.ask_for(Auth::Basic { username: "x-access-token".to_owned(), password: api.next_token() });
    let head = app.commit("Three", &[("a", Some("3"))]);
    scene.annotate::<GitRepository>("owner", "reconcile.fluxcd.io/requestedAt", "expired").await;
    scene.ready_at::<GitRepository>("owner", &format!("main@sha1:{head}")).await;

    let mut wrong = api.secret(false);
    wrong["githubAppPrivateKey"] = SshKey::generate_pem(KeyKind::Rsa).private.into();
    scene.secret("wrong", &wrong);
    scene.apply("GitRepository", "wrong", &behind(&json!({"secretRef": {"name": "wrong"}})));
    let needle = "answered 401: A JSON web token could not be decoded";
    let seen = scene.failed::<GitRepository>("wrong", "FetchFailed", needle).await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("AuthenticationFailed"));
    scene.apply("GitRepository", "generic", &behind(&json!({"provider": "generic"})));
    let seen = scene.failed::<GitRepository>("generic", "FetchFailed", "provider is not set to github").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("InvalidProviderConfiguration"));
    let key = wrong["githubAppPrivateKey"].as_str().unwrap().lines().nth(1).unwrap().to_owned();
    scene.keeps_secret(&["ghs_token-of-the-bench", &key]).await;
}

#[tokio::test]
async fn clouds_whose_login_is_not_there_say_what_to_do() {
    let scene = Scene::start("clouds").await;
    for provider in ["aws", "azure"] {
        let more = json!({"provider": provider, "serviceAccountName": "tenant"});
        scene.apply("GitRepository", provider, &spec("https://example.invalid/x", &more));
        let seen = scene.failed::<GitRepository>(provider, "Stalled", "with 'username' and 'password'").await;
        let (status, reason, message) = seen.condition("Ready").unwrap();
        assert_eq!((status, reason), ("False", "InvalidProviderConfiguration"));
        assert!(message.contains(provider) && message.contains("serviceAccountName"), "{message}");
    }
}

#[tokio::test]
async fn a_redirect_is_followed_and_a_hanging_server_is_named() {
    let (old, new) = (GitServer::start(), GitServer::start());
    let (app, _) = filled(&old);
    let (_, revision) = filled(&new);
    old.redirect_to(&new);
    let scene = Scene::start("redirect").await;
    let short = json!({"timeout": "2s", "interval": "1s"});
    scene.apply("GitRepository", "app", &spec(&old.url(&app), &short));
    scene.ready_at::<GitRepository>("app", &revision).await;

    // With credentials, to another place at the same server only.
    scene.secret("git", &json!({"username": "robot", "password": "hunter2-stays-here"}));
    let behind = json!({"secretRef": {"name": "git"}, "interval": "1s"});
    scene.apply("GitRepository", "secret", &spec(&old.url(&app), &behind));
    let seen = scene.failed::<GitRepository>("secret", "FetchFailed", "redirects to").await;
    let message = seen.condition("Ready").unwrap().2;
    assert!(
        message.contains(&format!("'{}/app.git'", new.base())) && message.contains("set spec.url to it"),
        "{message}"
    );
    assert!(old.saw_credentials() && !new.saw_credentials(), "a redirect must not get to know the password");
    old.ask_for(Auth::Basic { username: "robot".to_owned(), password: "hunter2-stays-here".to_owned() });
    let (renamed, head) = (old.repository("renamed"), "1");
    let head = renamed.commit("One", &[("a", Some(head))]);
    old.redirect_from("app", &renamed);
    scene.ready_at::<GitRepository>("secret", &format!("main@sha1:{head}")).await;
    let head = renamed.commit("Two", &[("a", Some("2"))]);
    scene.ready_at::<GitRepository>("secret", &format!("main@sha1:{head}")).await;
    scene.keeps_secret(&["hunter2-stays-here"]).await;

    old.redirect_to(&new);
    old.ask_for(Auth::None);
    new.behave(Behaviour::Hang);
    let started = Instant::now();
    let seen = scene.failed::<GitRepository>("app", "FetchFailed", "gave no answer within 2s").await;
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("GitOperationFailed"));
    new.behave(Behaviour::Serve);
    scene.ready_at::<GitRepository>("app", &revision).await;
}
