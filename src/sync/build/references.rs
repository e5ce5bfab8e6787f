//! What a `kustomization.yaml` refers to, and whether that is within the source. Kustomize itself
//! would follow a path out of it, or fetch a URL.

use crate::sync::decrypt::Format;
use crate::sync::problem::{Place, Problem};
use crate::sync::scan::{self, label};
use crate::yaml;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Fields of a `kustomization.yaml` that make names.
pub const NAMING: [&str; 5] = ["configMapGenerator", "secretGenerator", "generators", "namePrefix", "nameSuffix"];

/// How kustomize may be run on a folder that passed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// A file outside of its kustomization's folder, but within the source, has to be readable.
    pub unrestricted: bool,
    /// Whether names come out of the build that no manifest has: others may refer to those that they had before.
    pub renames: bool,
    /// Files that may be encrypted, by their real paths, with the format that they then have.
    pub sources: Vec<(PathBuf, Format)>,
}

/// Follows every reference from a `kustomization.yaml` (of a folder within `root`, both as their
/// real paths).
pub fn check(root: &Path, kustomization: &Path, allow_remote: bool) -> Result<Checked, Box<Problem>> {
    let (seen, queue) = (BTreeSet::new(), vec![kustomization.to_owned()]);
    let mut walk = Walk { root, allow_remote, seen, queue, outside: false, plugins: false, found: Checked::default() };
    while let Some(file) = walk.queue.pop() {
        if walk.seen.insert(file.clone()) {
            walk.file(&file)?;
        }
    }
    // The configuration of a plug-in may hold paths that nobody has looked at.
    Ok(Checked { unrestricted: walk.outside && !walk.plugins, ..walk.found })
}

struct Walk<'a> {
    root: &'a Path,
    allow_remote: bool,
    seen: BTreeSet<PathBuf>,
    queue: Vec<PathBuf>,
    outside: bool,
    plugins: bool,
    found: Checked,
}

impl Walk<'_> {
    fn file(&mut self, file: &Path) -> Result<(), Box<Problem>> {
        let problem =
            |line, reason: String| Box::new(Problem::unreadable(Place { file: label(self.root, file), line }, reason));
        let text = std::fs::read_to_string(file).map_err(|error| problem(None, format!("cannot be read: {error}")))?;
        let Some(document) = yaml::documents(&text).into_iter().next() else { return Ok(()) };
        let value = document.result.map_err(|error| problem(Some(error.line), error.message))?;
        self.plugins |= ["generators", "transformers", "validators"]
            .iter()
            .any(|field| value[*field].as_array().is_some_and(|entries| !entries.is_empty()));
        self.found.renames |= renames(&value);
        let folder = file.parent().unwrap_or(self.root).to_owned();
        for Reference { pointer, target, encrypted } in references(&value) {
            if let (Some(format), Ok(path)) = (encrypted, folder.join(&target).canonicalize())
                && path.starts_with(self.root)
                && path.is_file()
            {
                self.found.sources.push((path, format));
            }
            let found = self.follow(&folder, &target);
            found.map_err(|reason| {
                let place = Place { file: label(self.root, file), line: Some(document.lines.of(&pointer)) };
                Box::new(Problem::unreadable(place, format!("`{target}` {reason}")))
            })?;
        }
        Ok(())
    }

    fn follow(&mut self, folder: &Path, target: &str) -> Result<(), &'static str> {
        const LEADS_OUT: &str = "leads out of the source: name a path within it, relative to this file";
        if is_remote(target) {
            let refused = "is remote: put it into the source, or run the operator with --allow-remote-bases";
            return if self.allow_remote { Ok(()) } else { Err(refused) };
        }
        if Path::new(target).is_absolute() {
            return Err(LEADS_OUT);
        }
        let Ok(path) = folder.join(target).canonicalize() else {
            // What kustomize may still take for a place elsewhere has to be allowed.
            let missing = "is no file or folder of this source";
            return if self.allow_remote { Ok(()) } else { Err(missing) };
        };
        if !path.starts_with(self.root) {
            return Err(LEADS_OUT);
        }
        if path.is_dir() {
            self.queue.extend(scan::kustomization_file(&path));
        } else if !path.starts_with(folder) {
            self.outside = true;
        }
        Ok(())
    }
}

