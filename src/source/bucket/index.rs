//! What a bucket holds, by key and entity tag, and the revision that follows from it. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::source::digest::hex;
use crate::source::ignore::{IGNORE_FILE, IgnoreRules};

/// The most objects that an artifact is made of: their keys are held in memory.
pub const MAX_OBJECTS: usize = 100_000;
/// The most that they may be together, in bytes.
pub const MAX_SIZE: u64 = 2 * 1024 * 1024 * 1024;

/// Why a bucket cannot become an artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The key is no path of a file.
    #[error("object '{0}' has a key that cannot be a file's path; leave it out by spec.ignore")]
    Key(String),
    /// Too many objects.
    #[error("the bucket has more than {MAX_OBJECTS} objects; narrow them down by spec.prefix or spec.ignore")]
    TooMany,
    /// Too many bytes.
    #[error("the objects are more than {MAX_SIZE} bytes; narrow them down by spec.prefix or spec.ignore")]
    TooLarge,
}

/// The objects of a bucket that an artifact is made of.
#[derive(Clone, Debug, Default)]
pub struct Index {
    etags: BTreeMap<String, String>,
    size: u64,
}

impl Index {
    /// Takes an object up, unless it stands for a folder or the rules leave it out.
    pub fn add(&mut self, key: String, etag: String, size: u64, rules: &IgnoreRules) -> Result<(), IndexError> {
        if key.ends_with('/') || key == IGNORE_FILE || rules.excludes(&key.split('/').collect::<Vec<_>>(), false) {
            return Ok(());
        }
        path_of(&key)?;
        self.size = self.size.saturating_add(size);
        if self.size > MAX_SIZE {
            return Err(IndexError::TooLarge);
        }
        self.etags.insert(key, etag);
        if self.etags.len() > MAX_OBJECTS { Err(IndexError::TooMany) } else { Ok(()) }
    }

    /// The entity tag of what was fetched in the end, which may be another one than was listed.
    pub fn correct(&mut self, key: &str, etag: String) {
        if let Some(listed) = self.etags.get_mut(key) {
            *listed = etag;
        }
    }

    /// Every key, in order.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.etags.keys()
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.etags.len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.etags.is_empty()
    }

    /// The digest over keys and entity tags, in hexadecimal: a line `key etag` each, sorted by key.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for (key, etag) in &self.etags {
            for part in [key, " ", etag, "\n"] {
                hasher.update(part);
            }
        }
        hex(&hasher.finalize())
    }
}

/// Where an object goes, below the artifact's root. Doubled slashes count once.
pub fn path_of(key: &str) -> Result<PathBuf, IndexError> {
    let mut parts = key.split('/').filter(|part| !part.is_empty()).peekable();
    let unfit = |part: &str| matches!(part, "." | "..") || part.contains('\0') || part.len() > 255;
    if parts.peek().is_none() || parts.clone().any(unfit) {
        return Err(IndexError::Key(key.to_owned()));
    }
    Ok(parts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(objects: &[(&str, &str)], ignore: Option<&str>) -> Index {
        let rules = IgnoreRules::for_source(&[], ignore);
        let mut index = Index::default();
        for (key, etag) in objects {
            index.add((*key).to_owned(), (*etag).to_owned(), 1, &rules).unwrap();
        }
        index
    }

    #[test]
    fn the_revision_is_flux_s() {
        // sha256 of nothing, and of "a/b.yaml 1\nc.yaml 2\n".
        assert_eq!(index(&[], None).digest(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let two = index(&[("c.yaml", "2"), ("a/b.yaml", "1")], None);
        assert_eq!(two.digest(), crate::source::digest::sha256(b"a/b.yaml 1\nc.yaml 2\n"));
        assert_eq!((two.len(), two.is_empty()), (2, false));
    }

    #[test]
    fn folders_and_ignored_objects_do_not_count() {
        let all = [("a/", "0"), (".sourceignore", "0"), ("a/x.yaml", "1"), ("a/logo.png", "2"), ("b.txt", "3")];
        let keys = |ignore| index(&all, ignore).keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(None), ["a/x.yaml", "b.txt"]);
        assert_eq!(keys(Some("*.txt\n")), ["a/logo.png", "a/x.yaml"]);
    }

    #[test]
    fn what_changed_while_it_was_fetched_is_put_right() {
        let mut moved = index(&[("a", "1"), ("b", "2"), ("c", "3")], None);
        moved.correct("a", "9".to_owned());
        assert_eq!(moved.digest(), index(&[("a", "9"), ("b", "2"), ("c", "3")], None).digest());
    }

    #[test]
    fn keys_that_are_no_paths_are_named() {
        let long = "x".repeat(256);
        for key in ["../x", "a/../b", "a/./b", "/", "a\0b", &long] {
            let error = path_of(key).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
        assert_eq!(path_of("/a//b.yaml").unwrap(), PathBuf::from("a/b.yaml"));
        let rules = IgnoreRules::for_source(&[], Some("..\n"));
        let mut index = Index::default();
        index.add("../x".to_owned(), String::new(), 1, &rules).unwrap();
        assert!(index.is_empty(), "one that is ignored does no harm");
    }

    #[test]
    fn too_much_is_refused() {
        let mut index = Index::default();
        let rules = IgnoreRules::default();
        index.add("a".to_owned(), String::new(), MAX_SIZE, &rules).unwrap();
        assert_eq!(index.add("b".to_owned(), String::new(), 1, &rules), Err(IndexError::TooLarge));
    }
}
