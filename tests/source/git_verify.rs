//! `spec.verify` of a `GitRepository`: commits and tags that are signed, badly signed or not signed.

use fairlead::api::source::v1::GitRepository;
use fairlead_testbench::signing::{PgpKey, Signer};
use fairlead_testbench::{GitServer, KeyKind, Repository, SshKey};
use serde_json::{Value, json};

use crate::scene::{Scene, Seen};

fn spec(url: &str, reference: &Value, mode: &str) -> Value {
    let verify = json!({"mode": mode, "secretRef": {"name": "keys"}});
    json!({"url": url, "interval": "10m", "ref": reference, "verify": verify})
}

fn main_branch() -> Value {
    json!({"branch": "main"})
}

async fn again(scene: &Scene, name: &str, when: &str) {
    scene.annotate::<GitRepository>(name, "reconcile.fluxcd.io/requestedAt", when).await;
}

async fn refused(scene: &Scene, name: &str, reason: &str, needle: &str) -> Seen {
    let seen = scene
        .until::<GitRepository>(name, &format!("{reason} with '{needle}'"), |seen| {
            let told = |type_: &str| {
                seen.condition(type_).is_some_and(|(status, known, message)| {
                    status == "False" && known == reason && message.contains(needle)
                })
            };
            told("SourceVerified") && told("Ready")
        })
        .await;
    scene.event(name, reason).await;
    seen
}

async fn verified(scene: &Scene, name: &str, revision: &str, message: &str) -> Seen {
    let seen = scene.ready_at::<GitRepository>(name, revision).await;
    assert_eq!(seen.condition("SourceVerified"), Some(("True", "Succeeded", message)));
    seen
}

fn signed(repository: &Repository, signer: &impl Signer, text: &str) -> String {
    repository.commit(text, &[("a.yaml", Some(text))]);
    repository.sign_head(signer)
}

