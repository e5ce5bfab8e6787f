use serde_json::{Value, json};

use super::{Health, assess, has_health};

fn progress(text: &str) -> Health {
    Health::InProgress(text.to_owned())
}

fn failed(text: &str) -> Health {
    Health::Failed(text.to_owned())
}

/// An object with generation 2, and with `observedGeneration: 2` where its status is an object.
#[allow(clippy::needless_pass_by_value)] // literals read better unborrowed
fn object(api_version: &str, kind: &str, spec: Value, mut status: Value) -> Value {
    if matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") {
        status["observedGeneration"] = json!(2);
    }
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "generation": 2}, "spec": spec, "status": status})
}

fn check(rows: Vec<(&str, Value, Health)>) {
    for (name, object, wanted) in rows {
        assert_eq!(assess(&object), wanted, "{name}");
    }
}

fn available() -> Value {
    json!([{"type": "Available", "status": "True"}])
}

#[test]
fn deployments() {
    let deployment = |spec: Value, status: Value| object("apps/v1", "Deployment", spec, status);
    let full = json!({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2, "conditions": available()});
    let with = |field: &str, value: i64| {
        let mut status = full.clone();
        status[field] = json!(value);
        deployment(json!({"replicas": 2}), status)
    };
    let mut unobserved = deployment(json!({}), json!({}));
    unobserved["status"] = json!({});
    let mut old = deployment(json!({"replicas": 2}), full.clone());
    old["status"]["observedGeneration"] = json!(1);
    let late = json!({"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too late"}]});
    let quota = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}]});
    check(vec![
        ("full", deployment(json!({"replicas": 2}), full.clone()), Health::Current),
        ("unobserved", unobserved, progress("it is not observed by its controller yet")),
        ("old generation", old, progress("generation 2 is not observed by its controller yet (at 1)")),
        ("deadline", deployment(json!({}), late), failed("ProgressDeadlineExceeded: too late")),
        ("default is one replica", deployment(json!({}), json!({})), progress("0 of 1 replicas")),
        ("quota", deployment(json!({}), quota), progress("0 of 1 replicas (FailedCreate: exceeded quota)")),
        ("not updated", with("updatedReplicas", 1), progress("1 of 2 updated replicas")),
        ("surplus", with("replicas", 3), progress("1 old replicas are being terminated")),
        ("not available", with("availableReplicas", 0), progress("0 of 2 available replicas")),
        ("not ready", with("readyReplicas", 1), progress("1 of 2 ready replicas")),
        ("scaled to zero", deployment(json!({"replicas": 0}), json!({"conditions": available()})), Health::Current),
        ("zero, unjudged", deployment(json!({"replicas": 0}), json!({})), progress("it is not available yet")),
        ("paused", deployment(json!({"paused": true}), json!({})), Health::Current),
    ]);
}

