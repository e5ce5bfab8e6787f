//! The courses of changes and of releases, for traces: which stage each one is at, and the spans that a step gives.
//! Pure. Bounded by the objects that there are.

mod release;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Changed, Name, Source};
use crate::traces::stages::{Counts, End, HelmAction, Origin, Release, Tally};
use crate::traces::{Failure, Period, Span};
use release::Course;

/// A source has a new revision.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The source at the revision.
    pub origin: Origin,
    /// When the revision began to be fetched.
    pub asked: Timestamp,
    /// The Kustomizations that have not applied it, of those that follow the source.
    pub followers: BTreeSet<Name>,
}

/// A pass of a Kustomization over a revision that it had not applied yet.
#[derive(Clone, Debug)]
pub struct Application {
    /// The source at the revision.
    pub origin: Origin,
    /// The Kustomizations that have not applied it, of those that follow the source.
    pub followers: BTreeSet<Name>,
    /// When the change began, where nothing else is known of it.
    pub begun: Timestamp,
    /// When the source got the revision.
    pub updated: Timestamp,
    /// When the revision was applied.
    pub period: Period,
    /// What that did to objects.
    pub counts: Counts,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// Whether the Kustomization now waits for what it applied.
    pub waits: bool,
}

/// A release whose course was begun by another process.
#[derive(Clone, Debug)]
pub struct Interrupted {
    /// The change that it came from.
    pub origin: Origin,
    /// When that began, as far as this process can tell.
    pub begun: Timestamp,
}

/// How far a Kustomization is with a change.
#[derive(Debug, Default)]
struct Progress {
    /// How often it failed.
    tries: u32,
    /// The last failure, for which the same is not told again.
    failure: Option<Failure>,
    /// Since when it waits for what it applied.
    waits_since: Option<Timestamp>,
}

/// A change on its way.
struct Change {
    origin: Arc<Origin>,
    begun: Timestamp,
    /// When the source got the revision.
    updated: Timestamp,
    /// The end of its last stage.
    until: Timestamp,
    /// Told once somebody applies the revision.
    fetch: Option<Span>,
    /// Kustomizations that are not done with it.
    due: BTreeSet<Name>,
    /// Releases that it changed and that have not come to an end.
    awaited: BTreeSet<Name>,
    progress: BTreeMap<Name, Progress>,
    /// Somebody applied the revision.
    applied: bool,
    tally: Tally,
    /// The first failure.
    failure: Option<Failure>,
    /// The root was told.
    closed: bool,
}

impl Change {
    fn new(origin: Origin, begun: Timestamp, updated: Timestamp, due: BTreeSet<Name>) -> Self {
        Self {
            origin: Arc::new(origin),
            begun,
            updated,
            until: begun,
            fetch: None,
            due,
            awaited: BTreeSet::new(),
            progress: BTreeMap::new(),
            applied: false,
            tally: Tally::default(),
            failure: None,
            closed: false,
        }
    }

    fn reaches(&mut self, until: Timestamp) {
        self.until = self.until.max(until);
    }

    fn fails(&mut self, failure: Option<&Failure>) {
        if self.failure.is_none() {
            self.failure = failure.cloned();
        }
    }

    fn is_over(&self) -> bool {
        self.applied && self.due.is_empty() && self.awaited.is_empty()
    }

    /// The root, if it was not told yet.
    fn close(&mut self, superseded: Option<&str>) -> Option<Span> {
        if std::mem::replace(&mut self.closed, true) {
            return None;
        }
        let period = Period::new(self.begun, self.until);
        Some(self.origin.change(period, self.tally, self.failure.as_ref(), superseded))
    }

    fn close_if_over(&mut self) -> Option<Span> {
        if self.is_over() { self.close(None) } else { None }
    }

    /// The spans of an apply, but for what was told already.
    fn applied(&mut self, by: &Name, application: &Application) -> Vec<Span> {
        let Application { period, counts, failure, waits, .. } = application;
        let mut spans: Vec<Span> = self.fetch.take().into_iter().collect();
        self.applied = true;
        let known = self.progress.get(by).is_some_and(|known| known.failure.is_some() && known.failure == *failure);
        let progress = self.progress.entry(by.clone()).or_default();
        if !known {
            spans.push(self.origin.apply(by, progress.tries, *period, *counts, failure.as_ref()));
            progress.tries += u32::from(failure.is_some());
        }
        progress.failure.clone_from(failure);
        progress.waits_since = waits.then_some(period.end);
        if !waits {
            self.due.remove(by);
        }
        self.fails(failure.as_ref());
        self.reaches(period.end);
        spans
    }
}

/// All courses.
#[derive(Default)]
pub(super) struct Courses {
    /// The newest revision of each source.
    changes: HashMap<Source, Change>,
    releases: HashMap<Name, Course>,
    /// Kustomizations whose pass is under way: what they change is told when it ends.
    passes: HashSet<Name>,
}

