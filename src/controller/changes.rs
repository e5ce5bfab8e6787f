//! How long commits take until the releases that they change are ready, and the traces of that.
//!
//! A source notes when a revision's commit was made. A Kustomization that applies a new revision
//! notes which `HelmRelease`s it changed, and the generation that each got. A `HelmRelease` notes
//! when it is ready, and of which generation. All of it is in memory: what is under way when the
//! operator ends is not measured. Its trace goes on, because that has the same identity in every
//! process.

mod courses;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use crate::traces::stages::Name;
use crate::traces::stages::{HelmAction, Release};
use crate::traces::{Failure, Span};
use courses::Courses;
pub use courses::{Application, Interrupted, Sighting};

/// A commit that is older than this when it is first seen was not on its way all that time.
const LONGEST_WAY: SignedDuration = SignedDuration::from_hours(1);

/// Kind, namespace and name.
pub type Source = (String, String, String);

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
    /// What traces need beside that, where somebody wants them.
    courses: Option<Courses>,
}

/// When a revision's way began: with its commit, unless that was made long before it was seen (it
/// waited for a push or a merge) or after it (a clock is wrong).
fn beginning(committed: Option<Timestamp>, seen: Timestamp) -> Timestamp {
    committed.filter(|at| *at <= seen && seen.duration_since(*at) <= LONGEST_WAY).unwrap_or(seen)
}

fn between(begin: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(begin)).unwrap_or_default()
}

/// Whether a change that began then may still be on its way.
pub fn is_recent(begun: Timestamp, now: Timestamp) -> bool {
    now.duration_since(begun) <= LONGEST_WAY
}

impl Changes {
    /// Changes that are traced as well.
    pub fn traced() -> Self {
        Self(Mutex::new(Inner { courses: Some(Courses::default()), ..Inner::default() }))
    }

    /// A source has a new revision; with what a trace says of that.
    pub fn seen(
        &self,
        (kind, namespace, name): (&str, &str, &str),
        revision: &str,
        committed: Option<Timestamp>,
        sighting: Option<Sighting>,
        now: Timestamp,
    ) -> Vec<Span> {
        let source = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let (mut inner, begun) = (self.locked(), beginning(committed, now));
        inner.begun.insert(source, (revision.to_owned(), begun));
        let courses = inner.courses.as_mut().zip(sighting);
        courses.map(|(courses, sighting)| courses.seen(sighting, begun, now)).unwrap_or_default()
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

    /// A pass of a Kustomization begins: what it changes is told when it ends.
    pub fn applies(&self, kustomization: Name) {
        if let Some(courses) = &mut self.locked().courses {
            courses.applies(kustomization);
        }
    }

    /// The pass of a Kustomization ended, which changed these releases; with what a trace says of
    /// it where its revision was new.
    pub fn passed(&self, kustomization: &Name, changed: &[Changed], application: Option<Application>) -> Vec<Span> {
        self.trace(|courses| courses.applied(kustomization, changed, application))
    }

    /// A Kustomization is done with waiting for what it applied.
    pub fn waited(
        &self,
        kustomization: &Name,
        source: &Source,
        revision: &str,
        failure: Option<&Failure>,
        now: Timestamp,
    ) -> Vec<Span> {
        self.trace(|courses| courses.waited(kustomization, source, revision, failure, now))
    }

    /// Whether this process has begun a pass over a release, or has changed it.
    pub fn knows(&self, release: &Name) -> bool {
        self.locked().courses.as_ref().is_some_and(|courses| courses.knows(release))
    }

    /// A pass over a release begins, which another process may have begun.
    pub fn begins(&self, release: Release, interrupted: Option<Interrupted>, now: Timestamp) -> Vec<Span> {
        self.trace(|courses| courses.begins(release, interrupted, now))
    }

    /// Helm was run for a release.
    pub fn acted(&self, release: &Name, action: HelmAction) {
        if let Some(courses) = &mut self.locked().courses {
            courses.acted(release, action);
        }
    }

    /// A pass over a release ended with it being ready, or failed. `owner` is the Kustomization
    /// that applied it, and `attempt` names what was attempted.
    pub fn settled(
        &self,
        release: &Name,
        owner: Option<&Name>,
        attempt: &str,
        failure: Option<Failure>,
        now: Timestamp,
    ) -> Vec<Span> {
        self.trace(|courses| courses.settled(release, owner, attempt, failure, now))
    }

    /// An object of any kind is gone.
    pub fn forget(&self, (kind, namespace, name): (&str, &str, &str), now: Timestamp) -> Vec<Span> {
        let mut inner = self.locked();
        let object = (namespace.to_owned(), name.to_owned());
        let spans = inner.courses.as_mut().map(|courses| courses.forget(kind, &object, now)).unwrap_or_default();
        if kind == "HelmRelease" {
            inner.awaited.remove(&object);
            inner.ready.remove(&object);
        } else {
            inner.begun.remove(&(kind.to_owned(), namespace.to_owned(), name.to_owned()));
        }
        spans
    }

    fn trace(&self, step: impl FnOnce(&mut Courses) -> Vec<Span>) -> Vec<Span> {
        self.locked().courses.as_mut().map(step).unwrap_or_default()
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
