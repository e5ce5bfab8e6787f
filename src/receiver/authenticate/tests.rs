use serde_json::json;

use super::*;

const TOKEN: &[u8] = b"token";

/// Type, headers, body, and the event that it is.
type Genuine<'t> = (ReceiverType, &'t [(&'t str, &'t str)], &'t str, Option<&'t str>);

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
    pairs.collect::<Vec<(http::HeaderName, http::HeaderValue)>>().into_iter().collect()
}

fn checked(kind: ReceiverType, pairs: &[(&str, &str)], body: &str) -> Result<Call, Refusal> {
    check(kind, TOKEN, &headers(pairs), body.as_bytes())
}

// `printf body | openssl dgst -sha1 -hmac token`, and with `-sha256`.
const SHA1: &str = "cc458c69d3c8f2a7dc68b3abf500c122b3b7454d";
const SHA256: &str = "4d7872738ac3b68c82e09ccb63975592ac3278d7e2ff228ce76d8028de911b5c";

#[test]
fn every_sender_proves_itself_in_its_own_way() {
    let (sha1, sha256) = (format!("sha1={SHA1}"), format!("sha256={SHA256}"));
    let genuine: &[Genuine] = &[
        (ReceiverType::Generic, &[], "body", None),
        (ReceiverType::GenericHmac, &[("X-Signature", &sha256)], "body", None),
        (ReceiverType::Github, &[("X-Hub-Signature-256", &sha256), ("X-GitHub-Event", "push")], "body", Some("push")),
        (ReceiverType::Github, &[("X-Hub-Signature", &sha1), ("X-GitHub-Event", "ping")], "body", Some("ping")),
        (
            ReceiverType::Bitbucket,
            &[("X-Hub-Signature", &sha256), ("X-Event-Key", "repo:push")],
            "body",
            Some("repo:push"),
        ),
        (ReceiverType::Gitlab, &[("X-Gitlab-Token", "token"), ("X-Gitlab-Event", "Push Hook")], "", Some("Push Hook")),
        (ReceiverType::Harbor, &[("Authorization", "token")], "", None),
    ];
    for (kind, pairs, body, event) in genuine {
        let call = checked(*kind, pairs, body).unwrap_or_else(|refusal| panic!("{kind}: {refusal}"));
        assert_eq!(call.event.as_deref(), *event, "{kind}");
        if *kind == ReceiverType::Generic {
            continue;
        }
        for bad in [b"other".as_slice(), b"", b"tokens"] {
            let refusal = check(*kind, bad, &headers(pairs), body.as_bytes()).expect_err("another token");
            assert!(matches!(refusal, Refusal::NotGenuine(_)), "{kind}: {refusal}");
        }
        assert!(matches!(checked(*kind, &[], body), Err(Refusal::NotGenuine(_))), "{kind} without a header");
    }
}

#[test]
fn a_good_old_signature_does_not_make_up_for_a_bad_new_one() {
    let pairs = [("X-Hub-Signature-256", "sha256=00"), ("X-Hub-Signature", &format!("sha1={SHA1}"))];
    assert!(matches!(checked(ReceiverType::Github, &pairs, "body"), Err(Refusal::NotGenuine(_))));
}

#[test]
fn senders_that_sign_nothing_send_what_they_always_send() {
    let taken = [
        (ReceiverType::Dockerhub, json!({"push_data": {"tag": "1"}, "repository": {"repo_url": "https://x"}})),
        (ReceiverType::Dockerhub, json!({})),
        (ReceiverType::Quay, json!({"docker_url": "quay.io/a/b", "updated_tags": ["1"], "more": null})),
        (ReceiverType::Acr, json!({"action": "push", "target": {"repository": "a", "tag": null}})),
        (ReceiverType::Cdevents, cd_event_with("type", "dev.cdevents.change.merged.0.2.0")),
    ];
    for (kind, body) in taken {
        checked(kind, &[], &body.to_string()).unwrap_or_else(|refusal| panic!("{kind}: {refusal}"));
    }
    let refused = [
        (ReceiverType::Dockerhub, json!({"push_data": "x"})),
        (ReceiverType::Quay, json!({"updated_tags": "1"})),
        (ReceiverType::Acr, json!([1])),
        (ReceiverType::Cdevents, json!({"context": {}})),
        (ReceiverType::Cdevents, cd_event_with("type", "org.other")),
        (ReceiverType::Cdevents, cd_event_with("timestamp", "yesterday")),
        (ReceiverType::Cdevents, cd_event_with("id", "")),
    ];
    for (kind, body) in refused {
        assert!(matches!(checked(kind, &[], &body.to_string()), Err(Refusal::Malformed(_))), "{kind} {body}");
    }
    assert!(matches!(checked(ReceiverType::Quay, &[], "no JSON"), Err(Refusal::Malformed(_))));
}

fn cd_event_with(field: &str, value: &str) -> serde_json::Value {
    let mut event = json!({
        "context": {
            "version": "0.4.1", "id": "1", "source": "/ci", "type": "dev.cdevents.change.merged.0.2.0",
            "timestamp": "2026-01-02T03:04:05Z",
        },
        "subject": {"id": "x", "content": {}},
    });
    event["context"][field] = value.into();
    event
}

#[test]
fn types_with_identity_tokens_are_refused() {
    for kind in [ReceiverType::Gcr, ReceiverType::GenericOidc] {
        assert!(!is_supported(kind));
        assert!(matches!(checked(kind, &[], "{}"), Err(Refusal::NotGenuine(_))));
    }
}

#[test]
fn events_are_compared_without_case_where_the_sender_names_them() {
    let call = |event: Option<&str>| Call { event: event.map(str::to_owned), payload: Ok(json!({})) };
    let wanted = ["Push Hook".to_owned()];
    assert!(call(Some("push hook")).is_among(&wanted) && call(None).is_among(&wanted));
    assert!(!call(Some("Tag Push Hook")).is_among(&wanted) && !call(Some("")).is_among(&wanted));
    assert!(call(Some("anything")).is_among(&[]));
}

#[test]
fn the_payload_is_json_or_a_form_s_field() {
    let payload =
        |kind: &str, body: &str| checked(ReceiverType::Generic, &[("Content-Type", kind)], body).unwrap().payload;
    assert_eq!(payload("application/json; charset=utf-8", r#"{"a":1}"#), Ok(json!({"a": 1})));
    assert_eq!(payload("application/x-www-form-urlencoded", "x=1&payload=%7B%22a%22%3A1%7D"), Ok(json!({"a": 1})));
    assert_eq!(payload("application/x-www-form-urlencoded", "x=1"), Ok(json!({})));
    assert_eq!(payload("text/plain", "anything"), Ok(json!({})));
    assert!(payload("application/json", "[1]").unwrap_err().contains("no object"));
    assert!(payload("application/json", "{").unwrap_err().contains("no JSON"));
}
