//! What an event and a log line say beside their message.

use jiff::Timestamp;

use super::pass::Pass;
use crate::api::helm::v2::Snapshot;
use crate::release::observed::{Desired, Observed};

/// When a revision was begun.
pub(super) fn stored_at(facts: &Observed, version: i64) -> Option<Timestamp> {
    facts.newest().filter(|newest| newest.version == version).and_then(|newest| newest.last_deployed)
}

/// What an event and a log line say beside their message.
pub struct Told {
    revision: String,
    token: String,
    app_version: String,
    chart: String,
    elapsed: Option<String>,
}

impl Told {
    /// About a revision that was made.
    pub fn of(snapshot: &Snapshot) -> Self {
        Self {
            revision: snapshot.chart_version.clone(),
            token: snapshot.config_digest.clone(),
            app_version: snapshot.app_version.clone().unwrap_or_default(),
            chart: snapshot.chart_name.clone(),
            elapsed: None,
        }
    }

    /// About an attempt that made none.
    pub fn attempt(desired: &Desired) -> Self {
        Self {
            revision: desired.chart_version.clone(),
            token: desired.config_digest.clone(),
            app_version: String::new(),
            chart: desired.chart_name.clone(),
            elapsed: None,
        }
    }

    /// Also how long it took since then.
    pub fn since(mut self, begun: Option<Timestamp>) -> Self {
        self.elapsed =
            begun.map(|begun| format!("{:.1}s", Timestamp::now().duration_since(begun).as_secs_f64().max(0.0)));
        self
    }

    fn facts(&self) -> Vec<(&str, &str)> {
        let mut facts = vec![("revision", self.revision.as_str()), ("token", &self.token), ("chart", &self.chart)];
        facts.extend(Some(("app-version", self.app_version.as_str())).filter(|fact| !fact.1.is_empty()));
        facts.extend(self.elapsed.as_deref().map(|elapsed| ("elapsed", elapsed)));
        facts
    }
}

impl Pass<'_> {
    /// Reports a success.
    pub(super) fn tell(&self, reason: &str, message: &str, told: &Told) {
        self.controller.context.reporter.normal(self.object.as_ref(), reason, message, &told.facts());
    }

    /// Warns about a failure.
    pub(super) fn warn(&self, reason: &str, message: &str, told: &Told) {
        self.controller.context.reporter.warning(self.object.as_ref(), reason, message, &told.facts());
    }
}
