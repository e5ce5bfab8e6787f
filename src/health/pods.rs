//! What is wrong with a pod, in words, told from its status. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use super::{condition, explained, is_false, is_true, number, text};

/// The trouble of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTrouble {
    /// How bad it is: a container that dies or cannot start counts more than one that is slow.
    pub severity: Severity,
    /// When the pod was made, as the API server writes it.
    pub created: String,
    /// The pod's name.
    pub pod: String,
    /// The trouble in words, with the pod's name.
    pub message: String,
    /// The container whose log may tell more, and whether it is that of its previous run.
    pub log: Option<(String, bool)>,
}

/// How bad a pod's trouble is, from mild to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It may only need time.
    Slow,
    /// It waits for something outside: a node, a volume.
    Blocked,
    /// A container fails, or cannot be started.
    Failing,
}

/// Waiting reasons that are steps of a normal start.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// The trouble of a pod, `None` where it is ready or done.
pub fn trouble(pod: &Value) -> Option<PodTrouble> {
    if condition(pod, "Ready").is_some_and(is_true) || text(pod, "/status/phase") == "Succeeded" {
        return None;
    }
    let name = text(pod, "/metadata/name");
    let found = |severity, words: &str, log| PodTrouble {
        severity,
        created: text(pod, "/metadata/creationTimestamp").to_owned(),
        pod: name.to_owned(),
        message: format!("pod {name}: {words}"),
        log,
    };
    let worst = ["initContainerStatuses", "containerStatuses"]
        .iter()
        .filter_map(|list| pod.pointer(&format!("/status/{list}"))?.as_array())
        .flatten()
        .filter_map(container_trouble)
        .reduce(|worst, next| if next.0 > worst.0 { next } else { worst });
    if let Some((severity, words, log)) = worst {
        return Some(found(severity, &words, log));
    }
    if let Some(scheduled) = condition(pod, "PodScheduled").filter(|found| is_false(found)) {
        return Some(found(Severity::Blocked, &explained(scheduled, "it cannot be scheduled"), None));
    }
    let (reason, message) = (text(pod, "/status/reason"), text(pod, "/status/message"));
    if text(pod, "/status/phase") == "Failed" {
        return Some(found(Severity::Failing, format!("it has failed: {reason} {message}").trim_end(), None));
    }
    let ready = condition(pod, "Ready").map(|ready| explained(ready, "it is not ready"));
    Some(found(Severity::Slow, &ready.unwrap_or_else(|| "it is not ready yet".to_owned()), None))
}

type Found = (Severity, String, Option<(String, bool)>);

fn container_trouble(status: &Value) -> Option<Found> {
    let name = text(status, "/name");
    let restarts = number(status, "/restartCount").unwrap_or(0);
    let log = |previous| Some((name.to_owned(), previous));
    if let Some(waiting) = status.pointer("/state/waiting") {
        let reason = text(waiting, "/reason");
        if STARTING.contains(&reason) {
            return Some((Severity::Slow, format!("container {name}: {reason}"), None));
        }
        let mut words = format!("container {name}: {}", waiting_for(waiting));
        if let Some(last) = status.pointer("/lastState/terminated") {
            let _ = write!(words, "; its last run ended with {}", ending(last));
        }
        append_restarts(&mut words, restarts);
        return Some((Severity::Failing, words, (restarts > 0).then(|| log(true)).flatten()));
    }
    if let Some(ended) = status.pointer("/state/terminated") {
        if number(ended, "/exitCode") == Some(0) {
            return None;
        }
        let mut words = format!("container {name} ended with {}", ending(ended));
        append_restarts(&mut words, restarts);
        return Some((Severity::Failing, words, log(false)));
    }
    let unready = status.pointer("/ready").and_then(Value::as_bool) == Some(false);
    (unready && status.pointer("/state/running").is_some()).then(|| {
        let mut words = format!("container {name} runs but is not ready");
        if let Some(last) = status.pointer("/lastState/terminated") {
            let _ = write!(words, "; its last run ended with {}", ending(last));
        }
        append_restarts(&mut words, restarts);
        (if restarts > 0 { Severity::Failing } else { Severity::Slow }, words, log(false))
    })
}

