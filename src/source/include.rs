//! Parts of other repositories' artifacts that are put into one of this namespace.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use super::lifecycle::object_ref;
use super::outcome::Failure;
use super::store::ArtifactStore;
use crate::api::condition::{self, reason};
use crate::api::meta::Artifact;
use crate::api::source::v1::{GitRepository, GitRepositoryInclude, GitRepositoryStatus};
use crate::controller::wake::stream_of;
use crate::controller::{Cache, Change, namespaced_name};

/// The artifacts that an object includes, in the order of `spec.include`.
pub fn resolve(cache: &Cache<GitRepository>, object: &GitRepository) -> Result<Vec<Artifact>, Failure> {
    let (namespace, name) = namespaced_name(object);
    let included_by = |name: &str| {
        let spec = cache.get(&namespace, name).map(|other| other.spec.include.clone()).unwrap_or_default();
        spec.into_iter().map(|include| include.repository.name).collect()
    };
    let own: Vec<String> = object.spec.include.iter().map(|include| include.repository.name.clone()).collect();
    if let Some(circle) = circle(&name, own, included_by) {
        let message = format!("repositories that include each other never come to rest: {}", circle.join(" -> "));
        return Err(Failure::terminal(condition::INCLUDE_UNAVAILABLE, reason::INCLUDE_CIRCLE, message));
    }
    let unavailable = |reason, message| Err(Failure::transient(condition::INCLUDE_UNAVAILABLE, reason, message));
    let mut artifacts = Vec::new();
    for GitRepositoryInclude { repository, from_path, to_path } in &object.spec.include {
        let name = &repository.name;
        for path in [from_path, to_path].into_iter().flatten() {
            if inside(path).is_none() {
                let message = format!("path calculation for include '{name}' failed: '{path}' leaves the repository");
                return Err(Failure::terminal(condition::STORAGE_OPERATION_FAILED, reason::ILLEGAL_PATH, message));
            }
        }
        let Some(other) = cache.get(&namespace, name) else {
            let message = format!("could not get resource for include '{name}': GitRepository not found");
            return unavailable(reason::NOT_FOUND, message);
        };
        let Some(artifact) = other.status.as_ref().and_then(|status| status.artifact.clone()) else {
            return unavailable(reason::NO_ARTIFACT, format!("no artifact available for include '{name}'"));
        };
        artifacts.push(artifact);
    }
    Ok(artifacts)
}

/// Whether the stored artifact was made with just these includes.
pub fn is_current(status: &GitRepositoryStatus, spec: &[GitRepositoryInclude], artifacts: &[Artifact]) -> bool {
    let same = |a: &Artifact, b: &Artifact| a.revision == b.revision && a.digest == b.digest;
    status.observed_include == spec
        && status.included_artifacts.len() == artifacts.len()
        && status.included_artifacts.iter().zip(artifacts).all(|(a, b)| same(a, b))
}

/// Copies what is included into the tree of a repository.
pub async fn copy(
    store: &Arc<ArtifactStore>,
    includes: &[GitRepositoryInclude],
    artifacts: &[Artifact],
    tree: &Path,
) -> Result<(), Failure> {
    for (include, artifact) in includes.iter().zip(artifacts) {
        let name = &include.repository.name;
        let (from, to) = (include.from_path.as_deref().unwrap_or_default(), target_path(include));
        let failed = |error: String| {
            let message = format!("failed to copy '{name}' include from '{from}' to '{to}': {error}");
            Failure::transient(condition::STORAGE_OPERATION_FAILED, reason::COPY_FAILURE, message)
        };
        let source = store.directory(artifact).await.map_err(|error| failed(error.to_string()))?;
        let source = source.join(inside(from).unwrap_or_default());
        let target = tree.join(inside(to).unwrap_or_default());
        let copied = tokio::task::spawn_blocking(move || copy_tree(&source, &target)).await;
        match copied {
            Ok(result) => result.map_err(|(path, error)| failed(explain(&path, tree, &error)))?,
            Err(died) => return Err(failed(died.to_string())),
        }
    }
    Ok(())
}

/// Objects that include another one of which something changed that they see: its artifact, what
/// it includes, or that it is there at all.
pub fn triggers(cache: &Cache<GitRepository>) -> BoxStream<'static, ObjectRef<GitRepository>> {
    let all = cache.clone();
    let mut seen = HashMap::new();
    stream_of(cache.changes())
        .flat_map(move |change| {
            let changed = change.object();
            let key = namespaced_name(changed.as_ref());
            let news = match &change {
                Change::Deleted(_) => seen.remove(&key).is_some(),
                Change::Applied(object) => {
                    let artifact = object.status.as_ref().and_then(|status| status.artifact.as_ref());
                    let shown = artifact.map(|artifact| (artifact.revision.clone(), artifact.digest.clone()));
                    let state = (shown, object.spec.include.clone());
                    seen.insert(key.clone(), state.clone()) != Some(state)
                }
            };
            stream::iter(if news { includers(&all.all(), &key) } else { Vec::new() })
        })
        .boxed()
}

