//! How long commits take until the releases that they change are ready.
//!
//! A source notes when a revision's commit was made. A Kustomization that applies a new revision
//! notes which `HelmRelease`s it changed, and the generation that each got. A `HelmRelease` notes
//! when it is ready, and of which generation. All of it is in memory: what is under way when the
//! operator ends is not measured.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A commit that is older than this when it is first seen was not on its way all that time.
const LONGEST_WAY: SignedDuration = SignedDuration::from_hours(1);

/// Kind, namespace and name.
type Source = (String, String, String);

/// Namespace and name.
pub type Name = (String, String);

/// A `HelmRelease` that a Kustomization changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its namespace and name.
    pub release: Name,
    /// The generation that it got by that.
    pub generation: i64,
}

/// What is on its way. Bounded by the objects that there are.
#[derive(Default)]
pub struct Changes(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The newest revision of each source and when its way began.
    begun: HashMap<Source, (String, Timestamp)>,
    /// Releases that are to become ready, by which generation, and since when.
    awaited: HashMap<Name, (i64, Timestamp)>,
    /// The generation that each release was ready at last, and since when.
    ready: HashMap<Name, (i64, Timestamp)>,
}

/// When a revision's way began: with its commit, unless that was made long before it was seen (it
/// waited for a push or a merge) or after it (a clock is wrong).
fn beginning(committed: Option<Timestamp>, seen: Timestamp) -> Timestamp {
    committed.filter(|at| *at <= seen && seen.duration_since(*at) <= LONGEST_WAY).unwrap_or(seen)
}

fn between(begin: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(begin)).unwrap_or_default()
}

impl Changes {
    /// A source has a new revision.
    pub fn seen(
        &self,
        (kind, namespace, name): (&str, &str, &str),
        revision: &str,
        committed: Option<Timestamp>,
        now: Timestamp,
    ) {
        let source = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.locked().begun.insert(source, (revision.to_owned(), beginning(committed, now)));
    }

    /// When the way of a source's revision began, where that was noted.
    pub fn begun(&self, (kind, namespace, name): (&str, &str, &str), revision: &str) -> Option<Timestamp> {
        let source = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.locked().begun.get(&source).filter(|(known, _)| known == revision).map(|(_, begun)| *begun)
    }

    /// A Kustomization changed releases, from `since` on, by a revision whose way began at `begun`.
    /// Gives how long it took for those that are ready by now.
    pub fn applied(&self, changed: Vec<Changed>, begun: Timestamp, since: Timestamp) -> Vec<Duration> {
        let mut inner = self.locked();
        let mut done = Vec::new();
        for Changed { release, generation } in changed {
            match inner.ready.get(&release).copied() {
                // Its labels changed, and it needed nothing.
                Some((ready, at)) if ready >= generation && at < since => {}
                Some((ready, at)) if ready >= generation => done.push(between(begun, at)),
                _ => drop(inner.awaited.insert(release, (generation, begun))),
            }
        }
        done
    }

    /// A release is ready; gives how long it took since the commit that changed it.
    pub fn ready(&self, release: Name, generation: i64, now: Timestamp) -> Option<Duration> {
        let mut inner = self.locked();
        let awaited = inner.awaited.get(&release).copied().filter(|(awaited, _)| generation >= *awaited);
        if awaited.is_some() {
            inner.awaited.remove(&release);
        }
        if inner.ready.get(&release).is_none_or(|(known, _)| *known < generation) {
            inner.ready.insert(release, (generation, now));
        }
        awaited.map(|(_, begun)| between(begun, now))
    }

    /// An object of any kind is gone.
    pub fn forget(&self, (kind, namespace, name): (&str, &str, &str)) {
        let mut inner = self.locked();
        if kind == "HelmRelease" {
            let release = (namespace.to_owned(), name.to_owned());
            inner.awaited.remove(&release);
            inner.ready.remove(&release);
        } else {
            inner.begun.remove(&(kind.to_owned(), namespace.to_owned(), name.to_owned()));
        }
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn name() -> Name {
        ("apps".to_owned(), "ui".to_owned())
    }

    fn changed(generation: i64) -> Vec<Changed> {
        vec![Changed { release: name(), generation }]
    }

    #[test]
    fn a_way_begins_with_the_commit_unless_that_is_far_off() {
        let table = [(Some(10), 10), (Some(-4_000), 12), (Some(13), 12), (None, 12)];
        for (committed, expected) in table {
            assert_eq!(beginning(committed.map(at), at(12)), at(expected), "{committed:?}");
        }
    }

    #[test]
    fn a_revision_is_known_until_the_next_one() {
        let (changes, source) = (Changes::default(), ("GitRepository", "a", "b"));
        changes.seen(source, "one", None, at(1));
        assert_eq!(changes.begun(source, "one"), Some(at(1)));
        changes.seen(source, "two", Some(at(2)), at(3));
        assert_eq!((changes.begun(source, "one"), changes.begun(source, "two")), (None, Some(at(2))));
        changes.forget(source);
        assert_eq!(changes.begun(source, "two"), None);
    }

    #[test]
    fn a_release_counts_when_the_changed_generation_is_ready() {
        let changes = Changes::default();
        assert_eq!(changes.ready(name(), 1, at(0)), None);
        assert!(changes.applied(changed(2), at(10), at(11)).is_empty());
        assert_eq!(changes.ready(name(), 1, at(12)), None);
        assert_eq!(changes.ready(name(), 2, at(14)), Some(Duration::from_secs(4)));
        assert_eq!(changes.ready(name(), 2, at(15)), None, "it counts once");
    }

    #[test]
    fn a_release_that_was_faster_than_the_pass_that_changed_it_counts_too() {
        let changes = Changes::default();
        changes.ready(name(), 2, at(14));
        assert_eq!(changes.applied(changed(2), at(10), at(12)), [Duration::from_secs(4)]);
        assert!(changes.applied(changed(2), at(20), at(21)).is_empty(), "its spec did not change");
        assert_eq!(changes.ready(name(), 2, at(22)), None);
    }

    #[test]
    fn a_newer_commit_takes_over_and_what_is_gone_is_forgotten() {
        let changes = Changes::default();
        changes.applied(changed(2), at(10), at(10));
        changes.applied(changed(3), at(20), at(20));
        assert_eq!(changes.ready(name(), 3, at(21)), Some(Duration::from_secs(1)));
        changes.applied(changed(4), at(30), at(30));
        changes.forget(("HelmRelease", "apps", "ui"));
        assert_eq!(changes.ready(name(), 4, at(31)), None);
    }
}
