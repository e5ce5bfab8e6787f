//! `GitRepository`.

use std::time::{Duration, Instant};

use fairlead::api::source::v1::{GitRepository, HelmRepository};
use fairlead_testbench::{Behaviour, ChartServer, GitServer, KeyKind, SshKey, fixture_chart, wait_for};
use serde_json::json;

use crate::scene::{PATIENCE, Scene};

fn api_yaml(port: u16) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: api\ndata:\n  port: \"{port}\"\n")
}

#[tokio::test]
async fn a_push_becomes_an_artifact() {
    let git = GitServer::start();
    let releases = git.repository("releases");
    let first = releases.commit(
        "Add the api",
        &[("production/api.yaml", Some(&api_yaml(1))), ("logo.png", Some("image")), ("PLACEHOLDER", Some(""))],
    );
    let scene = Scene::start("push").await;
    scene.apply(
        "GitRepository",
        "releases",
        &json!({"url": git.url(&releases), "interval": "1s", "ref": {"branch": "main"}}),
    );
    let seen = scene.ready_at::<GitRepository>("releases", &format!("main@sha1:{first}")).await;
    let message = format!("stored artifact for revision 'main@sha1:{first}'");
    for condition in ["Ready", "ArtifactInStorage"] {
        assert_eq!(seen.condition(condition), Some(("True", "Succeeded", message.as_str())));
    }
    assert_eq!(seen.conditions.len(), 2, "{:?}", seen.conditions);
    let artifact = seen.artifact.unwrap();
    assert_eq!(artifact.path, format!("gitrepository/{}/releases/{first}.tar.gz", scene.namespace));
    let files = scene.files(&artifact).await;
    assert_eq!(files.keys().collect::<Vec<_>>(), ["PLACEHOLDER", "production/api.yaml"]);
    let event = scene.event("releases", "NewArtifact").await;
    assert_eq!(event.message.as_deref(), Some("stored artifact for commit 'Add the api'"));

    let pushed = Instant::now();
    let second = releases.commit("Change the port", &[("production/api.yaml", Some(&api_yaml(2)))]);
    scene.ready_at::<GitRepository>("releases", &format!("main@sha1:{second}")).await;
    eprintln!("push to artifact: {:?}", pushed.elapsed());
    assert!(pushed.elapsed() < Duration::from_secs(4), "{:?}", pushed.elapsed());
}

