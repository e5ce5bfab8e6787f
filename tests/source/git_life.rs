//! What befalls a repository: it is empty, renamed, filtered, or very old.

use std::path::PathBuf;
use std::process::Command;

use fairlead::api::source::v1::GitRepository;
use fairlead_testbench::GitServer;
use fairlead_testbench::tools::{git as git_binary, run};
use serde_json::json;

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
