//! Is an object healthy? The rules of kstatus for Kubernetes' own kinds, and for any other kind the
//! standard conditions. Pure: the object as the API server holds it goes in, a verdict comes out.
//!
//! Three rules differ from kstatus, each because a release waits for the answer: a running Job is in
//! progress (kstatus: current), a crash-looping Pod is in progress (kstatus: failed, although it may
//! heal by itself), and a workload that its controller has not observed yet is in progress.

pub mod explain;
pub mod expressions;
mod legacy;
pub mod pods;
pub mod rules;
mod workload;

use serde_json::Value;

/// Verdict on one object; the texts say what is missing or what went wrong, without the object's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The object is what its spec asks for.
    Current,
    /// The object is on its way.
    InProgress(String),
    /// The object will not get there by itself.
    Failed(String),
}

impl Health {
    fn progress(message: impl Into<String>) -> Self {
        Self::InProgress(message.into())
    }

    /// True for [`Health::Current`].
    pub fn is_current(&self) -> bool {
        matches!(self, Self::Current)
    }
}

/// Judges an object by its kind, `status` and generation.
pub fn assess(object: &Value) -> Health {
    if let Some(unsettled) = generic(object) {
        return unsettled;
    }
    let kind = text(object, "/kind");
    match (group(object), kind) {
        ("apps", "Deployment") => workload::deployment(object),
        ("apps", "StatefulSet") => workload::stateful_set(object),
        ("apps", "DaemonSet") => workload::daemon_set(object),
        ("apps", "ReplicaSet") => workload::replica_set(object),
        ("batch", "Job") => workload::job(object),
        ("", "Pod") => workload::pod(object),
        ("", "PersistentVolumeClaim") => phase_is(object, "Bound"),
        ("", "Namespace") => phase_is(object, "Active"),
        ("", "Service") => service(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crd(object),
        ("apiregistration.k8s.io", "APIService") => condition_is_true(object, "Available"),
        _ => ready_condition(object),
    }
}

/// Whether an object of this kind can be anything but current once it exists: for `false` a wait
/// need not look at it. Judged on the object as rendered, before it has a status.
pub fn has_health(object: &Value) -> bool {
    match (group(object), text(object, "/kind")) {
        ("", "Service") => text(object, "/spec/type") == "LoadBalancer",
        ("", kind) => {
            !matches!(kind, "ConfigMap" | "Secret" | "ServiceAccount" | "LimitRange" | "ResourceQuota" | "Endpoints")
        }
        ("batch", kind) => kind != "CronJob",
        (group, _) => !matches!(
            group,
            "rbac.authorization.k8s.io"
                | "networking.k8s.io"
                | "scheduling.k8s.io"
                | "storage.k8s.io"
                | "autoscaling"
                | "admissionregistration.k8s.io"
                | "discovery.k8s.io"
        ),
    }
}

fn generic(object: &Value) -> Option<Health> {
    if !object.pointer("/metadata/deletionTimestamp").unwrap_or(&Value::Null).is_null() {
        return Some(Health::progress("it is being deleted"));
    }
    if let Some(unobserved) = unobserved_generation(object) {
        return Some(unobserved);
    }
    if let Some(stalled) = condition(object, "Stalled").filter(|found| is_true(found)) {
        return Some(Health::Failed(explained(stalled, "it has stalled")));
    }
    condition(object, "Reconciling")
        .filter(|found| is_true(found))
        .map(|found| Health::InProgress(explained(found, "it is being reconciled")))
}

/// In progress where the object's controller has seen another generation than the present one.
fn unobserved_generation(object: &Value) -> Option<Health> {
    let generation = number(object, "/metadata/generation")?;
    let observed = number(object, "/status/observedGeneration").filter(|observed| *observed != generation)?;
    Some(Health::InProgress(format!("generation {generation} is not observed by its controller yet (at {observed})")))
}

fn ready_condition(object: &Value) -> Health {
    match condition(object, "Ready") {
        None => Health::Current,
        Some(found) if is_true(found) => Health::Current,
        Some(found) => Health::InProgress(explained(found, "it is not Ready")),
    }
}

fn condition_is_true(object: &Value, type_: &str) -> Health {
    match condition(object, type_) {
        Some(found) if is_true(found) => Health::Current,
        Some(found) => Health::InProgress(explained(found, &format!("it is not {type_}"))),
        None => Health::InProgress(format!("it is not {type_} yet")),
    }
}

fn phase_is(object: &Value, wanted: &str) -> Health {
    match text(object, "/status/phase") {
        phase if phase == wanted => Health::Current,
        "" => Health::InProgress(format!("it is not {wanted} yet")),
        phase => Health::InProgress(format!("it is {phase}, not {wanted}")),
    }
}

/// A Pod is healthy when it is ready.
fn pod_ready(object: &Value) -> Health {
    match condition(object, "Ready") {
        Some(ready) if is_true(ready) => Health::Current,
        Some(ready) => Health::InProgress(explained(
            condition(object, "PodScheduled").filter(|found| is_false(found)).unwrap_or(ready),
            "it is not ready",
        )),
        None => Health::progress("it is not ready yet"),
    }
}

fn service(object: &Value) -> Health {
    let waits = text(object, "/spec/type") == "LoadBalancer" && text(object, "/spec/clusterIP").is_empty();
    if waits {
        return Health::progress("the load balancer has no cluster IP yet");
    }
    Health::Current
}

fn crd(object: &Value) -> Health {
    if let Some(names) = condition(object, "NamesAccepted").filter(|found| is_false(found)) {
        return Health::Failed(explained(names, "its names are not accepted"));
    }
    match condition(object, "Established") {
        Some(found) if is_true(found) => Health::Current,
        Some(found) if is_false(found) && text(found, "/reason") != "Installing" => {
            Health::Failed(explained(found, "it is not established"))
        }
        _ => Health::progress("it is not established yet"),
    }
}

/// The API group of an object, empty for the core group.
fn group(object: &Value) -> &str {
    text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|found| text(found, "/type") == type_)
}

fn is_true(condition: &Value) -> bool {
    text(condition, "/status") == "True"
}

fn is_false(condition: &Value) -> bool {
    text(condition, "/status") == "False"
}

/// A condition's reason and message, or `otherwise` where it has neither.
fn explained(condition: &Value, otherwise: &str) -> String {
    match (text(condition, "/reason"), text(condition, "/message")) {
        ("", "") => otherwise.to_owned(),
        ("", message) => message.to_owned(),
        (reason, "") => format!("{otherwise}: {reason}"),
        (reason, message) => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests;
