use jiff::Timestamp;

use super::*;
use crate::release::history::tests::snapshot;
use crate::release::plan::tests::{at, desired};

/// The conditions as `Type=Status Reason: message`, sorted.
fn shown(status: &HelmReleaseStatus) -> Vec<String> {
    let show = |found: &Condition| format!("{}={} {}: {}", found.type_, found.status, found.reason, found.message);
    let mut shown: Vec<_> = status.conditions.iter().map(show).collect();
    shown.sort();
    shown
}

fn edit<T>(status: &mut HelmReleaseStatus, now: Timestamp, change: impl FnOnce(&mut Editor<'_>) -> T) -> T {
    change(&mut Editor { status, generation: 2, now })
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

#[test]
fn an_install_tells_its_story() {
    let status = &mut HelmReleaseStatus::default();
    edit(status, at(1), |on| on.begins(&desired("a"), Action::Install, false, five_minutes()));
    let running = "Running 'install' action with timeout of 5m0s";
    assert_eq!(
        shown(status),
        [format!("Ready=Unknown Progressing: {running}"), format!("Reconciling=True Progressing: {running}")]
    );
    assert_eq!(status.last_attempted_config_digest.as_deref(), Some("a"));
    assert_eq!(status.last_attempted_revision.as_deref(), Some("1.0.0"));
    assert_eq!(status.storage_namespace.as_deref(), Some("apps"));
    assert_eq!(status.observed_generation, None);

    edit(status, at(2), |on| on.made(snapshot(1, "deployed")));
    let waiting = "Waiting for the objects of release apps/ui.v1 with chart node@1.0.0";
    assert_eq!(
        shown(status),
        [
            format!("Ready=Unknown Progressing: {waiting}"),
            format!("Reconciling=True Progressing: {waiting}"),
            format!("Released=Unknown Progressing: {waiting}"),
        ]
    );
    let known = record(status, &desired("a").target, false);
    assert_eq!(known.released, Some(Released { done: false, since: at(2) }));
    assert_eq!(known.latest.map(|latest| (latest.version, latest.failed)), Some((1, false)));
    assert_eq!(known.attempted.and_then(|attempt| attempt.action), Some(Action::Install));

    let message = edit(status, at(3), |on| on.succeeded(snapshot(1, "deployed"), Action::Install));
    assert_eq!(message, "Helm install succeeded for release apps/ui.v1 with chart node@1.0.0");
    assert_eq!(
        shown(status),
        [format!("Ready=True InstallSucceeded: {message}"), format!("Released=True InstallSucceeded: {message}")]
    );
    assert_eq!(status.observed_generation, Some(2));
    assert_eq!(record(status, &desired("a").target, false).released, Some(Released { done: true, since: at(3) }));
}

#[test]
fn a_failure_counts_and_stalls_with_its_own_message() {
    let status = &mut HelmReleaseStatus::default();
    edit(status, at(1), |on| on.begins(&desired("a"), Action::Upgrade, false, five_minutes()));
    let message =
        edit(status, at(2), |on| on.failed(snapshot(2, "failed"), Action::Upgrade, " pod ui-1: it crashes\n"));
    assert_eq!(message, "Helm upgrade failed for release apps/ui with chart node@1.0.0: pod ui-1: it crashes");
    edit(status, at(2), |on| on.stalled(RETRIES_EXCEEDED, "Failed to upgrade after 1 attempt(s)"));
    assert_eq!(
        shown(status),
        [
            format!("Ready=False UpgradeFailed: {message}"),
            format!("Released=False UpgradeFailed: {message}"),
            "Stalled=True RetriesExceeded: Failed to upgrade after 1 attempt(s)".to_owned(),
        ]
    );
    assert_eq!((status.failures, status.upgrade_failures, status.install_failures), (1, 1, 0));
    assert_eq!(record(status, &desired("a").target, true).latest.map(|latest| latest.failed), Some(true));

    edit(status, at(3), |on| on.begins(&desired("a"), Action::Upgrade, true, five_minutes()));
    assert_eq!(status.failures, 1, "the same inputs");
    edit(status, at(3), |on| on.begins(&desired("b"), Action::Upgrade, false, five_minutes()));
    assert_eq!((status.failures, status.upgrade_failures), (0, 0));
    assert!(!shown(status).iter().any(|condition| condition.starts_with("Stalled")));
}

#[test]
fn a_failure_that_left_nothing_is_not_counted_against_its_inputs() {
    let status = &mut HelmReleaseStatus::default();
    let message = edit(status, at(1), |on| on.failed_early(&desired("a"), Action::Install, "parse error"));
    assert_eq!(message, "Helm install failed for release apps/ui with chart node@1.0.0: parse error");
    assert_eq!((status.failures, status.install_failures), (1, 0));
    assert_eq!(
        shown(status),
        [
            format!("Ready=False InstallFailed: {message}"),
            format!("Reconciling=True ProgressingWithRetry: {message}"),
            format!("Released=False InstallFailed: {message}"),
        ]
    );
}

#[test]
fn prerequisites_refusals_and_locks_have_their_conditions() {
    let status = &mut HelmReleaseStatus::default();
    edit(status, at(1), |on| on.waits_for("DependencyNotReady", "dependency 'a/b' is not ready"));
    assert_eq!(
        shown(status),
        [
            "Ready=False DependencyNotReady: dependency 'a/b' is not ready",
            "Reconciling=True Progressing: Fulfilling prerequisites",
        ]
    );
    edit(status, at(2), |on| on.refused("Unsupported", "not here"));
    assert_eq!(shown(status), ["Ready=False Unsupported: not here", "Stalled=True Unsupported: not here"]);
    assert_eq!(status.observed_generation, Some(2));
    let message = edit(status, at(3), |on| on.unlocked(snapshot(2, "failed"), "pending-upgrade"));
    assert_eq!(message, "Unlocked Helm release apps/ui.v2 with chart node@1.0.0 in pending-upgrade state");
    assert_eq!(status.upgrade_failures, 0);
}

#[test]
fn an_uninstalled_release_leaves_no_trace() {
    let status = &mut HelmReleaseStatus::default();
    edit(status, at(1), |on| on.failed(snapshot(2, "failed"), Action::Upgrade, "no"));
    edit(status, at(2), |on| on.uninstall_failed("cannot"));
    assert_eq!(status.failures, 2);
    edit(status, at(3), |on| on.uninstalled("gone"));
    assert!(status.history.is_empty() && status.storage_namespace.is_none() && status.failures == 0);
    let gone = "False UninstallSucceeded: gone";
    assert!(shown(status).contains(&format!("Ready={gone}")) && shown(status).contains(&format!("Released={gone}")));
}

#[test]
fn records_are_remembered_where_the_status_says() {
    let desired = desired("a").target;
    let kept = |storage: Option<&str>| {
        let mut status = HelmReleaseStatus { history: vec![snapshot(1, "deployed")], ..HelmReleaseStatus::default() };
        status.storage_namespace = storage.map(str::to_owned);
        recorded(&status, &Target { cluster: "prod".to_owned(), ..desired.clone() }).map(|latest| latest.target)
    };
    let expected = |storage: &str| {
        let [cluster, storage] = ["prod", storage].map(str::to_owned);
        Some(Target { cluster, storage, ..desired.clone() })
    };
    assert_eq!(kept(Some("flux-system")), expected("flux-system"));
    assert_eq!(kept(None), expected("apps"), "a status that does not say means the wanted place");
    assert_eq!(recorded(&HelmReleaseStatus::default(), &desired), None);
}
