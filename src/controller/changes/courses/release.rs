//! The course of one release in one generation.

use std::sync::Arc;

use jiff::Timestamp;

use crate::traces::stages::{self, End, HelmAction, Name, Origin, Place, Release};
use crate::traces::{Failure, Period, Span, TraceId};

/// Actions that are kept until they are told; more are made by retries without end alone.
const ACTIONS: usize = 32;

/// How it came to an end, which another action may follow.
struct Settled {
    at: Timestamp,
    failure: Option<Failure>,
    /// What was attempted.
    attempt: String,
    told: bool,
}

/// How far a release is.
pub(super) struct Course {
    release: Release,
    since: Timestamp,
    /// A pass over it has begun.
    seen: bool,
    /// The change that it came from, if it is known.
    origin: Option<Arc<Origin>>,
    /// Its own trace, where there is no such change.
    own: Option<TraceId>,
    actions: Vec<HelmAction>,
    tries: u32,
    settled: Option<Settled>,
    /// The Kustomization whose pass will tell which change it came from.
    waits_for: Option<Name>,
}

impl Course {
    /// One whose first pass begins now.
    pub fn new(release: Release, now: Timestamp) -> Self {
        Self {
            release,
            since: now,
            seen: true,
            origin: None,
            own: None,
            actions: Vec::new(),
            tries: 0,
            settled: None,
            waits_for: None,
        }
    }

    /// One that was made since then, and has had no pass yet.
    pub fn unseen(name: Name, generation: i64, since: Timestamp) -> Self {
        Self { seen: false, ..Self::new(Release { name, uid: String::new(), generation }, since) }
    }

    pub fn generation(&self) -> i64 {
        self.release.generation
    }

    pub fn origin(&self) -> Option<&Arc<Origin>> {
        self.origin.as_ref()
    }

    pub fn came_from(&mut self, origin: Arc<Origin>) {
        self.origin = Some(origin);
        self.waits_for = None;
    }

    /// A pass over it begins.
    pub fn is_at_work(&mut self, release: Release, now: Timestamp) {
        if !std::mem::replace(&mut self.seen, true) {
            *self = Self { since: now, release, ..std::mem::replace(self, Self::unseen(Name::default(), 0, now)) };
        }
    }

    pub fn acted(&mut self, action: HelmAction) {
        if self.actions.len() == ACTIONS {
            self.actions.remove(0);
        }
        self.actions.push(action);
    }

    pub fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    pub fn failure(&self) -> Option<&Failure> {
        self.settled.as_ref().and_then(|settled| settled.failure.as_ref())
    }

    pub fn settled_at(&self) -> Timestamp {
        self.settled.as_ref().map_or(self.since, |settled| settled.at)
    }

    /// Whether what was written at that time, or later, did not concern it.
    pub fn was_settled_before(&self, since: Timestamp) -> bool {
        self.settled.as_ref().is_some_and(|settled| settled.told || settled.at < since)
    }

    /// It is ready now, or failed; whether that is news. Of failures in a row the first one is.
    pub fn settles(&mut self, attempt: &str, failure: Option<Failure>, now: Timestamp) -> bool {
        match &self.settled {
            Some(Settled { failure: Some(_), .. }) if failure.is_some() => {
                self.actions.clear();
                return false;
            }
            Some(before @ Settled { failure: Some(_), told: true, .. }) => {
                self.since = before.at;
                self.tries += 1;
            }
            Some(Settled { failure: None, .. }) if self.actions.is_empty() => return false,
            // The chart or the values changed, and not the object.
            Some(Settled { failure: None, told: true, .. }) => {
                self.since = self.actions[0].period.start;
                (self.origin, self.own, self.tries) = (None, None, 0);
            }
            _ => {}
        }
        self.settled = Some(Settled { at: now, failure, attempt: attempt.to_owned(), told: false });
        true
    }

    pub fn waits_for(&mut self, kustomization: &Name) {
        self.waits_for = Some(kustomization.clone());
    }

    pub fn is_waiting_for(&self, kustomization: &Name) -> bool {
        self.waits_for.as_ref() == Some(kustomization)
    }

    /// The spans of its end, in the trace of its change, unless they were told.
    pub fn told(&mut self) -> Vec<Span> {
        let Some(settled) = self.settled.as_mut().filter(|settled| !settled.told) else { return Vec::new() };
        settled.told = true;
        let (at, failure) = (settled.at, settled.failure.clone());
        let spans = self.ended(at, &End::of(failure.as_ref()));
        self.actions.clear();
        spans
    }

    /// The spans of its end in a trace of its own, if helm did anything.
    pub fn told_alone(&mut self) -> Vec<Span> {
        self.waits_for = None;
        if let Some(settled) = self.settled.as_mut().filter(|_| self.actions.is_empty()) {
            settled.told = true;
        }
        self.told()
    }

    /// The spans of a course that ends so.
    pub fn ended(&mut self, at: Timestamp, end: &End<'_>) -> Vec<Span> {
        let place = match &self.origin {
            Some(origin) => origin.place(self.tries),
            None => self.own_place(),
        };
        stages::release(place, &self.release, Period::new(self.since, at), &self.actions, end)
    }

    /// The first span is the root of its own trace, and those of retries are below it.
    fn own_place(&mut self) -> Place {
        let attempt = self.settled.as_ref().map_or("", |settled| settled.attempt.as_str());
        let revision = format!("{}/{attempt}", self.release.generation);
        let trace = *self.own.get_or_insert_with(|| TraceId::of(&self.release.uid, &revision));
        let first = Place { trace, parent: None, tries: 0 };
        let parent = (self.tries > 0).then(|| first.id(&self.release));
        Place { parent, tries: self.tries, ..first }
    }
}
