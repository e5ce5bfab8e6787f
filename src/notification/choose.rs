//! Which events an alert is for, and which of them its provider takes. Pure.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use super::metadata;
use crate::api::event::{Event, Severity};
use crate::api::notification::v1beta3::{AlertSpec, EventSeverity, EventSource, ProviderType};

/// Bytes that an expression may take when it is compiled.
const EXPRESSION_LIMIT: usize = 1 << 20;

/// The expressions of an alert.
#[derive(Debug, Default)]
pub struct Expressions {
    include_all: bool,
    included: Vec<Regex>,
    excluded: Vec<Regex>,
}

impl Expressions {
    /// Reads them; also what is wrong with those that cannot be read, which match nothing.
    pub fn read(spec: &AlertSpec) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut read = |field: &str, list: &[String]| {
            let mut expressions = Vec::new();
            for (index, text) in list.iter().enumerate() {
                match RegexBuilder::new(text).size_limit(EXPRESSION_LIMIT).build() {
                    Ok(expression) => expressions.push(expression),
                    Err(error) => problems.push(format!("spec.{field}[{index}]: {}", last_line(&error.to_string()))),
                }
            }
            expressions
        };
        let included = read("inclusionList", &spec.inclusion_list);
        let excluded = read("exclusionList", &spec.exclusion_list);
        (Self { include_all: spec.inclusion_list.is_empty(), included, excluded }, problems)
    }

    /// Whether an event with this message is to be told.
    pub fn admit(&self, message: &str) -> bool {
        let matches = |list: &[Regex]| list.iter().any(|expression| expression.is_match(message));
        (self.include_all || matches(&self.included)) && !matches(&self.excluded)
    }
}

/// The parser's words, without the drawing that comes before them.
fn last_line(error: &str) -> &str {
    let line = error.lines().last().unwrap_or(error).trim();
    line.strip_prefix("error: ").unwrap_or(line)
}

/// Whether an alert in the namespace `own` is for an event of an object with these labels.
pub fn is_for(spec: &AlertSpec, own: &str, event: &Event, labels: &BTreeMap<String, String>) -> bool {
    let severe_enough = spec.event_severity == EventSeverity::Info || event.severity == Severity::Error;
    severe_enough && spec.event_sources.iter().any(|source| names(source, own, event, labels))
}

