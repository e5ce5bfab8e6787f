//! `spec.verify` by notation: the trust policy and the certificates of a Secret say whose signature counts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fairlead::api::source::v1::{HelmChart, OCIRepository};
use fairlead_testbench::{NotationKey, OciRegistry, fixture_chart, tools};
use serde_json::{Value, json};

use crate::registry_verify::{count, leaves_nothing, looks_no_more, push, refused, spec, verified};
use crate::scene::Scene;

/// Says how it was called and what it could read, and is notation then.
const TELLING: &str = r#"#!/bin/sh
{ echo "argv: $*"; find "$HOME" -type f -printf '%m %P\n'; } >>"@record@"
exec "@notation@" "$@"
"#;

fn by_policy() -> Value {
    json!({"provider": "notation", "secretRef": {"name": "trust"}})
}

/// A policy with one statement, of level `strict`.
fn policy(scope: &str, identity: &str) -> Value {
    json!({"version": "1.0", "trustPolicies": [{
        "name": "only", "registryScopes": [scope], "trustStores": ["ca:ours"], "trustedIdentities": [identity],
        "signatureVerification": {"level": "strict"},
    }]})
}

/// Sets what the Secret `trust` holds.
fn trust(scene: &Scene, policy: &Value, authority: &str) {
    scene.secret("trust", &json!({"trustpolicy.json": policy.to_string(), "authority.crt": authority}));
}

fn telling_notation(folder: &Path) -> String {
    let (program, record) = (folder.join("notation"), folder.join("record"));
    let script = TELLING.replace("@record@", &record.display().to_string());
    let script = script.replace("@notation@", &tools::tool("notation").display().to_string());
    fs::write(&program, script).expect("write a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it a program");
    program.display().to_string()
}

#[tokio::test]
async fn only_what_the_policy_trusts_becomes_an_artifact() {
    let (author, stranger) = (NotationKey::generate("authors"), NotationKey::generate("strangers"));
    let registry = OciRegistry::start().await;
    let first = push(&registry, "one").await;
    let scene = Scene::start("notation").await;
    let refused = async |needle: &str| refused::<OCIRepository>(&scene, "app", "VerificationError", needle).await;
    scene.apply("OCIRepository", "app", &spec(&registry, &by_policy()));
    refused("/trust': it does not exist").await;
    scene.secret("trust", &json!({"authority.crt": stranger.authority()}));
    refused("using provider 'notation': 'trustpolicy.json' not found in secret").await;
    let app = format!("{}/app", registry.host());
    trust(&scene, &json!("hunter2"), stranger.authority());
    refused("error occurred while parsing trustpolicy.json").await;
    let mut skipping = policy(&app, "*");
    skipping["trustPolicies"][0]["signatureVerification"]["level"] = json!("skip");
    trust(&scene, &skipping, stranger.authority());
    refused("statement 'only' of trustpolicy.json has level 'skip'").await;
    trust(&scene, &policy("example.org/app", "*"), stranger.authority());
    refused(&format!("no statement of trustpolicy.json is about '{app}'")).await;
    trust(&scene, &policy(&app, "*"), "hunter2");
    refused("no signature is associated with").await;
    author.sign(&registry, "app", &first);
    refused("failed to read the trusted certificate authority.crt").await;
    trust(&scene, &policy(&app, "*"), stranger.authority());
    let seen = refused("does not contain any trusted certificate").await;
    assert_eq!(seen.artifact, None);
    assert!(seen.condition("Ready").unwrap().2.contains(&format!("found for '{app}@{first}'")), "{seen:?}");
    trust(&scene, &policy(&app, &stranger.identity()), author.authority());
    refused("does not match the X.509 trusted identities").await;
    assert_eq!(count(&registry, &format!("GET /v2/app/manifests/{first}")), 0, "nothing is fetched before");
    trust(&scene, &policy(&app, &author.identity()), author.authority());
    let kept = verified(&scene, "app", &format!("latest@{first}")).await;
    assert_eq!(scene.files(&kept.artifact.clone().unwrap()).await["a.yaml"], "one");

    // The same artifact and policy are not looked at again.
    looks_no_more(&registry).await;

    let second = push(&registry, "two").await;
    let seen = refused(&format!("no signature is associated with \"{app}@{second}\"")).await;
    assert_eq!(seen.artifact, kept.artifact, "what was verified before stays");
    author.sign(&registry, "app", &second);
    let kept = verified(&scene, "app", &format!("latest@{second}")).await;

    // Whom the policy trusts no longer, or the certificates, is not trusted any more.
    trust(&scene, &policy(&app, &stranger.identity()), author.authority());
    refused("does not match the X.509 trusted identities").await;
    trust(&scene, &policy("*", "*"), author.authority());
    verified(&scene, "app", &format!("latest@{second}")).await;
    trust(&scene, &policy("*", "*"), stranger.authority());
    let seen = refused("does not contain any trusted certificate").await;
    assert_eq!(seen.artifact, kept.artifact);
    scene.keeps_secret(&["hunter2", "artifacts/tmp"]).await;
    leaves_nothing(&scene).await;
}

