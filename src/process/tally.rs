//! How many children of each program run, and how they ended: one count for the whole process, as
//! its children are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

static TALLY: Mutex<BTreeMap<String, Count>> = Mutex::new(BTreeMap::new());

/// The children of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that run now.
    pub running: u64,
    /// Those that ended with code 0.
    pub succeeded: u64,
    /// All others that ended or could not be started.
    pub failed: u64,
}

/// The counts by the programs' file names: as many as there are flags that name a program.
pub fn counts() -> BTreeMap<String, Count> {
    locked().clone()
}

fn locked() -> MutexGuard<'static, BTreeMap<String, Count>> {
    TALLY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one child: as running until it is dropped, then as failed unless it succeeded.
pub(super) struct Running {
    program: String,
    succeeded: bool,
}

impl Running {
    pub(super) fn begin(program: &Path) -> Self {
        let name = program.file_name().unwrap_or(program.as_os_str());
        let program = name.to_string_lossy().into_owned();
        locked().entry(program.clone()).or_default().running += 1;
        Self { program, succeeded: false }
    }

    pub(super) fn ended(&mut self, succeeded: bool) {
        self.succeeded = succeeded;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut tally = locked();
        let Some(count) = tally.get_mut(&self.program) else { return };
        count.running -= 1;
        *if self.succeeded { &mut count.succeeded } else { &mut count.failed } += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_counts_once_and_one_that_is_given_up_as_failed() {
        let seen = || counts().get("tallied").copied().unwrap_or_default();
        let mut first = Running::begin(Path::new("/usr/bin/tallied"));
        let second = Running::begin(Path::new("tallied"));
        assert_eq!(seen(), Count { running: 2, succeeded: 0, failed: 0 });
        first.ended(true);
        drop((first, second));
        assert_eq!(seen(), Count { running: 0, succeeded: 1, failed: 1 });
    }
}
