//! Which rules judge the objects of one release. Pure.

use serde_json::Value;

use super::expressions::Checks;
use super::{Health, assess, group, legacy, text};

/// The rules of one wait.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'c> {
    /// Rules for single kinds, which go before the general ones.
    pub checks: &'c Checks,
    /// Helm 3's rules instead of kstatus' and those for single kinds.
    pub legacy: bool,
    /// Whether Jobs have to be complete.
    pub jobs: bool,
}

impl Rules<'_> {
    /// Judges an object by its kind and status.
    pub fn assess(&self, object: &Value) -> Health {
        if self.legacy {
            return legacy::assess(object, self.jobs);
        }
        let health = self.checks.assess(object).unwrap_or_else(|| assess(object));
        match health {
            // As in kstatus, a Job that nobody waits for counts once it runs; one that fails, fails.
            Health::InProgress(_) if !self.jobs && is_job(object) && has_started(object) => Health::Current,
            health => health,
        }
    }

    /// Whether objects of a kind have to be looked at; `has_health` is what the kind itself says.
    pub fn concern(&self, api_version: &str, kind: &str, has_health: bool) -> bool {
        has_health || (!self.legacy && self.checks.cover(api_version, kind))
    }
}

fn is_job(object: &Value) -> bool {
    (group(object), text(object, "/kind")) == ("batch", "Job")
}

fn has_started(object: &Value) -> bool {
    !text(object, "/status/startTime").is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::kustomize::CustomHealthCheck;

    #[test]
    fn a_job_that_nobody_waits_for_has_to_start_and_not_to_fail() {
        let checks = Checks::default();
        let job = |status: Value| json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {}, "status": status});
        let failed = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}]});
        let judged =
            |jobs: bool, status: &Value| Rules { checks: &checks, legacy: false, jobs }.assess(&job(status.clone()));
        let started = json!({"startTime": "2026-01-01T00:00:00Z"});
        assert!(matches!(judged(true, &started), Health::InProgress(_)));
        assert_eq!(judged(false, &started), Health::Current);
        assert!(matches!(judged(false, &json!({})), Health::InProgress(_)));
        for jobs in [true, false] {
            assert_eq!(judged(jobs, &failed), Health::Failed("BackoffLimitExceeded: m".to_owned()));
        }
    }

    #[test]
    fn expressions_go_before_the_rules_but_not_before_helm_s() {
        let check = CustomHealthCheck {
            api_version: "v1".to_owned(),
            kind: Some("ConfigMap".to_owned()),
            current: "data.done == 'yes'".to_owned(),
            ..CustomHealthCheck::default()
        };
        let checks = Checks::read(&[check]).expect("a good one");
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"done": "no"}});
        let rules = |legacy| Rules { checks: &checks, legacy, jobs: true };
        assert!(matches!(rules(false).assess(&map), Health::InProgress(_)));
        assert_eq!(rules(true).assess(&map), Health::Current);
        assert!(rules(false).concern("v1", "ConfigMap", false) && !rules(true).concern("v1", "ConfigMap", false));
        assert!(rules(true).concern("v1", "Pod", true));
    }
}
