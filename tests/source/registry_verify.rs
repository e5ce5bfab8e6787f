//! `spec.verify` of what comes from registries: signed by trusted keys, by others, or not at all.

use fairlead::api::annotation::REQUESTED_AT;
use fairlead::api::source::v1::{HelmChart, OCIRepository};
use fairlead_testbench::{CosignKey, OciRegistry, Sigstore, fixture_chart, tarball, wait_for};
use serde_json::{Value, json};

use crate::scene::{Kind, PATIENCE, Scene, Seen};

const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const LAYER: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";

pub async fn push(registry: &OciRegistry, text: &str) -> String {
    registry.push("app", "latest", &[(LAYER, tarball(&[("a.yaml", text)]))], &[]).await
}

fn by_keys() -> Value {
    json!({"provider": "cosign", "secretRef": {"name": "keys"}})
}

pub fn spec(registry: &OciRegistry, verify: &Value) -> Value {
    json!({"url": registry.url("app"), "interval": "1s", "insecure": true, "verify": verify})
}

/// Waits until the object says for this reason that it is not signed as it has to be.
pub async fn refused<K: Kind>(scene: &Scene, name: &str, reason: &str, needle: &str) -> Seen {
    let what = format!("{reason} with '{needle}'");
    let seen = scene.until::<K>(name, &what, |seen| {
        let told = |type_: &str, reason: &str| {
            seen.condition(type_).is_some_and(|(status, known, message)| {
                status == "False" && known == reason && message.contains(needle)
            })
        };
        told("SourceVerified", "VerificationError") && told("Ready", reason)
    });
    let seen = seen.await;
    scene.event(name, reason).await;
    seen
}

pub async fn verified(scene: &Scene, name: &str, revision: &str) -> Seen {
    let seen = scene.ready_at::<OCIRepository>(name, revision).await;
    let message = format!("verified signature of revision {revision}");
    assert_eq!(seen.condition("SourceVerified"), Some(("True", "Succeeded", message.as_str())));
    seen
}

pub fn count(registry: &OciRegistry, needle: &str) -> usize {
    registry.requests().iter().filter(|request| request.contains(needle)).count()
}

/// Signatures of the newest artifact were looked for, and are not at later polls.
pub async fn looks_no_more(registry: &OciRegistry) {
    let (polls, checks) = (count(registry, "manifests/latest"), count(registry, "/referrers/"));
    assert!(checks > 0);
    wait_for("more polls", PATIENCE, || async {
        let seen = count(registry, "manifests/latest");
        if seen >= polls + 3 { Ok(()) } else { Err(format!("{seen} after {polls}")) }
    })
    .await;
    assert_eq!(count(registry, "/referrers/"), checks);
}

