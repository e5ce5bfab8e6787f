//! `OCIRepository`.

use fairlead::api::annotation::REQUESTED_AT;
use fairlead::api::source::v1::OCIRepository;
use fairlead_testbench::{OciRegistry, tarball};
use serde_json::{Value, json};

use crate::scene::Scene;

const LAYER: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";

fn content(text: &str) -> Vec<u8> {
    tarball(&[("app/deploy.yaml", text), ("README.md", "read me"), ("logo.png", "image")])
}

async fn push(registry: &OciRegistry, tag: &str, text: &str) -> String {
    registry.push("app", tag, &[(LAYER, content(text))], &[]).await
}

fn spec(registry: &OciRegistry, more: &Value) -> Value {
    let mut spec = json!({"url": registry.url("app"), "interval": "1s", "insecure": true});
    for (key, value) in more.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    spec
}

#[tokio::test]
async fn a_tag_is_followed_and_the_layer_that_is_asked_for_stored() {
    let registry = OciRegistry::start().await;
    let scene = Scene::start("ocirepo").await;
    let origin =
        [("org.opencontainers.image.source", "https://git/app"), ("org.opencontainers.image.revision", "main@sha1:1")];
    let layers = [(LAYER, content("one")), ("application/x-other", tarball(&[("other.yaml", "kind: Other")]))];
    let first = registry.push("app", "latest", &layers, &origin).await;
    scene.apply("OCIRepository", "app", &spec(&registry, &json!({})));
    let revision = format!("latest@{first}");
    let seen = scene.ready_at::<OCIRepository>("app", &revision).await;
    let message = format!("stored artifact for digest '{revision}'");
    for condition in ["Ready", "ArtifactInStorage"] {
        assert_eq!(seen.condition(condition), Some(("True", "Succeeded", message.as_str())));
    }
    let artifact = seen.artifact.unwrap();
    assert_eq!(artifact.metadata["org.opencontainers.image.source"], "https://git/app");
    assert!(artifact.path.ends_with(&format!("app/{}.tar.gz", &first["sha256:".len()..])), "{}", artifact.path);
    let files = scene.files(&artifact).await;
    assert_eq!(files.keys().collect::<Vec<_>>(), ["README.md", "app/deploy.yaml"], "images are left out");
    let event = scene.event("app", "NewArtifact").await.message.unwrap();
    let url = registry.url("app");
    let told = format!(
        "stored artifact with revision '{revision}' from '{url}', origin source 'https://git/app', origin revision 'main@sha1:1'"
    );
    assert_eq!(event, told);

    // What the artifact is made with changes it, without a new revision.
    scene.apply("OCIRepository", "app", &spec(&registry, &json!({"ignore": "*.md\n"})));
    let seen = scene
        .until::<OCIRepository>("app", "observes the rules", |seen| seen.status["observedIgnore"] == "*.md\n")
        .await;
    let files = scene.files(&seen.artifact.unwrap()).await;
    assert!(files.contains_key("logo.png") && !files.contains_key("README.md"), "{files:?}");
    let selector = json!({"mediaType": "application/x-other", "operation": "copy"});
    scene.apply("OCIRepository", "app", &spec(&registry, &json!({"layerSelector": selector})));
    let seen = scene
        .until::<OCIRepository>("app", "observes the selector", |seen| seen.status["observedLayerSelector"] == selector)
        .await;
    assert_eq!(scene.download(&seen.artifact.unwrap()).await, layers[1].1, "the layer as it is");

    // The next one has no such layer; the last good one stays.
    let second = push(&registry, "latest", "two").await;
    let missing = "failed to find layer with media type 'application/x-other' in artifact; it has";
    let seen = scene.failed::<OCIRepository>("app", "FetchFailed", missing).await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("OCIArtifactLayerOperationFailed"));
    let outdated = seen.condition("ArtifactOutdated").expect("there is a newer one");
    assert_eq!((outdated.0, outdated.1), ("True", "NewRevision"));
    assert_eq!(seen.revision(), revision);
    scene.apply("OCIRepository", "app", &spec(&registry, &json!({})));
    let seen = scene.ready_at::<OCIRepository>("app", &format!("latest@{second}")).await;
    assert_eq!(seen.condition("ArtifactOutdated"), None);
    assert_eq!(scene.files(&seen.artifact.unwrap()).await["app/deploy.yaml"], "two");
    assert_eq!(seen.status["observedIgnore"], Value::Null);
}

