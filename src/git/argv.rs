//! Argument lists and environment of every git call. Pure; nothing here is a secret.

use std::path::Path;

/// What every call runs with: no prompt, English messages, only network protocols (and `file`,
/// which a spec cannot name but the operator's own `insteadOf` may).
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ALLOW_PROTOCOL", "http:https:ssh:file"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("LC_ALL", "C"),
];

/// Settings that hold whatever the operator's git configuration says (the system's, and the one
/// that `GIT_CONFIG_GLOBAL` names): no hooks, no credential helpers (an object has the rights of its
/// own Secret and no others), no background upkeep.
pub const SETTINGS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("credential.helper", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("http.followRedirects", "initial"),
];

/// Files of a mirror that git itself would have made: written by us, so that no process runs.
pub const MIRROR_FILES: &[(&str, &str)] = &[
    ("HEAD", "ref: refs/heads/main\n"),
    ("config", "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tlogallrefupdates = false\n"),
    // An artifact is the tree as committed: no attribute of the repository changes or hides files.
    ("info/attributes", "* -export-ignore -export-subst -text -ident -filter !working-tree-encoding\n"),
];

/// Which refs a poll asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Branches and tags: what the server then sends, however many other refs it has.
    BranchesAndTags,
    /// Every ref.
    All,
}

/// `git ls-remote`: what the remote's refs point to.
pub fn ls_remote(url: &str, scope: Scope) -> Vec<String> {
    let mut args = vec!["ls-remote", "--quiet"];
    if scope == Scope::BranchesAndTags {
        args.extend(["--heads", "--tags"]);
    }
    args.extend(["--", url]);
    owned(&args)
}

/// How much of the history a fetch brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The commit alone.
    One,
    /// All of it: for servers that do not hand out single commits.
    Full,
}

/// `git fetch` of one refspec into the mirror.
pub fn fetch(mirror: &Path, url: &str, refspec: &str, depth: Depth) -> Vec<String> {
    let mirror = mirror.to_string_lossy();
    let mut args = vec!["-C", &mirror, "fetch", "--quiet", "--force", "--no-tags", "--no-write-fetch-head"];
    if depth == Depth::One {
        args.push("--depth=1");
    }
    args.extend(["--", url, refspec]);
    owned(&args)
}

/// `git archive`: the commit's tree as a tar file, or only what lies at the given paths.
pub fn archive(mirror: &Path, commit: &str, tar: &Path, paths: &[String]) -> Vec<String> {
    let (mirror, output) = (mirror.to_string_lossy(), format!("--output={}", tar.to_string_lossy()));
    let mut args = vec!["--literal-pathspecs", "-C", &mirror, "archive", "--format=tar", &output, commit, "--"];
    args.extend(paths.iter().map(String::as_str));
    owned(&args)
}

/// `git ls-tree`: every entry of the commit's tree, links to submodules among them.
pub fn list_tree(mirror: &Path, commit: &str) -> Vec<String> {
    owned(&["-C", &mirror.to_string_lossy(), "ls-tree", "-r", "-z", "--full-tree", commit])
}

/// `git config`: what the commit's `.gitmodules` says.
pub fn list_modules(mirror: &Path, commit: &str) -> Vec<String> {
    let blob = format!("{commit}:.gitmodules");
    owned(&["-C", &mirror.to_string_lossy(), "config", "--blob", &blob, "--null", "--list"])
}

/// `git cat-file`: the commit object.
pub fn show_commit(mirror: &Path, commit: &str) -> Vec<String> {
    owned(&["-C", &mirror.to_string_lossy(), "cat-file", "commit", commit])
}

/// `git cat-file`: the tag object.
pub fn show_tag(mirror: &Path, tag: &str) -> Vec<String> {
    owned(&["-C", &mirror.to_string_lossy(), "cat-file", "tag", tag])
}

/// `git rev-parse`: whether the mirror has an object.
pub fn resolve(mirror: &Path, object: &str) -> Vec<String> {
    let existing = format!("{object}^{{object}}");
    owned(&["-C", &mirror.to_string_lossy(), "rev-parse", "--verify", "--quiet", &existing])
}

/// The name under which the mirror keeps a commit.
pub fn kept_ref(name: &str) -> String {
    format!("refs/fairlead/{name}")
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}

/// Settings as git reads them from its environment.
pub fn config_environment<'s>(settings: impl IntoIterator<Item = (&'s str, &'s str)>) -> Vec<(String, String)> {
    let mut environment = Vec::new();
    let mut count = 0;
    for (key, value) in settings {
        environment.push((format!("GIT_CONFIG_KEY_{count}"), key.to_owned()));
        environment.push((format!("GIT_CONFIG_VALUE_{count}"), value.to_owned()));
        count += 1;
    }
    environment.push(("GIT_CONFIG_COUNT".to_owned(), count.to_string()));
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_never_an_option() {
        let args = ls_remote("--upload-pack=evil", Scope::All);
        assert_eq!(args, ["ls-remote", "--quiet", "--", "--upload-pack=evil"]);
        let args = fetch(Path::new("/m"), "https://x/y", "+abc:refs/fairlead/abc", Depth::One);
        let separator = args.iter().position(|arg| arg == "--").unwrap();
        assert_eq!(&args[separator + 1..], ["https://x/y", "+abc:refs/fairlead/abc"]);
        assert!(args.contains(&"--depth=1".to_owned()));
    }

    #[test]
    fn a_poll_asks_for_no_more_than_it_needs() {
        assert!(ls_remote("u", Scope::BranchesAndTags).contains(&"--heads".to_owned()));
        assert!(!ls_remote("u", Scope::All).contains(&"--heads".to_owned()));
    }

    #[test]
    fn settings_are_numbered() {
        let environment = config_environment([("a.b", "1"), ("c.d", "")]);
        assert!(environment.contains(&("GIT_CONFIG_KEY_1".into(), "c.d".into())));
        assert!(environment.contains(&("GIT_CONFIG_COUNT".into(), "2".into())));
    }
}