#[tokio::test]
async fn every_kind_of_reference_is_followed() {
    let git = GitServer::start();
    let charts = git.repository("charts");
    let one = charts.commit("One", &[("a", Some("1"))]);
    charts.tag("v1.0.0");
    let two = charts.commit("Two", &[("a", Some("2"))]);
    charts.annotated_tag("v1.1.0", "release");
    let three = charts.commit_to("feature/x", "Three", &[("a", Some("3"))]);
    let scene = Scene::start("refs").await;
    let cases = [
        ("branch", json!({"branch": "feature/x"}), format!("feature/x@sha1:{three}"), "3"),
        ("tag", json!({"branch": "main", "tag": "v1.0.0"}), format!("v1.0.0@sha1:{one}"), "1"),
        ("annotated", json!({"tag": "v1.1.0"}), format!("v1.1.0@sha1:{two}"), "2"),
        ("semver", json!({"semver": "~1.0"}), format!("v1.0.0@sha1:{one}"), "1"),
        ("highest", json!({"semver": ">=1.0.0"}), format!("v1.1.0@sha1:{two}"), "2"),
        ("name", json!({"name": "refs/heads/main"}), format!("refs/heads/main@sha1:{two}"), "2"),
        ("commit", json!({"commit": one}), format!("sha1:{one}"), "1"),
        ("both", json!({"branch": "main", "commit": one}), format!("main@sha1:{one}"), "1"),
    ];
    for (name, reference, _, _) in &cases {
        scene.apply("GitRepository", name, &json!({"url": git.url(&charts), "interval": "1m", "ref": reference}));
    }
    for (name, _, revision, text) in &cases {
        let seen = scene.ready_at::<GitRepository>(name, revision).await;
        assert_eq!(scene.files(&seen.artifact.unwrap()).await["a"], *text, "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_fetched_is_named_and_heals() {
    let git = GitServer::start();
    let charts = git.repository("worker");
    charts.commit("One", &[("a", Some("1"))]);
    let scene = Scene::start("bad").await;
    let url = git.url(&charts);
    let origin = url.split("/worker").next().unwrap().to_owned();
    for (name, url, reference, condition, needle) in [
        (
            "placeholder",
            url.clone(),
            json!({"branch": "STAGING_CHART_REF"}),
            "FetchFailed",
            "refs/heads/STAGING_CHART_REF",
        ),
        ("no-org", format!("{origin}//nothing"), json!({}), "FetchFailed", "is a name missing?"),
        ("missing", format!("{origin}/nothing.git"), json!({}), "FetchFailed", "not found"),
        ("nobody", "http://127.0.0.1:1/x.git".to_owned(), json!({}), "FetchFailed", "cannot be reached"),
        (
            "commit",
            url.clone(),
            json!({"branch": "main", "commit": "STAGING_CHART_REF"}),
            "Stalled",
            "not a full commit SHA",
        ),
        ("range", url.clone(), json!({"semver": "FILLED_IN_BY_CI"}), "Stalled", "FILLED_IN_BY_CI"),
        ("words", url.clone(), json!({"branch": "two words"}), "Stalled", "not a valid git reference name"),
    ] {
        scene.apply("GitRepository", name, &json!({"url": url, "interval": "2s", "ref": reference}));
        let seen = scene.failed::<GitRepository>(name, condition, needle).await;
        assert_eq!(
            seen.condition("Ready").map(|(status, reason, _)| (status, reason)),
            Some(("False", "GitOperationFailed"))
        );
        assert_eq!(seen.observed_generation == Some(1), condition == "Stalled", "{name}");
    }
    scene.event("placeholder", "GitOperationFailed").await;
    charts.commit_to("STAGING_CHART_REF", "Now it is there", &[("a", Some("2"))]);
    scene.ready::<GitRepository>("placeholder").await;
    scene.apply("GitRepository", "commit", &json!({"url": url, "interval": "2s", "ref": {"branch": "main"}}));
    let seen = scene.ready::<GitRepository>("commit").await;
    assert_eq!(seen.condition("Stalled"), None);
}

#[tokio::test]
async fn a_forced_push_is_followed_and_a_deleted_branch_keeps_its_artifact() {
    let git = GitServer::start();
    let charts = git.repository("charts");
    charts.commit("One", &[("a", Some("1"))]);
    charts.commit_to("topic", "Two", &[("a", Some("2"))]);
    let scene = Scene::start("force").await;
    scene.apply("GitRepository", "c", &json!({"url": git.url(&charts), "interval": "1s", "ref": {"branch": "topic"}}));
    scene.ready::<GitRepository>("c").await;
    let rewritten = charts.rewrite("topic", "Two, again", &[("a", Some("3"))]);
    let kept = scene.ready_at::<GitRepository>("c", &format!("topic@sha1:{rewritten}")).await;
    charts.delete_branch("topic");
    let seen = scene.failed::<GitRepository>("c", "FetchFailed", "refs/heads/topic").await;
    assert_eq!(seen.artifact, kept.artifact);
    assert_eq!(scene.files(&seen.artifact.unwrap()).await["a"], "3");
    git.behave(Behaviour::Refuse);
    scene.failed::<GitRepository>("c", "FetchFailed", "503").await;
    git.behave(Behaviour::Serve);
    let healed = charts.commit_to("topic", "Back", &[("a", Some("4"))]);
    scene.ready_at::<GitRepository>("c", &format!("topic@sha1:{healed}")).await;
}

#[tokio::test]
async fn credentials_over_http_are_used_and_never_told() {
    let git = GitServer::builder().basic_auth("robot", "hunter2-correct").tls().start();
    let charts = git.repository("charts");
    let sha = charts.commit("One", &[("a", Some("1"))]);
    let scene = Scene::start("basic").await;
    let spec =
        json!({"url": git.url(&charts), "interval": "1m", "ref": {"branch": "main"}, "secretRef": {"name": "git"}});
    scene.apply("GitRepository", "c", &spec);
    let seen = scene.failed::<GitRepository>("c", "FetchFailed", "failed to get secret").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("AuthenticationFailed"));
    scene.secret("git", &json!({"username": "robot", "password": "hunter2-wrong"}));
    scene.failed::<GitRepository>("c", "FetchFailed", "certificate of the remote is not trusted").await;
    scene.secret("git", &json!({"username": "robot", "password": "hunter2-wrong", "ca.crt": git.authority()}));
    let seen = scene.failed::<GitRepository>("c", "FetchFailed", "authentication failed").await;
    assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("AuthenticationFailed"));
    scene.secret("git", &json!({"username": "robot", "password": "hunter2-correct", "ca.crt": git.authority()}));
    scene.ready_at::<GitRepository>("c", &format!("main@sha1:{sha}")).await;
    scene.keeps_secret(&["hunter2", "cm9ib3Q6"]).await;

    let git = GitServer::builder().bearer("token-of-a-bearer").start();
    let charts = git.repository("charts");
    charts.commit("One", &[("a", Some("1"))]);
    scene.secret("bearer", &json!({"bearerToken": "token-of-a-bearer"}));
    let spec =
        json!({"url": git.url(&charts), "interval": "1m", "ref": {"branch": "main"}, "secretRef": {"name": "bearer"}});
    scene.apply("GitRepository", "b", &spec);
    scene.ready::<GitRepository>("b").await;
    scene.keeps_secret(&["token-of-a-bearer"]).await;
}

