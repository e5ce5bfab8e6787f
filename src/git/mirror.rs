//! One shallow bare mirror per remote and credential: polls are shared, fetches happen only for
//! commits that are not there yet, damage heals by building the mirror anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use super::argv::{self, Depth, Scope};
use super::auth::Session;
use super::output::{self, Cause, GitError, Refs};
use super::redirect;
use super::reference::Target;
use super::remote::Remote;
use super::submodule::{self, Submodule};
use crate::process::{Command, ProcessError};
use crate::source::archive::{self, ArchiveError};

mod registry;

pub use registry::{Mirrors, Moves};

/// A failed poll is shared with whoever asks this soon after.
const FAILURE_SHARED: Duration = Duration::from_millis(400);

/// Fetches into one mirror before it is built anew: each leaves objects that are never read again.
const MAX_FETCHES: u32 = 500;

/// What of a commit is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'s> {
    /// Files and folders; everything when there are none.
    pub paths: &'s [String],
    /// Whether to tell the submodules.
    pub submodules: bool,
    /// The object's own patterns, where what its artifact leaves out need not be there at all.
    pub ignore: Option<&'s str>,
}

/// What one poll saw.
struct Listing {
    started: Instant,
    scope: Scope,
    refs: Result<Arc<Refs>, GitError>,
    /// What the last poll saw that did not fail.
    good: Option<Arc<Refs>>,
}

/// The mirror of one remote.
pub struct Mirror {
    git: PathBuf,
    dir: PathBuf,
    tmp: PathBuf,
    url: String,
    hint: Option<String>,
    /// The remote with the login of now, and what that takes.
    session: Mutex<(Remote, Arc<Session>)>,
    /// Where the remote has moved to at its own host.
    moved: Mutex<Option<String>>,
    key: Arc<str>,
    moves: broadcast::Sender<Arc<str>>,
    listing: tokio::sync::Mutex<Option<Listing>>,
    /// Held for as long as files of the mirror are written; the number of fetches since it was built.
    fetched: tokio::sync::Mutex<Option<u32>>,
}

/// The objects that signatures are in.
#[derive(Debug)]
pub struct Objects {
    /// The commit.
    pub commit: Vec<u8>,
    /// The tag, if it was asked for.
    pub tag: Option<Vec<u8>>,
}

