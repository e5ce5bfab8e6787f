//! The data directory: made, private, writable, and this operator's alone.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;

use super::AppError;

/// What helps where nothing can be written.
pub const REMEDY: &str = "free some space, or give it a volume that can be written";

/// The file with the name that this directory's operator stands for leases with.
const IDENTITY: &str = "identity";

/// Makes the data directory and locks it: two operators would remove each other's files. The lock
/// goes with the process, however that ends.
pub fn take(dir: &Path) -> Result<File, AppError> {
    let failed = |source| AppError::DataDir { dir: dir.to_owned(), source };
    make_private_dir(dir).map_err(failed)?;
    let mut options = File::options();
    let mut lock =
        options.read(true).write(true).create(true).truncate(false).open(dir.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let owner = io::read_to_string(&lock).unwrap_or_default();
            let process = owner.trim().parse::<u32>().map_or_else(|_| String::new(), |id| format!(" (process {id})"));
            return Err(AppError::DataDirInUse { dir: dir.to_owned(), process });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let noted = lock.set_len(0).and_then(|()| lock.write_all(std::process::id().to_string().as_bytes()));
    noted.map_err(failed)?;
    Ok(lock)
}

/// A random name that stays with the directory. Who has locked the directory has outlived whoever
/// stood by that name before, and need not wait for the lease to run out.
pub fn identity(dir: &Path) -> Result<String, AppError> {
    let file = dir.join(IDENTITY);
    let known = std::fs::read_to_string(&file).ok().filter(|known| known.len() == 16);
    if let Some(known) = known {
        return Ok(known);
    }
    let new = format!("{:016x}", rand::random::<u64>());
    std::fs::write(&file, &new).map_err(|source| AppError::DataDir { dir: dir.to_owned(), source })?;
    Ok(new)
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // Found out now, not in the middle of the first release.
    can_be_written(dir)
}

/// Writes something that leaves no trace. A full disk may still hold empty files.
pub fn can_be_written(dir: &Path) -> io::Result<()> {
    tempfile::tempfile_in(dir)?.write_all(&vec![0; 64 * 1024])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_data_directory_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a/b");
        make_private_dir(&dir).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        make_private_dir(&file).unwrap_err();
    }

    #[test]
    fn the_data_directory_has_one_user_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = take(dir.path()).unwrap();
        let error = take(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        drop(first);
        take(dir.path()).unwrap();
    }

    #[test]
    fn the_identity_stays_with_the_directory() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let identity_of = |dir: &tempfile::TempDir| identity(dir.path()).unwrap();
        assert_eq!(identity_of(&dir), identity_of(&dir));
        assert_ne!(identity_of(&dir), identity_of(&other));
    }
}
