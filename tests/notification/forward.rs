//! `--events-addr`: every event is posted on, as Flux's controllers do.

use fairlead_testbench::{GitServer, WebhookServer};
use serde_json::json;

use crate::scene::{Scene, broken_spec, counts, received, text};

#[tokio::test]
async fn every_event_is_posted_on_with_its_metadata() {
    let scene = Scene::new("forward").await;
    let (flux, hook) = (WebhookServer::start(), WebhookServer::start());
    // One that it cannot take yet, and later one that it had already.
    flux.answer(&[(500, &[]), (200, &[]), (429, &[])]);
    scene.provider("hook", &json!({"type": "generic", "address": hook.url()}));
    scene.alert("hook", &["GitRepository"], &json!({}));
    let git = GitServer::start();
    let releases = git.repository("releases");
    let commit = releases.commit("One", &[("a", Some("1"))]);
    let address = format!("{}/?token=qu3ry-secret", flux.url());
    let operator = scene.operator("source", &["--events-addr", &address]).await;
    let annotations = json!({"event.toolkit.fluxcd.io/team": "web", "other": "left out"});
    let spec = json!({"url": git.url(&releases), "interval": "1h", "ref": {"branch": "main"}});
    scene.repository(&json!({"name": "releases", "annotations": annotations}), &spec);

    let requests = received(&flux, 2).await;
    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(requests[0].header("Content-Type"), "application/json");
    let event = requests[0].json();
    let object = &event["involvedObject"];
    assert_eq!(text(&object["apiVersion"]), "source.toolkit.fluxcd.io/v1");
    assert_eq!((text(&object["kind"]), text(&object["name"])), ("GitRepository", "releases"));
    assert_eq!(text(&object["namespace"]), scene.namespace);
    assert!(!text(&object["uid"]).is_empty(), "{event}");
    assert_eq!((text(&event["severity"]), text(&event["reason"])), ("info", "NewArtifact"));
    assert_eq!(text(&event["reportingController"]), "fairlead");
    assert!(!text(&event["reportingInstance"]).is_empty(), "{event}");
    let metadata = &event["metadata"];
    assert_eq!(text(&metadata["source.toolkit.fluxcd.io/revision"]), format!("main@sha1:{commit}"));
    assert!(text(&metadata["source.toolkit.fluxcd.io/digest"]).starts_with("sha256:"), "{metadata}");
    assert_eq!(text(&metadata["event.toolkit.fluxcd.io/team"]), "web");
    assert_eq!(metadata.as_object().expect("metadata").len(), 3, "{metadata}");

    scene.repository(&json!({"name": "broken"}), &broken_spec());
    counts(&operator, r#"fairlead_notifications_total{to="events-addr",outcome="duplicate"} 1"#).await;
    let last = received(&flux, 3).await.remove(2).json();
    assert_eq!((text(&last["severity"]), text(&last["involvedObject"]["name"])), ("error", "broken"));
    counts(&operator, r#"fairlead_notifications_total{to="events-addr",outcome="sent"} 1"#).await;
    // Alerts are left to whom the events are posted to.
    assert_eq!((hook.count(), flux.received().len()), (0, 3));

    flux.answer(&[(400, &[])]);
    scene.broken("again");
    counts(&operator, r#"fairlead_notifications_total{to="events-addr",outcome="failed"} 1"#).await;
    assert!(operator.log().contains("an event was not taken"), "the log says nothing");
    scene.keeps_secret(&operator, &["qu3ry-secret"]).await;
}
