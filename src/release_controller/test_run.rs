//! Runs the chart's tests, and reads from helm's storage how they went.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::course::{Ran, Started};
use super::fault::Fault;
use super::pass::Pass;
use super::resolve::Inputs;
use super::settings;
use super::steps::{LONGEST_PAUSE, Next};
use super::storage::snapshot;
use super::told::Told;
use crate::api::condition::reason;
use crate::api::helm::v2::{AttemptedAction, Filter, TestHookStatus};
use crate::api::meta::Duration;
use crate::controller::Requeue;
use crate::controller::conditions::whole_second;
use crate::helm::argv::TestAction;
use crate::release::history::FAILED;
use crate::release::status::TestPolicy;

/// Events that make a hook a test; the second one is that of helm 2.
const TEST_EVENTS: [&str; 2] = ["test", "test-success"];

impl Pass<'_> {
    /// What tests mean for the release as it was made last.
    pub fn test_policy(&self) -> TestPolicy {
        let installed = self.status.last_attempted_release_action == Some(AttemptedAction::Install);
        settings::test_policy(&self.object.spec, installed)
    }

    /// Runs `helm test` for a revision. A run that was interrupted is run again.
    pub async fn test(&mut self, inputs: &Inputs, version: i64) -> Result<Next, Fault> {
        let target = &inputs.desired.target;
        let test = self.object.spec.test.clone().unwrap_or_default();
        let timeout = settings::test_timeout(&self.object.spec);
        let Some(_slot) = self.test_slot().await else {
            return Ok(Next::OVERTAKEN);
        };
        let (kind, namespace, name) = self.named();
        tracing::info!(kind, namespace, name, action = "test", why = "the release is made", "running helm");
        self.editor().runs("test", Duration::from(timeout));
        self.save().await?;
        let action = TestAction {
            release_name: target.name.clone(),
            namespace: target.namespace.clone(),
            timeout,
            filters: test.filters.iter().map(|filter| (filter.name.clone(), filter.exclude)).collect(),
        };
        let started = Started::now();
        let result = match self.helm(target).await {
            Ok(helm) => helm.test(&action).await,
            Err(error) => Err(error),
        };
        let said = result.err().map(|error| inputs.redactor.text(&error.to_string()).into_owned());
        self.ran(&Ran {
            verb: "test",
            started,
            chart: &inputs.desired.chart_name,
            chart_version: &inputs.desired.chart_version,
            revision: version,
            failure: said.as_deref().map(|said| (reason::TEST_FAILED, said)),
        });
        let Some(stored) = self.cluster.tools.storage.stored(target, version).await? else {
            return Ok(Next::Changed);
        };
        let mut snapshot = snapshot(&stored, None);
        if let Some(known) = self.status.history.iter().find(|known| known.version == version) {
            snapshot.config_digest.clone_from(&known.config_digest);
        }
        let hooks = results(stored.hooks(), &test.filters);
        let Some(said) = said else {
            snapshot.test_hooks = Some(hooks);
            let (told, policy) = (Told::of(&snapshot), self.test_policy());
            let message = self.editor().tested(snapshot, policy);
            self.tell(reason::TEST_SUCCEEDED, &message, &told);
            return Ok(Next::Remembered);
        };
        let failed = hooks.values().any(|hook| hook.phase.as_deref() == Some(FAILED));
        // Helm names the pod; the pod knows the container, the exit code and the last log lines.
        let trouble = self.hook_trouble(target, version, &inputs.redactor).await;
        let why = trouble.map_or_else(|| said.clone(), |trouble| format!("{said}; {trouble}"));
        // Without a result nothing is known of this revision's tests: they are run again.
        snapshot.test_hooks = failed.then_some(hooks);
        let (told, policy) = (Told::of(&snapshot), self.test_policy());
        let message = self.editor().tests_failed(snapshot, &why, policy);
        self.warn(reason::TEST_FAILED, &message, &told);
        if failed {
            return Ok(Next::Remembered);
        }
        self.editor().retries(&message);
        Ok(Next::End(Requeue::Backoff { max: LONGEST_PAUSE }))
    }
}

fn is_test(hook: &Value) -> bool {
    let events = hook["events"].as_array().map_or(&[][..], Vec::as_slice);
    events.iter().filter_map(Value::as_str).any(|event| TEST_EVENTS.contains(&event))
}

fn phase(hook: &Value) -> Option<&str> {
    hook.pointer("/last_run/phase")?.as_str()
}

/// How the chart's tests went, by their names.
fn results(hooks: &[Value], filters: &[Filter]) -> BTreeMap<String, TestHookStatus> {
    let named = hooks.iter().filter(|hook| is_test(hook)).filter_map(|hook| Some((hook["name"].as_str()?, hook)));
    named
        .filter(|(name, _)| is_selected(name, filters))
        .map(|(name, hook)| {
            let status = TestHookStatus {
                last_started: time(hook.pointer("/last_run/started_at")),
                last_completed: time(hook.pointer("/last_run/completed_at")),
                phase: phase(hook).map(str::to_owned),
            };
            (name.to_owned(), status)
        })
        .collect()
}

/// As helm selects by its own filters: what is excluded is out, and where something is included,
/// everything else is out.
fn is_selected(name: &str, filters: &[Filter]) -> bool {
    let names = |exclude: bool| filters.iter().filter(move |filter| filter.exclude == exclude);
    let is_named = |exclude: bool| names(exclude).any(|filter| filter.name == name);
    !is_named(true) && (names(false).next().is_none() || is_named(false))
}

/// Whole seconds, as Kubernetes keeps them; Go's zero time is the year 1.
fn time(value: Option<&Value>) -> Option<Time> {
    let found: Timestamp = value?.as_str()?.parse().ok()?;
    Some(Time(whole_second(found))).filter(|time| time.0 > Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hook(name: &str, event: &str, phase: &str) -> Value {
        json!({"name": name, "events": ["post-install", event], "last_run": {
            "started_at": "2026-01-01T00:00:00.5Z", "completed_at": "0001-01-01T00:00:00Z", "phase": phase}})
    }

    #[test]
    fn results_are_those_of_the_tests_that_were_asked_for() {
        let hooks = [hook("a", "test", "Succeeded"), hook("b", "test-success", "Failed"), hook("c", "pre-install", "")];
        let filter = |name: &str, exclude| Filter { name: name.to_owned(), exclude };
        let names = |filters: &[Filter]| results(&hooks, filters).into_keys().collect::<Vec<_>>();
        assert_eq!(names(&[]), ["a", "b"]);
        assert_eq!(names(&[filter("a", true)]), ["b"]);
        assert_eq!(names(&[filter("a", false)]), ["a"]);
        assert_eq!(names(&[filter("a", false), filter("a", true)]), Vec::<String>::new());
        let found = results(&hooks, &[]);
        assert_eq!(found["b"].phase.as_deref(), Some("Failed"));
        assert_eq!(
            found["a"].last_started.as_ref().map(|time| time.0.to_string()).as_deref(),
            Some("2026-01-01T00:00:00Z")
        );
        assert_eq!(found["a"].last_completed, None);
    }
}
