//! Why an object is not ready: looks at the pods behind it, their containers and their last words.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DynamicObject, ListParams, LogParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde_json::Value;

use super::pods::{PodTrouble, trouble};
use super::text;
use crate::redact::{Redactor, bounded};

/// Lines of a container's log that an explanation quotes.
const LOG_LINES: i64 = 5;
/// Bytes of a container's log that an explanation quotes.
const LOG_BYTES: usize = 1024;
/// How long one look may take; an explanation is worth no more.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pods that one look reads.
const PODS: u32 = 50;

/// The reason in words why a workload's pods are not ready; `None` where its pods do not tell.
/// With `logs`, the failing container's last lines are quoted, without what `redactor` knows.
/// An API server that does not answer costs three seconds and the explanation, nothing else.
pub async fn explain(client: &Client, object: &Value, logs: bool, redactor: &Redactor) -> Option<String> {
    tokio::time::timeout(PATIENCE, look(client, object, logs, redactor)).await.ok().flatten()
}

async fn look(client: &Client, object: &Value, logs: bool, redactor: &Redactor) -> Option<String> {
    let namespace = text(object, "/metadata/namespace");
    let pods =
        if text(object, "/kind") == "Pod" { vec![object.clone()] } else { list(client, namespace, object).await? };
    let Some(worst) = worst(&pods) else {
        return if pods.is_empty() { refused(client, namespace, object, redactor).await } else { None };
    };
    let mut message = redactor.text(&worst.message).into_owned();
    if logs && let Some(lines) = last_lines(client, namespace, &worst).await {
        message.push_str("; its log ends with: ");
        message.push_str(&bounded(&redactor.text(lines.trim()), LOG_BYTES));
    }
    Some(message)
}

/// The pod that tells most: the one in the worst trouble, of these the newest.
fn worst(pods: &[Value]) -> Option<PodTrouble> {
    let troubled = pods.iter().filter_map(trouble);
    troubled.max_by(|one, other| (one.severity, &one.created).cmp(&(other.severity, &other.created)))
}

async fn list(client: &Client, namespace: &str, object: &Value) -> Option<Vec<Value>> {
    let selector = selector(object)?;
    let pods = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &pods);
    let listed = api.list(&ListParams::default().labels(&selector).limit(PODS)).await.ok()?;
    let values = listed.items.into_iter().filter_map(|pod| serde_json::to_value(pod).ok());
    Some(values.collect())
}

/// A workload's pod selector as a query, `None` for an object that selects no pods.
fn selector(object: &Value) -> Option<String> {
    let selector = object.pointer("/spec/selector")?.as_object()?;
    let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let mut terms: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        terms.push(term(expression)?);
    }
    (!terms.is_empty()).then(|| terms.join(","))
}

fn term(expression: &Value) -> Option<String> {
    let key = text(expression, "/key");
    let values = || {
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        values.filter_map(Value::as_str).collect::<Vec<_>>().join(",")
    };
    match text(expression, "/operator") {
        "In" => Some(format!("{key} in ({})", values())),
        "NotIn" => Some(format!("{key} notin ({})", values())),
        "Exists" => Some(key.to_owned()),
        "DoesNotExist" => Some(format!("!{key}")),
        _ => None,
    }
}

/// No pods at all: the newest event that says why they cannot be created.
async fn refused(client: &Client, namespace: &str, object: &Value, redactor: &Redactor) -> Option<String> {
    let fields = format!("involvedObject.uid={},type=Warning", text(object, "/metadata/uid"));
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    let listed = events.list(&ListParams::default().fields(&fields)).await.ok()?;
    let newest = listed.items.into_iter().max_by_key(ResourceExt::creation_timestamp)?;
    let words = format!("{}: {}", newest.reason.unwrap_or_default(), newest.message.unwrap_or_default());
    Some(redactor.text(&words).into_owned())
}

async fn last_lines(client: &Client, namespace: &str, worst: &PodTrouble) -> Option<String> {
    let (container, previous) = worst.log.clone()?;
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let ask = |previous| LogParams {
        container: Some(container.clone()),
        previous,
        tail_lines: Some(LOG_LINES),
        limit_bytes: i64::try_from(LOG_BYTES).ok(),
        ..LogParams::default()
    };
    let said = |lines: &String| !lines.trim().is_empty();
    match pods.logs(&worst.pod, &ask(previous)).await {
        Ok(lines) if said(&lines) => Some(lines),
        _ if previous => pods.logs(&worst.pod, &ask(false)).await.ok().filter(said),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_become_queries() {
        let rows = [
            (json!({"matchLabels": {"a": "1", "b": "2"}}), Some("a=1,b=2")),
            (
                json!({"matchExpressions": [
                    {"key": "a", "operator": "In", "values": ["1", "2"]},
                    {"key": "b", "operator": "NotIn", "values": ["3"]},
                    {"key": "c", "operator": "Exists"},
                    {"key": "d", "operator": "DoesNotExist"},
                ]}),
                Some("a in (1,2),b notin (3),c,!d"),
            ),
            (json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}), None),
            (json!({}), None),
        ];
        for (given, wanted) in rows {
            assert_eq!(selector(&json!({"spec": {"selector": given}})).as_deref(), wanted);
        }
        assert_eq!(selector(&json!({"spec": {}})), None);
    }

    #[test]
    fn the_worst_pod_speaks_and_of_equals_the_newest() {
        let pod = |name: &str, created: &str, status: Value| json!({"metadata": {"name": name, "creationTimestamp": created}, "status": status});
        let failed = || json!({"phase": "Failed"});
        let pods =
            [pod("a", "2", json!({})), pod("b", "1", failed()), pod("c", "3", failed()), pod("d", "2", failed())];
        assert_eq!(worst(&pods).map(|found| found.pod).as_deref(), Some("c"));
        assert_eq!(worst(&[]), None);
    }
}
