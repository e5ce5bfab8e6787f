use std::process::Command as Sync;

use super::*;
use crate::git::auth::Credential;

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(20);

/// A local repository, its URL mapped to it by git configuration as an operator's would be.
struct Origin {
    dir: tempfile::TempDir,
}

impl Origin {
    fn new() -> Self {
        let origin = Self { dir: tempfile::tempdir().unwrap() };
        origin.git(&["init", "-q", "-b", "main", "."]);
        origin.commit("production/api.yaml", "a: 1\n", "First");
        origin
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Sync::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, file: &str, text: &str, message: &str) -> String {
        let path = self.dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// A mirror that reads this repository: the URL itself is a path, which specs cannot name.
    fn mirror(&self, root: &Path) -> Mirror {
        let mirrors = Mirrors::open(Path::new("git"), root).unwrap();
        let remote = Remote::new("https://example.invalid/x", Credential::default()).unwrap();
        let mut mirror = mirrors.open_mirror("key".into(), &remote).unwrap();
        mirror.url = self.dir.path().to_string_lossy().into_owned();
        mirror
    }
}

fn main_of(refs: &Refs) -> Target {
    let commit = refs.commit("refs/heads/main").unwrap().to_owned();
    Target { commit, reference: Some("refs/heads/main".into()), full: false, tag: None }
}

async fn text(mirror: &Mirror, file: &str) -> String {
    let refs = mirror.poll(Scope::BranchesAndTags, Duration::ZERO, LONG).await.unwrap();
    let export = mirror.export(&main_of(&refs), Selection::default(), LONG).await.unwrap();
    fs::read_to_string(export.path().join(file)).unwrap()
}

#[tokio::test]
async fn a_push_is_seen_and_exported() {
    let (origin, root) = (Origin::new(), tempfile::tempdir().unwrap());
    let mirror = origin.mirror(root.path());
    assert_eq!(text(&mirror, "production/api.yaml").await, "a: 1\n");
    origin.commit("production/api.yaml", "a: 2\n", "Second");
    assert_eq!(text(&mirror, "production/api.yaml").await, "a: 2\n");
    assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 1, "only the credentials' directory stays");
}

#[test]
fn a_tree_that_is_too_large_says_what_helps() {
    let error = unpack_error("c0ffee", &ArchiveError::TooLarge(2)).to_string();
    assert!(error.contains("more than 2 bytes") && error.contains("spec.sparseCheckout"), "{error}");
    let error = unpack_error("c0ffee", &ArchiveError::LongHeaders).to_string();
    assert!(!error.contains("spec."), "{error}");
}

#[tokio::test]
async fn attributes_of_the_repository_change_nothing() {
    let (origin, root) = (Origin::new(), tempfile::tempdir().unwrap());
    origin.commit(".gitattributes", "* export-ignore export-subst text eol=crlf\n", "Hide");
    let mirror = origin.mirror(root.path());
    assert_eq!(text(&mirror, "production/api.yaml").await, "a: 1\n");
}

#[tokio::test]
async fn a_forced_push_is_followed_and_the_subject_told() {
    let (origin, root) = (Origin::new(), tempfile::tempdir().unwrap());
    origin.commit("x", "1", "Mistake");
    let mirror = origin.mirror(root.path());
    assert_eq!(text(&mirror, "x").await, "1");
    origin.git(&["reset", "-q", "--hard", "HEAD~1"]);
    origin.commit("x", "2", "Correction");
    let refs = mirror.poll(Scope::All, Duration::ZERO, LONG).await.unwrap();
    let export = mirror.export(&main_of(&refs), Selection::default(), LONG).await.unwrap();
    assert_eq!(export.subject, "Correction");
    assert_eq!(fs::read_to_string(export.path().join("x")).unwrap(), "2");
}

#[tokio::test]
async fn polls_are_shared_within_their_age() {
    let (origin, root) = (Origin::new(), tempfile::tempdir().unwrap());
    let mirror = origin.mirror(root.path());
    let first = mirror.poll(Scope::BranchesAndTags, SECOND, LONG).await.unwrap();
    origin.commit("x", "1", "New");
    let shared = mirror.poll(Scope::BranchesAndTags, LONG, LONG).await.unwrap();
    assert_eq!(first, shared);
    let fresh = mirror.poll(Scope::BranchesAndTags, Duration::ZERO, LONG).await.unwrap();
    assert_ne!(first, fresh);
}

#[tokio::test]
async fn locks_and_damage_heal() {
    let (origin, root) = (Origin::new(), tempfile::tempdir().unwrap());
    let mirror = origin.mirror(root.path());
    text(&mirror, "production/api.yaml").await;
    let dir = root.path().join("key.git");
    for lock in ["shallow.lock", "config.lock", "HEAD.lock", "packed-refs.lock", "refs/fairlead/x.lock"] {
        fs::write(dir.join(lock), "").unwrap();
    }
    origin.commit("x", "1", "New");
    assert_eq!(text(&mirror, "x").await, "1");
    for damage in ["objects", "HEAD", "config", "shallow"] {
        let path = dir.join(damage);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::write(&path, "garbage").unwrap();
        }
        assert_eq!(text(&mirror, "x").await, "1", "damaged {damage}");
        origin.git(&["commit", "-q", "--allow-empty", "-m", "More"]);
        assert_eq!(text(&mirror, "x").await, "1", "damaged {damage}, then fetched");
    }
}