fn source_of(origin: &Origin) -> Source {
    (origin.kind.clone(), origin.name.0.clone(), origin.name.1.clone())
}

impl Courses {
    /// A source has a new revision, whose way began at `begun`. The change before it ends with that.
    pub fn seen(&mut self, sighting: Sighting, begun: Timestamp, now: Timestamp) -> Vec<Span> {
        let Sighting { origin, asked, followers } = sighting;
        let source = source_of(&origin);
        if self.changes.get(&source).is_some_and(|known| known.origin.revision == origin.revision) {
            return Vec::new();
        }
        let mut spans: Vec<Span> = self.overtake(&source, &origin.revision, now).into_iter().collect();
        let fetch = origin.fetch(Period::new(asked, now));
        let mut change = Change::new(origin, begun.min(asked), now, followers);
        change.reaches(now);
        if change.due.is_empty() {
            change.fetch = Some(fetch);
        } else {
            spans.push(fetch);
        }
        self.changes.insert(source, change);
        spans
    }

    /// A source's change ends because there is a newer one. What nobody was to apply is not told.
    fn overtake(&mut self, source: &Source, by: &str, now: Timestamp) -> Option<Span> {
        let before = self.changes.get_mut(source).filter(|before| before.applied || !before.due.is_empty())?;
        before.reaches(now);
        before.close(Some(by))
    }

    /// A pass of a Kustomization begins.
    pub fn applies(&mut self, kustomization: Name) {
        self.passes.insert(kustomization);
    }

    /// The pass of a Kustomization ended; with an application if its revision was new.
    pub fn applied(&mut self, by: &Name, changed: &[Changed], application: Option<Application>) -> Vec<Span> {
        self.passes.remove(by);
        let mut spans = Vec::new();
        if let Some(application) = application {
            let source = source_of(&application.origin);
            let since = application.period.start;
            let origin = self.apply(by, &source, application, &mut spans);
            for changed in changed {
                self.link(changed, &origin, since, &mut spans);
            }
            self.close_if_over(&source, &mut spans);
        }
        self.free(by, &mut spans);
        spans
    }

    /// Tells an application in the change that it is a part of: the known one, unless the source
    /// got the revision after that.
    fn apply(&mut self, by: &Name, source: &Source, application: Application, spans: &mut Vec<Span>) -> Arc<Origin> {
        let Application { origin, followers, begun, updated, period, counts, failure, .. } = &application;
        let is_newer = |known: &Change| known.origin.revision != origin.revision && known.updated < *updated;
        if self.changes.get(source).is_some_and(is_newer) {
            spans.extend(self.overtake(source, &origin.revision, period.start));
            self.changes.remove(source);
        }
        let new = || Change::new(origin.clone(), (*begun).min(period.start), *updated, followers.clone());
        let change = self.changes.entry(source.clone()).or_insert_with(new);
        if change.origin.revision != origin.revision {
            // It was overtaken while it was applied, and its change has ended.
            spans.push(origin.apply(by, 0, *period, *counts, failure.as_ref()));
            return Arc::new(application.origin);
        }
        spans.extend(change.applied(by, &application));
        Arc::clone(&change.origin)
    }

    /// A Kustomization is done with waiting for what it applied.
    pub fn waited(
        &mut self,
        by: &Name,
        source: &Source,
        revision: &str,
        failure: Option<&Failure>,
        now: Timestamp,
    ) -> Vec<Span> {
        let mut spans = Vec::new();
        let known = self.changes.get_mut(source).filter(|change| change.origin.revision == revision);
        if let Some(change) = known
            && let Some(progress) = change.progress.get_mut(by)
            && let Some(since) = progress.waits_since.take()
        {
            spans.push(change.origin.wait(by, progress.tries, Period::new(since, now), failure));
            progress.tries += u32::from(failure.is_some());
            change.due.remove(by);
            change.fails(failure);
            change.reaches(now);
        }
        self.close_if_over(source, &mut spans);
        spans
    }

    /// Whether the course of a release is known.
    pub fn knows(&self, release: &Name) -> bool {
        self.releases.contains_key(release)
    }

    /// A pass over a release begins, which another process may have begun.
    pub fn begins(&mut self, release: Release, interrupted: Option<Interrupted>, now: Timestamp) -> Vec<Span> {
        let mut spans = Vec::new();
        match self.releases.get_mut(&release.name) {
            Some(course) if course.generation() >= release.generation => course.is_at_work(release, now),
            _ => {
                self.supersede(&release.name, release.generation, now, &mut spans);
                let name = release.name.clone();
                let mut course = Course::new(release, now);
                if let Some(Interrupted { origin, begun }) = interrupted {
                    let origin = self.resumed(origin, begun, &name);
                    course.came_from(origin);
                }
                self.releases.insert(name, course);
            }
        }
        spans
    }

