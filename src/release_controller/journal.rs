//! Which helm action is under way, on disk: after a sudden death the next process knows that a
//! `pending-*` revision is its own, and that its owner is gone.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::fault::Fault;
use super::pass::Pass;
use super::triggers::target;
use crate::controller::namespaced_name;
use crate::postrender;
use crate::release::observed::{Journal as Entry, Target};
use crate::release::{inherited, status};
use crate::source::digest::sha256;

/// The open entries, one file each. Kept in memory as well, so that reading costs nothing.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    entries: Mutex<HashMap<Target, Entry>>,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the journal of helm actions at {path}: {source}", path = path.display())]
pub struct JournalError {
    path: PathBuf,
    source: io::Error,
}

impl Journal {
    /// Reads what an earlier process left. A file that cannot be read is removed: its release is
    /// unlocked by time then.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let mut entries = HashMap::new();
        for file in std::fs::read_dir(directory).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            let entry = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).ok());
            match entry {
                Some(entry) => drop(entries.insert(entry.target.clone(), entry)),
                None => std::fs::remove_file(&path).map_err(failed)?,
            }
        }
        Ok(Self { directory: directory.to_owned(), entries: Mutex::new(entries) })
    }

    /// Notes that an action begins. On success the note survives the death of this process.
    pub fn begin(&self, entry: Entry) -> Result<(), JournalError> {
        let path = self.path(&entry.target);
        let partial = path.with_extension("partial");
        let write = || {
            std::fs::write(&partial, serde_json::to_vec(&entry)?)?;
            std::fs::rename(&partial, &path)
        };
        write().map_err(|source| JournalError { path: path.clone(), source })?;
        self.locked().insert(entry.target.clone(), entry);
        Ok(())
    }

    /// Notes that the action of a release ended, or that its traces are dealt with.
    pub fn end(&self, target: &Target) -> Result<(), JournalError> {
        if self.locked().remove(target).is_none() {
            return Ok(());
        }
        let path = self.path(target);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(JournalError { path, source }),
            _ => Ok(()),
        }
    }

    /// The open entry of a release.
    pub fn entry(&self, target: &Target) -> Option<Entry> {
        self.locked().get(target).cloned()
    }

    /// No part can hold an underscore.
    fn path(&self, target: &Target) -> PathBuf {
        let Target { cluster, storage, namespace, name } = target;
        let elsewhere = if cluster.is_empty() { String::new() } else { format!("_{}", sha256(cluster.as_bytes())) };
        self.directory.join(format!("{storage}_{namespace}_{name}{elsewhere}.json"))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Target, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Takes over what an operator that is gone had begun, before the status says anything else.
    pub(super) async fn inherit(&self) -> Result<(), Fault> {
        let name = namespaced_name(self.object.as_ref());
        let inheritance = || self.controller.context.inheritance.lock().unwrap_or_else(PoisonError::into_inner);
        if inheritance().contains(&name) {
            self.take_over().await?;
            // From now on what the status says is this operator's own.
            inheritance().remove(&name);
        }
        Ok(())
    }

    async fn take_over(&self) -> Result<(), Fault> {
        let (journal, target) = (&self.controller.journal, target(&self.object));
        let own = target.cluster.is_empty();
        if journal.entry(&target).is_some()
            // Of a release in another cluster nothing is known yet but what is on record.
            || (!own && status::recorded(&self.status, &target).is_none())
        {
            return Ok(());
        }
        let revisions = if own { self.cluster.tools.storage.at_rest(&target).await? } else { Vec::new() };
        let generation = self.object.metadata.generation.unwrap_or_default();
        let rendering = postrender::rendering(&self.object.spec);
        let Some(entry) = inherited::journal(&self.status, &target, generation, rendering, revisions.first()) else {
            return Ok(());
        };
        let (namespace, name, action) = (&target.namespace, &target.name, entry.action.as_str());
        tracing::info!(namespace, name, action, "takes over an action that another operator had begun");
        // Without the entry the release is unlocked by time.
        if let Err(error) = journal.begin(entry) {
            tracing::warn!(%error, "the action is not taken over");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::observed::{Action, Rendering};

    #[test]
    fn an_entry_survives_until_it_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let [storage, namespace, name] = ["records", "apps", "ui"].map(str::to_owned);
        let target = Target { cluster: String::new(), storage, namespace, name };
        let elsewhere = Target { cluster: "apps/secret/prod".to_owned(), ..target.clone() };
        let entry = Entry {
            target: target.clone(),
            action: Action::Upgrade,
            base: 3,
            config_digest: "a".to_owned(),
            rendering: Rendering::default(),
            forced: true,
        };
        let open = || Journal::open(directory.path()).expect("opens");
        open().begin(entry.clone()).expect("writes");
        open().begin(Entry { target: elsewhere.clone(), base: 7, ..entry.clone() }).expect("writes");
        std::fs::write(directory.path().join("half.partial"), b"{").expect("writes");
        let journal = open();
        assert_eq!(journal.entry(&target), Some(entry));
        assert!(!directory.path().join("half.partial").exists());
        journal.end(&target).expect("removes");
        journal.end(&target).expect("nothing to do");
        assert_eq!((journal.entry(&target), open().entry(&target)), (None, None));
        assert_eq!(open().entry(&elsewhere).map(|entry| entry.base), Some(7), "of another cluster");
    }
}
