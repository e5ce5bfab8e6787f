//! One shallow bare mirror per remote and credential: polls are shared, fetches happen only for
//! commits that are not there yet, damage heals by building the mirror anew.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use super::argv::{self, Depth, Scope};
use super::auth::Session;
use super::output::{self, Cause, GitError, Refs};
use super::reference::Target;
use super::remote::Remote;
use super::submodule::{self, Submodule};
use crate::process::{Command, ProcessError};
use crate::source::archive;

/// A failed poll is shared with whoever asks this soon after.
const FAILURE_SHARED: Duration = Duration::from_millis(400);

/// Fetches into one mirror before it is built anew: each leaves objects that are never read again.
const MAX_FETCHES: u32 = 500;

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

/// What of a commit is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'s> {
    /// Files and folders; everything when there are none.
    pub paths: &'s [String],
    /// Whether to tell the submodules.
    pub submodules: bool,
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
    pub(super) fn assign_submodule(&self, user: &str, remote: &Remote) -> Result<Arc<Mirror>, GitError> {
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

    fn open_mirror(&self, key: Arc<str>, remote: &Remote) -> Result<Mirror, GitError> {
        let tmp = self.root.join("tmp");
        let session = Session::prepare(remote, &tmp).map_err(|error| disk_error(&tmp, &error))?;
        Ok(Mirror {
            git: self.git.clone(),
            dir: self.root.join(format!("{key}.git")),
            tmp,
            url: remote.url().to_owned(),
            hint: remote.hint(),
            session,
            key,
            moves: self.moves.clone(),
            listing: tokio::sync::Mutex::default(),
            fetched: tokio::sync::Mutex::default(),
        })
    }
}

/// What one poll saw.
struct Listing {
    started: Instant,
    scope: Scope,
    refs: Result<Arc<Refs>, GitError>,
}

/// The mirror of one remote.
pub struct Mirror {
    git: PathBuf,
    dir: PathBuf,
    tmp: PathBuf,
    url: String,
    hint: Option<String>,
    session: Session,
    key: Arc<str>,
    moves: broadcast::Sender<Arc<str>>,
    listing: tokio::sync::Mutex<Option<Listing>>,
    /// Held for as long as files of the mirror are written; the number of fetches since it was built.
    fetched: tokio::sync::Mutex<Option<u32>>,
}

/// A commit's tree, unpacked into a private directory that goes away when dropped.
pub struct Export {
    dir: tempfile::TempDir,
    /// The first line of the commit's message.
    pub subject: String,
    /// The submodules, if they were asked for.
    pub submodules: Vec<Submodule>,
}

impl Export {
    /// The tree's root.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Mirror {
    /// The remote's refs, not older than `max_age`: one call serves everyone who asks meanwhile.
    pub async fn poll(&self, scope: Scope, max_age: Duration, timeout: Duration) -> Result<Arc<Refs>, GitError> {
        let asked = Instant::now();
        let mut listing = self.listing.lock().await;
        if let Some(known) = listing.as_ref().filter(|known| known.scope >= scope) {
            let max_age = if known.refs.is_ok() { max_age } else { max_age.min(FAILURE_SHARED) };
            if known.started + max_age >= asked {
                return known.refs.clone();
            }
        }
        let scope = listing.as_ref().map_or(scope, |known| known.scope.max(scope));
        let started = Instant::now();
        let listed = self.run(argv::ls_remote(&self.url, scope), timeout).await;
        let refs = listed.map(|stdout| Arc::new(output::parse_refs(&stdout))).map_err(|error| self.explained(error));
        if let (Ok(new), Some(Listing { refs: Ok(old), .. })) = (&refs, listing.as_ref())
            && new != old
        {
            // Nobody may listen, in tests.
            let _ = self.moves.send(Arc::clone(&self.key));
        }
        *listing = Some(Listing { started, scope, refs: refs.clone() });
        refs
    }

