//! What befalls a repository: it is empty, renamed, filtered, or very old.

use std::path::PathBuf;
use std::process::Command;

use fairlead::api::source::v1::GitRepository;
use fairlead_testbench::GitServer;
use fairlead_testbench::tools::{git as git_binary, run};
use serde_json::{Value, json};

use crate::scene::Scene;

#[tokio::test]
async fn an_empty_repository_waits_for_its_first_commit() {
    let git = GitServer::start();
    let app = git.repository("app");
    let scene = Scene::start("empty").await;
    let spec = json!({"url": git.url(&app), "interval": "1s", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "app", &spec);
    let seen = scene.failed::<GitRepository>("app", "FetchFailed", "git repository is empty").await;
    assert_eq!(
        seen.condition("Ready").map(|(status, reason, _)| (status, reason)),
        Some(("False", "EmptyGitRepository"))
    );
    let head = app.commit("First", &[("a", Some("1"))]);
    let seen = scene.ready_at::<GitRepository>("app", &format!("main@sha1:{head}")).await;
    assert_eq!(seen.condition("FetchFailed"), None);
}

#[tokio::test]
async fn a_renamed_branch_keeps_the_last_artifact_until_the_spec_follows() {
    let git = GitServer::start();
    let app = git.repository("app");
    app.commit("One", &[("a", Some("1"))]);
    let topic = app.commit_to("topic", "Two", &[("a", Some("2"))]);
    let scene = Scene::start("rename").await;
    let spec = |branch: &str| json!({"url": git.url(&app), "interval": "1s", "ref": {"branch": branch}});
    scene.apply("GitRepository", "app", &spec("topic"));
    let kept = scene.ready_at::<GitRepository>("app", &format!("topic@sha1:{topic}")).await;
    app.delete_branch("topic");
    app.git(&["branch", "--move", "topic", "renamed"]);
    app.git(&["push", "--quiet", "origin", "renamed"]);
    let seen =
        scene.failed::<GitRepository>("app", "FetchFailed", "couldn't find remote ref \"refs/heads/topic\"").await;
    assert_eq!(seen.artifact, kept.artifact);
    assert_eq!(seen.condition("ArtifactInStorage").map(|(status, _, _)| status), Some("True"));
    assert_eq!(scene.files(&seen.artifact.unwrap()).await["a"], "2");
    scene.apply("GitRepository", "app", &spec("renamed"));
    let seen = scene.ready_at::<GitRepository>("app", &format!("renamed@sha1:{topic}")).await;
    assert_eq!(seen.artifact.unwrap().digest, kept.artifact.unwrap().digest, "the same tree has the same digest");
}

#[tokio::test]
async fn what_is_ignored_stays_out_and_a_change_of_the_rules_is_a_new_artifact() {
    let git = GitServer::start();
    let app = git.repository("app");
    let head = app.commit(
        "One",
        &[
            (".sourceignore", Some("/docs\n*.bak\n")),
            ("docs/a.md", Some("a")),
            ("apps/.sourceignore", Some("!keep.bak\nsecret/\n")),
            ("apps/a.yaml", Some("a")),
            ("apps/keep.bak", Some("kept")),
            ("apps/secret/b.yaml", Some("b")),
            ("secret/c.yaml", Some("c")),
            ("old.bak", Some("old")),
            ("logo.png", Some("image")),
        ],
    );
    let scene = Scene::start("ignore").await;
    let spec = |more: &str| {
        let mut spec = json!({"url": git.url(&app), "interval": "10m", "ref": {"branch": "main"}});
        if !more.is_empty() {
            spec["ignore"] = more.into();
        }
        spec
    };
    let revision = format!("main@sha1:{head}");
    scene.apply("GitRepository", "app", &spec(""));
    let by_files = scene.ready_at::<GitRepository>("app", &revision).await.artifact.unwrap();
    let expected = [".sourceignore", "apps/.sourceignore", "apps/a.yaml", "apps/keep.bak", "logo.png", "secret/c.yaml"];
    assert_eq!(scene.files(&by_files).await.keys().collect::<Vec<_>>(), expected);
    let rules = "/*\n!/apps\n!/docs\n/apps/**/*.yaml\n";
    scene.apply("GitRepository", "app", &spec(rules));
    let seen = scene.until::<GitRepository>("app", "other rules", |seen| seen.status["observedIgnore"] == rules).await;
    assert_eq!(seen.revision(), revision);
    let artifact = seen.artifact.unwrap();
    assert_ne!(artifact.digest, by_files.digest);
    let expected = ["apps/.sourceignore", "apps/keep.bak", "docs/a.md"];
    assert_eq!(scene.files(&artifact).await.keys().collect::<Vec<_>>(), expected);
}

/// The objects that a mirror holds, and the KiB that they take.
fn weight(mirror: &PathBuf) -> (u64, u64) {
    let told = run(Command::new(git_binary()).arg("-C").arg(mirror).args(["count-objects", "-v"]));
    let sum = |names: [&str; 2]| -> u64 {
        let values = told.lines().filter_map(|line| line.split_once(": "));
        values.filter(|(name, _)| names.contains(name)).map(|(_, value)| value.parse::<u64>().unwrap()).sum()
    };
    (sum(["count", "in-pack"]), sum(["size", "size-pack"]))
}

#[tokio::test]
async fn a_long_history_costs_no_more_than_its_last_commit() {
    let git = GitServer::start();
    let app = git.repository("app");
    let head = app.history(50_000, 256);
    let scene = Scene::start("history").await;
    let spec = json!({"url": git.url(&app), "interval": "1s", "ref": {"branch": "main"}});
    scene.apply("GitRepository", "app", &spec);
    scene.ready_at::<GitRepository>("app", &format!("main@sha1:{head}")).await;
    let folders = std::fs::read_dir(scene.operator.data_dir().join("git")).unwrap().flatten();
    let mirror = folders.map(|entry| entry.path()).find(|path| path.extension().is_some()).unwrap();
    let (objects, size) = weight(&mirror);
    assert!(objects == 3 && size < 64, "{objects} objects, {size} KiB: a commit, a tree and a file");
    let head = app.commit("Another", &[("file", Some("short"))]);
    scene.ready_at::<GitRepository>("app", &format!("main@sha1:{head}")).await;
    let (objects, size) = weight(&mirror);
    assert!(objects == 6 && size < 64, "{objects} objects, {size} KiB after another commit");
}

#[tokio::test]
async fn a_tag_that_moves_is_followed_and_one_that_goes_keeps_its_artifact() {
    let git = GitServer::start();
    let app = git.repository("app");
    let first = app.commit("One", &[("a", Some("1"))]);
    app.tag("v1.0.0");
    app.annotated_tag("stable", "the first");
    let scene = Scene::start("moved").await;
    let spec = |reference: Value| json!({"url": git.url(&app), "interval": "1s", "ref": reference});
    let cases = [
        ("tag", json!({"tag": "v1.0.0"}), "v1.0.0"),
        ("range", json!({"semver": "1.x"}), "v1.0.0"),
        ("annotated", json!({"tag": "stable"}), "stable"),
    ];
    for (name, reference, tag) in &cases {
        scene.apply("GitRepository", name, &spec(reference.clone()));
        scene.ready_at::<GitRepository>(name, &format!("{tag}@sha1:{first}")).await;
    }
    let second = app.commit("Two", &[("a", Some("2"))]);
    app.force_tag("v1.0.0", &second);
    app.git(&["tag", "--force", "--annotate", "--message", "the second", "stable", "refs/heads/main"]);
    app.git(&["push", "--quiet", "--force", "origin", "stable"]);
    for (name, _, tag) in &cases {
        let seen = scene.ready_at::<GitRepository>(name, &format!("{tag}@sha1:{second}")).await;
        assert_eq!(scene.files(&seen.artifact.expect("an artifact")).await["a"], "2", "{name}");
    }
    app.git(&["push", "--quiet", "--delete", "origin", "v1.0.0", "stable"]);
    for (name, words) in [
        ("tag", "couldn't find remote ref \"refs/tags/v1.0.0\""),
        ("range", "no match found for semver: 1.x"),
        ("annotated", "couldn't find remote ref \"refs/tags/stable\""),
    ] {
        let seen = scene.failed::<GitRepository>(name, "FetchFailed", words).await;
        assert_eq!(scene.files(&seen.artifact.expect("an artifact")).await["a"], "2", "{name}");
    }
}

#[tokio::test]
async fn the_more_special_reference_wins_and_requests_for_a_merge_have_names() {
    let git = GitServer::start();
    let app = git.repository("app");
    let commit = app.commit("Commit", &[("a", Some("commit"))]);
    let push = |name: &str, text: &str| {
        let head = app.commit("Next", &[("a", Some(text))]);
        app.git(&["push", "--quiet", "--force", "origin", &format!("{head}:{name}")]);
        head
    };
    let requested = push("refs/pull/1/head", "request");
    let ranged = push("refs/tags/v1.0.0", "range");
    let tagged = push("refs/tags/tag", "tag");
    let branch = push("refs/heads/topic", "branch");
    let scene = Scene::start("precedence").await;
    let spec = |reference: &Value| json!({"url": git.url(&app), "interval": "1s", "ref": reference});
    let mut reference = json!({
        "commit": commit, "name": "refs/pull/1/head", "semver": "1.x", "tag": "tag", "branch": "topic",
    });
    for (field, revision) in [
        ("commit", format!("refs/pull/1/head@sha1:{commit}")),
        ("name", format!("refs/pull/1/head@sha1:{requested}")),
        ("semver", format!("v1.0.0@sha1:{ranged}")),
        ("tag", format!("tag@sha1:{tagged}")),
        ("branch", format!("topic@sha1:{branch}")),
    ] {
        scene.apply("GitRepository", field, &spec(&reference));
        scene.ready_at::<GitRepository>(field, &revision).await;
        reference.as_object_mut().expect("an object").remove(field);
    }

    // Whoever names nothing means `master`.
    scene.apply("GitRepository", "none", &json!({"url": git.url(&app), "interval": "1s"}));
    scene.failed::<GitRepository>("none", "FetchFailed", "couldn't find remote ref \"refs/heads/master\"").await;
    let master = push("refs/heads/master", "master");
    scene.ready_at::<GitRepository>("none", &format!("master@sha1:{master}")).await;

    // A request for a merge is followed as any branch is.
    let again = push("refs/pull/1/head", "request again");
    let seen = scene.ready_at::<GitRepository>("name", &format!("refs/pull/1/head@sha1:{again}")).await;
    assert_eq!(scene.files(&seen.artifact.expect("an artifact")).await["a"], "request again");
    scene.apply("GitRepository", "merge", &spec(&json!({"name": "refs/pull/1/merge"})));
    scene.failed::<GitRepository>("merge", "FetchFailed", "couldn't find remote ref \"refs/pull/1/merge\"").await;
}