#[tokio::test]
async fn ranges_filters_and_digests_choose_and_what_cannot_be_chosen_is_named() {
    let registry = OciRegistry::start().await;
    let scene = Scene::start("ocisemver").await;
    let first = push(&registry, "1.0.0", "one").await;
    let candidate = push(&registry, "1.1.0-rc.1", "candidate").await;
    push(&registry, "2.0.0", "two").await;
    scene.apply("OCIRepository", "range", &spec(&registry, &json!({"ref": {"tag": "2.0.0", "semver": "1.x"}})));
    let filter = json!({"semver": ">=1.0.0-0", "semverFilter": ".*-rc.*"});
    scene.apply("OCIRepository", "filter", &spec(&registry, &json!({"ref": filter})));
    let pinned = json!({"tag": "2.0.0", "semver": "2.x", "digest": first});
    scene.apply("OCIRepository", "digest", &spec(&registry, &json!({"ref": pinned})));
    scene.apply("OCIRepository", "none", &spec(&registry, &json!({"ref": {"semver": "3.x"}})));
    scene.apply("OCIRepository", "missing", &spec(&registry, &json!({"ref": {"tag": "3.0.0"}})));
    scene.ready_at::<OCIRepository>("range", &format!("1.0.0@{first}")).await;
    scene.ready_at::<OCIRepository>("filter", &format!("1.1.0-rc.1@{candidate}")).await;
    scene.ready_at::<OCIRepository>("digest", &first).await;
    let words = "no match found for semver: 3.x; none of the repository's 3 tags is in it";
    let seen = scene.failed::<OCIRepository>("none", "FetchFailed", words).await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("ReadOperationFailed"));
    let seen = scene.failed::<OCIRepository>("missing", "FetchFailed", "/app:3.0.0' not found").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("OCIArtifactPullFailed"));

    let newer = push(&registry, "1.2.0", "newer").await;
    let third = push(&registry, "3.0.0", "three").await;
    scene.ready_at::<OCIRepository>("range", &format!("1.2.0@{newer}")).await;
    for name in ["none", "missing"] {
        scene.ready_at::<OCIRepository>(name, &format!("3.0.0@{third}")).await;
    }

    let stalled = |name: &'static str, more: Value, reason: &'static str, words: &'static str| {
        scene.apply("OCIRepository", name, &spec(&registry, &more));
        let scene = &scene;
        async move {
            let seen = scene.failed::<OCIRepository>(name, "Stalled", words).await;
            assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some(reason));
        }
    };
    let tagged = json!({"url": format!("{}:1.0.0", registry.url("app"))});
    stalled("tagged", tagged, "URLInvalid", "remove ':1.0.0'").await;
    let placeholder = json!({"ref": {"semver": "FILLED_IN_BY_CI"}});
    stalled("placeholder", placeholder, "ReadOperationFailed", "not a version range").await;
    let cloud = json!({"provider": "aws"});
    stalled("cloud", cloud, "InvalidProviderConfiguration", "'secretRef'").await;
    let signed = json!({"verify": {"provider": "cosign"}});
    stalled("signed", signed, "VerificationError", "anybody can sign with some identity").await;
    let notation = json!({"verify": {"provider": "notation"}});
    stalled("notation", notation, "VerificationError", "verification secret cannot be empty").await;
    for name in ["signed", "notation"] {
        assert_eq!(scene.see::<OCIRepository>(name).await.artifact, None);
    }
    // Plain HTTP has to be asked for.
    scene.apply("OCIRepository", "secure", &spec(&registry, &json!({"insecure": false})));
    scene.failed::<OCIRepository>("secure", "FetchFailed", "cannot reach 'https://127.0.0.1").await;
}

