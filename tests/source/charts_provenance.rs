//! Charts whose provenance files are asked for: signed by trusted keys, by others, or not at all.

use fairlead::api::annotation::{PROVENANCE_KEYS, REQUESTED_AT};
use fairlead::api::helm::v2::HelmRelease;
use fairlead::api::source::v1::{GitRepository, HelmChart, HelmRepository};
use fairlead_testbench::signing::PgpKey;
use fairlead_testbench::{
    ChartServer, CosignKey, GitServer, Helm, OciRegistry, SignedPackage, chart_files, fixture_chart, package,
};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::scene::{Scene, Seen};

const NOT_AMONG: &str = "which is not among them";

fn signed(helm: Helm, version: &str, key: &PgpKey) -> SignedPackage {
    SignedPackage::make(helm, &fixture_chart("nodejs"), version, key)
}

fn spec(version: &str) -> Value {
    json!({"chart": "nodejs", "version": version, "interval": "1s", "sourceRef": {"kind": "HelmRepository", "name": "charts"}})
}

/// Applies a chart whose provenance the keys of a Secret have to have signed.
fn apply(scene: &Scene, name: &str, keys: &str, spec: &Value) {
    let annotations = json!({PROVENANCE_KEYS: keys});
    let metadata = json!({"name": name, "namespace": scene.namespace, "annotations": annotations});
    let chart = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart", "metadata": metadata, "spec": spec,
    });
    scene.bench.apply(&chart.to_string());
}

/// Waits until the chart says for this reason that it is not signed as it has to be.
async fn refused(scene: &Scene, name: &str, reason: &str, needle: &str) -> Seen {
    let told = |seen: &Seen, type_: &str, known: &str| {
        seen.condition(type_)
            .is_some_and(|(status, found, message)| status == "False" && found == known && message.contains(needle))
    };
    let what = format!("{reason} with '{needle}'");
    let seen = scene.until::<HelmChart>(name, &what, |seen| {
        told(seen, "SourceVerified", "VerificationError") && told(seen, "Ready", reason)
    });
    let seen = seen.await;
    scene.event(name, reason).await;
    seen
}

async fn verified(scene: &Scene, name: &str, version: &str, key: &PgpKey) -> Seen {
    let seen = scene.ready_at::<HelmChart>(name, version).await;
    let message = format!("verified provenance of version {version} with key '{}'", key.id());
    assert_eq!(seen.condition("SourceVerified"), Some(("True", "Succeeded", message.as_str())));
    seen
}

/// Waits for another pass.
async fn again(scene: &Scene, name: &str, when: &str) -> Seen {
    scene.annotate::<HelmChart>(name, REQUESTED_AT, when).await;
    scene.until::<HelmChart>(name, "another pass", |seen| seen.status["lastHandledReconcileAt"] == when).await
}