    /// What names the mirror: another remote or credential has another key.
    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// What is wanted of a commit, fetched if it is not there yet.
    pub async fn export(
        &self,
        target: &Target,
        selection: Selection<'_>,
        timeout: Duration,
    ) -> Result<Export, GitError> {
        let mut fetched = self.fetched.lock().await;
        if fetched.is_none_or(|count| count >= MAX_FETCHES) {
            self.build(fetched.is_some())?;
            fetched.get_or_insert(0);
        }
        match self.fetch_and_unpack(target, selection, timeout, &mut fetched).await {
            Err(error) if error.cause == Cause::Mirror => {
                self.build(true)?;
                *fetched = Some(0);
                self.fetch_and_unpack(target, selection, timeout, &mut fetched).await
            }
            result => result,
        }
    }

    async fn fetch_and_unpack(
        &self,
        target: &Target,
        selection: Selection<'_>,
        timeout: Duration,
        fetched: &mut Option<u32>,
    ) -> Result<Export, GitError> {
        if !self.has(&target.commit) {
            self.unlock();
            self.fetch(target, timeout).await.map_err(|error| self.explained(error))?;
            *fetched = fetched.map(|count| count + 1);
        }
        let mut export = self.unpack(&target.commit, selection.paths, timeout).await?;
        if selection.submodules {
            export.submodules = self.submodules(&target.commit, timeout).await?;
        }
        Ok(export)
    }

    /// Whether the mirror keeps the commit.
    fn has(&self, commit: &str) -> bool {
        self.dir.join(argv::kept_ref(commit)).is_file()
    }

    async fn fetch(&self, target: &Target, timeout: Duration) -> Result<(), GitError> {
        let commit = &target.commit;
        let exact = format!("+{commit}:{}", argv::kept_ref(commit));
        match self.run(argv::fetch(&self.dir, &self.url, &exact, Depth::One), timeout).await {
            Err(error) if error.cause == Cause::Unadvertised => {}
            result => return result.map(drop),
        }
        // An old server: take what the ref leads to, with its history in case it moved on.
        let source = target.reference.as_deref().map_or("refs/heads/*", |name| name.trim_end_matches("^{}"));
        let kept = argv::kept_ref(if source.ends_with('*') { "heads/*" } else { "named" });
        self.run(argv::fetch(&self.dir, &self.url, &format!("+{source}:{kept}"), Depth::Full), timeout).await?;
        let found = self.run(argv::resolve_commit(&self.dir, commit), timeout).await.map_err(|_| {
            GitError::new(Cause::RefMissing, format!("commit {commit} is not in the history of '{source}'"))
        })?;
        let path = self.dir.join(argv::kept_ref(commit));
        fs::write(&path, found).map_err(|error| disk_error(&path, &error))
    }

    async fn submodules(&self, commit: &str, timeout: Duration) -> Result<Vec<Submodule>, GitError> {
        let tree = self.run(argv::list_tree(&self.dir, commit), timeout).await.map_err(damaged)?;
        let links = submodule::parse_links(&tree);
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let modules = self.run(argv::list_modules(&self.dir, commit), timeout).await.map_err(|error| {
            // Not the mirror's fault: the file is missing or cannot be read.
            let cause = if error.cause == Cause::TimedOut { Cause::TimedOut } else { Cause::Other };
            GitError::new(cause, format!("cannot read the file '.gitmodules' of commit {commit}: {error}"))
        })?;
        Ok(submodule::join(links, &modules))
    }

