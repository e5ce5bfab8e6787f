//! The artifact store: contents by digest, with one name per artifact for the HTTP server.
//!
//! ```text
//! blobs/<digest>                                the archive itself, immutable
//! names/<kind>/<namespace>/<name>/<file>        a hard link to it, what a client asks for
//! trees/<digest>/                               it unpacked, made on demand
//! ```
//!
//! A replaced artifact keeps its name for a while, so that whoever has just read of it still finds
//! it. A blob whose last name is gone is collected after a grace time, so that whoever still reads
//! it can finish.

mod names;
mod sweep;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use self::names::LATEST;
pub use self::names::Retention;
use super::archive::{self, ArchiveError};
use super::digest::{Algorithm, Digest};
use super::ignore::IgnoreRules;
use crate::api::meta::Artifact;

/// Why the store cannot give or take an artifact.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The artifact is not in the store, for example because the data directory is new.
    #[error("artifact '{path}' is not in the store; its source will be fetched again")]
    Missing {
        /// The artifact's path.
        path: String,
    },
    /// The stored bytes do not have the artifact's digest; they were removed.
    #[error("artifact '{path}' does not match its digest and was removed; its source will be fetched again")]
    Corrupt {
        /// The artifact's path.
        path: String,
    },
    /// The digest in a status is none that can be checked.
    #[error("artifact '{path}' has no digest by sha256, sha384, sha512 or blake3")]
    NoDigest {
        /// The artifact's path.
        path: String,
    },
    /// No space is left for the artifact; what was stored before stays.
    #[error("no space left in the data directory {}: free some or give --data-dir a larger volume", .0.display())]
    DiskFull(PathBuf),
    /// An owner or a file name that could leave the store's directory.
    #[error("'{0}' cannot be part of an artifact's path")]
    BadName(String),
    /// Packing or unpacking failed.
    #[error("cannot archive the artifact: {0}")]
    Archive(ArchiveError),
    /// The file system refused.
    #[error("cannot access the artifact store: {}: {source}", path.display())]
    Io {
        /// The file at fault.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// The object that an artifact belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Kind, as in `GitRepository`.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Owner {
    fn path(&self) -> Result<PathBuf, StoreError> {
        let kind = self.kind.to_ascii_lowercase();
        [&kind, &self.namespace, &self.name].into_iter().map(|part| safe_name(part)).collect()
    }
}

fn safe_name(name: &str) -> Result<&str, StoreError> {
    let safe = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
    if safe { Ok(name) } else { Err(StoreError::BadName(name.to_owned())) }
}

/// What stands behind a digest, as it was when its bytes were last hashed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    size: u64,
    modified: i64,
    inode: u64,
}

impl Seen {
    fn of(meta: &fs::Metadata) -> Self {
        Self { size: meta.len(), modified: meta.mtime_nsec() + meta.mtime() * 1_000_000_000, inode: meta.ino() }
    }
}

/// Stores artifacts below one directory. Shared between all controllers.
pub struct ArtifactStore {
    root: PathBuf,
    base_url: String,
    verified: Mutex<HashMap<String, Seen>>,
    unpacked: tokio::sync::Mutex<HashSet<String>>,
    /// Held while a blob gets a name, or is found to have none and goes.
    naming: Mutex<()>,
    swept: Mutex<Option<SystemTime>>,
    retention: Retention,
    /// When names were replaced, as far as this process has seen it.
    retired: Mutex<HashMap<PathBuf, SystemTime>>,
}

impl ArtifactStore {
    /// Opens the store, creating its directories. `base_url` is what artifact URLs start with,
    /// without a trailing slash.
    pub fn open(root: &Path, base_url: String) -> io::Result<Self> {
        for part in ["blobs", "names", "trees", "tmp"] {
            if part == "tmp" {
                // Whatever a killed process left half written.
                let _ = fs::remove_dir_all(root.join(part));
            }
            fs::create_dir_all(root.join(part))?;
        }
        Ok(Self {
            root: root.to_owned(),
            base_url,
            verified: Mutex::default(),
            unpacked: tokio::sync::Mutex::default(),
            naming: Mutex::default(),
            swept: Mutex::default(),
            retention: Retention::default(),
            retired: Mutex::default(),
        })
    }

