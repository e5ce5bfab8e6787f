use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;

fn spec(value: &Value) -> OCIRepositorySpec {
    let mut whole = json!({"url": "oci://ghcr.io/org/app", "interval": "1m"});
    for (key, value) in value.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

fn status(revision: &str, metadata: &[(&str, &str)]) -> OCIRepositoryStatus {
    let artifact = Artifact {
        path: String::new(),
        url: String::new(),
        revision: revision.to_owned(),
        digest: String::new(),
        last_update_time: Time(Timestamp::UNIX_EPOCH),
        size: None,
        metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
    };
    OCIRepositoryStatus { artifact: Some(artifact), ..OCIRepositoryStatus::default() }
}

#[test]
fn a_digest_counts_before_a_range_and_that_before_a_tag() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let fixed = |value: &Value| match Followed::read(&spec(value)) {
        Ok(Followed::Fixed(reference)) => Some(reference.as_str().to_owned()),
        Ok(Followed::Newest(_)) => None,
        Err(failure) => panic!("{}", failure.message),
    };
    assert_eq!(fixed(&json!({})).as_deref(), Some("latest"));
    assert_eq!(fixed(&json!({"ref": {"tag": ""}})).as_deref(), Some("latest"));
    assert_eq!(fixed(&json!({"ref": {"tag": "a"}})).as_deref(), Some("a"));
    assert_eq!(fixed(&json!({"ref": {"tag": "a", "semver": "*"}})), None);
    assert_eq!(fixed(&json!({"ref": {"tag": "a", "semver": "*", "digest": digest}})), Some(digest));
}

#[test]
fn what_cannot_be_followed_is_stalled() {
    for (reference, needle) in [
        (json!({"digest": "sha256:FILLED_IN_BY_CI"}), "is not a digest"),
        (json!({"semver": "FILLED_IN_BY_CI"}), "parse error"),
        (json!({"semver": "*", "semverFilter": "("}), "regular expression"),
        (json!({"tag": "a/b"}), "cannot be a tag"),
    ] {
        let Err(failure) = Followed::read(&spec(&json!({"ref": reference}))) else { panic!("{reference}") };
        assert!(failure.terminal && failure.message.contains(needle), "{}", failure.message);
        assert_eq!(failure.reason, "ReadOperationFailed");
    }
}

#[test]
fn what_the_artifact_is_made_with_makes_another_one() {
    let status = status("a@b", &[]);
    assert!(is_current(&spec(&json!({})), &status, "a@b"));
    assert!(!is_current(&spec(&json!({})), &status, "a@c"));
    assert!(!is_current(&spec(&json!({"ignore": "x"})), &status, "a@b"));
    assert!(!is_current(&spec(&json!({"layerSelector": {"operation": "copy"}})), &status, "a@b"));
    assert!(!is_current(&spec(&json!({})), &OCIRepositoryStatus::default(), "a@b"));
}

#[test]
fn a_new_artifact_is_told_with_its_origin() {
    let spec = spec(&json!({}));
    let plain = stored(&spec, &status("a@b", &[(ORIGIN[0], "git")]));
    assert_eq!(plain.event, "stored artifact with revision 'a@b' from 'oci://ghcr.io/org/app'");
    assert_eq!(plain.message, "stored artifact for digest 'a@b'");
    let whole = stored(&spec, &status("a@b", &[(ORIGIN[0], "git"), (ORIGIN[1], "main@sha1:1")]));
    assert!(whole.event.ends_with(", origin source 'git', origin revision 'main@sha1:1'"), "{}", whole.event);
}

#[test]
fn every_secret_that_is_named_matters() {
    let spec = spec(&json!({
        "secretRef": {"name": "login"}, "certSecretRef": {"name": "certificates"}, "proxySecretRef": {"name": "proxy"},
        "verify": {"provider": "cosign", "secretRef": {"name": "keys"}, "trustedRootSecretRef": {"name": "root"}},
    }));
    assert_eq!(secrets_of(&spec).collect::<Vec<_>>(), ["login", "certificates", "proxy", "keys", "root"]);
}
