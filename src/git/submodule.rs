//! Submodules: the links in a commit's tree, what `.gitmodules` says of them, and which URL that
//! leads to. Pure.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};

/// A submodule of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submodule {
    /// Where it belongs in the tree.
    pub path: String,
    /// Its remote as `.gitmodules` names it.
    pub url: String,
    /// The commit that it is to be at.
    pub commit: String,
}

impl Submodule {
    /// Where it belongs in the tree; none for a path that would leave it.
    pub fn place(&self) -> Option<PathBuf> {
        let path = PathBuf::from(&self.path);
        path.components().all(|part| matches!(part, Component::Normal(_))).then_some(path)
    }
}

/// Reads the output of `git ls-tree -r -z`: the commits that the tree links to, by path.
pub fn parse_links(stdout: &[u8]) -> BTreeMap<String, String> {
    let entries = stdout.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let link = |entry: &str| {
        let (facts, path) = entry.split_once('\t')?;
        let commit = facts.strip_prefix("160000 commit ")?;
        Some((path.to_owned(), commit.to_owned()))
    };
    entries.filter_map(|entry| link(&entry)).collect()
}

/// Joins the links of a tree with the output of `git config --null --list` for its `.gitmodules`.
/// A link that the file does not name stays an empty folder, as with git.
pub fn join(mut links: BTreeMap<String, String>, modules: &[u8]) -> Vec<Submodule> {
    let mut named: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    for entry in modules.split(|byte| *byte == 0).map(String::from_utf8_lossy) {
        let Some((key, value)) = entry.split_once('\n') else { continue };
        let Some((name, field)) = key.strip_prefix("submodule.").and_then(|rest| rest.rsplit_once('.')) else {
            continue;
        };
        let module = named.entry(name.to_owned()).or_default();
        match field {
            "path" => module.0 = Some(value.to_owned()),
            "url" => module.1 = Some(value.to_owned()),
            _ => {}
        }
    }
    let modules = named.into_values().filter_map(|(path, url)| Some((path?, url?)));
    modules.filter_map(|(path, url)| Some(Submodule { commit: links.remove(&path)?, path, url })).collect()
}

/// The URL of a submodule's remote: a relative one starts at the parent's own remote, and the
/// short form of SSH (`git@host:path`) is written out.
pub fn resolve_url(parent: &str, url: &str) -> Option<String> {
    if url.starts_with("./") || url.starts_with("../") {
        return relative_url(parent, url);
    }
    if url.contains("://") {
        return Some(url.to_owned());
    }
    let (host, path) = url.split_once(':')?;
    if host.is_empty() || host.contains('/') {
        return None;
    }
    Some(format!("ssh://{host}/{}", path.trim_start_matches('/')))
}

fn relative_url(parent: &str, relative: &str) -> Option<String> {
    let mut url = url::Url::parse(parent).ok()?;
    let mut path: Vec<String> = url.path_segments()?.filter(|part| !part.is_empty()).map(str::to_owned).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()?),
            part => path.push(part.to_owned()),
        }
    }
    url.set_path(&path.join("/"));
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    #[test]
    fn links_get_their_urls() {
        let tree = format!(
            "100644 blob {ONE}\t.gitmodules\0160000 commit {ONE}\tlibs/with space\0160000 commit {TWO}\tnameless\0"
        );
        let modules = "submodule.a.b.path\nlibs/with space\0submodule.a.b.url\n../b.git\0submodule.a.b.shallow\ntrue\0\
                       submodule.gone.path\ngone\0submodule.gone.url\nhttps://h/gone\0core.x\ny\0";
        let found = join(parse_links(tree.as_bytes()), modules.as_bytes());
        let expected = Submodule { path: "libs/with space".into(), url: "../b.git".into(), commit: ONE.into() };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn urls_are_resolved_as_git_does_it() {
        for (parent, url, expected) in [
            ("https://h:8443/org/app.git", "../lib.git", Some("https://h:8443/org/lib.git")),
            ("https://h/org/app.git/", "../../other/lib", Some("https://h/other/lib")),
            ("https://h/org/app.git", "./lib", Some("https://h/org/app.git/lib")),
            ("ssh://git@h:22/org/app", "../lib", Some("ssh://git@h:22/org/lib")),
            ("https://h/app.git", "../../../lib", None),
            ("https://h/a", "https://other/lib.git", Some("https://other/lib.git")),
            ("https://h/a", "git@github.com:org/lib.git", Some("ssh://git@github.com/org/lib.git")),
            ("https://h/a", "/srv/lib", None),
            ("https://h/a", "lib", None),
        ] {
            assert_eq!(resolve_url(parent, url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_place_stays_inside() {
        let at = |path: &str| Submodule { path: path.into(), url: String::new(), commit: ONE.into() }.place();
        assert_eq!(at("libs/a"), Some(PathBuf::from("libs/a")));
        assert_eq!(at("../a"), None);
        assert_eq!(at("/a"), None);
    }
}