    async fn unpack(&self, commit: &str, paths: &[String], timeout: Duration) -> Result<Export, GitError> {
        let dir = tempfile::tempdir_in(&self.tmp).map_err(|error| disk_error(&self.tmp, &error))?;
        let tar = dir.path().with_extension("tar");
        let _cleanup = RemoveOnDrop(&tar);
        let (archived, shown) = tokio::join!(
            self.run(argv::archive(&self.dir, commit, &tar, paths), timeout),
            self.run(argv::show_commit(&self.dir, commit), timeout),
        );
        archived.map_err(damaged)?;
        let subject = output::commit_subject(&shown.map_err(damaged)?);
        let (from, into) = (tar.clone(), dir.path().to_owned());
        let unpacked = tokio::task::spawn_blocking(move || {
            let file = fs::File::open(&from).map_err(|source| archive::ArchiveError::Io { path: from, source })?;
            archive::unpack(io::BufReader::new(file), &into)
        });
        match unpacked.await {
            Ok(Ok(())) => Ok(Export { dir, subject, submodules: Vec::new() }),
            Ok(Err(error)) if error.is_disk_full() => Err(GitError::new(Cause::DiskFull, error.to_string())),
            Ok(Err(error)) => Err(GitError::new(Cause::Other, format!("cannot unpack commit {commit}: {error}"))),
            Err(error) => Err(GitError::new(Cause::Other, format!("unpacking commit {commit} ended early: {error}"))),
        }
    }

    /// Makes the mirror ready to be fetched into; `anew` throws away what is there.
    fn build(&self, anew: bool) -> Result<(), GitError> {
        let failed = |error: io::Error| disk_error(&self.dir, &error);
        if anew && self.dir.exists() {
            fs::remove_dir_all(&self.dir).map_err(failed)?;
        }
        for part in ["objects", "refs/heads", "refs/fairlead", "info"] {
            fs::create_dir_all(self.dir.join(part)).map_err(failed)?;
        }
        for (name, text) in argv::MIRROR_FILES {
            fs::write(self.dir.join(name), text).map_err(failed)?;
        }
        self.unlock();
        Ok(())
    }

    /// Removes locks of processes that are gone: only this one works on the mirror, and its
    /// children die with it.
    fn unlock(&self) {
        remove_locks(&self.dir);
        remove_locks_below(&self.dir.join("refs"));
    }

    async fn run(&self, args: Vec<String>, timeout: Duration) -> Result<Vec<u8>, GitError> {
        let mut command = Command::new(&self.git).args(args).timeout(timeout);
        for (name, value) in self.session.environment() {
            command = command.env(name, value);
        }
        for secret in self.session.secrets() {
            command = command.redact(secret);
        }
        // Boxed: the future of a child is large, and several are nested here.
        let output = Box::pin(command.run()).await.map_err(|error| match error {
            ProcessError::TimedOut { timeout, .. } => {
                GitError::new(Cause::TimedOut, format!("'{}' gave no answer within {timeout:?}", self.url))
            }
            other => GitError::new(Cause::Other, other.to_string()),
        })?;
        if output.success() { Ok(output.stdout) } else { Err(GitError::from_stderr(output.code, &output.stderr)) }
    }

    fn explained(&self, mut error: GitError) -> GitError {
        let from_remote = !matches!(error.cause, Cause::Mirror | Cause::DiskFull);
        if let Some(hint) = self.hint.as_ref().filter(|_| from_remote) {
            error.message = format!("{}; {hint}", error.message);
        }
        error
    }
}

/// A call that talks to the mirror alone failed: unless the disk is full, the mirror is damaged.
fn damaged(error: GitError) -> GitError {
    match error.cause {
        Cause::DiskFull | Cause::TimedOut | Cause::PathMissing => error,
        _ => GitError { cause: Cause::Mirror, ..error },
    }
}

fn disk_error(path: &Path, error: &io::Error) -> GitError {
    let cause = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Cause::DiskFull,
        _ => Cause::Other,
    };
    GitError::new(cause, format!("{}: {error}", path.display()))
}

fn remove_locks(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "lock") {
            // A lock that stays makes the next call fail, which builds the mirror anew.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn remove_locks_below(dir: &Path) {
    remove_locks(dir);
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_locks_below(&entry.path());
        }
    }
}

struct RemoveOnDrop<'p>(&'p Path);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

#[cfg(test)]
mod tests;