#[tokio::test]
async fn ssh_checks_the_host_and_proves_the_key() {
    let key = SshKey::generate(KeyKind::EcdsaP384);
    let git = GitServer::builder().ssh(&key).start();
    let releases = git.repository("releases");
    let sha = releases.commit("One", &[("production/api.yaml", Some(&api_yaml(1)))]);
    let scene = Scene::start("ssh").await;
    let stranger = SshKey::generate(KeyKind::EcdsaP384);
    let spec = json!({"url": git.ssh_url(&releases), "interval": "1m", "ref": {"branch": "main"}, "secretRef": {"name": "flux-system"}});
    for (identity, hosts, needle) in [
        (&key.private, git.wrong_known_hosts(), "host key is not among"),
        (&stranger.private, git.known_hosts(), "authentication failed"),
    ] {
        scene.secret("flux-system", &json!({"identity": identity, "identity.pub": key.public, "known_hosts": hosts}));
        scene.apply("GitRepository", "flux-system", &spec);
        let seen = scene.failed::<GitRepository>("flux-system", "FetchFailed", needle).await;
        assert_eq!(seen.condition("Ready").map(|(_, reason, _)| reason), Some("AuthenticationFailed"));
    }
    scene.secret(
        "flux-system",
        &json!({"identity": key.private, "identity.pub": key.public, "known_hosts": git.known_hosts()}),
    );
    scene.ready_at::<GitRepository>("flux-system", &format!("main@sha1:{sha}")).await;
    let line = key.private.lines().nth(1).unwrap().to_owned();
    scene.keeps_secret(&[&line]).await;
}

#[tokio::test]
async fn objects_of_one_remote_share_its_polls() {
    let git = GitServer::start();
    let charts = git.repository("charts");
    charts.commit("One", &[("a", Some("1"))]);
    let scene = Scene::start("share").await;
    for name in ["a", "b", "c", "d"] {
        scene.apply(
            "GitRepository",
            name,
            &json!({"url": git.url(&charts), "interval": "1s", "ref": {"branch": "main"}}),
        );
    }
    for name in ["a", "b", "c", "d"] {
        scene.ready::<GitRepository>(name).await;
    }
    let before = git.count();
    let started = Instant::now();
    wait_for("ten polls", PATIENCE, || async {
        let polls = (git.count() - before) / 2;
        if polls >= 10 { Ok(()) } else { Err(format!("{polls} polls")) }
    })
    .await;
    let took = started.elapsed();
    assert!(took > Duration::from_secs(7), "ten polls in {took:?}: more than one an interval");
    let sha = charts.commit("Two", &[("a", Some("2"))]);
    for name in ["a", "b", "c", "d"] {
        scene.ready_at::<GitRepository>(name, &format!("main@sha1:{sha}")).await;
    }
}