#[tokio::test]
async fn without_notation_it_is_said_how_to_get_it() {
    let author = NotationKey::generate("authors");
    let registry = OciRegistry::start().await;
    push(&registry, "one").await;
    let scene = Scene::start_with("nonotation", &["--notation", "/nowhere/notation"]).await;
    trust(&scene, &policy("*", "*"), author.authority());
    scene.apply("OCIRepository", "app", &spec(&registry, &by_policy()));
    let seen = refused::<OCIRepository>(&scene, "app", "VerificationError", "cannot start /nowhere/notation: ").await;
    assert!(seen.condition("Ready").unwrap().2.contains("install it or name its path"), "{seen:?}");
    assert_eq!(seen.artifact, None);
}

#[tokio::test]
async fn signatures_of_notation_in_a_private_registry_are_found() {
    let author = NotationKey::generate("authors");
    let registry = OciRegistry::builder().basic_auth("robot", "hunter2-correct").tls().start().await;
    let digest = push(&registry, "one").await;
    author.sign(&registry, "app", &digest);
    let folder = tempfile::tempdir().expect("a folder");
    let scene = Scene::start_with("notationprivate", &["--notation", &telling_notation(folder.path())]).await;
    let identity = registry.authority().client();
    let authority = registry.authority().certificate();
    scene.secret("authority", &json!({"ca.crt": authority}));
    scene.secret("identity", &json!({"ca.crt": authority, "tls.crt": identity.certificate, "tls.key": identity.key}));
    let auths = json!({"auths": {registry.host(): {"username": "robot", "password": "hunter2-correct"}}});
    scene.secret("login", &json!({".dockerconfigjson": auths.to_string()}));
    trust(&scene, &policy("*", "*"), author.authority());
    let with_certificates = |secret: &str| {
        json!({
            "url": registry.url("app"), "interval": "1s", "verify": by_policy(), "ref": {"digest": digest},
            "secretRef": {"name": "login"}, "certSecretRef": {"name": secret},
        })
    };
    scene.apply("OCIRepository", "app", &with_certificates("identity"));
    let needle = "notation cannot show a client certificate";
    let seen = refused::<OCIRepository>(&scene, "app", "VerificationError", needle).await;
    assert_eq!(seen.artifact, None);
    scene.apply("OCIRepository", "app", &with_certificates("authority"));
    verified(&scene, "app", &digest).await;
    scene.keeps_secret(&["hunter2", "PRIVATE KEY"]).await;
    leaves_nothing(&scene).await;

    let record = fs::read_to_string(folder.path().join("record")).expect("notation was called");
    let artifact = format!("argv: verify --verbose {}/app@{digest}", registry.host());
    assert!(record.lines().any(|line| line == artifact), "{record}");
    let files: Vec<&str> = record.lines().filter(|line| !line.starts_with("argv: ")).collect();
    assert!(files.iter().all(|line| line.starts_with("600 ")), "{record}");
    assert!(files.contains(&"600 truststore/x509/ca/ours/authority.crt"), "{record}");
    assert!(!record.contains("hunter2"), "{record}");
}