    /// The change that a release came from before this process began.
    fn resumed(&mut self, origin: Origin, begun: Timestamp, release: &Name) -> Arc<Origin> {
        let source = source_of(&origin);
        let change = self
            .changes
            .entry(source)
            .or_insert_with(|| Change { applied: true, ..Change::new(origin.clone(), begun, begun, BTreeSet::new()) });
        if change.origin.revision != origin.revision {
            return Arc::new(origin);
        }
        change.awaited.insert(release.clone());
        Arc::clone(&change.origin)
    }

    /// Helm was run for a release.
    pub fn acted(&mut self, release: &Name, action: HelmAction) {
        if let Some(course) = self.releases.get_mut(release) {
            course.acted(action);
        }
    }

    /// A pass over a release ended with it being ready, or failed. `owner` is the Kustomization that applied it, and
    /// `attempt` names what was attempted.
    pub fn settled(
        &mut self,
        release: &Name,
        owner: Option<&Name>,
        attempt: &str,
        failure: Option<Failure>,
        now: Timestamp,
    ) -> Vec<Span> {
        let mut spans = Vec::new();
        let Some(course) = self.releases.get_mut(release) else { return spans };
        if !course.settles(attempt, failure, now) {
            return spans;
        }
        match course.origin().cloned() {
            Some(origin) => {
                spans.extend(course.told());
                self.ends(release, &origin, &mut spans);
            }
            None => match owner.filter(|owner| self.passes.contains(*owner)) {
                Some(owner) => course.waits_for(owner),
                None => spans.extend(course.told_alone()),
            },
        }
        spans
    }

    /// An object of any kind is gone.
    pub fn forget(&mut self, kind: &str, name: &Name, now: Timestamp) -> Vec<Span> {
        let mut spans = Vec::new();
        match kind {
            "HelmRelease" => self.supersede(name, i64::MAX, now, &mut spans),
            "Kustomization" => {
                self.passes.remove(name);
                for change in self.changes.values_mut().filter(|change| change.due.contains(name)) {
                    change.due.remove(name);
                    spans.extend(change.close_if_over());
                }
            }
            _ => drop(self.changes.remove(&(kind.to_owned(), name.0.clone(), name.1.clone()))),
        }
        spans
    }

    /// A release was changed by a change.
    fn link(&mut self, changed: &Changed, origin: &Arc<Origin>, since: Timestamp, spans: &mut Vec<Span>) {
        let Changed { release, generation } = changed;
        if self.releases.get(release).is_none_or(|course| course.generation() < *generation) {
            self.supersede(release, *generation, since, spans);
            self.releases.insert(release.clone(), Course::unseen(release.clone(), *generation, since));
        }
        let Some(course) = self.releases.get_mut(release) else { return };
        if course.generation() > *generation || course.origin().is_some() || course.was_settled_before(since) {
            return;
        }
        course.came_from(Arc::clone(origin));
        let settled = course.is_settled();
        spans.extend(course.told());
        if let Some(change) = self.changes.get_mut(&source_of(origin)).filter(|change| change.origin == *origin) {
            change.awaited.insert(release.clone());
        }
        if settled {
            self.ends(release, origin, spans);
        }
    }

    /// The course of a release came to an end, and with it what its change awaits of it.
    fn ends(&mut self, release: &Name, origin: &Origin, spans: &mut Vec<Span>) {
        let source = source_of(origin);
        let (Some(change), Some(course)) = (self.changes.get_mut(&source), self.releases.get(release)) else { return };
        if change.origin.revision == origin.revision && change.awaited.remove(release) {
            match course.failure() {
                Some(_) => change.tally.failed += 1,
                None => change.tally.ready += 1,
            }
            change.fails(course.failure());
            change.reaches(course.settled_at());
        }
        self.close_if_over(&source, spans);
    }

    /// Something newer takes the place of a release's course.
    fn supersede(&mut self, release: &Name, generation: i64, now: Timestamp, spans: &mut Vec<Span>) {
        let Some(mut course) = self.releases.remove(release) else { return };
        let Some(origin) = course.origin().cloned().filter(|_| !course.is_settled()) else { return };
        let by = if generation == i64::MAX { "its deletion".to_owned() } else { format!("generation {generation}") };
        spans.extend(course.ended(now, &End::Superseded(&by)));
        let source = source_of(&origin);
        if let Some(change) = self.changes.get_mut(&source).filter(|change| change.origin == origin) {
            change.awaited.remove(release);
            change.reaches(now);
        }
        self.close_if_over(&source, spans);
    }

    /// Releases that a pass might have changed, and did not, have traces of their own.
    fn free(&mut self, kustomization: &Name, spans: &mut Vec<Span>) {
        for course in self.releases.values_mut().filter(|course| course.is_waiting_for(kustomization)) {
            spans.extend(course.told_alone());
        }
    }

    fn close_if_over(&mut self, source: &Source, spans: &mut Vec<Span>) {
        spans.extend(self.changes.get_mut(source).and_then(Change::close_if_over));
    }
}

#[cfg(test)]
mod tests;
