//! The entries of a tar that somebody else made, read within limits.
//!
//! What stands before an entry (long names, attributes) is read into memory by the tar crate, however long it says
//! that it is. So the stream itself is bounded: up to the end of an entry while that is read, and from there only as
//! far as the headers of the next one may reach.

use std::cell::Cell;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use super::ArchiveError;

/// The most entries that an archive may have: each costs an inode, or memory.
pub const MAX_ENTRIES: usize = 250_000;

/// The most that may stand before an entry, in bytes; as in Go's reader.
const MAX_HEADERS: u64 = 1024 * 1024;

/// What an entry may take in the stream beside its content, on average: header, padding, a long name.
const OVERHEAD: u64 = 2048;

/// What is taken out of an archive at the most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Content in all, in bytes.
    pub bytes: u64,
    /// Files, directories and whatever else there is.
    pub entries: usize,
}

impl Limits {
    /// So many bytes, and as many entries as any archive may have.
    pub const fn bytes(bytes: u64) -> Self {
        Self { bytes, entries: MAX_ENTRIES }
    }

    /// That of the stream.
    fn end(self) -> u64 {
        self.bytes.saturating_add((self.entries as u64).saturating_mul(OVERHEAD))
    }
}

/// An entry of an archive.
pub type Entry<'a, R> = tar::Entry<'a, Bounded<R>>;

/// Bytes that may still be taken out of an archive.
#[derive(Debug)]
pub struct Budget {
    left: u64,
    limit: u64,
}

impl Budget {
    /// So many in all.
    pub fn new(limit: u64) -> Self {
        Self { left: limit, limit }
    }

    /// Takes some of them.
    pub fn spend(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        self.left = self.left.checked_sub(bytes).ok_or(ArchiveError::TooLarge(self.limit))?;
        Ok(())
    }
}

/// Calls `each` with the path and the reader of every entry, in the order of the archive. The limits
/// count what is not read, too.
pub fn visit<R: Read, E: From<ArchiveError>>(
    tar: R,
    limits: Limits,
    mut each: impl FnMut(&Path, &mut Entry<'_, R>) -> Result<(), E>,
) -> Result<(), E> {
    let until = Rc::new(Cell::new(MAX_HEADERS));
    let reader = Bounded { inner: tar, position: 0, until: Rc::clone(&until), end: limits.end() };
    let mut archive = tar::Archive::new(reader);
    let failed = |error: io::Error| refusal(&error, limits).unwrap_or_else(|| super::at(Path::new("archive"))(error));
    for (index, entry) in archive.entries().map_err(failed)?.enumerate() {
        let mut entry = entry.map_err(failed)?;
        let name = entry.path().map_err(failed)?.into_owned();
        if index >= limits.entries {
            return Err(ArchiveError::TooMany(limits.entries).into());
        }
        // Its size in the stream is not told.
        if entry.header().entry_type().is_gnu_sparse() {
            return Err(ArchiveError::Sparse(name).into());
        }
        let end = entry.raw_file_position().saturating_add(entry.size());
        until.set(end);
        each(&name, &mut entry)?;
        until.set(end.saturating_add(MAX_HEADERS));
    }
    Ok(())
}

/// The content of an entry.
pub fn content<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(super::at(Path::new("archive")))?;
    Ok(bytes)
}

/// A stream that is read up to a place that moves.
#[derive(Debug)]
pub struct Bounded<R> {
    inner: R,
    position: u64,
    until: Rc<Cell<u64>>,
    end: u64,
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Bound {
    #[error("the headers of an entry are too long")]
    Headers,
    #[error("the archive is too long")]
    End,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.end {
            return Err(io::Error::other(Bound::End));
        }
        let left = self.until.get().min(self.end).saturating_sub(self.position);
        if left == 0 {
            return Err(io::Error::other(Bound::Headers));
        }
        let most = usize::try_from(left).map_or(into.len(), |left| left.min(into.len()));
        let read = self.inner.read(&mut into[..most])?;
        self.position += read as u64;
        Ok(read)
    }
}

fn refusal(error: &io::Error, limits: Limits) -> Option<ArchiveError> {
    match error.get_ref()?.downcast_ref::<Bound>()? {
        Bound::Headers => Some(ArchiveError::LongHeaders),
        Bound::End => Some(ArchiveError::TooLarge(limits.bytes)),
    }
}
