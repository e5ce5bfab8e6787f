//! Alerts choose events, and providers get them.

use fairlead_testbench::pki::Authority;
use fairlead_testbench::proxy::Proxy;
use fairlead_testbench::{Behaviour, GitServer, WebhookServer};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::scene::{Scene, broken_spec, counts, received, text};

const TOKEN: &str = "t0ken-that-signs";
const HOOK: &str = "/services/T000/B000/h00k-that-is-secret";

fn names(server: &WebhookServer) -> Vec<String> {
    let name = |body: Value| text(&body["involvedObject"]["name"]).to_owned();
    let mut names: Vec<String> = server.received().iter().map(|request| name(request.json())).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_failure_reaches_a_webhook_signed_and_a_chat_formatted() {
    let scene = Scene::new("failure").await;
    let (hook, chat) = (WebhookServer::start(), WebhookServer::start());
    let headers = "X-Cluster: one\nAuthorization: an0ther-t0ken";
    scene.secret("hook", &json!({"address": format!("{}{HOOK}", hook.url()), "token": TOKEN, "headers": headers}));
    scene.provider("hook", &json!({"type": "generic-hmac", "secretRef": {"name": "hook"}}));
    scene.secret("chat", &json!({"address": format!("{}{HOOK}", chat.url())}));
    scene.provider("chat", &json!({"type": "slack", "channel": "ops", "secretRef": {"name": "chat"}}));
    let more = json!({"eventSeverity": "error", "eventMetadata": {"env": "prod", "summary": "no releases"}});
    for name in ["hook", "chat"] {
        scene.alert(name, &["GitRepository"], &more);
    }
    let git = GitServer::start();
    let releases = git.repository("releases");
    releases.commit("One", &[("a", Some("1"))]);
    let operator = scene.operator("source,notification", &[]).await;
    let good = json!({"url": git.url(&releases), "interval": "1h", "ref": {"branch": "main"}});
    scene.repository(&json!({"name": "good"}), &good);
    scene.tells("GitRepository", "good", "NewArtifact").await;
    let annotations = json!({"event.toolkit.fluxcd.io/playbook": "https://wiki/git", "other": "left out"});
    scene.repository(&json!({"name": "broken", "annotations": annotations}), &broken_spec());

    let request = received(&hook, 1).await.remove(0);
    assert_eq!((request.path.as_str(), request.header("Content-Type")), (HOOK, "application/json"));
    assert_eq!((request.header("Gotk-Component"), request.header("X-Cluster")), ("fairlead", "one"));
    let mac = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).expect("a key").chain_update(&request.body);
    let signature = fairlead::source::digest::hex(&mac.finalize().into_bytes());
    assert_eq!(request.header("X-Signature"), format!("sha256={signature}"));
    let event = request.json();
    let object = &event["involvedObject"];
    assert_eq!((text(&object["kind"]), text(&object["name"])), ("GitRepository", "broken"));
    assert_eq!(text(&object["namespace"]), scene.namespace);
    assert_eq!((text(&event["severity"]), text(&event["reportingController"])), ("error", "fairlead"));
    let metadata = json!({"env": "prod", "summary": "no releases", "playbook": "https://wiki/git"});
    assert_eq!(event["metadata"], metadata);
    let message = text(&event["message"]);
    assert!(message.contains("FILLED_IN_BY_CI") && !text(&event["timestamp"]).is_empty(), "{event}");

    let request = received(&chat, 1).await.remove(0).json();
    assert_eq!((text(&request["channel"]), text(&request["username"])), ("ops", "fairlead"));
    let attachment = &request["attachments"][0];
    assert_eq!((text(&attachment["text"]), text(&attachment["color"])), (message, "danger"));
    assert_eq!(attachment["fields"][0], json!({"title": "summary", "value": "no releases", "short": false}));

    // Mended and broken again in the same way within a while: told once.
    scene.repository(&json!({"name": "broken"}), &good);
    scene.tells("GitRepository", "broken", "NewArtifact").await;
    scene.repository(&json!({"name": "broken"}), &broken_spec());
    counts(&operator, r#"fairlead_notifications_total{to="alerts",outcome="duplicate"} 1"#).await;
    assert_eq!((hook.received().len(), chat.received().len()), (1, 1));
    scene.keeps_secret(&operator, &[TOKEN, HOOK, "an0ther-t0ken"]).await;
}

#[tokio::test]
async fn alerts_choose_by_labels_and_words_and_what_they_ask_for_in_vain_is_named() {
    let scene = Scene::new("choose").await;
    let mut servers = Vec::new();
    for (name, more) in [
        ("all", json!({})),
        ("web", json!({"eventSources": [{"kind": "GitRepository", "name": "*", "matchLabels": {"team": "web"}}]})),
        ("one", json!({"eventSources": [{"kind": "GitRepository", "name": "etl"}]})),
        ("included", json!({"inclusionList": ["nothing", "FILLED_IN_BY_[A-Z]+"]})),
        ("excluded", json!({"inclusionList": ["FILLED"], "exclusionList": ["BY_CI"]})),
        ("suspended", json!({"suspend": true})),
        ("half", json!({"exclusionList": ["("]})),
        ("lost", json!({"providerRef": {"name": "nobody"}})),
    ] {
        let server = WebhookServer::start();
        scene.provider(name, &json!({"type": "generic", "address": server.url()}));
        scene.alert(name, &["GitRepository"], &more);
        servers.push((name, server));
    }
    scene.provider("pigeon", &json!({"type": "sentry", "address": "https://sentry"}));
    let operator = scene.operator("source,notification", &[]).await;
    for (name, team) in [("ui", "web"), ("etl", "data")] {
        scene.repository(&json!({"name": name, "labels": {"team": team}}), &broken_spec());
    }

    let both = vec!["etl", "ui"];
    for (name, expected) in
        [("all", both.clone()), ("web", vec!["ui"]), ("one", vec!["etl"]), ("included", both.clone()), ("half", both)]
    {
        let (_, server) = servers.iter().find(|(known, _)| *known == name).expect("a server");
        received(server, expected.len()).await;
        assert_eq!(names(server), expected, "{name}");
    }
    // All are sent to at the same time: what has not come by now does not come.
    counts(&operator, r#"fairlead_notifications_total{to="generic",outcome="sent"} 8"#).await;
    for (name, server) in servers.iter().filter(|(name, _)| ["excluded", "suspended", "lost"].contains(name)) {
        assert_eq!(server.count(), 0, "{name}");
    }
    scene.tells("Alert", "half", "InvalidConfig: spec.exclusionList[0]: unclosed group").await;
    scene.tells("Alert", "lost", &format!("there is no Provider {}/nobody", scene.namespace)).await;
    scene.tells("Provider", "pigeon", "NotActedOn: notifications of the type 'sentry' are not acted on").await;
}

#[tokio::test]
async fn a_dead_provider_holds_up_nothing_and_a_busy_one_is_asked_again() {
    let scene = Scene::new("dead").await;
    let [dead, busy, refusing, alive] = [(); 4].map(|()| WebhookServer::start());
    dead.behave(Behaviour::Hang);
    busy.answer(&[(429, &[("Retry-After", "0")]), (503, &[("Retry-After", "0")])]);
    refusing.answer(&[(404, &[]), (404, &[])]);
    for (name, server) in [("dead", &dead), ("busy", &busy), ("refusing", &refusing), ("alive", &alive)] {
        scene.secret(name, &json!({"address": format!("{}{HOOK}", server.url())}));
        scene.provider(name, &json!({"type": "generic", "timeout": "1s", "secretRef": {"name": name}}));
        scene.alert(name, &["GitRepository"], &json!({}));
    }
    scene.provider("nowhere", &json!({"type": "slack", "secretRef": {"name": "missing"}}));
    scene.alert("nowhere", &["GitRepository"], &json!({}));
    let operator = scene.operator("source,notification", &[]).await;
    let all: Vec<String> = (0..5).map(|number| format!("broken-{number}")).collect();
    for name in &all {
        scene.broken(name);
    }
    received(&alive, all.len()).await;
    assert_eq!(names(&alive), all);
    // The first was sent three times, and the others came after it.
    let of_busy = received(&busy, all.len() + 2).await;
    let first = of_busy[0].json();
    assert!(of_busy[..3].iter().all(|request| request.json() == first), "{of_busy:?}");
    // What is refused for good is not sent again.
    received(&refusing, all.len()).await;
    assert_eq!(names(&refusing), all);
    let told = scene.tells("Alert", "refusing", "NotificationDispatchFailed").await;
    assert!(told.contains("to provider 'refusing': it answers 404: cannot POST *****"), "{told}");
    scene.tells("Alert", "nowhere", "of spec.secretRef: it does not exist").await;
    assert!(dead.count() >= 1, "the dead provider was never asked");
    scene.keeps_secret(&operator, &[HOOK, "h00k-that-is-secret"]).await;
    let metrics = operator.get("/metrics").await;
    assert!(metrics.contains(r#"fairlead_notifications_total{to="generic",outcome="failed"} 2"#), "{metrics}");
}

#[tokio::test]
async fn certificates_and_a_proxy_lead_to_a_provider() {
    let scene = Scene::new("tls").await;
    let authority = Authority::new();
    let server = WebhookServer::start_mutual(&authority);
    let proxy = Proxy::start(Some(("me", "pr0xy-password")));
    let client = authority.client();
    let certificates = json!({"ca.crt": authority.certificate(), "tls.crt": client.certificate, "tls.key": client.key});
    scene.secret("certificates", &certificates);
    scene.secret("proxy", &json!({"address": proxy.url(), "username": "me", "password": "pr0xy-password"}));
    let spec = json!({"type": "generic", "address": server.url(), "timeout": "5s"});
    for (name, more) in [
        ("right", json!({"certSecretRef": {"name": "certificates"}, "proxySecretRef": {"name": "proxy"}})),
        ("bad", json!({"certSecretRef": {"name": "proxy"}, "proxySecretRef": {"name": "certificates"}})),
    ] {
        let mut spec = spec.clone();
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        scene.provider(name, &spec);
        scene.alert(name, &["GitRepository"], &json!({}));
    }
    let operator = scene.operator("source,notification", &[]).await;
    scene.broken("broken");
    received(&server, 1).await;
    assert_eq!(names(&server), ["broken"]);
    assert!(!proxy.targets().is_empty(), "the proxy was passed by");
    scene.tells("Alert", "bad", "spec.proxySecretRef: the key 'address' is required").await;
    scene.keeps_secret(&operator, &["pr0xy-password"]).await;
}
