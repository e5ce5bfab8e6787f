//! The names of artifacts: given, replaced, and taken away in time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use super::{ArtifactStore, StoreError};

/// The second name of an owner's newest directory.
pub const LATEST: &str = "latest.tar.gz";

/// Names that always lead to an owner's newest artifact.
const ALIASES: [&str; 2] = [LATEST, "index.yaml"];

/// How long artifacts that were replaced keep their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long at the most.
    pub ttl: Duration,
    /// How many artifacts of one object have a name, the newest included.
    pub records: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { ttl: Duration::from_mins(1), records: 2 }
    }
}

impl Retention {
    /// Those of an owner's replaced artifacts that are to go. `replaced` has the last one first.
    fn expired(self, replaced: &[(SystemTime, PathBuf)], now: SystemTime) -> impl Iterator<Item = &PathBuf> {
        replaced.iter().enumerate().filter_map(move |(index, (at, name))| {
            let too_old = now.duration_since(*at).is_ok_and(|age| age >= self.ttl);
            (too_old || index + 1 >= self.records).then_some(name)
        })
    }
}

impl ArtifactStore {
    /// Links a name to a blob, in place of what had the name.
    pub(super) fn name(&self, digest: &str, path: &Path) -> Result<(), StoreError> {
        let target = self.root.join("names").join(path);
        let directory = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(directory).map_err(|source| self.io(directory, source))?;
        let scratch = tempfile::Builder::new()
            .make_in(self.root.join("tmp"), |scratch| fs::hard_link(self.blob(digest), scratch))
            .map_err(|source| self.io(&target, source))?;
        // Renaming a link over another link to the same file does nothing and keeps both.
        let scratch = scratch.into_temp_path();
        fs::rename(&scratch, &target).map_err(|source| self.io(&target, source))
    }

    /// Removes all of an owner's names.
    pub(super) fn drop_names(&self, directory: &Path) -> Result<(), StoreError> {
        let directory = self.root.join("names").join(directory);
        for name in self.names_in(&directory)? {
            self.unname(&name)?;
        }
        // Fails when the directory was refilled meanwhile, which is fine.
        let _ = fs::remove_dir(&directory);
        Ok(())
    }

    /// Removes the names of replaced artifacts that are too old or too many.
    pub(super) fn retire_names(&self, directory: &Path, current: &Path) -> Result<(), StoreError> {
        let names = self.root.join("names");
        let current = names.join(current);
        let now = SystemTime::now();
        let mut replaced = Vec::new();
        for name in self.names_in(&names.join(directory))? {
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            if name == current {
                // It may have been replaced once, and be back.
                retired.remove(&name);
            } else if !ALIASES.iter().any(|alias| name.ends_with(alias)) {
                // What an earlier process replaced counts from now on.
                replaced.push((*retired.entry(name.clone()).or_insert(now), name));
            }
        }
        replaced.sort();
        replaced.reverse();
        self.retention.expired(&replaced, now).try_for_each(|name| self.unname(name))
    }

    fn unname(&self, name: &Path) -> Result<(), StoreError> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        fs::remove_file(name).map_err(|source| self.io(name, source))
    }

    fn names_in(&self, directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
        match fs::read_dir(directory) {
            Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(self.io(directory, source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_artifacts_go_by_age_and_by_number() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1);
        let replaced: Vec<_> = [5, 50, 70]
            .map(|age| (now - Duration::from_secs(age), PathBuf::from(age.to_string())))
            .into_iter()
            .collect();
        let expired = |seconds, records| {
            let retention = Retention { ttl: Duration::from_secs(seconds), records };
            retention.expired(&replaced, now).map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(expired(60, 2), ["50", "70"]);
        assert_eq!(expired(60, 9), ["70"]);
        assert_eq!(expired(60, 1), ["5", "50", "70"], "the newest one is not among them");
        assert_eq!(expired(600, 4), Vec::<String>::new());
        assert_eq!(expired(0, 9), ["5", "50", "70"]);
    }
}
