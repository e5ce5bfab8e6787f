use jiff::Timestamp;

use super::*;
use crate::api::helm::v2::TestHookStatus;
use crate::release::history::tests::snapshot;
use crate::release::observed::Tests;
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

    let message =
        edit(status, at(3), |on| on.succeeded(snapshot(1, "deployed"), Action::Install, TestPolicy::default()));
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
    edit(status, at(2), |on| on.stalled(reason::RETRIES_EXCEEDED, "Failed to upgrade after 1 attempt(s)"));
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

fn tested(version: i64, phase: &str) -> Snapshot {
    let hook = TestHookStatus { phase: Some(phase.to_owned()), ..TestHookStatus::default() };
    Snapshot { test_hooks: Some([("smoke".to_owned(), hook)].into()), ..snapshot(version, "deployed") }
}

#[test]
fn tests_have_their_own_condition_and_count_where_they_are_not_ignored() {
    let policy = TestPolicy { enabled: true, ..TestPolicy::default() };
    let status = &mut HelmReleaseStatus::default();
    edit(status, at(1), |on| on.begins(&desired("a"), Action::Upgrade, false, five_minutes()));
    edit(status, at(2), |on| on.succeeded(snapshot(2, "deployed"), Action::Upgrade, policy));
    let awaiting = "Helm release apps/ui.v2 with chart node@1.0.0 is awaiting tests";
    assert!(shown(status).contains(&format!("Ready=Unknown AwaitingTests: {awaiting}")));
    edit(status, at(2), |on| on.runs("test", five_minutes()));
    assert!(
        shown(status).contains(&"Reconciling=True Progressing: Running 'test' action with timeout of 5m0s".to_owned())
    );
    let message = edit(status, at(3), |on| on.tests_failed(tested(2, "Failed"), "pod smoke failed\n", policy));
    assert_eq!(message, "Helm test failed for release apps/ui.v2 with chart node@1.0.0: pod smoke failed");
    assert!(shown(status).contains(&format!("Ready=False TestFailed: {message}")));
    assert_eq!((status.failures, status.upgrade_failures), (1, 1));
    assert_eq!(record(status, &desired("a").target, false).latest.map(|latest| latest.tests), Some(Tests::Failed));
    assert_eq!(record(status, &desired("a").target, false).failed_since, Some(at(3)));

    let passed = edit(status, at(4), |on| on.tested(tested(2, "Succeeded"), policy));
    assert_eq!(
        passed,
        "Helm test succeeded for release apps/ui.v2 with chart node@1.0.0: 1 test hook completed successfully"
    );
    let released = "Helm upgrade succeeded for release apps/ui.v2 with chart node@1.0.0";
    let expected = [
        format!("Ready=True TestSucceeded: {passed}"),
        format!("Released=True UpgradeSucceeded: {released}"),
        format!("TestSuccess=True TestSucceeded: {passed}"),
    ];
    assert_eq!((shown(status).as_slice(), status.failures), (expected.as_slice(), 0));

    let ignored = TestPolicy { ignored: true, ignored_by_remediation: true, enabled: true };
    edit(status, at(5), |on| on.tests_failed(tested(2, "Failed"), "no", ignored));
    assert_eq!((status.failures, status.upgrade_failures), (1, 0));
    assert!(shown(status).contains(&format!("Ready=True UpgradeSucceeded: {released}")));
    edit(status, at(6), |on| on.in_sync(TestPolicy::default()));
    assert!(!shown(status).iter().any(|condition| condition.starts_with("TestSuccess")), "tests are switched off");
}

#[test]
fn a_test_that_could_not_be_run_is_not_counted() {
    let policy = TestPolicy { enabled: true, ..TestPolicy::default() };
    let status = &mut HelmReleaseStatus::default();
    edit(status, at(1), |on| on.begins(&desired("a"), Action::Install, false, five_minutes()));
    edit(status, at(2), |on| on.tests_failed(snapshot(1, "deployed"), "no API server", policy));
    assert_eq!((status.failures, status.install_failures), (1, 0));
    assert_eq!(record(status, &desired("a").target, false).latest.map(|latest| latest.tests), Some(Tests::Pending));
}

