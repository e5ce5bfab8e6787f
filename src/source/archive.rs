//! Tar archives: reproducible ones of a directory, and safe unpacking of others'.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use self::entries::{Budget, Limits, content, visit};
use self::ignored::{Ignored, MAX_IGNORE_FILES, MAX_PATTERNS};
use super::ignore::{IGNORE_FILE, IgnoreRules};

pub mod entries;
pub mod ignored;

/// The most that an archive may unpack to: a guard against archives made to fill a disk.
const UNPACKED: Limits = Limits::bytes(2 * 1024 * 1024 * 1024);

/// The most bytes of a path in an archive; Linux takes no longer one.
const MAX_PATH: usize = 4096;

/// The most elements of a path in an archive: trees are walked folder by folder, each on the stack.
const MAX_DEPTH: usize = 256;

/// Why an archive cannot be written or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file system refused, or the archive is damaged.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory at fault.
        path: PathBuf,
        /// What the operating system or the decoder says.
        source: io::Error,
    },
    /// The archive holds a path that leaves its root.
    #[error("the archive holds the unsafe path '{}'", .0.display())]
    UnsafePath(PathBuf),
    /// The archive holds a path that no file system takes, or that is too deep to walk.
    #[error("the archive holds a path of more than {MAX_PATH} bytes or {MAX_DEPTH} folders; it begins with '{0}'")]
    LongPath(String),
    /// The archive unpacks to more than so many bytes.
    #[error("the archive unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// The archive has too many files.
    #[error("the archive has more than {0} files and directories")]
    TooMany(usize),
    /// The archive has a name or an attribute that is read into memory and too long for that.
    #[error("the archive has an entry whose name and attributes take more than 1 MiB")]
    LongHeaders,
    /// The ignore files are too large together.
    #[error(
        "{}: the {IGNORE_FILE} files up to this one have more than {MAX_IGNORE_FILES} bytes, with their paths, or \
         {MAX_PATTERNS} patterns: name folders instead of files",
        .0.display()
    )]
    Ignored(PathBuf),
    /// The archive leaves out the holes of a file.
    #[error("the archive holds '{}' as a sparse file: make it without tar's option --sparse", .0.display())]
    Sparse(PathBuf),
}

impl ArchiveError {
    /// Whether no space was left.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ArchiveError + '_ {
    move |source| ArchiveError::Io { path: path.to_owned(), source }
}