/// What a program reads that checks a signature is gone when it is done, however that ends.
pub async fn leaves_nothing(scene: &Scene) {
    let scratch = scene.operator.data_dir().join("artifacts/tmp");
    wait_for("an empty scratch", PATIENCE, || async {
        let left: Vec<_> = std::fs::read_dir(&scratch).expect("the store has a scratch").flatten().collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test]
async fn only_what_trusted_keys_signed_becomes_an_artifact() {
    let (author, stranger) = (CosignKey::generate(), CosignKey::generate());
    let registry = OciRegistry::start().await;
    let first = push(&registry, "one").await;
    author.sign(&registry, "app", &first);
    let scene = Scene::start("cosign").await;
    scene.apply("OCIRepository", "app", &spec(&registry, &by_keys()));
    refused::<OCIRepository>(&scene, "app", "VerificationError", "/keys': it does not exist").await;
    scene.secret("keys", &json!({"cosign.key": "hunter2"}));
    refused::<OCIRepository>(&scene, "app", "VerificationError", "none ends in '.pub'").await;
    scene.secret("keys", &json!({"stranger.pub": stranger.public(), "broken.pub": "hunter2"}));
    let needle = format!("no matching signatures were found for '{}/app@{first}'", registry.host());
    let seen = refused::<OCIRepository>(&scene, "app", "VerificationError", &needle).await;
    assert_eq!(seen.artifact, None);
    assert!(seen.condition("Ready").unwrap().2.contains("broken.pub: "), "each key is named: {seen:?}");
    assert_eq!(count(&registry, &format!("manifests/{first}")), 0, "nothing is fetched before it is verified");
    scene.secret("keys", &json!({"broken.pub": author.public()}));
    let kept = verified(&scene, "app", &format!("latest@{first}")).await;
    assert_eq!(scene.files(&kept.artifact.clone().unwrap()).await["a.yaml"], "one");

    // The same artifact and keys are not looked at again.
    looks_no_more(&registry).await;

    let second = push(&registry, "two").await;
    let needle = format!("app@{second}': no signatures found");
    let seen = refused::<OCIRepository>(&scene, "app", "VerificationError", &needle).await;
    assert_eq!(seen.artifact, kept.artifact, "what was verified before stays");
    assert_eq!(seen.condition("ArtifactOutdated").map(|(status, ..)| status), Some("True"));
    author.sign(&registry, "app", &second);
    let kept = verified(&scene, "app", &format!("latest@{second}")).await;

    // A key that is no longer trusted takes the trust in what it signed along.
    scene.secret("keys", &json!({"broken.pub": stranger.public()}));
    let seen = refused::<OCIRepository>(&scene, "app", "VerificationError", &format!("app@{second}'")).await;
    assert_eq!(seen.artifact, kept.artifact);
    let without = json!({"url": registry.url("app"), "interval": "1s", "insecure": true});
    scene.apply("OCIRepository", "app", &without);
    let seen = scene.until::<OCIRepository>("app", "no verification", |seen| {
        seen.condition("SourceVerified").is_none()
            && seen.condition("Ready").is_some_and(|(status, ..)| status == "True")
    });
    assert_eq!(seen.await.artifact, kept.artifact);
    scene.keeps_secret(&["hunter2"]).await;
    leaves_nothing(&scene).await;
}

#[tokio::test]
async fn without_cosign_it_is_said_how_to_get_it() {
    let author = CosignKey::generate();
    let registry = OciRegistry::start().await;
    let digest = push(&registry, "one").await;
    author.sign(&registry, "app", &digest);
    let scene = Scene::start_with("nocosign", &["--cosign", "/nowhere/cosign"]).await;
    scene.secret("keys", &json!({"author.pub": author.public()}));
    scene.apply("OCIRepository", "app", &spec(&registry, &by_keys()));
    let seen = refused::<OCIRepository>(&scene, "app", "VerificationError", "cannot start /nowhere/cosign: ").await;
    assert!(seen.condition("Ready").unwrap().2.contains("install it or name its path"), "{seen:?}");
    assert_eq!(seen.artifact, None);
}

#[tokio::test]
async fn a_digest_that_is_pinned_is_verified_as_well() {
    let (author, stranger) = (CosignKey::generate(), CosignKey::generate());
    let registry = OciRegistry::start().await;
    let digest = push(&registry, "one").await;
    let scene = Scene::start("cosignpin").await;
    scene.secret("keys", &json!({"author.pub": author.public()}));
    let mut pinned = spec(&registry, &by_keys());
    pinned["ref"] = json!({"digest": digest});
    scene.apply("OCIRepository", "app", &pinned);
    refused::<OCIRepository>(&scene, "app", "VerificationError", "no signatures found").await;
    author.sign(&registry, "app", &digest);
    verified(&scene, "app", &digest).await;
    scene.secret("keys", &json!({"author.pub": stranger.public()}));
    refused::<OCIRepository>(&scene, "app", "VerificationError", "no matching signatures were found").await;
    scene.secret("keys", &json!({"author.pub": author.public()}));
    verified(&scene, "app", &digest).await;
}

#[tokio::test]
async fn signatures_in_a_private_registry_are_found() {
    let author = CosignKey::generate();
    let registry = OciRegistry::builder().basic_auth("robot", "hunter2-correct").mutual_tls().start().await;
    let digest = push(&registry, "one").await;
    let scene = Scene::start("cosignprivate").await;
    let identity = registry.authority().client();
    let certificates =
        json!({"ca.crt": registry.authority().certificate(), "tls.crt": identity.certificate, "tls.key": identity.key});
    let auths = json!({"auths": {registry.host(): {"username": "robot", "password": "hunter2-correct"}}});
    scene.secret("certificates", &certificates);
    scene.secret("login", &json!({".dockerconfigjson": auths.to_string()}));
    scene.secret("keys", &json!({"author.pub": author.public()}));
    let private = json!({
        "url": registry.url("app"), "interval": "1s", "verify": by_keys(),
        "secretRef": {"name": "login"}, "certSecretRef": {"name": "certificates"},
    });
    scene.apply("OCIRepository", "app", &private);
    refused::<OCIRepository>(&scene, "app", "VerificationError", "no signatures found").await;
    author.sign(&registry, "app", &digest);
    verified(&scene, "app", &format!("latest@{digest}")).await;
    scene.keeps_secret(&["hunter2", "PRIVATE KEY"]).await;
    leaves_nothing(&scene).await;
}

#[tokio::test]
async fn signatures_are_looked_for_through_the_proxy() {
    let author = CosignKey::generate();
    let registry = OciRegistry::start().await;
    let digest = push(&registry, "one").await;
    author.sign(&registry, "app", &digest);
    let scene = Scene::start("cosignproxy").await;
    scene.secret("proxy", &json!({"address": registry.front(), "username": "u", "password": "hunter2"}));
    scene.secret("keys", &json!({"author.pub": author.public()}));
    let spec = json!({
        "url": "oci://registry.invalid/app", "interval": "1m", "insecure": true, "verify": by_keys(),
        "proxySecretRef": {"name": "proxy"},
    });
    scene.apply("OCIRepository", "app", &spec);
    verified(&scene, "app", &format!("latest@{digest}")).await;
    assert!(count(&registry, "http://registry.invalid/v2/app/referrers/") > 0, "{:?}", registry.requests());
    scene.keeps_secret(&["hunter2"]).await;
}

#[tokio::test]
async fn charts_of_a_registry_are_verified_for_themselves_and_for_releases() {
    let (author, stranger) = (CosignKey::generate(), CosignKey::generate());
    let registry = OciRegistry::start().await;
    let nodejs = fixture_chart("nodejs");
    registry.push_chart("charts", &nodejs, "1.0.0");
    let scene = Scene::running("cosigncharts", "source,helm").await;
    scene.apply("HelmRepository", "charts", &json!({"type": "oci", "url": registry.url("charts"), "insecure": true}));
    scene.secret("keys", &json!({"author.pub": author.public()}));
    let source = json!({"kind": "HelmRepository", "name": "charts"});
    let chart =
        json!({"chart": "nodejs", "version": "1.x", "interval": "1s", "sourceRef": source, "verify": by_keys()});
    scene.apply("HelmChart", "app", &chart);
    let seen = refused::<HelmChart>(&scene, "app", "ChartVerificationError", "no signatures found").await;
    assert_eq!(seen.artifact, None);
    let failed = seen.condition("BuildFailed").expect("as Flux tells it");
    assert!(failed.2.starts_with("chart verification error: failed to verify the signature using provider 'cosign': "));
    let first = registry.digest("charts/nodejs", "1.0.0").await;
    author.sign(&registry, "charts/nodejs", &first);
    let kept = scene.ready_at::<HelmChart>("app", "1.0.0").await;
    assert_eq!(kept.condition("SourceVerified"), Some(("True", "Succeeded", "verified signature of version 1.0.0")));

    // Somebody moves the tag to another package, which has to be signed as well.
    let moved = tarball(&[("nodejs/Chart.yaml", "apiVersion: v2\nname: nodejs\nversion: 1.0.0\n")]);
    let second = registry.push("charts/nodejs", "1.0.0", &[(CHART_LAYER, moved)], &[]).await;
    let needle = format!("charts/nodejs@{second}': no signatures found");
    let seen = refused::<HelmChart>(&scene, "app", "ChartVerificationError", &needle).await;
    assert_eq!(seen.artifact, kept.artifact);
    author.sign(&registry, "charts/nodejs", &second);
    let moved = scene.until::<HelmChart>("app", "another package", |seen| {
        seen.condition("SourceVerified").is_some_and(|(status, ..)| status == "True")
            && seen.artifact.as_ref().map(|artifact| &artifact.digest)
                != kept.artifact.as_ref().map(|kept| &kept.digest)
    });
    assert_eq!(moved.await.revision(), "1.0.0");

    // The chart that a release makes asks for the same.
    let verify = json!({"chart": "nodejs", "version": "1.x", "sourceRef": source, "verify": by_keys()});
    let release = json!({"interval": "1m", "chart": {"spec": verify}});
    scene.apply_of("helm.toolkit.fluxcd.io/v2", "HelmRelease", "app", &release);
    let wait = ["wait", "--for=condition=Ready", "--timeout=60s", "helmrelease/app", "--namespace", &scene.namespace];
    scene.bench.kubectl(&wait);
    let made = scene.see::<HelmChart>(&format!("{}-app", scene.namespace)).await;
    assert_eq!(made.condition("SourceVerified").map(|(status, ..)| status), Some("True"));

    scene.secret("keys", &json!({"author.pub": stranger.public()}));
    let needle = "no matching signatures were found";
    refused::<HelmChart>(&scene, "app", "ChartVerificationError", needle).await;
    scene.secret("keys", &json!({"author.pub": author.public()}));
    scene.ready_at::<HelmChart>("app", "1.0.0").await;
}

#[tokio::test]
async fn identities_are_verified_against_a_trusted_root() {
    const ISSUER: &str = "https://accounts.example.org";
    let (sigstore, other, key) = (Sigstore::generate(), Sigstore::generate(), CosignKey::generate());
    let registry = OciRegistry::start().await;
    let digest = push(&registry, "one").await;
    key.sign(&registry, "app", &digest);
    let scene = Scene::start("keyless").await;
    let keyless = |subject: &str| {
        spec(
            &registry,
            &json!({
                "provider": "cosign", "trustedRootSecretRef": {"name": "root"},
                "matchOIDCIdentity": [
                    {"issuer": "^https://nobody\\.example\\.org$", "subject": ".*"},
                    {"issuer": format!("^{ISSUER}$"), "subject": subject},
                ],
            }),
        )
    };
    let author = "^author@example\\.org$";
    scene.secret("root", &json!({"root.json": "{}"}));
    scene.apply("OCIRepository", "app", &keyless(author));
    let needle = "using provider 'cosign keyless': failed to read trusted root";
    refused::<OCIRepository>(&scene, "app", "VerificationError", needle).await;
    scene.secret("root", &json!({"trusted_root.json": sigstore.trusted_root()}));
    // The signature of a key is nobody's.
    refused::<OCIRepository>(&scene, "app", "VerificationError", "no matching signatures were found").await;
    // One of another authority counts as little.
    other.sign(&registry, "app", &digest, ISSUER, "author@example.org").await;
    scene.annotate::<OCIRepository>("app", REQUESTED_AT, "another authority").await;
    let seen = refused::<OCIRepository>(&scene, "app", "VerificationError", "not enough verified log entries").await;
    assert_eq!(seen.artifact, None);
    sigstore.sign(&registry, "app", &digest, ISSUER, "author@example.org").await;
    let revision = format!("latest@{digest}");
    let kept = verified(&scene, "app", &revision).await;
    assert_eq!(scene.files(&kept.artifact.unwrap()).await["a.yaml"], "one");
    scene.apply("OCIRepository", "app", &keyless("^somebody-else@example\\.org$"));
    refused::<OCIRepository>(&scene, "app", "VerificationError", "author@example.org").await;
    scene.apply("OCIRepository", "app", &keyless(author));
    verified(&scene, "app", &revision).await;
    // What is trusted is replaced.
    scene.secret("root", &json!({"trusted_root.json": other.trusted_root()}));
    refused::<OCIRepository>(&scene, "app", "VerificationError", "no matching signatures were found").await;
    leaves_nothing(&scene).await;
}
