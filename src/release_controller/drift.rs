//! Looks for changes that others made to a release's objects, when it is time, and undoes or tells
//! them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt as _;

use super::cluster::Cluster;
use super::fault::Fault;
use super::pass::Pass;
use super::resolve::Inputs;
use super::steps::{LONGEST_PAUSE, Next};
use super::told::Told;
use crate::api::annotation;
use crate::api::condition::{READY, reason};
use crate::api::helm::v2::{DriftDetectionMode, Snapshot};
use crate::controller::conditions;
use crate::controller::{DUE_AFTER, Requeue, jittered};
use crate::drift::ignore::{IgnoreError, IgnoreRules};
use crate::drift::objects::objects;
use crate::drift::observer::{Bound, Observer};
use crate::drift::report::{self, Drifted};
use crate::redact::Redactor;
use crate::release::history;
use crate::release::observed::{Drift, Revision, Target};

/// What a pass knows about the objects of a revision.
pub struct Seen {
    version: i64,
    /// Not as they should be, and not dealt with yet.
    drifted: Vec<Drifted>,
    /// Why others could not be looked at; empty when all were.
    unseen: String,
    /// What must not be shown of them.
    redactor: Redactor,
}

/// When the objects of each release were last looked at.
#[derive(Default)]
pub struct Drifts {
    bound: Bound,
    looks: Mutex<HashMap<Target, Look>>,
}

/// A look at the objects of a release.
pub struct Look {
    at: Instant,
    occasion: Occasion,
}

/// A look at one occasion says nothing about another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Occasion {
    version: i64,
    generation: Option<i64>,
    requested: Option<String>,
    /// When somebody outside of the cluster, such as a webhook, asked for a look last.
    asked: Option<Instant>,
}

impl Look {
    /// The time until another look is due; `None` when it is.
    fn rest(&self, occasion: &Occasion, interval: Duration, now: Instant) -> Option<Duration> {
        let left = interval.mul_f64(DUE_AFTER).saturating_sub(now.duration_since(self.at));
        (self.occasion == *occasion && !left.is_zero()).then_some(left)
    }
}

impl Drifts {
    /// Notes a look whose result is on the status.
    pub fn note(&self, target: Target, look: Look) {
        self.locked().insert(target, look);
    }