/// The bytes of a file that somebody else made, unless it is longer than that.
pub fn read_bounded(file: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// One file of a tree that is to be archived, in memory or on disk.
#[derive(Clone, Debug)]
pub enum Content {
    /// A file on disk.
    File(PathBuf),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A gzip-compressed tar of a directory without what the rules exclude: regular files and
/// directories only, sorted, without owner, time or exact mode, so that equal trees give equal
/// bytes. Symbolic links are left out.
pub fn pack_directory(dir: &Path, rules: &IgnoreRules, out: impl Write) -> Result<(), ArchiveError> {
    let mut archive = builder(out);
    append_directory(&mut archive, dir, &mut Vec::new(), rules)?;
    finish(archive)
}

/// A gzip-compressed, reproducible tar of the given files, by their path in the archive.
pub fn pack_files(files: &BTreeMap<String, Content>, out: impl Write) -> Result<(), ArchiveError> {
    let mut archive = builder(out);
    for (name, content) in files {
        let path = Path::new(name);
        match content {
            Content::File(file) => append_file(&mut archive, path, file)?,
            Content::Bytes(bytes) => {
                let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
                archive.append_data(&mut header, path, bytes.as_slice()).map_err(at(path))?;
            }
        }
    }
    finish(archive)
}

type Builder<W> = tar::Builder<GzEncoder<W>>;

fn builder<W: Write>(out: W) -> Builder<W> {
    tar::Builder::new(GzEncoder::new(out, Compression::new(6)))
}

fn finish<W: Write>(archive: Builder<W>) -> Result<(), ArchiveError> {
    let stream = archive.into_inner().map_err(at(Path::new("archive")))?;
    stream.finish().and_then(|mut out| out.flush()).map_err(at(Path::new("archive")))
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header
}

fn append_file<W: Write>(archive: &mut Builder<W>, name: &Path, file: &Path) -> Result<(), ArchiveError> {
    let mut content = File::open(file).map_err(at(file))?;
    let meta = content.metadata().map_err(at(file))?;
    let mode = if meta.permissions().mode() & 0o111 == 0 { 0o600 } else { 0o700 };
    let mut header = header(tar::EntryType::Regular, mode, meta.len());
    archive.append_data(&mut header, name, &mut content).map_err(at(file))
}

fn append_directory<W: Write>(
    archive: &mut Builder<W>,
    dir: &Path,
    below: &mut Vec<String>,
    rules: &IgnoreRules,
) -> Result<(), ArchiveError> {
    for (name, kind) in sorted_entries(dir)? {
        let path = dir.join(&name);
        below.push(name);
        let elements: Vec<&str> = below.iter().map(String::as_str).collect();
        // A directory that is excluded may still hold files that a later rule includes.
        if !rules.excludes(&elements, kind.is_dir()) {
            let relative: PathBuf = below.iter().collect();
            if kind.is_dir() {
                let mut header = header(tar::EntryType::Directory, 0o750, 0);
                archive.append_data(&mut header, &relative, io::empty()).map_err(at(&path))?;
            } else if kind.is_file() {
                append_file(archive, &relative, &path)?;
            }
        }
        if kind.is_dir() {
            append_directory(archive, &path, below, rules)?;
        }
        below.pop();
    }
    Ok(())
}

/// The entries of a directory by name; those whose name is not UTF-8 are left out.
fn sorted_entries(dir: &Path) -> Result<Vec<(String, fs::FileType)>, ArchiveError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let entry = entry.map_err(at(dir))?;
        let kind = entry.file_type().map_err(at(dir))?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, kind));
        }
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries)
}

/// The `.sourceignore` files below a directory: where each stands and what it says.
pub fn ignore_files(dir: &Path) -> Result<Vec<(Vec<String>, String)>, ArchiveError> {
    let mut found = Ignored::new();
    collect_ignore_files(dir, &mut Vec::new(), &mut found)?;
    Ok(found.sorted())
}

fn collect_ignore_files(dir: &Path, below: &mut Vec<String>, found: &mut Ignored) -> Result<(), ArchiveError> {
    match read_bounded(&dir.join(IGNORE_FILE), MAX_IGNORE_FILES) {
        Ok(text) => {
            found.reserve(below, text.len() as u64)?;
            found.add(below.clone(), &text)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let name: PathBuf = below.iter().map(String::as_str).chain([IGNORE_FILE]).collect();
            return Err(at(&name)(error));
        }
    }
    for (name, kind) in sorted_entries(dir)? {
        if kind.is_dir() && name != ".git" {
            let path = dir.join(&name);
            below.push(name);
            collect_ignore_files(&path, below, found)?;
            below.pop();
        }
    }
    Ok(())
}

/// Unpacks a tar into an existing directory: regular files and directories only, each entry
/// checked to stay inside.
pub fn unpack(tar: impl Read, into: &Path) -> Result<(), ArchiveError> {
    unpack_kept((tar, UNPACKED), (into, UNPACKED), |_, _| true)
}

/// Unpacks the tar of a source's tree, which lies on the disk. What its artifact leaves out does not
/// count, where `ignore` has the object's own patterns.
pub fn unpack_source(tar: &Path, into: &Path, ignore: Option<&str>) -> Result<(), ArchiveError> {
    unpack_source_within(UNPACKED, tar, into, ignore)
}

fn unpack_source_within(most: Limits, tar: &Path, into: &Path, ignore: Option<&str>) -> Result<(), ArchiveError> {
    let bytes = fs::metadata(tar).map_err(at(tar))?.len();
    let whole = Limits { bytes, entries: usize::MAX };
    let open = || File::open(tar).map(io::BufReader::new).map_err(at(tar));
    let Some(own) = ignore else { return unpack_kept((open()?, whole), (into, most), |_, _| true) };
    let rules = IgnoreRules::for_source(&ignore_files_in(open()?, whole)?, Some(own));
    unpack_kept((open()?, whole), (into, most), |name, is_directory| {
        let elements: Option<Vec<&str>> = name.iter().map(OsStr::to_str).collect();
        elements.is_none_or(|path| path.ends_with(&[IGNORE_FILE]) || !rules.excludes(&path, is_directory))
    })
}