#[tokio::test]
async fn only_packages_that_trusted_keys_signed_are_stored() {
    let (author, stranger) = (PgpKey::generate(), PgpKey::generate());
    let server = ChartServer::builder().basic_auth("robot", "hunter2-correct").start();
    let first = signed(Helm::V3, "1.0.0", &author);
    first.publish_alone(&server);
    let scene = Scene::start("prov").await;
    scene.secret("login", &json!({"username": "robot", "password": "hunter2-correct"}));
    let repository = json!({"url": server.url(), "interval": "1s", "secretRef": {"name": "login"}});
    scene.apply("HelmRepository", "charts", &repository);
    scene.ready::<HelmRepository>("charts").await;
    apply(&scene, "app", "keys", &spec("1.x"));
    refused(&scene, "app", "VerificationError", "/keys': it does not exist").await;
    scene.secret("keys", &json!({"stranger.asc": stranger.public(), "author.sshpub": "hunter2"}));
    let seen = refused(&scene, "app", "ChartVerificationError", "nodejs-1.0.0.tgz.prov' answered 404").await;
    assert_eq!(seen.condition("BuildFailed").map(|(status, ..)| status), Some("True"));
    assert_eq!(server.sent("nodejs-1.0.0.tgz"), 0, "nothing is fetched that is not signed");
    first.publish(&server);
    let seen = refused(&scene, "app", "ChartVerificationError", NOT_AMONG).await;
    assert!(seen.condition("Ready").unwrap().2.contains(&author.id()), "the key that signed is named: {seen:?}");
    assert_eq!(seen.artifact, None);
    scene.secret("keys", &json!({"author.asc": author.public()}));
    let seen = verified(&scene, "app", "1.0.0", &author).await;
    assert_eq!(scene.download(&seen.artifact.unwrap()).await, first.archive());
    assert!(first.verify(Helm::V3, &author).contains("Chart Hash Verified"), "helm finds it good as well");

    // The same package and keys are not looked at again.
    let sent = || (server.sent("nodejs-1.0.0.tgz"), server.sent("nodejs-1.0.0.tgz.prov"));
    let before = sent();
    again(&scene, "app", "one").await;
    again(&scene, "app", "two").await;
    assert_eq!(sent(), before);

    let second = signed(Helm::V4, "1.1.0", &author);
    second.publish(&server);
    let kept = verified(&scene, "app", "1.1.0", &author).await;
    assert!(second.verify(Helm::V4, &author).contains("Chart Hash Verified"));

    // Somebody replaces a package after it was signed.
    let third = signed(Helm::V4, "1.2.0", &author);
    let (metadata, other) = package(&fixture_chart("nodejs"), "1.2.0");
    server.replace(&third.provenance_name(), &third.provenance());
    server.publish_archive(metadata, &other);
    let needle = "'nodejs-1.2.0.tgz' was signed with the digest sha256:";
    let seen = refused(&scene, "app", "ChartVerificationError", needle).await;
    assert_eq!(seen.artifact, kept.artifact, "what was verified before stays");
    // Or takes the proof of another version.
    server.replace(&third.provenance_name(), &second.provenance());
    refused(&scene, "app", "ChartVerificationError", "signed for 'nodejs' 1.1.0, not for 'nodejs' 1.2.0").await;
    third.publish(&server);
    let kept = verified(&scene, "app", "1.2.0", &author).await;

    // A key that is no longer trusted takes the trust in what it signed along.
    scene.secret("keys", &json!({"author.asc": stranger.public()}));
    let seen = refused(&scene, "app", "ChartVerificationError", NOT_AMONG).await;
    assert_eq!(seen.artifact, kept.artifact);
    scene.secret("keys", &json!({"author.asc": author.public()}));
    let seen = verified(&scene, "app", "1.2.0", &author).await;
    assert_eq!(seen.artifact.map(|artifact| artifact.digest), kept.artifact.map(|artifact| artifact.digest));
    // Another Secret is named.
    scene.secret("others", &json!({"stranger.asc": stranger.public()}));
    scene.annotate::<HelmChart>("app", PROVENANCE_KEYS, "others").await;
    refused(&scene, "app", "ChartVerificationError", NOT_AMONG).await;
    // Nobody asks any more.
    scene.apply("HelmChart", "plain", &spec("1.x"));
    let seen = scene.ready_at::<HelmChart>("plain", "1.2.0").await;
    assert_eq!(seen.condition("SourceVerified"), None);
    scene.annotate::<HelmChart>("app", PROVENANCE_KEYS, "keys").await;
    verified(&scene, "app", "1.2.0", &author).await;

    // What is made of a verified package is stored under a version of its own.
    let mut with_values = spec("1.2.0");
    with_values["valuesFiles"] = json!(["values.yaml"]);
    apply(&scene, "values", "keys", &with_values);
    let seen = scene.ready::<HelmChart>("values").await;
    verified(&scene, "values", seen.revision(), &author).await;
    assert!(seen.revision().starts_with("1.2.0+"), "{seen:?}");
    scene.keeps_secret(&["hunter2"]).await;
}

