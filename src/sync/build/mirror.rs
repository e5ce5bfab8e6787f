//! A private copy of a source's tree, in which files can be replaced for one build.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A copy that is gone when dropped. Its files are links to those of the source until they are
/// replaced; what they hold is never written to.
#[derive(Debug)]
pub struct Mirror {
    directory: TempDir,
}

impl Mirror {
    /// Copies the tree of a source (by its real path) to a new folder below `parent`.
    pub fn of(root: &Path, parent: &Path) -> io::Result<Self> {
        let builder_mode = Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().prefix("build-").permissions(builder_mode).tempdir_in(parent)?;
        let mirror = Self { directory };
        copy(root, root, mirror.root())?;
        Ok(mirror)
    }

    /// The copy of the source's root.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Puts a file of this user alone in the place of another, or where none was.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let path = self.root().join(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        crate::postrender::workplace::private_file(&path, bytes)
    }
}

fn copy(root: &Path, from: &Path, to: &Path) -> io::Result<()> {
    for entry in from.read_dir()? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir(&target)?;
            copy(root, &source, &target)?;
        } else if kind.is_symlink() {
            // Links that lead out of the source are left out: nothing may follow them.
            if source.canonicalize().is_ok_and(|real| real.starts_with(root)) {
                symlink(target_of(&source)?, &target)?;
            }
        } else if kind.is_file() && fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// Where a link leads, as a relative path: an absolute one would lead out of the copy.
fn target_of(link: &Path) -> io::Result<PathBuf> {
    let target = link.read_link()?;
    if target.is_relative() {
        return Ok(target);
    }
    Err(io::Error::other(format!("the link {} is absolute: make it relative", link.display())))
}

/// Makes the place for mirrors anew; what a dead operator left in it goes.
pub fn prepare(place: &Path) -> io::Result<()> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(place)?;
    fs::set_permissions(place, Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_changed_and_the_source_is_not() {
        let (source, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = source.path().canonicalize().unwrap();
        fs::create_dir(root.join("a")).unwrap();
        fs::write(root.join("a/x.yaml"), "one").unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        symlink("x.yaml", root.join("a/in")).unwrap();
        symlink(outside.path().join("secret"), root.join("a/out")).unwrap();
        let place = source.path().with_extension("builds");
        prepare(&place).unwrap();
        let mirror = Mirror::of(&root, &place).unwrap();
        let copied = |path: &str| fs::read_to_string(mirror.root().join(path)).ok();
        assert_eq!((copied("a/x.yaml").as_deref(), copied("a/in").as_deref()), (Some("one"), Some("one")));
        assert_eq!(copied("a/out"), None);
        mirror.replace(Path::new("a/x.yaml"), b"two").unwrap();
        mirror.replace(Path::new("a/new"), b"three").unwrap();
        assert_eq!((copied("a/in").as_deref(), copied("a/new").as_deref()), (Some("two"), Some("three")));
        assert_eq!(fs::read_to_string(root.join("a/x.yaml")).unwrap(), "one");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(mirror.root()), mode(&mirror.root().join("a/new"))), (0o700, 0o600));
        let was = mirror.root().to_owned();
        drop(mirror);
        assert!(!was.exists());
        fs::create_dir(place.join("left")).unwrap();
        prepare(&place).unwrap();
        assert_eq!(place.read_dir().unwrap().count(), 0);
        fs::remove_dir(&place).unwrap();
    }
}
