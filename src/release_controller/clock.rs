//! The time of each release, which no setting of the machine's clock makes jump.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::release::observed::{Observed, Target};
use crate::release::steady::Anchor;
use crate::steady_clock;

/// Where the time of releases is counted from that have not come to rest.
#[derive(Default)]
pub struct Clock(Mutex<HashMap<Target, Anchor>>);

impl Clock {
    /// The present moment of the release that the facts are about.
    pub fn now(&self, facts: &Observed) -> Timestamp {
        let (target, steady) = (&facts.desired.target, steady_clock::now());
        let mut anchors = self.locked();
        let anchor = Anchor::renewed(anchors.remove(target), facts, steady);
        let now = anchor.now(steady);
        anchors.insert(target.clone(), anchor);
        now
    }

    /// The release has come to rest, or is gone.
    pub fn forget(&self, target: &Target) {
        self.locked().remove(target);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Target, Anchor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
