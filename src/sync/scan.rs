//! Reads a folder of manifests: every `.yaml` and `.yml` file, recursively, in a stable order.

use super::manifest::Manifest;
use super::problem::{Hold, Place, Problem};
use crate::yaml;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Largest manifest file that is read, in bytes.
const LARGEST_FILE: u64 = 8 << 20;
/// Names that make a folder one for kustomize.
const KUSTOMIZATION_FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Scan {
    /// Every document that is YAML, in the order of the files.
    pub manifests: Vec<Manifest>,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Folders that kustomize has to build, with their `kustomization.yaml`; absolute.
    pub overlays: Vec<PathBuf>,
}

/// Why a folder cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// `spec.path` leads out of the artifact.
    #[error("spec.path `{0}` leads out of the source: give a path within it, such as `./production`")]
    Escapes(String),
    /// The folder does not exist in this revision.
    #[error("spec.path `{0}` does not exist in this revision of the source")]
    NotFound(String),
    /// `spec.path` is a file.
    #[error("spec.path `{0}` is not a folder")]
    NotAFolder(String),
    /// The artifact's files cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The folder that `spec.path` names within an unpacked artifact; blank is its root.
pub fn resolve(root: &Path, spec_path: &str) -> Result<PathBuf, ScanError> {
    let mut inner = PathBuf::new();
    for component in Path::new(spec_path).components() {
        match component {
            Component::Normal(part) => inner.push(part),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                if !inner.pop() {
                    return Err(ScanError::Escapes(spec_path.to_owned()));
                }
            }
        }
    }
    let real_root = canonical(root)?;
    let folder = match root.join(&inner).canonicalize() {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ScanError::NotFound(spec_path.to_owned()));
        }
        Err(source) => return Err(io_error(&inner, source)),
    };
    if !folder.starts_with(&real_root) {
        return Err(ScanError::Escapes(spec_path.to_owned()));
    }
    if !folder.is_dir() {
        return Err(ScanError::NotAFolder(spec_path.to_owned()));
    }
    Ok(folder)
}

/// Reads a folder (as [`resolve`] gives it) of an unpacked artifact.
///
/// Hidden files and folders are skipped, links are followed only to files within the artifact, and
/// a folder with a `kustomization.yaml` is left to kustomize.
pub fn scan(root: &Path, folder: &Path) -> Result<Scan, ScanError> {
    let mut scanner = Scanner { root: canonical(root)?, scan: Scan::default() };
    scanner.folder(folder)?;
    Ok(scanner.scan)
}

struct Scanner {
    root: PathBuf,
    scan: Scan,
}

impl Scanner {
    fn folder(&mut self, folder: &Path) -> Result<(), ScanError> {
        if let Some(file) = kustomization_file(folder) {
            self.scan.overlays.push(file);
            return Ok(());
        }
        let list = || -> io::Result<Vec<PathBuf>> {
            let mut paths: Vec<PathBuf> =
                folder.read_dir()?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
            paths.sort();
            Ok(paths)
        };
        for path in list().map_err(|source| io_error(folder, source))? {
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            self.entry(&path)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path) -> Result<(), ScanError> {
        let kind = path.symlink_metadata().map_err(|source| io_error(path, source))?.file_type();
        if kind.is_dir() {
            return self.folder(path);
        }
        if !is_yaml(path) {
            return Ok(());
        }
        if kind.is_file() {
            self.file(path, path);
        } else if kind.is_symlink() {
            match path.canonicalize() {
                Ok(target) if target.starts_with(&self.root) && target.is_file() => self.file(path, &target),
                _ => self.unreadable(path, None, "the link does not lead to a file of this source"),
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, target: &Path) {
        if target.metadata().is_ok_and(|metadata| metadata.len() > LARGEST_FILE) {
            let reason = format!("the file is larger than {} MiB", LARGEST_FILE >> 20);
            return self.unreadable(path, None, reason);
        }
        let bytes = match std::fs::read(target) {
            Ok(bytes) => bytes,
            Err(error) => return self.unreadable(path, None, format!("the file cannot be read: {error}")),
        };
        match String::from_utf8(bytes) {
            Ok(text) => self.text(path, &text),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..valid].split(|byte| *byte == b'\n').count();
                self.unreadable(path, Some(line), "the file is not UTF-8 text");
            }
        }
    }

    fn text(&mut self, path: &Path, text: &str) {
        let file = self.label(path);
        if text.trim().is_empty() {
            let reason = "the file is empty; remove it if its objects are to go";
            let place = Place { file, line: Some(1) };
            let hold = Hold::Everything;
            self.scan.problems.push(Problem { hold, ..Problem::error(place, reason).warning() });
            return;
        }
        for document in yaml::documents(text) {
            match document.result {
                Ok(object) => self.scan.manifests.push(Manifest::read(Arc::clone(&file), document.lines, object)),
                Err(error) => {
                    let place = Place { file: Arc::clone(&file), line: Some(error.line) };
                    self.scan.problems.push(Problem::unreadable(place, error.message));
                }
            }
        }
    }

    fn unreadable(&mut self, path: &Path, line: Option<usize>, reason: impl Into<String>) {
        let place = Place { file: self.label(path), line };
        self.scan.problems.push(Problem::unreadable(place, reason));
    }

    fn label(&self, path: &Path) -> Arc<str> {
        label(&self.root, path)
    }
}

/// A path of the artifact as a person sees it in the repository.
pub fn label(root: &Path, path: &Path) -> Arc<str> {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into()
}

/// The file that makes a folder one for kustomize.
pub fn kustomization_file(folder: &Path) -> Option<PathBuf> {
    KUSTOMIZATION_FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// Whether a file is one of manifests, by its name.
pub fn is_yaml(path: &Path) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|extension| matches!(extension, "yaml" | "yml"))
}