/// A commit's tree, unpacked into a private directory that goes away when dropped.
pub struct Export {
    dir: tempfile::TempDir,
    /// The first line of the commit's message.
    pub subject: String,
    /// When the commit was made, in seconds since 1970.
    pub committed: Option<i64>,
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
        let listed = self.ask(|url| argv::ls_remote(url, scope), timeout).await;
        let refs = listed.map(|stdout| Arc::new(output::parse_refs(&stdout))).map_err(|error| self.explained(error));
        let before = listing.as_ref().and_then(|known| known.good.clone());
        if let (Ok(new), Some(old)) = (&refs, &before)
            && new != old
        {
            // Nobody may listen, in tests.
            let _ = self.moves.send(Arc::clone(&self.key));
        }
        let good = refs.as_ref().ok().cloned().or(before);
        *listing = Some(Listing { started, scope, refs: refs.clone(), good });
        refs
    }

    /// Goes on with the remote's login of now.
    fn renew(&self, remote: &Remote) -> io::Result<()> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if session.0.login() != remote.login() {
            *session = (remote.clone(), Arc::new(Session::prepare(remote, &self.tmp)?));
        }
        Ok(())
    }

    fn session(&self) -> (Remote, Arc<Session>) {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        let mut fetched = self.prepared().await?;
        let first = self.fetch_and_unpack(target, selection, timeout, &mut fetched).await;
        match self.healed(first, &mut fetched)? {
            Some(export) => Ok(export),
            None => self.fetch_and_unpack(target, selection, timeout, &mut fetched).await,
        }
    }

    /// The commit object, and this tag object if it is given, fetched if they are not there yet.
    pub async fn objects(&self, target: &Target, tag: Option<&str>, timeout: Duration) -> Result<Objects, GitError> {
        let mut fetched = self.prepared().await?;
        let first = self.fetch_and_read(target, tag, timeout, &mut fetched).await;
        match self.healed(first, &mut fetched)? {
            Some(objects) => Ok(objects),
            None => self.fetch_and_read(target, tag, timeout, &mut fetched).await,
        }
    }

    /// What a use of the mirror gave; none when it was damaged and is as new, so that the use can be repeated. One
    /// that filled the disk throws away what was fetched: it takes the room that is missing, and what came in part is
    /// of no use.
    fn healed<T>(&self, used: Result<T, GitError>, fetched: &mut Option<u32>) -> Result<Option<T>, GitError> {
        match used {
            Err(error) if error.cause == Cause::Mirror => {
                self.build(true)?;
                *fetched = Some(0);
                Ok(None)
            }
            Err(error) if error.cause == Cause::DiskFull => {
                *fetched = Some(if self.build(true).is_ok() { 0 } else { MAX_FETCHES });
                Err(error)
            }
            used => used.map(Some),
        }
    }

    /// The mirror for this caller alone, ready to be fetched into.
    async fn prepared(&self) -> Result<tokio::sync::MutexGuard<'_, Option<u32>>, GitError> {
        let mut fetched = self.fetched.lock().await;
        if fetched.is_none_or(|count| count >= MAX_FETCHES) {
            self.build(fetched.is_some())?;
            *fetched = Some(0);
        }
        Ok(fetched)
    }

    async fn fetch_and_unpack(
        &self,
        target: &Target,
        selection: Selection<'_>,
        timeout: Duration,
        fetched: &mut Option<u32>,
    ) -> Result<Export, GitError> {
        self.fetch_once(&target.commit, target, timeout, fetched).await?;
        let mut export = self.unpack(&target.commit, selection, timeout).await?;
        if selection.submodules {
            export.submodules = self.submodules(&target.commit, timeout).await?;
        }
        Ok(export)
    }

    async fn fetch_and_read(
        &self,
        target: &Target,
        tag: Option<&str>,
        timeout: Duration,
        fetched: &mut Option<u32>,
    ) -> Result<Objects, GitError> {
        self.fetch_once(&target.commit, target, timeout, fetched).await?;
        let commit = self.run(argv::show_commit(&self.dir, &target.commit), timeout).await.map_err(damaged)?;
        let Some(tag) = tag else { return Ok(Objects { commit, tag: None }) };
        self.fetch_once(tag, target, timeout, fetched).await?;
        let tag = self.run(argv::show_tag(&self.dir, tag), timeout).await.map_err(damaged)?;
        Ok(Objects { commit, tag: Some(tag) })
    }

    /// Fetches the commit or tag object of a target, unless the mirror keeps it.
    async fn fetch_once(
        &self,
        object: &str,
        target: &Target,
        timeout: Duration,
        fetched: &mut Option<u32>,
    ) -> Result<(), GitError> {
        if !self.has(object) {
            self.unlock();
            self.fetch(object, target, timeout).await.map_err(|error| self.explained(error))?;
            *fetched = fetched.map(|count| count + 1);
        }
        Ok(())
    }

    /// Whether the mirror keeps the object.
    fn has(&self, object: &str) -> bool {
        self.dir.join(argv::kept_ref(object)).is_file()
    }

    async fn fetch(&self, object: &str, target: &Target, timeout: Duration) -> Result<(), GitError> {
        let exact = format!("+{object}:{}", argv::kept_ref(object));
        match self.ask(|url| argv::fetch(&self.dir, url, &exact, Depth::One), timeout).await {
            Err(error) if error.cause == Cause::RefMissing => {
                self.disprove(object, Refs::lead_to).await?;
                return Err(error);
            }
            Err(error) if error.cause == Cause::Unadvertised => self.disprove(object, Refs::end_at).await?,
            result => return result.map(drop),
        }
        // A server that hands out the ends of refs only, and a commit that is none: behind a tag, or named by its hash.
        let depth = if target.tag.is_some() { Depth::One } else { Depth::Full };
        let source = target.reference.as_deref().map_or("refs/heads/*", |name| name.trim_end_matches("^{}"));
        let kept = argv::kept_ref(if source.ends_with('*') { "heads/*" } else { "named" });
        let all = format!("+{source}:{kept}");
        self.ask(|url| argv::fetch(&self.dir, url, &all, depth), timeout).await?;
        let Ok(found) = self.run(argv::resolve(&self.dir, object), timeout).await else {
            self.disprove(object, Refs::lead_to).await?;
            let message = format!("object {object} is not in the history of '{source}'");
            return Err(GitError::new(Cause::RefMissing, message));
        };
        let path = self.dir.join(argv::kept_ref(object));
        fs::write(&path, found).map_err(|error| disk_error(&path, &error))
    }

    /// An error if a ref led to the object when the remote was polled: it does not any more, and the next one who asks
    /// polls again.
    async fn disprove(&self, object: &str, lead_to: fn(&Refs, &str) -> bool) -> Result<(), GitError> {
        let mut listing = self.listing.lock().await;
        let Some(known) = listing.as_mut().filter(|known| known.refs.as_ref().is_ok_and(|refs| lead_to(refs, object)))
        else {
            return Ok(());
        };
        let moved = GitError::new(Cause::RefMissing, format!("the ref that led to {object} has moved on meanwhile"));
        known.refs = Err(moved.clone());
        Err(moved)
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

    async fn unpack(&self, commit: &str, selection: Selection<'_>, timeout: Duration) -> Result<Export, GitError> {
        let dir = tempfile::tempdir_in(&self.tmp).map_err(|error| disk_error(&self.tmp, &error))?;
        let tar = dir.path().with_extension("tar");
        let _cleanup = RemoveOnDrop(&tar);
        let (archived, shown) = tokio::join!(
            self.run(argv::archive(&self.dir, commit, &tar, selection.paths), timeout),
            self.run(argv::show_commit(&self.dir, commit), timeout),
        );
        archived.map_err(damaged)?;
        let shown = shown.map_err(damaged)?;
        let (subject, committed) = (output::commit_subject(&shown), output::commit_time(&shown));
        let (from, into, ignore) = (tar.clone(), dir.path().to_owned(), selection.ignore.map(str::to_owned));
        let unpacked = tokio::task::spawn_blocking(move || archive::unpack_source(&from, &into, ignore.as_deref()));
        match unpacked.await {
            Ok(Ok(())) => Ok(Export { dir, subject, committed, submodules: Vec::new() }),
            Ok(Err(error)) => Err(unpack_error(commit, &error)),
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

    /// Runs a call that talks to the remote, where it is now.
    async fn ask(&self, args: impl Fn(&str) -> Vec<String>, timeout: Duration) -> Result<Vec<u8>, GitError> {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let url = moved.unwrap_or_else(|| self.url.clone());
        let (url, result) = match self.run(args(&url), timeout).await {
            Err(error) if error.cause == Cause::Redirect => {
                let (remote, _) = self.session();
                let url = redirect::target(&remote, &url, timeout).await?;
                let result = self.run(args(&url), timeout).await;
                (url, result)
            }
            result => (url, result),
        };
        if result.is_ok() && url != self.url {
            *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(url);
        }
        result
    }

    async fn run(&self, args: Vec<String>, timeout: Duration) -> Result<Vec<u8>, GitError> {
        let mut command = Command::new(&self.git).args(args).timeout(timeout);
        let (_, session) = self.session();
        for (name, value) in session.environment() {
            command = command.env(name, value);
        }
        for secret in session.secrets() {
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

fn unpack_error(commit: &str, error: &ArchiveError) -> GitError {
    if error.is_disk_full() {
        return GitError::new(Cause::DiskFull, error.to_string());
    }
    let help = match error {
        ArchiveError::TooLarge(_) | ArchiveError::TooMany(_) => {
            "; spec.sparseCheckout takes only the folders that are needed, spec.ignore leaves files out"
        }
        _ => "",
    };
    GitError::new(Cause::Other, format!("cannot unpack commit {commit}: {error}{help}"))
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
