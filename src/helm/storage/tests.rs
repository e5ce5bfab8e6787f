use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use super::*;

fn secret(data: &[u8]) -> Secret {
    let mut secret = Secret::default();
    secret.metadata.name = Some("sh.helm.release.v1.app.v1".to_owned());
    secret.metadata.resource_version = Some("7".to_owned());
    secret.data = Some(BTreeMap::from([(DATA_KEY.to_owned(), ByteString(data.to_vec()))]));
    secret
}

fn stored(status: &str) -> Secret {
    let Value::Object(document) = json!({
        "name": "app", "namespace": "dev", "version": 1, "manifest": "kind: X",
        "info": {"status": status, "last_deployed": "2026-01-02T03:04:05Z", "new_field": [1.5, null]},
        "chart": {"metadata": {"name": "app"}, "schema": "e30="}, "apply_method": "ssa",
    }) else {
        unreachable!("the literal is a mapping");
    };
    let data = encode(&StoredRelease { document }).expect("encodes");
    secret(&data[DATA_KEY].0)
}

fn gzip_of(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("writes to memory");
    STANDARD.encode(packed.finish().expect("writes to memory")).into_bytes()
}

#[test]
fn a_failed_release_keeps_all_but_status_and_description() {
    let before = stored("deployed");
    let now = "2026-02-03T04:05:06Z".parse().expect("a time");
    let after = mark_failed(&before, "Deployment dev/app is not ready", now).expect("is a release");
    let mut expected = decode(&before).expect("is a release");
    expected.set_info("status", "failed");
    expected.set_info("description", "Deployment dev/app is not ready");
    let release = decode(&after).expect("is a release");
    assert_eq!(release.document(), expected.document());
    assert_eq!(release.info("last_deployed"), Some(&json!("2026-01-02T03:04:05Z")));
    assert_eq!(release.info("new_field"), Some(&json!([1.5, null])));
    let labels = after.metadata.labels.expect("has labels");
    assert_eq!(labels["status"], "failed");
    assert_eq!(labels["modifiedAt"], "1770091506");
    assert_eq!(after.metadata.resource_version.as_deref(), Some("7"));
}

#[test]
fn only_a_pending_release_has_a_lock_to_break() {
    let now = Timestamp::UNIX_EPOCH;
    for status in ["pending-install", "pending-upgrade", "pending-rollback"] {
        let freed = break_lock(&stored(status), "the operator ended", now).expect(status);
        assert_eq!(decode(&freed).expect(status).status(), ReleaseStatus::Failed);
    }
    let error = break_lock(&stored("deployed"), "", now).expect_err("is not pending").to_string();
    assert_eq!(error, "the release is deployed, no action holds it");
}

#[test]
fn a_release_without_gzip_is_read() {
    let text = STANDARD.encode(r#"{"name":"old","version":3}"#);
    let release = decode(&secret(text.as_bytes())).expect("is a release");
    assert_eq!((release.name(), release.version(), release.manifest()), ("old", 3, ""));
}

#[test]
fn what_is_no_release_says_why() {
    let bomb = gzip_of(&vec![b' '; usize::try_from(UNPACKED_LIMIT).expect("fits") + 1]);
    let cases = [
        (Secret::default(), "the Secret has no key release"),
        (secret(b"%%"), "the release is not base64"),
        (secret(STANDARD.encode([0x1f, 0x8b, 8, 0, 1]).as_bytes()), "the release cannot be unpacked"),
        (secret(&gzip_of(b"[1")), "the release is not valid JSON"),
        (secret(&bomb), "the release is larger than 67108864 bytes"),
    ];
    for (secret, beginning) in cases {
        let message = decode(&secret).expect_err(beginning).to_string();
        assert!(message.starts_with(beginning), "{message}");
    }
}