/// The objects that include this one, directly or through others: a circle may be broken anywhere.
fn includers(all: &[Arc<GitRepository>], (namespace, name): &(String, String)) -> Vec<ObjectRef<GitRepository>> {
    let neighbours: Vec<_> = all.iter().filter(|object| object.namespace().as_ref() == Some(namespace)).collect();
    let mut found = BTreeMap::new();
    let mut pending = VecDeque::from([name.clone()]);
    while let Some(included) = pending.pop_front() {
        for object in &neighbours {
            let includes = object.spec.include.iter().any(|include| include.repository.name == included);
            if includes && found.insert(object.name_any(), object_ref(object.as_ref())).is_none() {
                pending.push_back(object.name_any());
            }
        }
    }
    found.into_values().collect()
}

/// The way from an object through what it includes back to itself, if there is one.
fn circle(start: &str, includes: Vec<String>, includes_of: impl Fn(&str) -> Vec<String>) -> Option<Vec<String>> {
    let mut seen = HashSet::new();
    let mut ways: Vec<Vec<String>> = includes.into_iter().map(|next| vec![start.to_owned(), next]).collect();
    while let Some(way) = ways.pop() {
        let last = way.last()?;
        if last == start {
            return Some(way);
        }
        if seen.insert(last.clone()) {
            ways.extend(includes_of(last).into_iter().map(|next| [way.as_slice(), &[next]].concat()));
        }
    }
    None
}

fn target_path(include: &GitRepositoryInclude) -> &str {
    include.to_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(&include.repository.name)
}

/// The path below a root, without `.` and leading slashes; none if it climbs out of it.
pub(super) fn inside(path: &str) -> Option<PathBuf> {
    let mut below = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => below.push(name),
            Component::ParentDir if below.pop() => {}
            Component::ParentDir | Component::Prefix(_) => return None,
            Component::CurDir | Component::RootDir => {}
        }
    }
    Some(below)
}

type CopyError = (PathBuf, io::Error);

/// Copies a file or a folder; a folder is merged with what is there, files are replaced.
fn copy_tree(from: &Path, to: &Path) -> Result<(), CopyError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    if !fs::metadata(from).map_err(at(from))?.is_dir() {
        fs::create_dir_all(to.parent().unwrap_or(to)).map_err(at(to))?;
        return fs::copy(from, to).map(drop).map_err(at(to));
    }
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        copy_tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// An error of the file system, without the place of the tree on this machine.
fn explain(path: &Path, tree: &Path, error: &io::Error) -> String {
    match path.strip_prefix(tree) {
        Ok(below) => format!("'{}' in this repository: {error}", below.display()),
        Err(_) if error.kind() == io::ErrorKind::NotFound => "the included artifact has no such path".to_owned(),
        Err(_) => format!("in the included artifact: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_and_spelled_out() {
        let includes_of = |name: &str| -> Vec<String> {
            let names: &[&str] = match name {
                "a" => &["shared", "b"],
                "b" => &["shared", "c"],
                "c" => &["a"],
                "loop" => &["loop2"],
                "loop2" => &["loop"],
                _ => &[],
            };
            names.iter().map(|&name| name.to_owned()).collect()
        };
        for (start, expected) in [
            ("a", Some("a -> b -> c -> a")),
            ("shared", None),
            // Somebody else's circle: these two are told, this one waits for their artifacts.
            ("outside", None),
        ] {
            let own = if start == "outside" { vec!["loop".to_owned()] } else { includes_of(start) };
            let found = circle(start, own, includes_of).map(|way| way.join(" -> "));
            assert_eq!(found.as_deref(), expected, "{start}");
        }
        assert_eq!(circle("x", vec!["x".into()], includes_of), Some(vec!["x".into(), "x".into()]));
    }

    #[test]
    fn paths_stay_inside() {
        for (path, expected) in [
            ("", Some("")),
            ("./deploy//app/", Some("deploy/app")),
            ("/", Some("")),
            ("a/../b", Some("b")),
            ("..", None),
            ("a/../../b", None),
        ] {
            assert_eq!(inside(path), expected.map(PathBuf::from), "{path}");
        }
    }

    #[test]
    fn folders_are_merged_and_files_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("from/a", "new");
        write("from/deep/b", "new");
        write("to/a", "old");
        write("to/deep/c", "old");
        copy_tree(&dir.path().join("from"), &dir.path().join("to")).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join("to").join(name)).unwrap();
        assert_eq!([read("a"), read("deep/b"), read("deep/c")], ["new", "new", "old"]);
        copy_tree(&dir.path().join("from/a"), &dir.path().join("to/x/y")).unwrap();
        assert_eq!(read("x/y"), "new");
        let (path, _) = copy_tree(&dir.path().join("from/nothing"), &dir.path().join("to")).unwrap_err();
        assert!(path.ends_with("from/nothing"));
    }
}
