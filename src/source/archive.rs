//! Tar archives: reproducible ones of a directory, and safe unpacking of others'.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::ignore::{IGNORE_FILE, IgnoreRules};

/// The most that an archive may unpack to, in bytes: a guard against archives made to fill a disk.
const MAX_UNPACKED: u64 = 2 * 1024 * 1024 * 1024;

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
    /// The archive unpacks to more than 2 GiB.
    #[error("the archive unpacks to more than {MAX_UNPACKED} bytes")]
    TooLarge,
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
    let mut found = Vec::new();
    collect_ignore_files(dir, &mut Vec::new(), &mut found)?;
    Ok(found)
}

fn collect_ignore_files(
    dir: &Path,
    below: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, String)>,
) -> Result<(), ArchiveError> {
    let file = dir.join(IGNORE_FILE);
    match fs::read(&file) {
        Ok(text) => found.push((below.clone(), String::from_utf8_lossy(&text).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(&file)(error)),
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
    let mut archive = tar::Archive::new(tar);
    let mut left = MAX_UNPACKED;
    for entry in archive.entries().map_err(at(into))? {
        let mut entry = entry.map_err(at(into))?;
        let name = entry.path().map_err(at(into))?.into_owned();
        let kind = entry.header().entry_type();
        if !kind.is_file() && !kind.is_dir() {
            continue;
        }
        let target = into.join(safe(&name)?);
        if kind.is_dir() {
            fs::create_dir_all(&target).map_err(at(&target))?;
            continue;
        }
        left = left.checked_sub(entry.size()).ok_or(ArchiveError::TooLarge)?;
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        let mode = if executable { 0o755 } else { 0o644 };
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(mode).open(&target).map_err(at(&target))?;
        io::copy(&mut entry, &mut file).map_err(at(&target))?;
    }
    Ok(())
}

/// Unpacks a gzip-compressed tar, see [`unpack`].
pub fn unpack_gzip(stream: impl Read, into: &Path) -> Result<(), ArchiveError> {
    unpack(MultiGzDecoder::new(stream), into)
}

/// The files of a gzip-compressed tar by their path, in memory; `limit` bytes at the most.
pub fn read_files(stream: impl Read, limit: u64) -> Result<BTreeMap<String, Vec<u8>>, ArchiveError> {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(stream));
    let here = Path::new("archive");
    let mut files = BTreeMap::new();
    let mut left = limit;
    for entry in archive.entries().map_err(at(here))? {
        let mut entry = entry.map_err(at(here))?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = safe(&entry.path().map_err(at(here))?)?;
        left = left.checked_sub(entry.size()).ok_or(ArchiveError::TooLarge)?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(at(here))?;
        files.insert(name.to_string_lossy().into_owned(), bytes);
    }
    Ok(files)
}

/// The path without `.` elements, refused when it is absolute or climbs.
fn safe(path: &Path) -> Result<PathBuf, ArchiveError> {
    path.components()
        .filter(|component| !matches!(component, Component::CurDir))
        .map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(ArchiveError::UnsafePath(path.to_owned())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn packed(dir: &Path) -> Vec<u8> {
        let rules = IgnoreRules::for_source(&ignore_files(dir).unwrap(), None);
        let mut out = Vec::new();
        pack_directory(dir, &rules, &mut out).unwrap();
        out
    }

    #[test]
    fn equal_trees_give_equal_bytes() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [a.path(), b.path()] {
            write(dir, "production/api.yaml", "kind: Namespace\n");
            write(dir, "PLACEHOLDER", "");
        }
        fs::set_permissions(b.path().join("PLACEHOLDER"), fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(packed(a.path()), packed(b.path()));
    }

    #[test]
    fn a_tree_survives_the_round_trip_without_links_and_ignored_files() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(from.path(), "a/b.yaml", "x: 1\n");
        write(from.path(), "run.sh", "#!/bin/sh\n");
        fs::set_permissions(from.path().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        write(from.path(), "logo.png", "image");
        std::os::unix::fs::symlink("/etc/passwd", from.path().join("link")).unwrap();
        unpack_gzip(packed(from.path()).as_slice(), to.path()).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("a/b.yaml")).unwrap(), "x: 1\n");
        assert_eq!(fs::metadata(to.path().join("run.sh")).unwrap().permissions().mode() & 0o111, 0o111);
        assert!(!to.path().join("logo.png").exists());
        assert!(fs::symlink_metadata(to.path().join("link")).is_err());
    }

    #[test]
    fn ignore_files_hold_where_they_stand() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "sub/.sourceignore", "*.txt\n");
        write(dir.path(), "sub/a.txt", "");
        write(dir.path(), "a.txt", "");
        let files = read_files(packed(dir.path()).as_slice(), 1024).unwrap();
        assert!(files.contains_key("a.txt") && !files.contains_key("sub/a.txt"));
    }

    #[test]
    fn paths_that_climb_are_refused() {
        let mut raw = tar::Builder::new(Vec::new());
        let mut header = header(tar::EntryType::Regular, 0o644, 1);
        let name = b"../evil";
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_cksum();
        raw.append(&header, &b"x"[..]).unwrap();
        let tar = raw.into_inner().unwrap();
        let into = tempfile::tempdir().unwrap();
        assert!(matches!(unpack(tar.as_slice(), into.path()), Err(ArchiveError::UnsafePath(_))));
    }

    #[test]
    fn too_much_is_refused() {
        let files = BTreeMap::from([("big".to_owned(), Content::Bytes(vec![0; 4096]))]);
        let mut out = Vec::new();
        pack_files(&files, &mut out).unwrap();
        assert!(matches!(read_files(out.as_slice(), 1024), Err(ArchiveError::TooLarge)));
    }
}