#[test]
fn other_workloads() {
    let stateful = |spec: Value, status: Value| object("apps/v1", "StatefulSet", spec, status);
    let daemon = |spec: Value, status: Value| object("apps/v1", "DaemonSet", spec, status);
    let replica = |status: Value| object("apps/v1", "ReplicaSet", json!({"replicas": 1}), status);
    let rolled =
        json!({"replicas": 2, "readyReplicas": 2, "updatedReplicas": 1, "currentRevision": "a", "updateRevision": "b"});
    let full = json!({"desiredNumberScheduled": 2, "currentNumberScheduled": 2, "updatedNumberScheduled": 1, "numberAvailable": 2, "numberReady": 2});
    check(vec![
        ("sts on delete", stateful(json!({"updateStrategy": {"type": "OnDelete"}}), json!({})), Health::Current),
        ("sts ready", stateful(json!({}), json!({"replicas": 1})), progress("0 of 1 ready replicas")),
        ("sts surplus", stateful(json!({"replicas": 1}), rolled.clone()), progress("1 replicas are being terminated")),
        ("sts rolling", stateful(json!({"replicas": 2}), rolled.clone()), progress("1 of 2 updated replicas")),
        (
            "sts partition",
            stateful(json!({"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}}), rolled.clone()),
            Health::Current,
        ),
        ("ds unseen", daemon(json!({}), json!({})), progress("it is not observed by its controller yet")),
        ("ds rolling", daemon(json!({}), full.clone()), progress("1 of 2 updated pods")),
        ("ds by hand", daemon(json!({"updateStrategy": {"type": "OnDelete"}}), full), Health::Current),
        ("ds none wanted", daemon(json!({}), json!({"desiredNumberScheduled": 0})), Health::Current),
        ("rs empty", replica(json!({})), progress("0 of 1 replicas")),
        ("rs full", replica(json!({"replicas": 1, "availableReplicas": 1, "readyReplicas": 1})), Health::Current),
    ]);
}

#[test]
fn jobs_and_pods() {
    let job = |status: Value| object("batch/v1", "Job", json!({}), status);
    let pod = |status: Value| object("v1", "Pod", json!({}), status);
    let condition =
        |type_: &str, status: &str| json!([{"type": type_, "status": status, "reason": "R", "message": "m"}]);
    check(vec![
        ("job complete", job(json!({"conditions": condition("Complete", "True")})), Health::Current),
        ("job failed", job(json!({"conditions": condition("Failed", "True")})), failed("R: m")),
        ("job suspended", job(json!({"conditions": condition("Suspended", "True")})), Health::Current),
        ("job new", job(json!({})), progress("it has not started yet")),
        ("job running", job(json!({"startTime": "t"})), progress("0 of 1 completions")),
        ("pod done", pod(json!({"phase": "Succeeded"})), Health::Current),
        ("pod failed", pod(json!({"phase": "Failed", "reason": "Evicted"})), failed("it has failed: Evicted")),
        ("pod ready", pod(json!({"phase": "Running", "conditions": condition("Ready", "True")})), Health::Current),
        (
            "pod not ready",
            pod(json!({"phase": "Running", "conditions": condition("Ready", "False")})),
            progress("R: m"),
        ),
        ("pod new", pod(json!({})), progress("it is not ready yet")),
        (
            "pod unschedulable",
            pod(json!({"phase": "Pending", "conditions": [
                {"type": "Ready", "status": "False"},
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"},
            ]})),
            progress("Unschedulable: no node"),
        ),
    ]);
}

#[test]
fn the_other_kinds() {
    let condition =
        |type_: &str, status: &str| json!({"conditions": [{"type": type_, "status": status, "reason": "R"}]});
    let custom = |status: Value| object("example.com/v1", "Thing", json!({}), status);
    let crd = |status: Value| object("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({}), status);
    let mut leaving = custom(json!({}));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    check(vec![
        ("claim bound", object("v1", "PersistentVolumeClaim", json!({}), json!({"phase": "Bound"})), Health::Current),
        (
            "claim pending",
            object("v1", "PersistentVolumeClaim", json!({}), json!({"phase": "Pending"})),
            progress("it is Pending, not Bound"),
        ),
        ("namespace", object("v1", "Namespace", json!({}), json!({"phase": "Active"})), Health::Current),
        (
            "load balancer",
            object("v1", "Service", json!({"type": "LoadBalancer"}), json!({})),
            progress("the load balancer has no cluster IP yet"),
        ),
        ("service", object("v1", "Service", json!({}), json!({})), Health::Current),
        ("config map", object("v1", "ConfigMap", json!({}), json!({})), Health::Current),
        ("crd", crd(condition("Established", "True")), Health::Current),
        ("crd names", crd(condition("NamesAccepted", "False")), failed("its names are not accepted: R")),
        ("crd refused", crd(condition("Established", "False")), failed("it is not established: R")),
        ("crd new", crd(json!({})), progress("it is not established yet")),
        ("custom without status", custom(json!({})), Health::Current),
        ("custom ready", custom(condition("Ready", "True")), Health::Current),
        ("custom not ready", custom(condition("Ready", "False")), progress("it is not Ready: R")),
        ("custom reconciling", custom(condition("Reconciling", "True")), progress("it is being reconciled: R")),
        ("custom stalled", custom(condition("Stalled", "True")), failed("it has stalled: R")),
        (
            "custom old",
            custom(json!({"observedGeneration": -1})),
            progress("generation 2 is not observed by its controller yet (at -1)"),
        ),
        ("leaving", leaving, progress("it is being deleted")),
        (
            "api service",
            object("apiregistration.k8s.io/v1", "APIService", json!({}), condition("Available", "False")),
            progress("it is not Available: R"),
        ),
    ]);
}

#[test]
fn kinds_without_health_are_known() {
    for (api_version, kind, wanted) in [
        ("v1", "ConfigMap", false),
        ("v1", "Service", false),
        ("v1", "Pod", true),
        ("v1", "PersistentVolumeClaim", true),
        ("apps/v1", "Deployment", true),
        ("batch/v1", "Job", true),
        ("batch/v1", "CronJob", false),
        ("networking.k8s.io/v1", "Ingress", false),
        ("example.com/v1", "Thing", true),
    ] {
        assert_eq!(has_health(&object(api_version, kind, json!({}), json!({}))), wanted, "{kind}");
    }
    assert!(has_health(&object("v1", "Service", json!({"type": "LoadBalancer"}), json!({}))));
}