#[tokio::test]
async fn in_a_registry_the_provenance_is_a_layer_of_the_same_artifact() {
    let (author, stranger, cosign) = (PgpKey::generate(), PgpKey::generate(), CosignKey::generate());
    let registry = OciRegistry::start().await;
    registry.push_chart("charts", &fixture_chart("nodejs"), "1.0.0");
    let scene = Scene::start("ociprov").await;
    scene.apply("HelmRepository", "charts", &json!({"type": "oci", "url": registry.url("charts"), "insecure": true}));
    let keys = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": scene.namespace},
        "data": {"pubring.gpg": ByteString(author.public_binary())},
    });
    scene.bench.apply(&keys.to_string());
    apply(&scene, "app", "keys", &spec("1.x"));
    let seen = refused(&scene, "app", "ChartVerificationError", "/charts/nodejs' has none: use `helm push`").await;
    assert_eq!(seen.artifact, None);
    let first = signed(Helm::V4, "1.0.0", &author);
    registry.push_package("charts", &first.path());
    let kept = verified(&scene, "app", "1.0.0", &author).await;
    assert_eq!(scene.download(&kept.artifact.clone().unwrap()).await, first.archive());

    let blobs = || registry.requests().iter().filter(|request| request.contains("/blobs/")).count();
    let before = blobs();
    again(&scene, "app", "one").await;
    again(&scene, "app", "two").await;
    assert_eq!(blobs(), before, "the same package and keys are not looked at again");

    // Somebody moves the tag to a package of theirs.
    registry.push_package("charts", &signed(Helm::V3, "1.0.0", &stranger).path());
    let seen = refused(&scene, "app", "ChartVerificationError", NOT_AMONG).await;
    assert_eq!(seen.artifact, kept.artifact, "what was verified before stays");

    // Two kinds of signatures are asked for: both have to be good.
    scene.secret("cosign", &json!({"author.pub": cosign.public()}));
    let second = signed(Helm::V3, "2.0.0+build.1", &author);
    registry.push_package("charts", &second.path());
    let mut both = spec("2.0.0+build.1");
    both["verify"] = json!({"provider": "cosign", "secretRef": {"name": "cosign"}});
    apply(&scene, "both", "keys", &both);
    let needle = "failed to verify the signature and provenance: failed to verify the signature using";
    let seen = refused(&scene, "both", "ChartVerificationError", needle).await;
    assert!(seen.condition("Ready").unwrap().2.contains("no signatures found"), "{seen:?}");
    cosign.sign(&registry, "charts/nodejs", &registry.digest("charts/nodejs", "2.0.0_build.1").await);
    let seen = scene.ready_at::<HelmChart>("both", "2.0.0+build.1").await;
    let message = format!("verified signature and provenance of version 2.0.0+build.1 with key '{}'", author.id());
    assert_eq!(seen.condition("SourceVerified"), Some(("True", "Succeeded", message.as_str())));
    registry.push_package("charts", &signed(Helm::V4, "2.0.0+build.1", &stranger).path());
    cosign.sign(&registry, "charts/nodejs", &registry.digest("charts/nodejs", "2.0.0_build.1").await);
    let again = refused(&scene, "both", "ChartVerificationError", NOT_AMONG).await;
    assert_eq!(again.artifact, seen.artifact);
    registry.push_package("charts", &second.path());
    scene.ready_at::<HelmChart>("both", "2.0.0+build.1").await;

    // What was stored for cosign's signature alone is not proven by it.
    scene.apply("HelmChart", "cosigned", &both);
    let seen = scene.ready_at::<HelmChart>("cosigned", "2.0.0+build.1").await;
    assert_eq!(seen.condition("SourceVerified").unwrap().2, "verified signature of version 2.0.0+build.1");
    scene.secret("others", &json!({"stranger.asc": stranger.public()}));
    scene.annotate::<HelmChart>("cosigned", PROVENANCE_KEYS, "others").await;
    let seen = refused(&scene, "cosigned", "ChartVerificationError", NOT_AMONG).await;
    assert_eq!(seen.observed_generation, None, "a release must not take it: {seen:?}");
    scene.annotate::<HelmChart>("cosigned", PROVENANCE_KEYS, "keys").await;
    let seen = scene.ready_at::<HelmChart>("cosigned", "2.0.0+build.1").await;
    assert_eq!(seen.condition("SourceVerified"), Some(("True", "Succeeded", message.as_str())));
}