#[tokio::test]
async fn signatures_of_notation_are_looked_for_through_the_proxy() {
    let author = NotationKey::generate("authors");
    let registry = OciRegistry::start().await;
    let digest = push(&registry, "one").await;
    author.sign(&registry, "app", &digest);
    let scene = Scene::start("notationproxy").await;
    scene.secret("proxy", &json!({"address": registry.front(), "username": "u", "password": "hunter2"}));
    trust(&scene, &policy("registry.invalid/app", "*"), author.authority());
    let spec = json!({
        "url": "oci://registry.invalid/app", "interval": "1m", "insecure": true, "verify": by_policy(),
        "proxySecretRef": {"name": "proxy"},
    });
    scene.apply("OCIRepository", "app", &spec);
    verified(&scene, "app", &format!("latest@{digest}")).await;
    assert!(count(&registry, "http://registry.invalid/v2/app/referrers/") > 0, "{:?}", registry.requests());
    scene.keeps_secret(&["hunter2"]).await;
}

#[tokio::test]
async fn revocation_is_checked_as_the_policy_says() {
    // Nobody listens there.
    let author = NotationKey::with_revocation_list("authors", "http://127.0.0.1:9/revoked.crl");
    let registry = OciRegistry::start().await;
    let digest = push(&registry, "one").await;
    author.sign(&registry, "app", &digest);
    let scene = Scene::start("notationoffline").await;
    let mut policy = policy("*", "*");
    trust(&scene, &policy, author.authority());
    scene.apply("OCIRepository", "app", &spec(&registry, &by_policy()));
    refused::<OCIRepository>(&scene, "app", "VerificationError", "revocation").await;
    policy["trustPolicies"][0]["signatureVerification"]["override"] = json!({"revocation": "skip"});
    trust(&scene, &policy, author.authority());
    verified(&scene, "app", &format!("latest@{digest}")).await;
}

#[tokio::test]
async fn charts_of_a_registry_are_verified_by_a_policy() {
    let (author, stranger) = (NotationKey::generate("authors"), NotationKey::generate("strangers"));
    let registry = OciRegistry::start().await;
    registry.push_chart("charts", &fixture_chart("nodejs"), "1.0.0");
    let scene = Scene::start("notationcharts").await;
    scene.apply("HelmRepository", "charts", &json!({"type": "oci", "url": registry.url("charts"), "insecure": true}));
    let policy = policy(&format!("{}/charts/nodejs", registry.host()), &author.identity());
    trust(&scene, &policy, author.authority());
    let source = json!({"kind": "HelmRepository", "name": "charts"});
    let chart =
        json!({"chart": "nodejs", "version": "1.x", "interval": "1s", "sourceRef": source, "verify": by_policy()});
    scene.apply("HelmChart", "app", &chart);
    let needle = "no signature is associated with";
    let seen = refused::<HelmChart>(&scene, "app", "ChartVerificationError", needle).await;
    assert_eq!(seen.artifact, None);
    let digest = registry.digest("charts/nodejs", "1.0.0").await;
    author.sign(&registry, "charts/nodejs", &digest);
    let kept = scene.ready_at::<HelmChart>("app", "1.0.0").await;
    assert_eq!(kept.condition("SourceVerified"), Some(("True", "Succeeded", "verified signature of version 1.0.0")));
    trust(&scene, &policy, stranger.authority());
    let needle = "does not contain any trusted certificate";
    let seen = refused::<HelmChart>(&scene, "app", "ChartVerificationError", needle).await;
    assert_eq!(seen.artifact, kept.artifact);
    trust(&scene, &policy, author.authority());
    scene.ready_at::<HelmChart>("app", "1.0.0").await;
}