#[test]
fn a_rollback_tells_what_it_was_needed_for() {
    let status = &mut HelmReleaseStatus::default();
    edit(status, at(1), |on| on.begins(&desired("a"), Action::Upgrade, false, five_minutes()));
    let failed = edit(status, at(2), |on| on.failed(snapshot(2, "failed"), Action::Upgrade, "it crashes"));
    edit(status, at(3), |on| on.runs("rollback", five_minutes()));
    edit(status, at(4), |on| on.rolling_back(Snapshot { action: Some("rollback".into()), ..snapshot(3, "deployed") }));
    assert_eq!(record(status, &desired("a").target, false).remediated, Some(Released { done: false, since: at(4) }));
    assert_eq!(
        record(status, &desired("a").target, false).latest.and_then(|latest| latest.action),
        Some(Action::Rollback)
    );
    assert!(shown(status).contains(&format!("Ready=False UpgradeFailed: {failed}")), "{:?}", shown(status));
    let message = edit(status, at(5), |on| on.rolled_back(snapshot(3, "deployed"), &snapshot(1, "superseded")));
    assert_eq!(message, "Helm rollback to previous release apps/ui.v1 with chart node@1.0.0 succeeded");
    assert_eq!(
        shown(status),
        [
            format!("Ready=False RollbackSucceeded: {message}; it was needed because of: {failed}"),
            format!("Released=False UpgradeFailed: {failed}"),
            format!("Remediated=True RollbackSucceeded: {message}"),
        ]
    );
    assert_eq!(record(status, &desired("a").target, false).remediated, Some(Released { done: true, since: at(5) }));
    assert_eq!((status.failures, status.upgrade_failures), (1, 1), "what was set back stays counted");

    let message = edit(status, at(6), |on| on.rollback_failed(None, &snapshot(1, "superseded"), "gone\n"));
    assert_eq!(message, "Helm rollback to previous release apps/ui.v1 with chart node@1.0.0 failed: gone");
    assert!(shown(status).contains(&format!("Remediated=False RollbackFailed: {message}")));
    assert_eq!((status.failures, status.upgrade_failures), (2, 1));
    edit(status, at(7), |on| on.begins(&desired("a"), Action::Upgrade, true, five_minutes()));
    assert!(!shown(status).iter().any(|condition| condition.starts_with("Remediated")), "of the try before");
}

#[test]
fn a_removed_release_keeps_its_failures_and_its_snapshot() {
    let status = &mut HelmReleaseStatus::default();
    edit(status, at(1), |on| on.begins(&desired("a"), Action::Install, false, five_minutes()));
    let failed = edit(status, at(2), |on| on.failed(snapshot(1, "failed"), Action::Install, "it crashes"));
    let denied = edit(status, at(3), |on| on.removal_failed(&snapshot(1, "failed"), "denied"));
    assert_eq!(denied, "Helm uninstall remediation for release apps/ui.v1 with chart node@1.0.0 failed: denied");
    assert!(shown(status).contains(&format!("Ready=False UninstallFailed: {denied}")));
    let message = edit(status, at(4), |on| on.removed(snapshot(1, "uninstalled")));
    assert_eq!(message, "Helm uninstall remediation for release apps/ui.v1 with chart node@1.0.0 succeeded");
    let ready = format!("Ready=False UninstallSucceeded: {message}; it was needed because of: {failed}");
    assert!(shown(status).contains(&ready), "{:?}", shown(status));
    assert_eq!((status.install_failures, status.history.len()), (1, 1));
    edit(status, at(5), |on| on.awaits_retry(at(60)));
    assert!(
        shown(status).contains(&format!("Reconciling=True ProgressingWithRetry: the next try is at {:.0}", at(60)))
    );
}

#[test]
fn failed_tests_count_against_the_install_that_they_belong_to() {
    let policy = TestPolicy { enabled: true, ..TestPolicy::default() };
    let status = &mut HelmReleaseStatus::default();
    edit(status, at(1), |on| on.begins(&desired("a"), Action::Install, false, five_minutes()));
    for failures in 1..=2 {
        edit(status, at(2), |on| on.tests_failed(tested(1, "Failed"), "no", policy));
        assert_eq!((status.install_failures, status.upgrade_failures), (failures, 0));
    }
}

#[test]
fn only_an_install_begins_a_new_history() {
    let status = &mut HelmReleaseStatus { history: vec![snapshot(1, "deployed")], ..HelmReleaseStatus::default() };
    edit(status, at(1), |on| on.begins(&desired("a"), Action::Upgrade, false, five_minutes()));
    assert_eq!(status.history.len(), 1);
    edit(status, at(2), |on| on.begins(&desired("a"), Action::Install, false, five_minutes()));
    assert!(status.history.is_empty());
}

#[test]
fn what_changed_the_objects_is_remembered() {
    let rendering = Rendering { post_renderers: Some("p".to_owned()), common_metadata: Some("c".to_owned()) };
    let status = &mut HelmReleaseStatus::default();
    edit(status, at(1), |on| on.rendered(&rendering));
    let remembered = |status: &HelmReleaseStatus| record(status, &desired("a").target, false).rendering;
    assert_eq!(remembered(status), rendering);
    // As an older Flux writes it.
    status.observed_post_renderers_digest = Some(String::new());
    status.observed_common_metadata_digest = Some(String::new());
    assert_eq!(remembered(status), Rendering::default());
}