    /// Forgets a release; its next pass looks.
    pub fn forget(&self, target: &Target) {
        self.locked().remove(target);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Target, Look>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// What a decision has to know about drift.
    pub(super) fn drift(&self, target: &Target, newest: Option<&Revision>) -> Option<Drift> {
        let correct = self.corrects_drift()?;
        let version = newest?.version;
        if let Some(seen) = self.seen.as_ref().filter(|seen| seen.version == version) {
            return (!seen.drifted.is_empty()).then_some(Drift::Found { correct });
        }
        let occasion = self.occasion(version);
        let looks = self.controller.drifts.locked();
        let rest = looks.get(target).and_then(|look| look.rest(&occasion, self.interval(), Instant::now()));
        rest.is_none().then_some(Drift::Unseen)
    }

    /// Whether drift is corrected, not only told; `None` when nobody wants to know of it.
    pub(super) fn corrects_drift(&self) -> Option<bool> {
        match self.object.spec.drift_detection.as_ref()?.mode? {
            DriftDetectionMode::Enabled => Some(true),
            DriftDetectionMode::Warn => Some(false),
            DriftDetectionMode::Disabled => None,
        }
    }

    fn occasion(&self, version: i64) -> Occasion {
        Occasion {
            version,
            generation: self.object.metadata.generation,
            requested: self.object.annotations().get(annotation::REQUESTED_AT).cloned(),
            asked: self.controller.context.wakes.last(self.object.as_ref()),
        }
    }

    /// The next pass over a release in sync: at the interval, or when a look is due before that.
    pub(super) fn at_next_look(&mut self, target: &Target) -> Requeue {
        if self.corrects_drift().is_none() {
            self.editor().drift_is_unknown();
            return self.at_interval();
        }
        let looked = self.looked.as_ref().map(|(_, look)| look.at.elapsed());
        let looked = looked.or_else(|| self.controller.drifts.locked().get(target).map(|look| look.at.elapsed()));
        let left = jittered(self.interval()).saturating_sub(looked.unwrap_or_default());
        Requeue::After(left.max(Duration::from_millis(100)))
    }

    /// Looks at the objects of the revision in force.
    pub(super) async fn detect_drift(&mut self, inputs: &Inputs, version: i64) -> Result<Next, Fault> {
        let target = &inputs.desired.target;
        let Some(stored) = self.cluster.tools.storage.stored(target, version).await? else {
            return Ok(Next::Changed);
        };
        let rules = match self.ignore_rules() {
            Ok(rules) => rules,
            Err(error) => return Ok(self.cannot_be_looked_at(&error)),
        };
        let objects = objects(stored.manifest(), target);
        let redactor = report::with_secrets(&inputs.redactor, &objects);
        // Who asks from now on wants another look.
        let occasion = self.occasion(version);
        let look = self.observer().look(&target.namespace, objects, &rules).await;
        let unseen = redactor.text(&look.unseen.join("\n")).into_owned();
        if look.drifted.is_empty() && !unseen.is_empty() {
            return Ok(self.cannot_be_seen(&unseen));
        }
        self.looked = Some((target.clone(), Look { at: Instant::now(), occasion }));
        if look.drifted.is_empty() {
            self.editor().not_drifted();
        }
        self.seen = Some(Seen { version, drifted: look.drifted, unseen, redactor });
        Ok(Next::Remembered)
    }

    fn ignore_rules(&self) -> Result<IgnoreRules, IgnoreError> {
        IgnoreRules::new(
            "spec.driftDetection.ignore",
            self.object.spec.drift_detection.as_ref().map_or(&[], |drift| &drift.ignore),
        )
    }

    fn observer(&self) -> Observer<'_> {
        let Cluster { client, resolver, .. } = self.cluster.as_ref();
        let additions =
            self.object.annotations().get(annotation::DRIFT_ADDITIONS).is_some_and(|on| on == annotation::ENABLED);
        Observer { client, resolver, bound: &self.controller.drifts.bound, additions }
    }

    /// Only another spec helps.
    fn cannot_be_looked_at(&mut self, error: &IgnoreError) -> Next {
        let message = format!("Could not determine release state: {error}");
        self.editor().refused(reason::STATE_ERROR, &message);
        self.warn_if_new(reason::STATE_ERROR, &message);
        Next::End(Requeue::OnChange)
    }

    fn cannot_be_seen(&mut self, why: &str) -> Next {
        let message = format!("Could not determine release state: unable to determine cluster state: {why}");
        self.editor().waits_for(reason::STATE_ERROR, &message);
        self.warn_if_new(reason::STATE_ERROR, &message);
        Next::End(Requeue::Backoff { max: LONGEST_PAUSE })
    }

    /// Tells what was found. It is dealt with then.
    pub(super) fn warn_of_drift(&mut self) -> Next {
        let Some((seen, snapshot)) = self.found() else {
            return Next::Remembered;
        };
        self.tell_of_drift(&seen, &snapshot);
        self.after_drift(&seen)
    }

    /// What was found is dealt with: the pass goes on, unless there is more that was not seen.
    fn after_drift(&mut self, seen: &Seen) -> Next {
        if seen.unseen.is_empty() {
            return Next::Remembered;
        }
        self.looked = None;
        self.cannot_be_seen(&seen.unseen)
    }