fn canonical(path: &Path) -> Result<PathBuf, ScanError> {
    path.canonicalize().map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> ScanError {
    ScanError::Io { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn shown(scan: &Scan) -> (Vec<String>, Vec<String>) {
        let manifests = scan.manifests.iter().map(|manifest| manifest.place("").to_string()).collect();
        (manifests, scan.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn files_are_read_in_order_and_every_error_is_collected() {
        let root = tree(&[
            ("p/PLACEHOLDER", b""),
            ("p/.hidden.yaml", b"{"),
            ("p/.git/x.yaml", b"{"),
            ("p/notes.md", b"{"),
            ("p/api", b"a: {"),
            ("p/b.yml", b"b: 1\n---\nb: 2\n"),
            ("p/a.yaml", b"# c\na: 1\n---\nx: {{ Y }}\n"),
            ("p/sub/c.yaml", b"just words\n"),
            ("p/empty.yaml", b"\n"),
            ("p/latin.yaml", b"a: 1\nb: \xff\n"),
            ("other/d.yaml", b"d: 1\n"),
        ]);
        let scan = scan(root.path(), &resolve(root.path(), "./p").unwrap()).unwrap();
        let (manifests, problems) = shown(&scan);
        assert_eq!(manifests, ["p/a.yaml:2", "p/b.yml:1", "p/b.yml:3", "p/sub/c.yaml:1"]);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("p/a.yaml:4: `{{ … }}` is a placeholder"), "{}", problems[0]);
        assert!(problems[1].starts_with("p/empty.yaml:1: the file is empty"));
        assert_eq!(problems[2], "p/latin.yaml:2: the file is not UTF-8 text");
        assert!(scan.problems.iter().all(|problem| problem.hold == Hold::Everything));
    }

    #[test]
    fn folders_of_kustomize_are_left_to_it() {
        let root = tree(&[("p/a.yaml", b"a: 1"), ("p/base/kustomization.yaml", b"{}"), ("p/base/x.yaml", b"{")]);
        let folder = resolve(root.path(), "p").unwrap();
        let scan = scan(root.path(), &folder).unwrap();
        assert_eq!(scan.overlays, [folder.join("base/kustomization.yaml")]);
        assert!(scan.problems.is_empty());
    }

    #[test]
    fn nothing_is_read_outside_of_the_artifact() {
        let outside = tree(&[("secret.yaml", b"secret: 1"), ("dir/x.yaml", b"x: 1")]);
        let root = tree(&[("p/a.yaml", b"a: 1")]);
        symlink(outside.path().join("secret.yaml"), root.path().join("p/s.yaml")).unwrap();
        symlink(outside.path().join("dir"), root.path().join("p/dir")).unwrap();
        symlink(outside.path(), root.path().join("out")).unwrap();
        symlink("a.yaml", root.path().join("p/z.yaml")).unwrap();
        let scan = scan(root.path(), &resolve(root.path(), "p/../p/").unwrap()).unwrap();
        let (manifests, problems) = shown(&scan);
        assert_eq!(manifests, ["p/a.yaml:1", "p/z.yaml:1"]);
        assert_eq!(problems, ["p/s.yaml: the link does not lead to a file of this source"]);

        let error = |path: &str| resolve(root.path(), path).unwrap_err().to_string();
        assert!(error("../x").contains("leads out"));
        assert!(error("p/../../x").contains("leads out"));
        assert!(error("out").contains("leads out"));
        assert!(error("nowhere").contains("does not exist"));
        assert!(error("p/a.yaml").contains("not a folder"));
        assert_eq!(resolve(root.path(), "").unwrap(), root.path().canonicalize().unwrap());
        assert_eq!(resolve(root.path(), "/p").unwrap(), root.path().join("p").canonicalize().unwrap());
    }
}