#[tokio::test]
async fn what_has_no_provenance_file_cannot_be_asked_for_one() {
    let author = PgpKey::generate();
    let (git, server) = (GitServer::start(), ChartServer::start());
    let charts = git.repository("charts");
    let files: Vec<_> = chart_files(&fixture_chart("nodejs"));
    let changes: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    charts.commit("Add the chart", &changes);
    signed(Helm::V4, "1.0.0", &author).publish(&server);
    let scene = Scene::start("provnone").await;
    scene.secret("keys", &json!({"author.asc": author.public()}));
    let reference = json!({"url": git.url(&charts), "interval": "1h", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "charts", &reference);
    scene.apply("HelmRepository", "charts", &json!({"url": server.url(), "interval": "1h"}));
    scene.ready::<GitRepository>("charts").await;
    scene.ready::<HelmRepository>("charts").await;
    let in_git = json!({"chart": ".", "interval": "1h", "sourceRef": {"kind": "GitRepository", "name": "charts"}});
    apply(&scene, "git", "keys", &in_git);
    let in_bucket = json!({"chart": ".", "interval": "1h", "sourceRef": {"kind": "Bucket", "name": "charts"}});
    apply(&scene, "bucket", "keys", &in_bucket);
    apply(&scene, "empty", "", &spec("1.0.0"));
    apply(&scene, "name", "My Keys", &spec("1.0.0"));
    let mut cosign = spec("1.0.0");
    cosign["verify"] = json!({"provider": "cosign", "secretRef": {"name": "keys"}});
    scene.apply("HelmChart", "cosign", &cosign);
    for (name, needle) in [
        ("git", "remove it, and verify commits by 'spec.verify' of the GitRepository"),
        ("bucket", "remove it, or use a HelmRepository"),
        ("empty", "it has to name a Secret with OpenPGP public keys; remove it to verify nothing"),
        ("name", "`My Keys` is no valid name"),
        ("cosign", "by the annotation 'fairlead.dev/provenance-keys'"),
    ] {
        scene.failed::<HelmChart>(name, "Stalled", needle).await;
        let seen = refused(&scene, name, "ChartVerificationError", needle).await;
        assert_eq!(seen.artifact, None, "{name}");
    }
    scene.annotate::<HelmChart>("name", PROVENANCE_KEYS, "keys").await;
    verified(&scene, "name", "1.0.0", &author).await;
}

/// Waits until a release says so.
async fn release_says(scene: &Scene, needle: &str) {
    scene
        .until::<HelmRelease>("app", needle, |seen| {
            seen.condition("Ready").is_some_and(|(_, _, message)| message.contains(needle))
        })
        .await;
}

#[tokio::test]
async fn a_release_asks_for_provenance_by_the_annotations_of_its_chart() {
    let (author, stranger) = (PgpKey::generate(), PgpKey::generate());
    let server = ChartServer::start();
    let first = signed(Helm::V4, "1.0.0", &author);
    first.publish_alone(&server);
    let scene = Scene::running("provrelease", "source,helm").await;
    scene.apply("HelmRepository", "charts", &json!({"url": server.url(), "interval": "1s"}));
    scene.secret("keys", &json!({"author.asc": author.public()}));
    scene.secret("others", &json!({"stranger.asc": stranger.public()}));
    let chart = format!("{}-app", scene.namespace);
    let release = |keys: Option<&str>, replicas: u32| {
        let mut template = json!({"spec": spec("1.x")});
        if let Some(keys) = keys {
            template["metadata"] = json!({"annotations": {PROVENANCE_KEYS: keys}});
        }
        json!({"interval": "1m", "chart": template, "values": {"replicas": replicas}})
    };
    let apply = |spec: &Value| scene.apply_of("helm.toolkit.fluxcd.io/v2", "HelmRelease", "app", spec);
    apply(&release(None, 1));
    scene.ready::<HelmRelease>("app").await;

    // What was stored without proof is not used once proof is asked for, although the spec of the chart is the same.
    apply(&release(Some("keys"), 2));
    refused(&scene, &chart, "ChartVerificationError", "failed to verify the provenance: there is none").await;
    release_says(
        &scene,
        &format!("/{chart}' is not ready: chart verification error: failed to verify the provenance: there is none"),
    )
    .await;
    first.publish(&server);
    verified(&scene, &chart, "1.0.0", &author).await;
    scene.ready::<HelmRelease>("app").await;
    release_says(&scene, "Helm upgrade succeeded for release").await;

    let foreign = signed(Helm::V4, "1.1.0", &stranger);
    foreign.publish(&server);
    refused(&scene, &chart, "ChartVerificationError", NOT_AMONG).await;
    apply(&release(Some("others"), 2));
    verified(&scene, &chart, "1.1.0", &stranger).await;
    release_says(&scene, "with chart nodejs@1.1.0").await;
    // Without the annotation nothing is asked for.
    signed(Helm::V4, "1.2.0", &author).publish_alone(&server);
    refused(&scene, &chart, "ChartVerificationError", "failed to verify the provenance: there is none").await;
    apply(&release(None, 2));
    let seen = scene.ready_at::<HelmChart>(&chart, "1.2.0").await;
    assert_eq!(seen.condition("SourceVerified"), None);
    release_says(&scene, "with chart nodejs@1.2.0").await;
}