#[tokio::test]
async fn sudden_death_and_damage_heal() {
    let git = GitServer::start();
    let charts = git.repository("charts");
    charts.commit("One", &[("a", Some("1"))]);
    let mut scene = Scene::start("death").await;
    scene.apply("GitRepository", "c", &json!({"url": git.url(&charts), "interval": "1s", "ref": {"branch": "main"}}));
    scene.ready::<GitRepository>("c").await;
    scene.operator.kill();
    let mirrors = scene.operator.data_dir().join("git");
    let mirror =
        std::fs::read_dir(&mirrors).unwrap().flatten().find(|entry| entry.path().extension().is_some()).unwrap();
    std::fs::write(mirror.path().join("shallow.lock"), "").unwrap();
    std::fs::write(mirror.path().join("config"), "garbage [").unwrap();
    std::fs::remove_dir_all(scene.operator.data_dir().join("artifacts")).unwrap();
    let sha = charts.commit("Two", &[("a", Some("2"))]);
    scene.operator.restart().await;
    let seen = scene.ready_at::<GitRepository>("c", &format!("main@sha1:{sha}")).await;
    assert_eq!(scene.files(&seen.artifact.unwrap()).await["a"], "2");
}

#[tokio::test]
async fn suspension_requests_and_deletion_are_heeded() {
    let git = GitServer::start();
    let charts = git.repository("charts");
    let one = charts.commit("One", &[("a", Some("1"))]);
    let scene = Scene::start("life").await;
    let spec = |suspend: bool| json!({"url": git.url(&charts), "interval": "10m", "ref": {"branch": "main"}, "suspend": suspend});
    scene.apply("GitRepository", "c", &spec(false));
    scene.ready_at::<GitRepository>("c", &format!("main@sha1:{one}")).await;
    let two = charts.commit("Two", &[("a", Some("2"))]);
    scene.annotate::<GitRepository>("c", "reconcile.fluxcd.io/requestedAt", "now").await;
    let seen = scene.ready_at::<GitRepository>("c", &format!("main@sha1:{two}")).await;
    assert_eq!(seen.status["lastHandledReconcileAt"], "now");
    scene.apply("GitRepository", "c", &spec(true));
    let three = charts.commit("Three", &[("a", Some("3"))]);
    scene.annotate::<GitRepository>("c", "reconcile.fluxcd.io/requestedAt", "later").await;
    scene.apply("GitRepository", "other", &spec(false));
    scene.ready_at::<GitRepository>("other", &format!("main@sha1:{three}")).await;
    let suspended = scene.see::<GitRepository>("c").await;
    assert_eq!(suspended.revision(), format!("main@sha1:{two}"));
    scene.apply("GitRepository", "c", &spec(false));
    let seen = scene.ready_at::<GitRepository>("c", &format!("main@sha1:{three}")).await;
    scene.delete::<GitRepository>("c").await;
    assert_eq!(reqwest::get(seen.artifact.unwrap().url).await.unwrap().status(), 404);
}

#[tokio::test]
async fn what_is_not_acted_on_is_said_once() {
    let charts = ChartServer::start();
    charts.publish(&fixture_chart("nodejs"), "1.0.0");
    let scene = Scene::start("later").await;
    let spec = json!({"url": charts.url(), "interval": "1m", "accessFrom": {"namespaceSelectors": []}});
    scene.apply("HelmRepository", "h", &spec);
    let seen = scene.ready::<HelmRepository>("h").await;
    let (status, reason, message) = seen.condition("FieldsNotActedOn").unwrap();
    assert_eq!((status, reason), ("True", "NotActedOn"));
    assert!(message.contains("spec.accessFrom"), "{message}");
}
