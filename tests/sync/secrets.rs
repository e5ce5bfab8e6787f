//! What a Secret holds is what its manifest says, in whichever of its two fields.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::world::World;

const FILE: &str = "production/secret.yaml";

fn secret(namespace: &str, name: &str, fields: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: {namespace}\n{fields}\n")
}

async fn data(world: &World, name: &str) -> Value {
    let live = world.live("v1", "Secret", &world.id, name).await.expect("it is there");
    let decode = |text: &Value| String::from_utf8(BASE64.decode(text.as_str().expect("text")).expect("base64"));
    let entries = live.data["data"].as_object().cloned().unwrap_or_default();
    entries
        .iter()
        .map(|(key, text)| (key.clone(), decode(text).expect("UTF-8").into()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[tokio::test]
async fn a_key_that_leaves_the_texts_of_a_secret_goes() {
    let world = World::new("texts", &[("README.md", Some("x"))]).await;
    let ns = world.id.clone();
    // Applied by its texts: one key has left already, and stayed; one is somebody else's.
    world.apply_as_flux(&secret(&ns, "old", "stringData: {user: one, left: long-ago}"));
    world.apply_as_flux(&secret(&ns, "old", "stringData: {user: one}"));
    let theirs = r#"{"stringData":{"theirs":"kept"}}"#;
    let patch = ["-n", &ns, "patch", "secret", "old", "--type=merge", "--field-manager=them", "-p", theirs];
    world.bench.kubectl(&patch);

    let both = |old: &str, new: &str| format!("{}---\n{}", secret(&ns, "old", old), secret(&ns, "new", new));
    let first = both("stringData: {token: hunter2}", "data: {a: eA==, b: eA==}\nstringData: {b: second, c: third}");
    world.releases.commit("Secrets", &[(FILE, Some(&first))]);
    world.follow_production();
    world.verdict().await.is_ready();
    assert_eq!(data(&world, "old").await, json!({"token": "hunter2", "theirs": "kept"}));
    assert_eq!(data(&world, "new").await, json!({"a": "x", "b": "second", "c": "third"}));

    // Nothing changes, so nothing is written.
    let version = async || world.live("v1", "Secret", &ns, "old").await.expect("it is there").metadata.resource_version;
    let before = version().await;
    world.annotate("apps", "reconcile.fluxcd.io/requestedAt=again");
    world.verdict_of("apps", |status| status.last_handled_reconcile_at.as_deref() == Some("again")).await.is_ready();
    assert_eq!(version().await, before);

    let second = both("stringData: {token: hunter3}", "data: {a: eA==}\nstringData: {c: fourth}");
    world.push(&[(FILE, Some(&second))]).await.is_ready();
    assert_eq!(data(&world, "old").await, json!({"token": "hunter3", "theirs": "kept"}));
    assert_eq!(data(&world, "new").await, json!({"a": "x", "c": "fourth"}));

    // What the API server says of it does not show it.
    let wrong = secret(&ns, "old", "immutable: hunter4\nstringData: {token: hunter5}");
    let verdict = world.push(&[(FILE, Some(&wrong))]).await;
    verdict.complains(&[&format!("{FILE}:6: Secret/{ns}/old: immutable: the API server refuses the Secret")]);
    let log = world.operator.log();
    for hidden in ["hunter", &BASE64.encode("hunter5")] {
        assert!(!verdict.message.contains(hidden) && !log.contains(hidden), "{}\n{log}", verdict.message);
    }
}