#[tokio::test]
async fn only_commits_of_trusted_authors_become_artifacts() {
    let (author, stranger, key) = (PgpKey::generate(), PgpKey::generate(), SshKey::generate(KeyKind::Ed25519));
    let git = GitServer::start();
    let app = git.repository("app");
    let first = signed(&app, &author, "one");
    let scene = Scene::start("verify").await;
    scene.apply("GitRepository", "app", &spec(&git.url(&app), &main_branch(), "HEAD"));
    refused(&scene, "app", "VerificationError", "public keys secret error").await;
    scene.secret("keys", &json!({"stranger.asc": stranger.public()}));
    let needle = format!("signature verification of commit '{first}' failed");
    let seen = refused(&scene, "app", "InvalidCommitSignature", &needle).await;
    assert!(seen.artifact.is_none());
    assert!(seen.condition("Ready").unwrap().2.contains(&author.id()), "the key that signed is named: {seen:?}");
    scene.secret("keys", &json!({"stranger.asc": stranger.public(), "author.asc": author.public()}));
    let told = format!("verified signature of\n\t- commit '{first}' with key '{}'", author.id());
    let kept = verified(&scene, "app", &format!("main@sha1:{first}"), &told).await;
    assert_eq!(kept.status["sourceVerificationMode"], "HEAD");

    let unsigned = app.commit("two", &[("a.yaml", Some("two"))]);
    again(&scene, "app", "unsigned").await;
    let needle = format!("commit '{unsigned}' failed: it is not signed");
    let seen = refused(&scene, "app", "InvalidCommitSignature", &needle).await;
    assert_eq!(seen.artifact, kept.artifact, "what was verified before stays");

    let by_key = signed(&app, &key, "three");
    again(&scene, "app", "ssh").await;
    refused(&scene, "app", "InvalidCommitSignature", "the secret has no ssh public key").await;
    scene.secret("keys", &json!({"author.asc": author.public(), "author.sshpub": key.public}));
    let seen = scene.ready_at::<GitRepository>("app", &format!("main@sha1:{by_key}")).await;
    assert!(seen.condition("SourceVerified").unwrap().2.contains("with key 'SHA256:"), "{seen:?}");
    assert_eq!(scene.files(&seen.artifact.unwrap()).await["a.yaml"], "three");

    // A key that is no longer trusted takes the trust in what it signed along.
    scene.secret("keys", &json!({"author.sshpub": SshKey::generate(KeyKind::Ed25519).public}));
    refused(&scene, "app", "InvalidCommitSignature", "is not among them").await;

    let without = json!({"url": git.url(&app), "interval": "10m", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "app", &without);
    let seen = scene.until::<GitRepository>("app", "no verification", |seen| {
        seen.condition("SourceVerified").is_none()
            && seen.condition("Ready").is_some_and(|(status, _, _)| status == "True")
    });
    assert_eq!(seen.await.status["sourceVerificationMode"], Value::Null);
}

#[tokio::test]
async fn tags_are_verified_with_the_commits_they_were_made_for() {
    let (releaser, author) = (SshKey::generate(KeyKind::EcdsaP384), PgpKey::generate());
    let git = GitServer::start();
    let app = git.repository("app");
    let old = signed(&app, &author, "one");
    app.signed_tag("v1.0.0", &releaser);
    app.annotated_tag("unsigned", "no signature");
    app.tag("light");
    let url = git.url(&app);
    let scene = Scene::start("verifytag").await;
    scene.secret("keys", &json!({"releaser.sshpub": releaser.public, "author.asc": author.public()}));
    for (name, reference, mode) in [
        ("both", json!({"semver": ">=1.0.0"}), "TagAndHEAD"),
        ("tag", json!({"tag": "v1.0.0"}), "Tag"),
        ("head", json!({"name": "refs/tags/v1.0.0"}), "head"),
    ] {
        scene.apply("GitRepository", name, &spec(&url, &reference, mode));
        let seen = scene.ready::<GitRepository>(name).await;
        let (status, _, message) = seen.condition("SourceVerified").unwrap();
        assert_eq!(status, "True");
        assert_eq!(message.contains("- tag 'v1.0.0@"), mode != "head", "{message}");
        assert_eq!(message.contains(&format!("- commit '{old}'")), mode != "Tag", "{message}");
        let told = if mode == "head" { "HEAD" } else { mode };
        assert_eq!(seen.status["sourceVerificationMode"], told);
    }
    for (name, reference, reason, needle) in [
        ("annotated", json!({"tag": "unsigned"}), "InvalidGitObject", "since it is not signed"),
        ("light", json!({"tag": "light"}), "InvalidGitObject", "tag 'light' since it is not signed"),
        ("branch", main_branch(), "InvalidVerificationMode", "if a tag reference is not specified"),
    ] {
        scene.apply("GitRepository", name, &spec(&url, &reference, "Tag"));
        let seen = refused(&scene, name, reason, needle).await;
        assert_eq!(seen.condition("Stalled").is_some(), name == "branch", "{name}");
    }

    // The signed tag of the old version, pushed as the new one; then a tag by a stranger.
    let tag = app.git(&["rev-parse", "refs/tags/v1.0.0"]);
    app.force_tag("v9.0.0", tag.trim());
    again(&scene, "both", "renamed").await;
    refused(&scene, "both", "InvalidGitObject", "was signed for the tag 'v1.0.0', not for 'v9.0.0'").await;
    let new = signed(&app, &author, "two");
    app.git(&["tag", "--delete", "v9.0.0"]);
    app.signed_tag("v9.0.0", &SshKey::generate(KeyKind::Rsa));
    again(&scene, "both", "stranger").await;
    refused(&scene, "both", "InvalidTagSignature", "is not among them").await;
    app.git(&["tag", "--delete", "v9.0.0"]);
    app.signed_tag("v9.0.0", &releaser);
    again(&scene, "both", "right").await;
    let seen = scene.ready_at::<GitRepository>("both", &format!("v9.0.0@sha1:{new}")).await;
    assert_eq!(scene.files(&seen.artifact.unwrap()).await["a.yaml"], "two");
}
