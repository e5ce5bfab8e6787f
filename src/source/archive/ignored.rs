//! The `.sourceignore` files of a tree that somebody else made, read within limits on all of them together.

use std::path::PathBuf;

use super::ArchiveError;
use super::entries::Budget;
use crate::source::ignore::{IGNORE_FILE, patterns};

/// The most that the ignore files of a tree may be together, with their paths, in bytes.
pub const MAX_IGNORE_FILES: u64 = 1024 * 1024;

/// The most patterns that they may hold: each is tried on every path of the tree.
pub const MAX_PATTERNS: usize = 20_000;

/// What is found, and what may still be.
pub(super) struct Ignored {
    found: Vec<(Vec<String>, String)>,
    bytes: Budget,
    patterns: usize,
}

impl Ignored {
    pub(super) fn new() -> Self {
        Self { found: Vec::new(), bytes: Budget::new(MAX_IGNORE_FILES), patterns: MAX_PATTERNS }
    }

    /// Takes room for a file of so many bytes, before it is read.
    pub(super) fn reserve(&mut self, below: &[String], bytes: u64) -> Result<(), ArchiveError> {
        let path: usize = below.iter().map(|folder| folder.len() + 1).sum();
        let all = bytes.saturating_add((path + IGNORE_FILE.len()) as u64);
        self.bytes.spend(all).map_err(|_| too_much(below))
    }

    /// Adds what a file in this folder says.
    pub(super) fn add(&mut self, below: Vec<String>, text: &[u8]) -> Result<(), ArchiveError> {
        let text = String::from_utf8_lossy(text).into_owned();
        let left = self.patterns.checked_sub(patterns(&text).count());
        self.patterns = left.ok_or_else(|| too_much(&below))?;
        self.found.push((below, text));
        Ok(())
    }

    /// All of them; what stands deeper decides last.
    pub(super) fn sorted(mut self) -> Vec<(Vec<String>, String)> {
        self.found.sort();
        self.found
    }
}

fn too_much(below: &[String]) -> ArchiveError {
    ArchiveError::Ignored(below.iter().map(String::as_str).chain([IGNORE_FILE]).collect::<PathBuf>())
}