#[tokio::test]
async fn a_commit_that_is_not_there_says_so_and_costs_no_history() {
    let (origin, root) = (Origin::new(), tempfile::tempdir().unwrap());
    let mirror = origin.mirror(root.path());
    let target = Target { commit: "1".repeat(40), reference: None, full: false, tag: None };
    let error = mirror.export(&target, Selection::default(), LONG).await.map(|_| ()).unwrap_err();
    assert_eq!(error.cause, Cause::RefMissing, "{error}");
    assert!(!mirror.has_objects(), "nothing was fetched");
}

impl Mirror {
    fn has_objects(&self) -> bool {
        ["objects/pack", "refs/fairlead/heads"]
            .iter()
            .any(|part| fs::read_dir(self.dir.join(part)).is_ok_and(|mut entries| entries.next().is_some()))
    }

    /// Speaks git's first protocol, in which servers hand out the ends of refs only.
    async fn speak_the_old_protocol(&self) {
        drop(self.prepared().await.unwrap());
        let mut config = fs::OpenOptions::new().append(true).open(self.dir.join("config")).unwrap();
        io::Write::write_all(&mut config, b"[protocol]\n\tversion = 0\n").unwrap();
    }
}

#[tokio::test]
async fn a_ref_that_moves_between_poll_and_fetch_is_polled_again() {
    let (origin, root) = (Origin::new(), tempfile::tempdir().unwrap());
    let mirror = origin.mirror(root.path());
    mirror.speak_the_old_protocol().await;
    let refs = mirror.poll(Scope::BranchesAndTags, Duration::ZERO, LONG).await.unwrap();
    origin.commit("x", "1", "Meanwhile");
    let error = mirror.export(&main_of(&refs), Selection::default(), LONG).await.map(|_| ()).unwrap_err();
    assert!(error.cause == Cause::RefMissing && error.message.contains("moved on"), "{error}");
    assert!(!mirror.has_objects(), "no history was fetched");
    let polled = async {
        loop {
            if let Ok(refs) = mirror.poll(Scope::BranchesAndTags, LONG, LONG).await {
                return refs;
            }
            tokio::task::yield_now().await;
        }
    };
    let refs = tokio::time::timeout(LONG, polled).await.unwrap();
    mirror.export(&main_of(&refs), Selection::default(), LONG).await.unwrap();
}

#[tokio::test]
async fn the_commit_behind_an_annotated_tag_comes_by_any_protocol() {
    let (origin, root) = (Origin::new(), tempfile::tempdir().unwrap());
    origin.commit("old", "1", "Second");
    origin.git(&["tag", "-a", "v1", "-m", "One"]);
    origin.commit("x", "1", "Later");
    let mirror = origin.mirror(root.path());
    mirror.speak_the_old_protocol().await;
    let refs = mirror.poll(Scope::BranchesAndTags, Duration::ZERO, LONG).await.unwrap();
    let name = "refs/tags/v1";
    let target = Target {
        commit: refs.commit(name).unwrap().to_owned(),
        reference: Some(name.to_owned()),
        full: false,
        tag: refs.tag_object(name).map(str::to_owned),
    };
    let export = mirror.export(&target, Selection::default(), LONG).await.unwrap();
    assert!(export.path().join("old").exists() && !export.path().join("x").exists());
    assert_eq!(fs::read_to_string(mirror.dir.join("shallow")).unwrap().trim(), target.commit, "without its history");
}

#[tokio::test]
async fn a_commit_of_old_comes_with_its_history_where_there_is_no_other_way() {
    let origin = Origin::new();
    let commit = origin.git(&["rev-parse", "HEAD"]);
    origin.commit("production/api.yaml", "a: 2\n", "Second");
    for reference in [None, Some("refs/heads/main".to_owned())] {
        let root = tempfile::tempdir().unwrap();
        let mirror = origin.mirror(root.path());
        mirror.speak_the_old_protocol().await;
        let target = Target { commit: commit.clone(), reference, full: false, tag: None };
        let export = mirror.export(&target, Selection::default(), LONG).await.unwrap();
        assert_eq!(fs::read_to_string(export.path().join("production/api.yaml")).unwrap(), "a: 1\n");
    }
}

#[tokio::test]
async fn a_missing_git_is_named() {
    let root = tempfile::tempdir().unwrap();
    let mirrors = Mirrors::open(Path::new("/nonexistent/git"), root.path()).unwrap();
    let remote = Remote::new("https://example.invalid/x", Credential::default()).unwrap();
    let mirror = mirrors.assign("ns/a", &remote).unwrap();
    let error = mirror.poll(Scope::All, Duration::ZERO, LONG).await.unwrap_err();
    assert!(error.message.contains("/nonexistent/git"), "{error}");
}

#[tokio::test]
async fn a_mirror_goes_with_its_last_object() {
    let root = tempfile::tempdir().unwrap();
    let mirrors = Mirrors::open(Path::new("git"), root.path()).unwrap();
    let remote = Remote::new("https://example.invalid/x", Credential::default()).unwrap();
    let mirror = mirrors.assign("ns/a", &remote).unwrap();
    mirrors.assign("ns/b", &remote).unwrap();
    mirror.build(false).unwrap();
    mirrors.release("ns/a");
    assert!(mirror.dir.exists());
    let other = Remote::new("https://example.invalid/x", Credential::basic("u", "p")).unwrap();
    mirrors.assign("ns/b", &other).unwrap();
    assert!(!mirror.dir.exists());
}