/// The reason and message of a waiting container. The message of a crash loop only counts down.
fn waiting_for(waiting: &Value) -> String {
    match (text(waiting, "/reason"), text(waiting, "/message")) {
        (reason @ "CrashLoopBackOff", _) | (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

fn append_restarts(words: &mut String, restarts: i64) {
    let _ = match restarts {
        0 => Ok(()),
        1 => write!(words, ", 1 restart"),
        many => write!(words, ", {many} restarts"),
    };
}

/// `exit code 1 (Error: message)`, or the signal.
fn ending(terminated: &Value) -> String {
    let how = match (number(terminated, "/exitCode"), number(terminated, "/signal").filter(|signal| *signal != 0)) {
        (_, Some(signal)) => format!("signal {signal}"),
        (Some(code), None) => format!("exit code {code}"),
        (None, None) => "no exit code".to_owned(),
    };
    match (text(terminated, "/reason"), text(terminated, "/message").trim()) {
        ("" | "Error", "") => how,
        (reason, "") => format!("{how} ({reason})"),
        ("", message) => format!("{how} ({message})"),
        (reason, message) => format!("{how} ({reason}: {message})"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &Value) -> Value {
        json!({"metadata": {"name": "ui-1", "creationTimestamp": "t"}, "status": status})
    }

    fn said(status: &Value) -> Option<Found> {
        trouble(&pod(status)).map(|found| (found.severity, found.message, found.log))
    }

    #[test]
    fn a_ready_or_completed_pod_has_none() {
        assert_eq!(said(&json!({"conditions": [{"type": "Ready", "status": "True"}]})), None);
        assert_eq!(said(&json!({"phase": "Succeeded"})), None);
    }

    #[test]
    fn each_trouble_has_its_words() {
        let waiting =
            |reason: &str| json!({"name": "app", "restartCount": 0, "state": {"waiting": {"reason": reason}}});
        let log = |previous| Some(("app".to_owned(), previous));
        let rows = [
            (
                json!({"containerStatuses": [{"name": "app", "restartCount": 3,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                    "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
                Severity::Failing,
                "container app: CrashLoopBackOff; its last run ended with exit code 1, 3 restarts",
                log(true),
            ),
            (
                json!({"containerStatuses": [waiting("ImagePullBackOff"), waiting("ContainerCreating")]}),
                Severity::Failing,
                "container app: ImagePullBackOff",
                None,
            ),
            (
                json!({"containerStatuses": [waiting("ContainerCreating")]}),
                Severity::Slow,
                "container app: ContainerCreating",
                None,
            ),
            (
                json!({"containerStatuses": [{"name": "app", "restartCount": 1, "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}),
                Severity::Failing,
                "container app ended with exit code 137 (OOMKilled), 1 restart",
                log(false),
            ),
            (
                json!({"initContainerStatuses": [{"name": "app", "state": {"terminated": {"exitCode": 2, "message": "no db\n"}}}],
                    "containerStatuses": [waiting("PodInitializing")]}),
                Severity::Failing,
                "container app ended with exit code 2 (no db)",
                log(false),
            ),
            (
                json!({"containerStatuses": [{"name": "app", "ready": false, "state": {"running": {}}}]}),
                Severity::Slow,
                "container app runs but is not ready",
                log(false),
            ),
            (
                json!({"containerStatuses": [{"name": "app", "ready": false, "restartCount": 2, "state": {"running": {}},
                    "lastState": {"terminated": {"signal": 11}}}]}),
                Severity::Failing,
                "container app runs but is not ready; its last run ended with signal 11, 2 restarts",
                log(false),
            ),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
                Severity::Blocked,
                "Unschedulable: 0/1 nodes",
                None,
            ),
            (json!({"phase": "Failed", "reason": "Evicted"}), Severity::Failing, "it has failed: Evicted", None),
            (json!({}), Severity::Slow, "it is not ready yet", None),
        ];
        for (status, severity, words, log) in rows {
            assert_eq!(said(&status), Some((severity, format!("pod ui-1: {words}"), log)));
        }
    }
}
