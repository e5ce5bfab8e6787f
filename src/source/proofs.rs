//! What was verified last, by object: the same keys need not look at the same revision again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::controller::{Watched, namespaced_name};

/// Stands for a revision and for everything that it was verified, or asked for, with. The default one stands for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof([u8; 32]);

impl Proof {
    /// For these parts, in this order.
    pub fn of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            // Without its length, a part could pass for the end of another.
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// As a part of another one.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The last proof of each object of a kind.
#[derive(Default)]
pub struct Proofs(Mutex<HashMap<(String, String), Proof>>);

impl Proofs {
    /// Whether this is what was verified last.
    pub fn has<K: Watched>(&self, object: &K, proof: Proof) -> bool {
        self.locked().get(&namespaced_name(object)) == Some(&proof)
    }

    /// Notes what was verified.
    pub fn keep<K: Watched>(&self, object: &K, proof: Proof) {
        self.locked().insert(namespaced_name(object), proof);
    }

    /// Tells that an object is gone.
    pub fn forget<K: Watched>(&self, object: &K) {
        self.locked().remove(&namespaced_name(object));
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<(String, String), Proof>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: &[&str]| Proof::of(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(of(&["a", "bc"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", "bc"]), of(&["ab", "c"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
    }
}
