//! Takes away what nobody can ask for any more.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use super::ArtifactStore;

/// How long the contents of an artifact stay readable once their last name is gone.
const GRACE: Duration = Duration::from_mins(2);

impl ArtifactStore {
    /// Collects what no name refers to any more; at most once in the grace time.
    pub(super) fn sweep(&self) {
        let now = SystemTime::now();
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if swept.is_some_and(|last| now.duration_since(last).is_ok_and(|passed| passed < GRACE)) {
                return;
            }
            *swept = Some(now);
        }
        let Ok(blobs) = fs::read_dir(self.root.join("blobs")) else { return };
        for blob in blobs.flatten() {
            let digest = blob.file_name().to_string_lossy().into_owned();
            let naming = self.naming();
            if !is_long_unnamed(&blob.path(), now) {
                continue;
            }
            self.verified().remove(&digest);
            // What cannot be removed now is found by a later sweep.
            let _ = fs::remove_file(blob.path());
            drop(naming);
            self.remove_tree(&digest);
        }
    }

    /// Takes a tree away as a whole: whoever is reading it must not take a part for all of it.
    fn remove_tree(&self, digest: &str) {
        let Ok(gone) = self.scratch() else { return };
        let mut unpacked = self.unpacked.blocking_lock();
        unpacked.remove(digest);
        // There may be none.
        let _ = fs::rename(self.root.join("trees").join(digest), gone.path().join(digest));
        drop(unpacked);
    }
}

/// Whether a blob has had no name for longer than the grace time.
fn is_long_unnamed(blob: &Path, now: SystemTime) -> bool {
    let Ok(meta) = fs::metadata(blob) else { return false };
    let since = u64::try_from(meta.ctime()).map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    meta.nlink() == 1 && since.is_ok_and(|since| now.duration_since(since).is_ok_and(|age| age > GRACE))
}