    /// With another retention.
    #[must_use]
    pub fn retaining(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// A directory for what is about to be stored; it goes away when dropped.
    pub fn scratch(&self) -> Result<tempfile::TempDir, StoreError> {
        let tmp_dir = self.root.join("tmp");
        tempfile::tempdir_in(&tmp_dir).map_err(|source| self.io(&tmp_dir, source))
    }

    /// Stores a directory as `<file_name>` (a reproducible `.tar.gz`), without what `rules`
    /// exclude, and as `latest.tar.gz`. Older artifacts of the same owner go away in time.
    pub async fn put_directory(
        self: &Arc<Self>,
        owner: &Owner,
        revision: &str,
        file_name: &str,
        dir: &Path,
        rules: IgnoreRules,
    ) -> Result<Artifact, StoreError> {
        let dir = dir.to_owned();
        let write = move |out: &mut fs::File| archive::pack_directory(&dir, &rules, io::BufWriter::new(out));
        let artifact = self.put(owner, revision, (file_name, Algorithm::Sha256), write).await?;
        self.put_alias(&artifact, LATEST).await?;
        Ok(artifact)
    }

    /// The URL that leads to the owner's newest directory.
    pub fn latest_url(&self, artifact: &Artifact) -> String {
        self.url(&Path::new(&artifact.path).with_file_name(LATEST).to_string_lossy())
    }

    /// Stores bytes as `<file_name>`. Older artifacts of the same owner go away in time.
    pub async fn put_file(
        self: &Arc<Self>,
        owner: &Owner,
        revision: &str,
        file_name: &str,
        bytes: Vec<u8>,
    ) -> Result<Artifact, StoreError> {
        self.put(owner, revision, (file_name, Algorithm::Sha256), move |out| {
            io::Write::write_all(out, &bytes)
                .map_err(|source| ArchiveError::Io { path: PathBuf::from("artifact"), source })
        })
        .await
    }

    /// Stores a copy of a file as `<file_name>`. Older artifacts of the same owner go away in time.
    pub async fn put_copy(
        self: &Arc<Self>,
        owner: &Owner,
        revision: &str,
        file_name: &str,
        file: &Path,
    ) -> Result<Artifact, StoreError> {
        self.put(owner, revision, (file_name, Algorithm::Sha256), copy_of(file)).await
    }

    /// Stores a copy of somebody else's artifact as `<file_name>`, with a digest like its own. Older
    /// artifacts of the same owner go away in time.
    pub async fn put_foreign(
        self: &Arc<Self>,
        owner: &Owner,
        artifact: &Artifact,
        file_name: &str,
        file: &Path,
    ) -> Result<Artifact, StoreError> {
        let algorithm = digest_of(artifact)?.algorithm();
        self.put(owner, &artifact.revision, (file_name, algorithm), copy_of(file)).await
    }

    async fn put(
        self: &Arc<Self>,
        owner: &Owner,
        revision: &str,
        (file_name, algorithm): (&str, Algorithm),
        write: impl FnOnce(&mut fs::File) -> Result<(), ArchiveError> + Send + 'static,
    ) -> Result<Artifact, StoreError> {
        let directory = owner.path()?;
        let path = directory.join(safe_name(file_name)?);
        let store = Arc::clone(self);
        let (named, revision) = (path.clone(), revision.to_owned());
        let (digest, size) = blocking(move || {
            let (digest, size) = store.put_named(write, algorithm, &named)?;
            store.retire_names(&directory, &named)?;
            store.sweep();
            Ok((digest, size))
        })
        .await?;
        let path = path.to_string_lossy().into_owned();
        Ok(Artifact {
            url: self.url(&path),
            path,
            revision,
            digest: digest.to_string(),
            last_update_time: Time(now()),
            size: i64::try_from(size).ok(),
            metadata: BTreeMap::new(),
        })
    }

    /// The URL that serves the artifact of this path.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base_url)
    }

    /// Gives the owner's artifact a second, fixed name, such as `index.yaml`; returns its URL.
    pub async fn put_alias(self: &Arc<Self>, artifact: &Artifact, alias: &str) -> Result<String, StoreError> {
        let digest = digest_of(artifact)?.file_name();
        let path = Path::new(&artifact.path).with_file_name(safe_name(alias)?);
        let (store, named) = (Arc::clone(self), path.clone());
        blocking(move || {
            let _naming = store.naming();
            store.name(&digest, &named)
        })
        .await?;
        Ok(self.url(&path.to_string_lossy()))
    }