#[tokio::test]
async fn a_suspended_repository_rests_and_a_request_is_noted() {
    let registry = OciRegistry::start().await;
    let scene = Scene::start("ocisuspend").await;
    let first = push(&registry, "latest", "one").await;
    let hourly = |suspend: bool| spec(&registry, &json!({"interval": "1h", "suspend": suspend}));
    scene.apply("OCIRepository", "app", &hourly(false));
    scene.ready_at::<OCIRepository>("app", &format!("latest@{first}")).await;
    let second = push(&registry, "latest", "two").await;
    scene.apply("OCIRepository", "app", &hourly(true));
    scene.annotate::<OCIRepository>("app", REQUESTED_AT, "while suspended").await;
    scene.apply("OCIRepository", "other", &hourly(false));
    scene.ready_at::<OCIRepository>("other", &format!("latest@{second}")).await;
    let seen = scene.see::<OCIRepository>("app").await;
    assert_eq!(seen.revision(), format!("latest@{first}"));
    scene.apply("OCIRepository", "app", &hourly(false));
    let seen = scene.ready_at::<OCIRepository>("app", &format!("latest@{second}")).await;
    assert_eq!(seen.status["lastHandledReconcileAt"], "while suspended");
    let third = push(&registry, "latest", "three").await;
    scene.annotate::<OCIRepository>("app", REQUESTED_AT, "now").await;
    let seen = scene.ready_at::<OCIRepository>("app", &format!("latest@{third}")).await;
    let artifact = seen.artifact.unwrap();
    scene.delete::<OCIRepository>("app").await;
    let gone = reqwest::get(&artifact.url).await.unwrap();
    assert_eq!(gone.status(), 404, "its artifact goes with it");
}

#[tokio::test]
async fn a_private_registry_wants_its_secrets() {
    let registry = OciRegistry::builder().basic_auth("robot", "hunter2-correct").mutual_tls().start().await;
    let first = push(&registry, "latest", "one").await;
    let scene = Scene::start("ociprivate").await;
    let pull_secret = |password: &str| {
        let auths = json!({"auths": {registry.host(): {"username": "robot", "password": password}}});
        json!({".dockerconfigjson": auths.to_string()})
    };
    let identity = registry.authority().client();
    let private = |more: Value| {
        let mut spec = spec(&registry, &more);
        spec["interval"] = json!("1h");
        spec["insecure"] = json!(false);
        spec
    };
    let certificates = json!({"name": "certificates"});
    scene.secret("certificates", &json!({"ca.crt": registry.authority().certificate()}));
    scene.secret("login", &pull_secret("hunter2-wrong"));
    scene.secret("pull", &pull_secret("hunter2-wrong"));
    scene.bench.apply(
        &json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": [{"name": "pull"}],
            "metadata": {"name": "puller", "namespace": scene.namespace},
        })
        .to_string(),
    );
    let by_secret = private(json!({"secretRef": {"name": "login"}, "certSecretRef": certificates}));
    let by_account = private(json!({"serviceAccountName": "puller", "certSecretRef": certificates}));
    scene.apply("OCIRepository", "secret", &by_secret);
    scene.apply("OCIRepository", "account", &by_account);
    scene.apply("OCIRepository", "stranger", &private(json!({"certSecretRef": {"name": "nothing"}})));
    let seen = scene.failed::<OCIRepository>("stranger", "FetchFailed", "/nothing': it does not exist").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("AuthenticationFailed"));
    scene.failed::<OCIRepository>("secret", "FetchFailed", "cannot reach").await;

    // Each Secret that is set right brings its objects on by itself.
    let whole =
        json!({"ca.crt": registry.authority().certificate(), "tls.crt": identity.certificate, "tls.key": identity.key});
    scene.secret("certificates", &whole);
    for name in ["secret", "account"] {
        let seen = scene.failed::<OCIRepository>(name, "FetchFailed", "answered 401").await;
        assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("AuthenticationFailed"));
    }
    scene.secret("login", &pull_secret("hunter2-correct"));
    scene.ready_at::<OCIRepository>("secret", &format!("latest@{first}")).await;
    scene.secret("pull", &pull_secret("hunter2-correct"));
    scene.ready_at::<OCIRepository>("account", &format!("latest@{first}")).await;
    scene.keeps_secret(&["hunter2", "PRIVATE KEY"]).await;
}

#[tokio::test]
async fn a_proxy_is_used() {
    let registry = OciRegistry::start().await;
    let first = push(&registry, "latest", "one").await;
    let scene = Scene::start("ociproxy").await;
    scene.secret("proxy", &json!({"address": registry.front(), "username": "u", "password": "hunter2"}));
    let spec = json!({
        "url": "oci://registry.invalid/app", "interval": "1m", "insecure": true, "proxySecretRef": {"name": "proxy"},
    });
    scene.apply("OCIRepository", "app", &spec);
    scene.ready_at::<OCIRepository>("app", &format!("latest@{first}")).await;
    let requests = registry.requests();
    assert!(requests.iter().any(|request| request.contains("http://registry.invalid/v2/app/blobs/")), "{requests:?}");
    scene.keeps_secret(&["hunter2"]).await;
}