fn renames(kustomization: &Value) -> bool {
    let is_set = |field: &str| match &kustomization[field] {
        Value::Array(entries) => !entries.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => false,
    };
    NAMING.into_iter().any(is_set)
}

/// Whether kustomize would fetch it.
pub fn is_remote(target: &str) -> bool {
    const BEGINNINGS: [&str; 6] = ["git::", "gh:", "git@", "github.com:", "github.com/", "ssh:"];
    let lower = target.to_ascii_lowercase();
    lower.contains("://") || lower.starts_with("http:") || lower.starts_with("https:") || {
        BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
    }
}

/// A path or URL in a `kustomization.yaml`.
#[derive(Debug, PartialEq)]
struct Reference {
    pointer: String,
    target: String,
    /// The format that it has if it is encrypted, where that may be.
    encrypted: Option<Format>,
}

fn references(kustomization: &Value) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut add = |pointer: String, target: &Value, encrypted: Option<Format>| {
        // What has more than one line is content, not the name of it.
        if let Some(target) = target.as_str().filter(|target| !target.trim_end().contains('\n')) {
            found.push(Reference { pointer, target: target.to_owned(), encrypted });
        }
    };
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default().into_iter().enumerate();
    let lists = [
        "resources",
        "bases",
        "components",
        "crds",
        "configurations",
        "generators",
        "transformers",
        "validators",
        "patchesStrategicMerge",
    ];
    for field in lists {
        for (index, target) in items(&kustomization[field]).filter(|(_, target)| !is_inline(field, target)) {
            add(format!("/{field}/{index}"), &target, None);
        }
    }
    for field in ["patches", "patchesJson6902", "replacements"] {
        for (index, entry) in items(&kustomization[field]) {
            let encrypted = entry["path"].as_str().filter(|_| field == "patches").map(Format::of_name);
            add(format!("/{field}/{index}/path"), &entry["path"], encrypted);
        }
    }
    add("/openapi/path".to_owned(), &kustomization["openapi"]["path"], None);
    for field in ["configMapGenerator", "secretGenerator"] {
        for (index, generator) in items(&kustomization[field]) {
            let pointer = format!("/{field}/{index}");
            let secret = field == "secretGenerator";
            let dotenv = |target: &Value| match Format::of_name(target.as_str().filter(|_| secret)?) {
                Format::Binary => Some(Format::Dotenv),
                format => Some(format),
            };
            add(format!("{pointer}/env"), &generator["env"], dotenv(&generator["env"]));
            for (inner, target) in items(&generator["envs"]) {
                add(format!("{pointer}/envs/{inner}"), &target, dotenv(&target));
            }
            for (inner, target) in items(&generator["files"]) {
                let Some(entry) = target.as_str() else { continue };
                let (key, path) = entry.split_once('=').unwrap_or((entry, entry));
                add(format!("{pointer}/files/{inner}"), &path.into(), secret.then(|| Format::of_name(key)));
            }
        }
    }
    found
}