    /// The artifact's archive, its bytes verified against the digest.
    pub async fn file(self: &Arc<Self>, artifact: &Artifact) -> Result<PathBuf, StoreError> {
        let digest = digest_of(artifact)?;
        let (store, path) = (Arc::clone(self), artifact.path.clone());
        blocking(move || store.verify(&digest, &path)).await
    }

    /// The artifact unpacked: a read-only directory, cached by digest. It stays for as long as
    /// the artifact is named, and two minutes longer.
    pub async fn directory(self: &Arc<Self>, artifact: &Artifact) -> Result<PathBuf, StoreError> {
        let file = self.file(artifact).await?;
        let digest = digest_of(artifact)?.file_name();
        let tree = self.root.join("trees").join(&digest);
        let mut unpacked = self.unpacked.lock().await;
        if unpacked.contains(&digest) && tree.is_dir() {
            return Ok(tree);
        }
        let (store, target) = (Arc::clone(self), tree.clone());
        blocking(move || store.unpack(&file, &target)).await?;
        unpacked.insert(digest);
        Ok(tree)
    }

    /// Whether the artifact is there with its digest. A damaged one is removed.
    pub async fn has(self: &Arc<Self>, artifact: &Artifact) -> Result<bool, StoreError> {
        let named = self.root.join("names").join(&artifact.path).is_file();
        match self.file(artifact).await {
            Ok(_) => Ok(named),
            Err(StoreError::Missing { .. } | StoreError::NoDigest { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// The digest of a file.
    pub async fn digest(self: &Arc<Self>, file: &Path, algorithm: Algorithm) -> Result<Digest, StoreError> {
        let (store, file) = (Arc::clone(self), file.to_owned());
        blocking(move || hash(&file, algorithm).map(|(digest, _)| digest).map_err(|source| store.io(&file, source)))
            .await
    }

    /// Removes every artifact of an object that is being deleted.
    pub async fn remove(self: &Arc<Self>, owner: &Owner) -> Result<(), StoreError> {
        let directory = owner.path()?;
        let store = Arc::clone(self);
        blocking(move || store.drop_names(&directory)).await
    }

    /// Removes those older artifacts of an object whose time has come. `current` is the one in its
    /// status, which anybody may have written.
    pub async fn collect(self: &Arc<Self>, owner: &Owner, current: &Artifact) -> Result<(), StoreError> {
        let directory = owner.path()?;
        let file = current.path.rsplit('/').next().unwrap_or_default();
        let current = directory.join(safe_name(file)?);
        let store = Arc::clone(self);
        blocking(move || store.retire_names(&directory, &current)).await
    }

    /// Whether this is the URL of an artifact that this store serves.
    pub fn serves(&self, url: &str) -> bool {
        url.strip_prefix(&self.base_url).is_some_and(|path| path.starts_with('/'))
    }

    /// The file behind a path of an artifact URL, if there is one.
    pub fn named_file(&self, kind: &str, namespace: &str, name: &str, file: &str) -> Option<PathBuf> {
        let parts = [kind, namespace, name, file];
        let safe = parts.into_iter().map(safe_name).collect::<Result<PathBuf, _>>().ok()?;
        Some(self.root.join("names").join(safe))
    }

    /// Writes a blob and gives it a name.
    fn put_named(
        &self,
        write: impl FnOnce(&mut fs::File) -> Result<(), ArchiveError>,
        algorithm: Algorithm,
        name: &Path,
    ) -> Result<(Digest, u64), StoreError> {
        let tmp_dir = self.root.join("tmp");
        let mut tmp = tempfile::NamedTempFile::new_in(&tmp_dir).map_err(|source| self.io(&tmp_dir, source))?;
        write(tmp.as_file_mut()).map_err(|error| self.archive(error))?;
        let (digest, size) = hash(tmp.path(), algorithm).map_err(|source| self.io(tmp.path(), source))?;
        let blob_name = digest.file_name();
        let blob = self.blob(&blob_name);
        let _naming = self.naming();
        // A sound blob stays as it is: other artifacts are named by links to that very file.
        if self.verify(&digest, "").is_err() {
            let persisted = tmp.persist(&blob).map_err(|error| self.io(&blob, error.error))?;
            let meta = persisted.metadata().map_err(|source| self.io(&blob, source))?;
            self.verified().insert(blob_name.clone(), Seen::of(&meta));
        }
        self.name(&blob_name, name)?;
        Ok((digest, size))
    }

    /// Whether this object has the artifact under that file name.
    pub fn is_named(&self, owner: &Owner, file_name: &str, artifact: &Artifact) -> bool {
        let inode = |path: PathBuf| fs::metadata(path).ok().map(|meta| meta.ino());
        let Owner { kind, namespace, name } = owner;
        let named = self.named_file(&kind.to_ascii_lowercase(), namespace, name, file_name).and_then(inode);
        named.is_some() && digest_of(artifact).ok().and_then(|digest| inode(self.blob(&digest.file_name()))) == named
    }

    fn verify(&self, digest: &Digest, path: &str) -> Result<PathBuf, StoreError> {
        let name = digest.file_name();
        let blob = self.blob(&name);
        let seen = match fs::metadata(&blob) {
            Ok(meta) => Seen::of(&meta),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Missing { path: path.to_owned() });
            }
            Err(source) => return Err(self.io(&blob, source)),
        };
        if self.verified().get(&name) == Some(&seen) {
            return Ok(blob);
        }
        let (actual, _) = hash(&blob, digest.algorithm()).map_err(|source| self.io(&blob, source))?;
        if actual != *digest {
            let _ = fs::remove_file(&blob);
            // The path is from a status, which anybody may have written.
            if !path.is_empty() && path.split('/').all(|part| safe_name(part).is_ok()) {
                let _ = fs::remove_file(self.root.join("names").join(path));
            }
            return Err(StoreError::Corrupt { path: path.to_owned() });
        }
        self.verified().insert(name, seen);
        Ok(blob)
    }

    fn unpack(&self, file: &Path, target: &Path) -> Result<(), StoreError> {
        let scratch = self.scratch()?;
        let stream = fs::File::open(file).map_err(|source| self.io(file, source))?;
        archive::unpack_gzip(io::BufReader::new(stream), scratch.path()).map_err(|error| self.archive(error))?;
        // One from an earlier process: nothing vouches for its contents.
        if target.exists() {
            fs::remove_dir_all(target).map_err(|source| self.io(target, source))?;
        }
        let scratch = scratch.keep();
        fs::rename(&scratch, target).map_err(|source| self.io(target, source))
    }

    fn blob(&self, name: &str) -> PathBuf {
        self.root.join("blobs").join(name)
    }

    fn naming(&self) -> std::sync::MutexGuard<'_, ()> {
        self.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashMap<String, Seen>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn io(&self, path: &Path, source: io::Error) -> StoreError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull(self.root.clone()),
            _ => StoreError::Io { path: path.to_owned(), source },
        }
    }

