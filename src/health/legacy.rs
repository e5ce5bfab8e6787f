//! Health as Helm 3 waits for it (`waitStrategy: legacy`): readiness of built-in kinds only. Pure.
//!
//! One rule is told from less than helm asks for: how many pods of a Deployment's newest template
//! are ready follows from its own counters, with pods of older templates counted as ready. Until
//! they are gone, that can only make the wait longer.

use serde_json::Value;

use super::workload::missing;
use super::{
    Health, condition, group, is_false, is_true, number, phase_is, pod_ready, text, unobserved_generation, workload,
};

/// Judges an object; `jobs` says whether Jobs have to be complete.
pub(super) fn assess(object: &Value, jobs: bool) -> Health {
    match (group(object), text(object, "/kind")) {
        ("", "Pod") => pod_ready(object),
        ("batch", "Job") if jobs => job(object),
        ("apps", "Deployment") => deployment(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => workload::replica_set(object),
        ("", "PersistentVolumeClaim") => phase_is(object, "Bound"),
        ("", "Service") => service(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crd(object),
        _ => Health::Current,
    }
}

fn job(object: &Value) -> Health {
    let limit = number(object, "/spec/backoffLimit").unwrap_or(6);
    if number(object, "/status/failed").unwrap_or(0) > limit {
        return Health::Failed("more pods have failed than its backoffLimit allows".to_owned());
    }
    workload::job(object)
}

fn deployment(object: &Value) -> Health {
    if object.pointer("/spec/paused").and_then(Value::as_bool) == Some(true) {
        return Health::Current;
    }
    if let Some(unobserved) = observed(object) {
        return unobserved;
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let counted = |field: &str| number(object, &format!("/status/{field}")).unwrap_or(0);
    let old = (counted("replicas") - counted("updatedReplicas")).max(0);
    let ready = (counted("readyReplicas") - old).max(0);
    let needed = wanted - deployment_slack(object, wanted);
    if ready < needed { missing("ready replicas", ready, needed, object) } else { Health::Current }
}

/// How many pods of a Deployment may be missing.
fn deployment_slack(object: &Value, wanted: i64) -> i64 {
    if wanted == 0 || text(object, "/spec/strategy/type") == "Recreate" {
        return 0;
    }
    let of = |field: &str, up: bool| {
        let given = object.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
        given.map_or_else(|| scaled(&Value::from("25%"), wanted, up), |given| scaled(given, wanted, up))
    };
    let (surge, unavailable) = (of("maxSurge", true), of("maxUnavailable", false));
    if surge == 0 && unavailable == 0 { 1 } else { unavailable.min(wanted) }
}

/// A number, or a percentage of a number of pods.
fn scaled(given: &Value, of: i64, up: bool) -> i64 {
    let Some(percent) = given.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok()) else {
        return given.as_i64().unwrap_or(0);
    };
    let hundredths = of.saturating_mul(percent);
    if up { hundredths.saturating_add(99) / 100 } else { hundredths / 100 }
}

fn daemon_set(object: &Value) -> Health {
    if let Some(unobserved) = observed(object) {
        return unobserved;
    }
    if text(object, "/spec/updateStrategy/type") != "RollingUpdate" {
        return Health::Current;
    }
    let counted = |field: &str| number(object, &format!("/status/{field}")).unwrap_or(0);
    let wanted = counted("desiredNumberScheduled");
    if counted("updatedNumberScheduled") != wanted {
        return missing("updated pods", counted("updatedNumberScheduled"), wanted, object);
    }
    let slack = object.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable");
    let needed = wanted - slack.map_or(0, |slack| scaled(slack, wanted, true));
    let ready = counted("numberReady");
    if ready < needed { missing("ready pods", ready, needed, object) } else { Health::Current }
}

fn stateful_set(object: &Value) -> Health {
    if let Some(unobserved) = observed(object) {
        return unobserved;
    }
    if text(object, "/spec/updateStrategy/type") != "RollingUpdate" {
        return Health::Current;
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    let counted = |field: &str| number(object, &format!("/status/{field}")).unwrap_or(0);
    if counted("updatedReplicas") < wanted - partition {
        return missing("updated replicas", counted("updatedReplicas"), wanted - partition, object);
    }
    if counted("readyReplicas") != wanted {
        return missing("ready replicas", counted("readyReplicas"), wanted, object);
    }
    let rolled = text(object, "/status/currentRevision") == text(object, "/status/updateRevision");
    if partition == 0 && !rolled { Health::progress("its update is not complete yet") } else { Health::Current }
}

fn service(object: &Value) -> Health {
    let type_ = text(object, "/spec/type");
    if type_ == "ExternalName" {
        return Health::Current;
    }
    if text(object, "/spec/clusterIP").is_empty() {
        return Health::progress("it has no cluster IP yet");
    }
    let filled = |pointer: &str| object.pointer(pointer).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if type_ == "LoadBalancer" && !filled("/spec/externalIPs") && !filled("/status/loadBalancer/ingress") {
        return Health::progress("its load balancer has no address yet");
    }
    Health::Current
}

fn crd(object: &Value) -> Health {
    let settled = condition(object, "Established").is_some_and(is_true)
        || condition(object, "NamesAccepted").is_some_and(is_false);
    if settled { Health::Current } else { Health::progress("it is not established yet") }
}

fn observed(object: &Value) -> Option<Health> {
    workload::unobserved(object).or_else(|| unobserved_generation(object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(clippy::needless_pass_by_value)] // literals read better unborrowed
    fn judged(api_version: &str, kind: &str, spec: Value, mut status: Value) -> Result<(), String> {
        if status.get("observedGeneration").is_none() {
            status["observedGeneration"] = json!(2);
        }
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"generation": 2}, "spec": spec, "status": status});
        match assess(&object, true) {
            Health::Current => Ok(()),
            Health::InProgress(why) => Err(why),
            Health::Failed(why) => Err(format!("failed: {why}")),
        }
    }

    #[test]
    fn deployments_may_miss_what_their_strategy_allows() {
        let deployment = |spec: Value, status: Value| judged("apps/v1", "Deployment", spec, status);
        let ready = |replicas: i64, updated: i64, ready: i64| json!({"replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready});
        let with = |given: Value| json!({"replicas": 4, "strategy": {"rollingUpdate": given}});
        let wait = |words: &str| Err(words.to_owned());
        for (spec, status, wanted) in [
            (json!({"replicas": 4}), ready(4, 4, 3), Ok(())),
            (json!({"replicas": 4}), ready(4, 4, 2), wait("2 of 3 ready replicas")),
            (json!({"replicas": 4}), ready(5, 1, 4), wait("0 of 3 ready replicas")),
            (with(json!({"maxUnavailable": 0, "maxSurge": 1})), ready(4, 4, 3), wait("3 of 4 ready replicas")),
            (with(json!({"maxUnavailable": 0, "maxSurge": 0})), ready(4, 4, 3), Ok(())),
            (with(json!({"maxUnavailable": "50%"})), ready(4, 4, 2), Ok(())),
            (with(json!({"maxUnavailable": 9})), ready(4, 4, 0), Ok(())),
            (json!({"replicas": 1, "strategy": {"type": "Recreate"}}), ready(1, 1, 0), wait("0 of 1 ready replicas")),
            (json!({"replicas": 0}), ready(0, 0, 0), Ok(())),
            (json!({"paused": true}), json!({"observedGeneration": 1}), Ok(())),
            (
                json!({}),
                json!({"observedGeneration": 1}),
                wait("generation 2 is not observed by its controller yet (at 1)"),
            ),
        ] {
            assert_eq!(deployment(spec.clone(), status.clone()), wanted, "{spec} {status}");
        }
    }

    #[test]
    fn other_kinds() {
        let wait = |words: &str| Err(words.to_owned());
        let rolling = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}});
        let daemons = |ready: i64, updated: i64| json!({"desiredNumberScheduled": 3, "updatedNumberScheduled": updated, "numberReady": ready});
        let sts = json!({"replicas": 2, "updateStrategy": {"type": "RollingUpdate"}});
        let part =
            json!({"replicas": 2, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}});
        let rolled = |updated: i64, ready: i64, revision: &str| json!({"updatedReplicas": updated, "readyReplicas": ready, "currentRevision": "a", "updateRevision": revision});
        let lb = json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"});
        for (api_version, kind, spec, status, wanted) in [
            ("apps/v1", "DaemonSet", rolling.clone(), daemons(1, 3), Ok(())),
            ("apps/v1", "DaemonSet", rolling.clone(), daemons(0, 3), wait("0 of 1 ready pods")),
            ("apps/v1", "DaemonSet", rolling, daemons(3, 2), wait("2 of 3 updated pods")),
            ("apps/v1", "DaemonSet", json!({"updateStrategy": {"type": "OnDelete"}}), daemons(0, 0), Ok(())),
            ("apps/v1", "StatefulSet", sts.clone(), rolled(2, 2, "a"), Ok(())),
            ("apps/v1", "StatefulSet", sts.clone(), rolled(2, 2, "b"), wait("its update is not complete yet")),
            ("apps/v1", "StatefulSet", sts.clone(), rolled(1, 2, "b"), wait("1 of 2 updated replicas")),
            ("apps/v1", "StatefulSet", sts, rolled(2, 1, "a"), wait("1 of 2 ready replicas")),
            ("apps/v1", "StatefulSet", part, rolled(1, 2, "b"), Ok(())),
            ("v1", "Service", lb.clone(), json!({}), wait("its load balancer has no address yet")),
            ("v1", "Service", lb, json!({"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}}), Ok(())),
            ("v1", "Service", json!({}), json!({}), wait("it has no cluster IP yet")),
            ("v1", "Service", json!({"type": "ExternalName"}), json!({}), Ok(())),
            (
                "batch/v1",
                "Job",
                json!({"backoffLimit": 0}),
                json!({"failed": 1}),
                wait("failed: more pods have failed than its backoffLimit allows"),
            ),
            ("batch/v1", "Job", json!({"backoffLimit": 1}), json!({"failed": 1}), wait("it has not started yet")),
            ("v1", "Pod", json!({}), json!({"phase": "Running"}), wait("it is not ready yet")),
            ("v1", "Pod", json!({}), json!({"conditions": [{"type": "Ready", "status": "True"}]}), Ok(())),
            (
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                json!({}),
                json!({}),
                wait("it is not established yet"),
            ),
            (
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                json!({}),
                json!({"conditions": [{"type": "NamesAccepted", "status": "False"}]}),
                Ok(()),
            ),
            (
                "example.com/v1",
                "Thing",
                json!({}),
                json!({"conditions": [{"type": "Ready", "status": "False"}]}),
                Ok(()),
            ),
        ] {
            assert_eq!(judged(api_version, kind, spec, status.clone()), wanted, "{kind} {status}");
        }
    }
}
