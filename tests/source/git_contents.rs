//! What goes into the artifact of a `GitRepository`: includes, sparse checkouts, submodules, ignore rules.

use std::collections::BTreeMap;

use fairlead::api::source::v1::GitRepository;
use fairlead_testbench::{GitServer, KeyKind, SshKey};
use serde_json::{Value, json};

use crate::scene::{Scene, Seen};

async fn texts(scene: &Scene, seen: &Seen) -> BTreeMap<String, String> {
    scene.files(seen.artifact.as_ref().expect("an artifact")).await
}

fn names(files: &BTreeMap<String, String>) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}

fn spec(url: &str, more: &Value) -> Value {
    let mut spec = json!({"url": url, "interval": "10m", "ref": {"branch": "main"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

#[tokio::test]
async fn parts_of_other_repositories_are_included_and_followed() {
    let git = GitServer::start();
    let (app, shared, extra) = (git.repository("app"), git.repository("shared"), git.repository("extra"));
    let head = app.commit("One", &[("base/app.yaml", Some("app")), ("base/same.yaml", Some("own"))]);
    let common = shared.commit("One", &[("deploy/web/a.yaml", Some("a1")), ("deploy/same.yaml", Some("shared"))]);
    extra.commit("One", &[("x.yaml", Some("x")), (".sourceignore", Some("hidden\n")), ("hidden", Some("h"))]);
    let scene = Scene::start("include").await;
    let include = json!({"include": [
        {"repository": {"name": "shared"}, "fromPath": "deploy", "toPath": "base"},
        {"repository": {"name": "extra"}},
    ]});
    scene.apply("GitRepository", "app", &spec(&git.url(&app), &include));
    let seen = scene.failed::<GitRepository>("app", "IncludeUnavailable", "include 'shared'").await;
    assert_eq!(seen.condition("Ready").map(|(status, reason, _)| (status, reason)), Some(("False", "NotFound")));
    scene.apply("GitRepository", "shared", &spec(&git.url(&shared), &json!({})));
    scene.apply("GitRepository", "extra", &spec(&git.url(&extra), &json!({"ref": {"branch": "later"}})));
    scene.failed::<GitRepository>("app", "IncludeUnavailable", "no artifact available for include 'extra'").await;
    scene.apply("GitRepository", "extra", &spec(&git.url(&extra), &json!({})));
    let seen = scene.ready_at::<GitRepository>("app", &format!("main@sha1:{head}")).await;
    assert_eq!(seen.condition("IncludeUnavailable"), None);
    let files = texts(&scene, &seen).await;
    assert_eq!(
        names(&files),
        ["base/app.yaml", "base/same.yaml", "base/web/a.yaml", "extra/.sourceignore", "extra/x.yaml"]
    );
    assert_eq!(files["base/same.yaml"], "shared", "what is included replaces what is there");
    assert_eq!(seen.status["includedArtifacts"][0]["revision"], format!("main@sha1:{common}"));
    assert_eq!(seen.status["observedInclude"], include["include"]);

    let moved = shared.commit("Two", &[("deploy/web/a.yaml", Some("a2"))]);
    scene.annotate::<GitRepository>("shared", "reconcile.fluxcd.io/requestedAt", "now").await;
    let before = seen.artifact.unwrap().digest;
    let seen = scene
        .until::<GitRepository>("app", "the new include", |seen| {
            seen.status["includedArtifacts"][0]["revision"] == format!("main@sha1:{moved}")
        })
        .await;
    assert_eq!(seen.revision(), format!("main@sha1:{head}"), "the revision is that of the repository itself");
    assert_ne!(seen.artifact.as_ref().unwrap().digest, before);
    assert_eq!(texts(&scene, &seen).await["base/web/a.yaml"], "a2");

    scene.apply("GitRepository", "app", &spec(&git.url(&app), &json!({})));
    let seen =
        scene.until::<GitRepository>("app", "no includes", |seen| seen.status["observedInclude"] == Value::Null).await;
    assert_eq!(names(&texts(&scene, &seen).await), ["base/app.yaml", "base/same.yaml"]);
}

#[tokio::test]
async fn includes_that_cannot_work_are_named() {
    let git = GitServer::start();
    let app = git.repository("app");
    app.commit("One", &[("a", Some("1"))]);
    let url = git.url(&app);
    let scene = Scene::start("badinclude").await;
    let include = |of: &str| json!({"include": [{"repository": {"name": of}}]});
    for (name, of) in [("a", "b"), ("b", "c"), ("c", "a")] {
        scene.apply("GitRepository", name, &spec(&url, &include(of)));
    }
    for (name, circle) in [("a", "a -> b -> c -> a"), ("b", "b -> c -> a -> b"), ("c", "c -> a -> b -> c")] {
        let seen = scene.failed::<GitRepository>(name, "Stalled", circle).await;
        assert_eq!(seen.condition("IncludeUnavailable").map(|(_, reason, _)| reason), Some("IncludeCircle"));
    }
    scene.apply("GitRepository", "c", &spec(&url, &json!({})));
    let seen = scene.ready::<GitRepository>("a").await;
    assert_eq!(names(&texts(&scene, &seen).await), ["a", "b/a", "b/c/a"]);
    let paths =
        |from: &str, to: &str| json!({"include": [{"repository": {"name": "c"}, "fromPath": from, "toPath": to}]});
    for (name, from, to, condition, needle) in [
        ("out", "", "../up", "Stalled", "'../up' leaves the repository"),
        ("missing", "no/such", "", "StorageOperationFailed", "has no such path"),
    ] {
        scene.apply("GitRepository", name, &spec(&url, &paths(from, to)));
        scene.failed::<GitRepository>(name, condition, needle).await;
    }
}

#[tokio::test]
async fn a_sparse_checkout_holds_only_its_folders() {
    let git = GitServer::start();
    let app = git.repository("app");
    let files = ["charts/a/Chart.yaml", "charts-old/x", "kustomize/k.yaml", "README.md", "src/main.rs"];
    app.commit("One", &files.map(|name| (name, Some("text"))));
    let url = git.url(&app);
    let scene = Scene::start("sparse").await;
    for (name, folders, expected) in [
        ("two", json!(["./charts", "kustomize/"]), &["charts/a/Chart.yaml", "kustomize/k.yaml"][..]),
        ("file", json!(["README.md", "src"]), &["README.md", "src/main.rs"]),
        (
            "all",
            json!(["./"]),
            &["README.md", "charts-old/x", "charts/a/Chart.yaml", "kustomize/k.yaml", "src/main.rs"],
        ),
    ] {
        scene.apply("GitRepository", name, &spec(&url, &json!({"sparseCheckout": folders})));
        let seen = scene.ready::<GitRepository>(name).await;
        assert_eq!(names(&texts(&scene, &seen).await), expected, "{name}");
        assert_eq!(seen.status["observedSparseCheckout"], folders);
    }
    scene.apply("GitRepository", "two", &spec(&url, &json!({"sparseCheckout": ["charts", "nope"]})));
    let seen = scene.failed::<GitRepository>("two", "FetchFailed", "failed to sparse checkout directories").await;
    let (status, reason, message) = seen.condition("Ready").unwrap();
    assert!((status, reason) == ("False", "GitOperationFailed") && message.contains("'nope'"), "{message}");
    assert!(seen.artifact.is_some(), "the last artifact is kept");
    app.commit("Two", &[("nope/x", Some("1"))]);
    scene.annotate::<GitRepository>("two", "reconcile.fluxcd.io/requestedAt", "now").await;
    let seen = scene.ready::<GitRepository>("two").await;
    assert_eq!(names(&texts(&scene, &seen).await), ["charts/a/Chart.yaml", "nope/x"]);

    // A newer revision that cannot be had is told for as long as that lasts.
    assert_eq!(seen.condition("ArtifactOutdated"), None);
    let without = app.commit("Three", &[("nope/x", None)]);
    scene.annotate::<GitRepository>("two", "reconcile.fluxcd.io/requestedAt", "later").await;
    let seen = scene.failed::<GitRepository>("two", "ArtifactOutdated", &without).await;
    let message = format!("new upstream revision 'main@sha1:{without}'");
    assert_eq!(seen.condition("ArtifactOutdated"), Some(("True", "NewRevision", message.as_str())));
    let with = app.commit("Four", &[("nope/x", Some("2"))]);
    scene.annotate::<GitRepository>("two", "reconcile.fluxcd.io/requestedAt", "last").await;
    let seen = scene.ready_at::<GitRepository>("two", &format!("main@sha1:{with}")).await;
    assert_eq!(seen.condition("ArtifactOutdated"), None);
    scene.apply("GitRepository", "two", &spec(&url, &json!({"sparseCheckout": ["../x"]})));
    scene.failed::<GitRepository>("two", "Stalled", "'../x' leaves the repository").await;
}

#[tokio::test]
async fn submodules_are_fetched_with_the_credentials_of_their_host() {
    let git = GitServer::builder().basic_auth("robot", "hunter2-submodule").start();
    let stranger = GitServer::start();
    let (app, lib, deep) = (git.repository("app"), git.repository("lib"), stranger.repository("deep"));
    deep.commit("One", &[("deep.yaml", Some("d1"))]);
    let old = lib.commit("One", &[("lib.yaml", Some("l1"))]);
    lib.submodule("sub/deep", &deep, &stranger.url(&deep));
    lib.commit("Two", &[("lib.yaml", Some("l2"))]);
    app.commit("One", &[("app.yaml", Some("a")), ("charts/c.yaml", Some("c"))]);
    app.submodule("vendor/lib", &lib, "../lib.git");
    let head = app.commit("Use the library", &[("charts/c.yaml", Some("c2"))]);
    let scene = Scene::start("submodules").await;
    scene.secret("git", &json!({"username": "robot", "password": "hunter2-submodule"}));
    let with = |more: Value| {
        let mut all = json!({"secretRef": {"name": "git"}});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec(&git.url(&app), &all)
    };
    scene.apply("GitRepository", "app", &with(json!({})));
    let seen = scene.ready_at::<GitRepository>("app", &format!("main@sha1:{head}")).await;
    assert_eq!(names(&texts(&scene, &seen).await), ["app.yaml", "charts/c.yaml"]);
    scene.apply("GitRepository", "app", &with(json!({"recurseSubmodules": true})));
    let seen = scene
        .until::<GitRepository>("app", "submodules", |seen| seen.status["observedRecurseSubmodules"] == json!(true))
        .await;
    let files = texts(&scene, &seen).await;
    let expected = ["app.yaml", "charts/c.yaml", "vendor/lib/lib.yaml", "vendor/lib/sub/deep/deep.yaml"];
    assert_eq!(names(&files), expected);
    assert_eq!(files["vendor/lib/lib.yaml"], "l2");
    assert!(stranger.count() > 0 && !stranger.saw_credentials(), "another host must not get to know the password");

    app.submodule_at("vendor/lib", &old);
    let head = app.commit("An older library", &[("app.yaml", Some("a2"))]);
    scene.annotate::<GitRepository>("app", "reconcile.fluxcd.io/requestedAt", "now").await;
    let seen = scene.ready_at::<GitRepository>("app", &format!("main@sha1:{head}")).await;
    let files = texts(&scene, &seen).await;
    assert_eq!(names(&files), ["app.yaml", "charts/c.yaml", "vendor/lib/lib.yaml"]);
    assert_eq!(files["vendor/lib/lib.yaml"], "l1");

    let sparse = json!({"recurseSubmodules": true, "sparseCheckout": ["charts"]});
    scene.apply("GitRepository", "sparse", &with(sparse));
    let before = git.requests().iter().filter(|request| request.contains("/lib.git/")).count();
    let seen = scene.ready::<GitRepository>("sparse").await;
    assert_eq!(names(&texts(&scene, &seen).await), ["charts/c.yaml"]);
    let after = git.requests().iter().filter(|request| request.contains("/lib.git/")).count();
    assert_eq!(before, after, "a submodule outside of the wanted folders is not fetched");
    scene.keeps_secret(&["hunter2-submodule"]).await;
}

#[tokio::test]
async fn submodules_that_cannot_be_fetched_are_named() {
    let git = GitServer::start();
    let (app, lib) = (git.repository("app"), git.repository("lib"));
    lib.commit("One", &[("lib.yaml", Some("l1"))]);
    app.commit("One", &[("app.yaml", Some("a"))]);
    let scene = Scene::start("badsub").await;
    let spec = spec(&git.url(&app), &json!({"recurseSubmodules": true, "interval": "1s"}));
    scene.apply("GitRepository", "app", &spec);
    let first = scene.ready::<GitRepository>("app").await;
    for (url, needle) in [
        ("../missing.git", "submodule 'vendor/lib' (../missing.git): repository not found"),
        ("git@127.0.0.1:x/y", "needs an SSH key"),
        ("/srv/lib", "leads to no http, https or ssh remote"),
    ] {
        app.submodule("vendor/lib", &lib, url);
        app.commit("Try", &[("app.yaml", Some(url))]);
        let seen = scene.failed::<GitRepository>("app", "FetchFailed", needle).await;
        assert_eq!(seen.artifact, first.artifact);
    }
    app.submodule("vendor/lib", &lib, "../lib.git");
    let head = app.commit("Right", &[("app.yaml", Some("b"))]);
    let seen = scene.ready_at::<GitRepository>("app", &format!("main@sha1:{head}")).await;
    assert_eq!(names(&texts(&scene, &seen).await), ["app.yaml", "vendor/lib/lib.yaml"]);
}

#[tokio::test]
async fn a_key_opens_submodules_over_ssh() {
    let key = SshKey::generate(KeyKind::Ed25519);
    let git = GitServer::builder().ssh(&key).start();
    let (app, lib) = (git.repository("app"), git.repository("lib"));
    lib.commit("One", &[("lib.yaml", Some("l1"))]);
    app.commit("One", &[("app.yaml", Some("a"))]);
    app.submodule("lib", &lib, "../lib.git");
    app.commit("Two", &[("app.yaml", Some("b"))]);
    let scene = Scene::start("sshsub").await;
    scene.secret("key", &json!({"identity": key.private, "known_hosts": git.known_hosts()}));
    let more = json!({"recurseSubmodules": true, "secretRef": {"name": "key"}});
    scene.apply("GitRepository", "app", &spec(&git.ssh_url(&app), &more));
    let seen = scene.ready::<GitRepository>("app").await;
    assert_eq!(names(&texts(&scene, &seen).await), ["app.yaml", "lib/lib.yaml"]);
}
