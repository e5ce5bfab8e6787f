//! Releases whose objects are being deleted: waiting for that, too, holds no process and no slot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::pass::Pass;
use super::settings;
use crate::controller::Requeue;
use crate::release::inventory::ReleasedObject;
use crate::release::observed::Target;
use crate::release::plan::{LONGEST_POLL, SHORTEST_POLL};

/// Since when a release leaves, and what leaves with it.
type Departures = HashMap<Target, (Instant, Arc<Vec<ReleasedObject>>)>;

/// Uninstalled releases and their objects.
#[derive(Default)]
pub struct Leaving(Mutex<Departures>);

impl Leaving {
    /// The objects of a release are to be gone.
    pub fn begin(&self, target: &Target, objects: Arc<Vec<ReleasedObject>>) {
        self.locked().insert(target.clone(), (Instant::now(), objects));
    }

    fn of(&self, target: &Target) -> Option<(Duration, Arc<Vec<ReleasedObject>>)> {
        self.locked().get(target).map(|(since, objects)| (since.elapsed(), objects.clone()))
    }

    /// Nobody waits for them any more.
    pub fn end(&self, target: &Target) {
        self.locked().remove(target);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Departures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// When to look again, while objects of an uninstalled release are still there. What is there
    /// after the timeout is named and left to itself.
    pub async fn leaving(&mut self, target: &Target) -> Result<Option<Requeue>, Fault> {
        let Some((elapsed, objects)) = self.controller.leaving.of(target) else {
            return Ok(None);
        };
        let remaining = self.cluster.tools.verifier.remaining(target, &objects).await?;
        let longest = settings::uninstall(&self.object.spec).timeout;
        if remaining.is_empty() || elapsed >= longest {
            self.controller.leaving.end(target);
            if !remaining.is_empty() {
                let ((kind, namespace, name), left) = (self.named(), remaining.join(", "));
                tracing::warn!(kind, namespace, name, left, "objects of an uninstalled release are still there");
            }
            return Ok(None);
        }
        let message = format!(
            "Waiting until the objects of {}/{} are gone: {}",
            target.namespace,
            target.name,
            remaining.join(", ")
        );
        self.editor().progressing(&message);
        Ok(Some(Requeue::After((elapsed / 4).clamp(SHORTEST_POLL, LONGEST_POLL))))
    }
}
