//! All mirrors, and which objects use which.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use super::{Mirror, disk_error};
use crate::git::auth::Session;
use crate::git::output::GitError;
use crate::git::remote::Remote;

/// Listens for mirrors whose remote has moved; the value is the mirror's key.
pub type Moves = broadcast::Receiver<Arc<str>>;

/// All mirrors, below one directory.
pub struct Mirrors {
    git: PathBuf,
    root: PathBuf,
    open: Mutex<HashMap<Arc<str>, Arc<Mirror>>>,
    users: Mutex<HashMap<String, Uses>>,
    moves: broadcast::Sender<Arc<str>>,
}

/// The mirrors that an object uses.
#[derive(Debug, Default)]
struct Uses {
    own: Option<Arc<str>>,
    submodules: BTreeSet<Arc<str>>,
}

impl Uses {
    fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.own.iter().chain(&self.submodules)
    }
}

impl Mirrors {
    /// Opens the mirrors below `root`, removing what a killed process left there.
    pub fn open(git: &Path, root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let tmp = root.join("tmp");
        let _ = fs::remove_dir_all(&tmp);
        fs::create_dir_all(&tmp)?;
        Ok(Self {
            git: git.to_owned(),
            root: root.to_owned(),
            open: Mutex::default(),
            users: Mutex::default(),
            moves: broadcast::channel(64).0,
        })
    }

    /// The mirror of a remote, for the object named `user` from now on. A mirror that no object
    /// uses any more is removed.
    pub fn assign(&self, user: &str, remote: &Remote) -> Result<Arc<Mirror>, GitError> {
        let mirror = self.mirror_of(remote)?;
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let before = users.entry(user.to_owned()).or_default().own.replace(Arc::clone(&mirror.key));
        self.drop_unused(&users, before);
        Ok(mirror)
    }

    /// The mirror of a submodule's remote, which the object uses beside its own.
    pub(in crate::git) fn assign_submodule(&self, user: &str, remote: &Remote) -> Result<Arc<Mirror>, GitError> {
        let mirror = self.mirror_of(remote)?;
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.entry(user.to_owned()).or_default().submodules.insert(Arc::clone(&mirror.key));
        Ok(mirror)
    }

    /// Tells that these are all the submodules' mirrors that the object still uses.
    pub fn keep_submodules(&self, user: &str, kept: &BTreeSet<Arc<str>>) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = users.get_mut(user) else { return };
        let unused: Vec<_> = known.submodules.extract_if(.., |key| !kept.contains(key)).collect();
        self.drop_unused(&users, unused);
    }

    /// Tells that an object is gone.
    pub fn release(&self, user: &str) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = users.remove(user) {
            self.drop_unused(&users, before.keys().cloned());
        }
    }

    /// The objects that follow the remote of a mirror.
    pub fn users_of(&self, key: &str) -> Vec<String> {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let follows = |uses: &Uses| uses.own.as_deref() == Some(key);
        users.iter().filter(|(_, uses)| follows(uses)).map(|(user, _)| user.clone()).collect()
    }

    /// Mirrors whose remote turns out to have moved, as polls find it.
    pub fn moves(&self) -> Moves {
        self.moves.subscribe()
    }

    fn mirror_of(&self, remote: &Remote) -> Result<Arc<Mirror>, GitError> {
        let key: Arc<str> = remote.key().into();
        let mut mirrors = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = mirrors.get(&key) {
            known.renew(remote).map_err(|error| disk_error(&known.tmp, &error))?;
            return Ok(Arc::clone(known));
        }
        let mirror = Arc::new(self.open_mirror(Arc::clone(&key), remote)?);
        mirrors.insert(key, Arc::clone(&mirror));
        Ok(mirror)
    }

    fn drop_unused(&self, users: &HashMap<String, Uses>, keys: impl IntoIterator<Item = Arc<str>>) {
        for key in keys {
            if users.values().any(|uses| uses.keys().any(|used| *used == key)) {
                continue;
            }
            let removed = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            if let Some(mirror) = removed {
                // What cannot be removed now is taken over when the same remote comes back.
                let _ = fs::remove_dir_all(&mirror.dir);
            }
        }
    }

    pub(super) fn open_mirror(&self, key: Arc<str>, remote: &Remote) -> Result<Mirror, GitError> {
        let tmp = self.root.join("tmp");
        let session = Session::prepare(remote, &tmp).map_err(|error| disk_error(&tmp, &error))?;
        Ok(Mirror {
            git: self.git.clone(),
            dir: self.root.join(format!("{key}.git")),
            tmp,
            url: remote.url().to_owned(),
            hint: remote.hint(),
            session: Mutex::new((remote.clone(), Arc::new(session))),
            moved: Mutex::default(),
            key,
            moves: self.moves.clone(),
            listing: tokio::sync::Mutex::default(),
            fetched: tokio::sync::Mutex::default(),
        })
    }
}