    /// Undoes what was found.
    pub(super) async fn correct_drift(&mut self) -> Result<Next, Fault> {
        let Some((seen, snapshot)) = self.found() else {
            return Ok(Next::Remembered);
        };
        let rules = match self.ignore_rules() {
            Ok(rules) => rules,
            Err(error) => return Ok(self.cannot_be_looked_at(&error)),
        };
        self.tell_of_drift(&seen, &snapshot);
        let (mut corrected, mut failed) = (Vec::new(), Vec::new());
        // One after the other in helm's order: a namespace comes back before what lives in it.
        for drifted in &seen.drifted {
            match self.observer().correct(drifted, &rules).await {
                Ok(()) => corrected.push(drifted),
                Err(why) => failed.push(seen.redactor.text(&why).into_owned()),
            }
        }
        let release = history::full_name(&snapshot);
        let done = report::corrected(&corrected, &seen.redactor);
        if failed.is_empty() {
            let message = format!("Cluster state of release {release} has been corrected:\n{done}");
            self.editor().drift_corrected(&message);
            self.tell(reason::DRIFT_CORRECTED, &message, &Told::of(&snapshot));
            return Ok(self.after_drift(&seen));
        }
        let failed = failed.join("\n");
        let message = if corrected.is_empty() {
            format!("Failed to correct cluster state of release {release}:\n{failed}")
        } else {
            let failed = format!("Failed to partially correct cluster state of release {release}:\n{failed}");
            format!("{failed}\n\nSuccessful corrections:\n{done}")
        };
        self.looked = None;
        Ok(self.drift_stays(&message, &snapshot))
    }

    fn drift_stays(&mut self, message: &str, snapshot: &Snapshot) -> Next {
        let said = |pass: &Self| conditions::get(&pass.status.conditions, READY).map(|ready| ready.message.clone());
        let before = said(self);
        self.editor().drift_correction_failed(message);
        if said(self) != before {
            self.warn(reason::DRIFT_CORRECTION_FAILED, message, &Told::of(snapshot));
        }
        Next::End(Requeue::Backoff { max: LONGEST_PAUSE })
    }

    /// What was found and is not dealt with yet, with the release that it is about. From here on it
    /// counts as dealt with.
    fn found(&mut self) -> Option<(Seen, Snapshot)> {
        let seen = self.seen.as_mut()?;
        let drifted = std::mem::take(&mut seen.drifted);
        let (unseen, redactor) = (std::mem::take(&mut seen.unseen), seen.redactor.clone());
        let taken = Seen { version: seen.version, drifted, unseen, redactor };
        let snapshot = self.status.history.iter().max_by_key(|known| known.version)?.clone();
        Some((taken, snapshot))
    }

    /// In the condition, and where it is news also as an event and in the log.
    fn tell_of_drift(&mut self, seen: &Seen, snapshot: &Snapshot) {
        let release = history::full_name(snapshot);
        let found = report::found(&seen.drifted, &seen.redactor);
        let message = format!("Cluster state of release {release} has drifted from the desired state:\n{found}");
        if self.editor().drifted(&message) {
            self.warn(reason::DRIFT_DETECTED, &message, &Told::of(snapshot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_due_once_an_interval_and_at_every_other_occasion() {
        let occasion = Occasion { version: 1, generation: Some(1), requested: None, asked: None };
        let at = Instant::now();
        let look = Look { at, occasion: occasion.clone() };
        let minute = Duration::from_mins(1);
        let rest = |occasion: &Occasion, after: u64| look.rest(occasion, minute, at + Duration::from_secs(after));
        assert_eq!(rest(&occasion, 0), Some(Duration::from_secs(54)));
        assert_eq!(rest(&occasion, 53), Some(Duration::from_secs(1)));
        assert_eq!(rest(&occasion, 54), None);
        assert_eq!(rest(&Occasion { version: 2, ..occasion.clone() }, 0), None);
        assert_eq!(rest(&Occasion { generation: Some(2), ..occasion.clone() }, 0), None);
        assert_eq!(rest(&Occasion { requested: Some("now".to_owned()), ..occasion.clone() }, 0), None);
        assert_eq!(rest(&Occasion { asked: Some(at), ..occasion }, 0), None);
    }
}