fn names(source: &EventSource, own: &str, event: &Event, labels: &BTreeMap<String, String>) -> bool {
    let object = &event.involved_object;
    let namespace = source.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(own);
    object.kind.as_deref() == Some(source.kind.as_str())
        && object.namespace.as_deref() == Some(namespace)
        && (source.name == "*" || object.name.as_ref() == Some(&source.name))
        && source.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether the type is one that sets the status of commits.
pub fn sets_commit_status(kind: ProviderType) -> bool {
    use ProviderType::{AzureDevOps, Bitbucket, BitbucketServer, GitHub, GitLab, Gitea};
    matches!(kind, GitHub | GitLab | Gitea | Bitbucket | BitbucketServer | AzureDevOps)
}

/// Whether notifications of the type are sent.
pub fn is_supported(kind: ProviderType) -> bool {
    use ProviderType as Type;
    match kind {
        Type::Generic
        | Type::GenericHmac
        | Type::Slack
        | Type::Discord
        | Type::MsTeams
        | Type::Rocket
        | Type::GitHub
        | Type::GitLab
        | Type::Gitea
        | Type::GoogleChat
        | Type::Webex
        | Type::Alertmanager
        | Type::PagerDuty => true,
        Type::GiteaPullRequestComment
        | Type::BitbucketServer
        | Type::Bitbucket
        | Type::AzureDevOps
        | Type::GooglePubSub
        | Type::Sentry
        | Type::AzureEventHub
        | Type::Telegram
        | Type::Lark
        | Type::Matrix
        | Type::Opsgenie
        | Type::Grafana
        | Type::GitHubDispatch
        | Type::GitHubPullRequestComment
        | Type::GitLabMergeRequestComment
        | Type::Datadog
        | Type::Nats
        | Type::Zulip
        | Type::Otel
        | Type::Zoom
        | Type::IncidentIo => false,
    }
}

/// Whether a provider of the type is for an event. Events that are there for the sake of a commit's
/// status do not reach people, and only they, failures, and those that name a commit change one.
pub fn takes(kind: ProviderType, event: &Event) -> bool {
    let update = metadata::is_commit_status_update(event);
    if sets_commit_status(kind) {
        return update
            || event.severity == Severity::Error
            || metadata::of_object(event, metadata::COMMIT).is_some_and(|commit| !commit.is_empty());
    }
    !update || matches!(kind, ProviderType::Generic | ProviderType::GenericHmac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(patch: &Value) -> Event {
        let mut event = json!({
            "involvedObject": {
                "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "apps", "name": "ui",
            },
            "severity": "info", "timestamp": "2026-01-02T03:04:05Z", "message": "m", "reason": "r",
            "reportingController": "c",
        });
        for (key, value) in patch.as_object().unwrap() {
            event[key] = value.clone();
        }
        serde_json::from_value(event).unwrap()
    }

    fn alert(patch: &Value) -> AlertSpec {
        let mut alert = json!({"providerRef": {"name": "p"}, "eventSources": []});
        for (key, value) in patch.as_object().unwrap() {
            alert[key] = value.clone();
        }
        serde_json::from_value(alert).unwrap()
    }

    #[test]
    fn sources_name_objects_by_kind_namespace_name_and_labels() {
        let labels = [("team".to_owned(), "web".to_owned())].into();
        let (kind, all) = ("HelmRelease", "*");
        for (source, expected) in [
            (json!({"kind": kind, "name": "ui"}), true),
            (json!({"kind": kind, "name": all}), true),
            (json!({"kind": kind, "name": "u*"}), false),
            (json!({"kind": kind, "name": "api"}), false),
            (json!({"kind": "Kustomization", "name": all}), false),
            (json!({"kind": kind, "name": all, "namespace": "apps"}), true),
            (json!({"kind": kind, "name": all, "namespace": ""}), true),
            (json!({"kind": kind, "name": all, "namespace": "other"}), false),
            (json!({"kind": kind, "name": all, "matchLabels": {"team": "web"}}), true),
            (json!({"kind": kind, "name": all, "matchLabels": {"team": "data"}}), false),
            (json!({"kind": kind, "name": all, "matchLabels": {"team": "web", "tier": "1"}}), false),
        ] {
            let alert = alert(&json!({"eventSources": [{"kind": "Bucket", "name": "x"}, source]}));
            assert_eq!(is_for(&alert, "apps", &event(&json!({})), &labels), expected, "{source}");
        }
        let elsewhere = alert(&json!({"eventSources": [{"kind": kind, "name": all}]}));
        assert!(!is_for(&elsewhere, "flux-system", &event(&json!({})), &labels));
    }

    #[test]
    fn an_alert_for_errors_leaves_the_rest_out() {
        let sources = json!([{"kind": "HelmRelease", "name": "*"}]);
        for (wanted, happened, expected) in
            [("info", "info", true), ("info", "error", true), ("error", "info", false), ("error", "error", true)]
        {
            let alert = alert(&json!({"eventSeverity": wanted, "eventSources": sources}));
            let event = event(&json!({"severity": happened}));
            assert_eq!(is_for(&alert, "apps", &event, &BTreeMap::new()), expected, "{wanted} {happened}");
        }
    }

    #[test]
    fn exclusion_is_stronger_than_inclusion() {
        for (included, excluded, expected) in [
            (json!([]), json!([]), true),
            (json!(["succe+ded"]), json!([]), true),
            (json!(["failed", "^install"]), json!([]), false),
            (json!(["succeeded"]), json!(["Helm.*v1$"]), false),
            (json!([]), json!(["socket"]), true),
            (json!(["("]), json!([]), false),
            (json!(["(", "succeeded"]), json!(["("]), true),
        ] {
            let alert = alert(&json!({"inclusionList": included, "exclusionList": excluded}));
            let (expressions, problems) = Expressions::read(&alert);
            assert_eq!(expressions.admit("Helm install succeeded: ui.v1"), expected, "{included} {excluded}");
            let broken = included.to_string().contains("\"(\"");
            assert_eq!(problems.first().is_some_and(|problem| problem.contains("inclusionList[0]")), broken);
        }
        let (_, problems) = Expressions::read(&alert(&json!({"exclusionList": ["x", "("]})));
        assert_eq!(problems, ["spec.exclusionList[1]: unclosed group"]);
    }

    #[test]
    fn a_provider_takes_what_it_is_made_for() {
        use ProviderType::{Generic, GitHub, Slack};
        let update = json!({"metadata": {"helm.toolkit.fluxcd.io/commit_status": "update"}});
        let named = json!({"metadata": {"event.toolkit.fluxcd.io/commit": "0123"}});
        let failed = json!({"severity": "error"});
        for (event_, generic, slack, github) in [
            (json!({}), true, true, false),
            (update, true, false, true),
            (named, true, true, true),
            (failed, true, true, true),
        ] {
            let event = event(&event_);
            assert_eq!([Generic, Slack, GitHub].map(|kind| takes(kind, &event)), [generic, slack, github], "{event_}");
        }
    }
}