/// An inline patch or plug-in of one line.
fn is_inline(field: &str, target: &Value) -> bool {
    let may_be = matches!(field, "patchesStrategicMerge" | "generators" | "transformers" | "validators");
    may_be && target.as_str().is_some_and(|text| yaml::parse(text).is_ok_and(|value| value.is_object()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let real = root.path().canonicalize().unwrap();
        (root, real)
    }

    #[test]
    fn every_field_that_names_a_file_is_known() {
        let value = json!({
            "resources": ["a.yaml", "../base"], "components": ["c"], "crds": ["crd.yaml"], "openapi": {"path": "o"},
            "patchesStrategicMerge": ["p.yaml", "kind: A\nmetadata: {}\n", "{kind: B}"],
            "patches": [{"path": "x.yaml"}, {"patch": "kind: A"}], "replacements": [{"path": "r.yaml"}],
            "secretGenerator": [{"files": ["k=v.txt", "w.txt"], "envs": [".env"], "env": "old.env"}],
        });
        let found: Vec<_> = references(&value).into_iter().map(|one| one.target).collect();
        let expected = ["a.yaml", "../base", "c", "crd.yaml", "p.yaml", "x.yaml", "r.yaml", "o", "old.env", ".env"];
        assert_eq!(found[..10], expected);
        assert_eq!(found[10..], ["v.txt", "w.txt"]);
    }

    #[test]
    fn files_that_may_be_encrypted_are_known_with_their_format() {
        let value = json!({
            "patches": [{"path": "x.yaml"}], "resources": ["a.yaml"], "configMapGenerator": [{"files": ["c.txt"]}],
            "secretGenerator": [{"files": ["k.json=v.enc", "w"], "envs": ["x.encrypted", "y.yaml"]}],
        });
        let found: Vec<_> =
            references(&value).into_iter().filter_map(|one| Some((one.target, one.encrypted?))).collect();
        let expected = [
            ("x.yaml", Format::Yaml),
            ("x.encrypted", Format::Dotenv),
            ("y.yaml", Format::Yaml),
            ("v.enc", Format::Json),
            ("w", Format::Binary),
        ];
        assert_eq!(found, expected.map(|(target, format)| (target.to_owned(), format)));
    }

    #[test]
    fn what_is_remote_or_elsewhere_is_refused_with_its_line() {
        let (_outside, elsewhere) = tree(&[("base/kustomization.yaml", "{}"), ("secret", "x")]);
        let table = [
            ("https://github.com/org/repo//base?ref=v1", "is remote"),
            ("github.com/org/repo", "is remote"),
            ("git@github.com:org/repo", "is remote"),
            ("HTTP://x/y.yaml", "is remote"),
            ("file:///etc/passwd", "is remote"),
            ("org@host:repo", "is no file or folder of this source"),
            ("/etc/passwd", "leads out of the source"),
            ("../../..", "leads out of the source"),
            ("link", "leads out of the source"),
            ("nowhere.yaml", "is no file or folder of this source"),
        ];
        for (target, reason) in table {
            let inner = format!("resources:\n- ok.yaml\n- {target}\n");
            let outer = "resources: [../inner]\n";
            let (_tree, root) =
                tree(&[("a/kustomization.yaml", outer), ("inner/kustomization.yaml", &inner), ("inner/ok.yaml", "")]);
            symlink(elsewhere.join("secret"), root.join("inner/link")).unwrap();
            let problem = check(&root, &root.join("a/kustomization.yaml"), false).unwrap_err().to_string();
            assert!(problem.starts_with("inner/kustomization.yaml:3: ") && problem.contains(reason), "{problem}");
            let allowed = check(&root, &root.join("a/kustomization.yaml"), true);
            assert_eq!(allowed.is_ok(), !reason.contains("leads out"), "{target}");
        }
    }

    #[test]
    fn files_beside_the_folder_are_read_where_nothing_unseen_can_be() {
        let beside = "configMapGenerator: [{name: a, files: [../shared.txt]}]\n";
        let (_tree, root) = tree(&[
            ("a/kustomization.yaml", beside),
            ("b/kustomization.yaml", &format!("{beside}transformers: [t.yaml]\n")),
            ("b/t.yaml", ""),
            ("c/kustomization.yaml", "resources: [x.yaml, ../c]\n"),
            ("c/x.yaml", ""),
            ("shared.txt", ""),
        ]);
        let unrestricted =
            |folder: &str| check(&root, &root.join(folder).join("kustomization.yaml"), false).unwrap().unrestricted;
        assert!(unrestricted("a"));
        assert!(!unrestricted("b"));
        assert!(!unrestricted("c"), "a circle ends");
    }
}