    fn archive(&self, error: ArchiveError) -> StoreError {
        if error.is_disk_full() { StoreError::DiskFull(self.root.clone()) } else { StoreError::Archive(error) }
    }
}

/// The time in whole seconds, which is what Kubernetes keeps of it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The artifact's digest.
pub(super) fn digest_of(artifact: &Artifact) -> Result<Digest, StoreError> {
    Digest::parse(&artifact.digest).ok_or_else(|| StoreError::NoDigest { path: artifact.path.clone() })
}

/// Writes what a file holds into another one.
fn copy_of(file: &Path) -> impl FnOnce(&mut fs::File) -> Result<(), ArchiveError> + Send + 'static {
    let file = file.to_owned();
    move |out| {
        let copied = fs::File::open(&file).and_then(|mut file| io::copy(&mut file, out));
        copied.map(drop).map_err(|source| ArchiveError::Io { path: file, source })
    }
}

/// Runs file system work where it does not hold up other tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => {
                Err(StoreError::Io { path: PathBuf::from("artifact store"), source: io::Error::other(cancelled) })
            }
        },
    }
}

/// The digest and the size of a file.
fn hash(path: &Path, algorithm: Algorithm) -> io::Result<(Digest, u64)> {
    let mut file = fs::File::open(path)?;
    let mut hasher = algorithm.hasher();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let read = io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            return Ok((hasher.finish(), size));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

#[cfg(test)]
mod tests;