/// The ignore files of a tar, as [`ignore_files`] finds them in a tree.
fn ignore_files_in(tar: impl Read, limits: Limits) -> Result<Vec<(Vec<String>, String)>, ArchiveError> {
    let mut found = Ignored::new();
    visit(tar, limits, |name, entry| {
        if !entry.header().entry_type().is_file() || name.file_name() != Some(OsStr::new(IGNORE_FILE)) {
            return Ok(());
        }
        let name = safe(name)?;
        let below = name.parent().into_iter().flatten().map(|element| element.to_string_lossy().into_owned());
        let below: Vec<String> = below.collect();
        found.reserve(&below, entry.size())?;
        found.add(below, &content(entry)?)
    })?;
    Ok(found.sorted())
}

/// Unpacks what `keep` says of a tar, which may be larger than what is kept.
fn unpack_kept<R: Read>(
    (tar, whole): (R, Limits),
    (into, most): (&Path, Limits),
    keep: impl Fn(&Path, bool) -> bool,
) -> Result<(), ArchiveError> {
    let mut budget = Budget::new(most.bytes);
    // One name may stand for thousands of directories.
    let mut count = 0;
    visit(tar, whole, |name, entry| {
        let kind = entry.header().entry_type();
        if !kind.is_file() && !kind.is_dir() {
            return Ok(());
        }
        let name = safe(name)?;
        if !keep(&name, kind.is_dir()) {
            return Ok(());
        }
        let target = into.join(name);
        let parent = if kind.is_dir() { Some(target.as_path()) } else { target.parent() };
        if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
            count += make_directory(parent)?;
        }
        count += usize::from(kind.is_file());
        if count > most.entries {
            return Err(ArchiveError::TooMany(most.entries));
        }
        if kind.is_dir() {
            return Ok(());
        }
        budget.spend(entry.size())?;
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        let mode = if executable { 0o755 } else { 0o644 };
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(mode).open(&target).map_err(at(&target))?;
        io::copy(entry, &mut file).map(drop).map_err(at(&target))
    })
}

/// Makes a directory with those above it; gives how many.
fn make_directory(dir: &Path) -> Result<usize, ArchiveError> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|above| !above.is_dir()).collect();
    for dir in missing.iter().rev() {
        fs::create_dir(dir).map_err(at(dir))?;
    }
    Ok(missing.len())
}

/// Unpacks a gzip-compressed tar, see [`unpack`].
pub fn unpack_gzip(stream: impl Read, into: &Path) -> Result<(), ArchiveError> {
    unpack(MultiGzDecoder::new(stream), into)
}

/// The files of a gzip-compressed tar by their path, in memory; `limit` bytes at the most, names included.
pub fn read_files(stream: impl Read, limit: u64) -> Result<BTreeMap<String, Vec<u8>>, ArchiveError> {
    let mut files = BTreeMap::new();
    let mut budget = Budget::new(limit);
    visit(MultiGzDecoder::new(stream), Limits::bytes(limit), |name, entry| {
        if entry.header().entry_type().is_file() {
            let name = safe(name)?.to_string_lossy().into_owned();
            budget.spend(entry.size().saturating_add(name.len() as u64))?;
            files.insert(name, content(entry)?);
        }
        Ok::<_, ArchiveError>(())
    })?;
    Ok(files)
}

/// The path without `.` elements, refused when it is absolute, climbs, or is too long.
fn safe(path: &Path) -> Result<PathBuf, ArchiveError> {
    if path.as_os_str().len() > MAX_PATH || path.components().count() > MAX_DEPTH {
        return Err(ArchiveError::LongPath(path.to_string_lossy().chars().take(80).collect()));
    }
    path.components()
        .filter(|component| !matches!(component, Component::CurDir))
        .map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(ArchiveError::UnsafePath(path.to_owned())),
        })
        .collect()
}

#[cfg(test)]
mod tests;
