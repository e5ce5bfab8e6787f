//! The rules for the kinds that run pods.

use serde_json::Value;

use super::{Health, condition, explained, is_false, is_true, number, pod_ready, text};

pub(super) fn deployment(object: &Value) -> Health {
    if let Some(unobserved) = unobserved(object) {
        return unobserved;
    }
    if object.pointer("/spec/paused").and_then(Value::as_bool) == Some(true) {
        return Health::Current;
    }
    if let Some(progressing) = condition(object, "Progressing")
        && is_false(progressing)
        && text(progressing, "/reason") == "ProgressDeadlineExceeded"
    {
        return Health::Failed(explained(progressing, "it exceeded its progress deadline"));
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let counted = |field: &str| number(object, &format!("/status/{field}")).unwrap_or(0);
    let (replicas, updated) = (counted("replicas"), counted("updatedReplicas"));
    if replicas < wanted {
        return missing("replicas", replicas, wanted, object);
    }
    if updated < wanted {
        return missing("updated replicas", updated, wanted, object);
    }
    if replicas > wanted {
        return Health::progress(format!("{} old replicas are being terminated", replicas - wanted));
    }
    for (field, words) in [("availableReplicas", "available replicas"), ("readyReplicas", "ready replicas")] {
        if counted(field) < wanted {
            return missing(words, counted(field), wanted, object);
        }
    }
    match condition(object, "Available") {
        Some(available) if is_true(available) => Health::Current,
        Some(available) => Health::InProgress(explained(available, "it is not available")),
        None => Health::progress("it is not available yet"),
    }
}

pub(super) fn stateful_set(object: &Value) -> Health {
    if let Some(unobserved) = unobserved(object) {
        return unobserved;
    }
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Health::Current;
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let counted = |field: &str| number(object, &format!("/status/{field}")).unwrap_or(0);
    for (field, words) in [("replicas", "replicas"), ("readyReplicas", "ready replicas")] {
        if counted(field) < wanted {
            return missing(words, counted(field), wanted, object);
        }
    }
    if counted("replicas") > wanted {
        return Health::progress(format!("{} replicas are being terminated", counted("replicas") - wanted));
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    if partition > 0 {
        let rolled = wanted - partition;
        if counted("updatedReplicas") < rolled {
            return missing("updated replicas", counted("updatedReplicas"), rolled, object);
        }
        return Health::Current;
    }
    let (current, update) = (text(object, "/status/currentRevision"), text(object, "/status/updateRevision"));
    if current != update {
        return missing("updated replicas", counted("updatedReplicas"), wanted, object);
    }
    Health::Current
}

pub(super) fn daemon_set(object: &Value) -> Health {
    if let Some(unobserved) = unobserved(object) {
        return unobserved;
    }
    let Some(wanted) = number(object, "/status/desiredNumberScheduled") else {
        return Health::progress("it is not observed by its controller yet");
    };
    let by_hand = text(object, "/spec/updateStrategy/type") == "OnDelete";
    let counts = [
        ("currentNumberScheduled", "scheduled pods"),
        ("updatedNumberScheduled", "updated pods"),
        ("numberAvailable", "available pods"),
        ("numberReady", "ready pods"),
    ];
    for (field, words) in counts {
        let counted = number(object, &format!("/status/{field}")).unwrap_or(0);
        if counted < wanted && !(by_hand && field == "updatedNumberScheduled") {
            return missing(words, counted, wanted, object);
        }
    }
    Health::Current
}

pub(super) fn replica_set(object: &Value) -> Health {
    if let Some(unobserved) = unobserved(object) {
        return unobserved;
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let counted = |field: &str| number(object, &format!("/status/{field}")).unwrap_or(0);
    for (field, words) in
        [("replicas", "replicas"), ("availableReplicas", "available replicas"), ("readyReplicas", "ready replicas")]
    {
        if counted(field) < wanted {
            return missing(words, counted(field), wanted, object);
        }
    }
    if counted("replicas") > wanted {
        return Health::progress(format!("{} replicas are being terminated", counted("replicas") - wanted));
    }
    Health::Current
}

pub(super) fn job(object: &Value) -> Health {
    for (type_, otherwise) in [("Failed", "it has failed"), ("FailureTarget", "it is failing")] {
        if let Some(failed) = condition(object, type_).filter(|found| is_true(found)) {
            return Health::Failed(explained(failed, otherwise));
        }
    }
    let settled = |type_: &str| condition(object, type_).is_some_and(is_true);
    if settled("Complete") || settled("Suspended") {
        return Health::Current;
    }
    if text(object, "/status/startTime").is_empty() {
        return Health::progress("it has not started yet");
    }
    let wanted = number(object, "/spec/completions").unwrap_or(1);
    let succeeded = number(object, "/status/succeeded").unwrap_or(0);
    Health::InProgress(format!("{succeeded} of {wanted} completions"))
}

pub(super) fn pod(object: &Value) -> Health {
    match text(object, "/status/phase") {
        "Succeeded" => Health::Current,
        "Failed" => Health::Failed(match (text(object, "/status/reason"), text(object, "/status/message")) {
            ("", "") => "it has failed".to_owned(),
            (reason, message) => format!("it has failed: {reason} {message}").trim_end().to_owned(),
        }),
        _ => pod_ready(object),
    }
}

/// A workload's controller always reports the generation that it has seen.
pub(super) fn unobserved(object: &Value) -> Option<Health> {
    let unseen = number(object, "/status/observedGeneration").is_none();
    unseen.then(|| Health::progress("it is not observed by its controller yet"))
}

pub(super) fn missing(words: &str, counted: i64, wanted: i64, object: &Value) -> Health {
    let blocked = condition(object, "ReplicaFailure").filter(|found| is_true(found));
    let why = blocked.map(|found| format!(" ({})", explained(found, "pods cannot be created"))).unwrap_or_default();
    Health::InProgress(format!("{counted} of {wanted} {words}{why}"))
}
