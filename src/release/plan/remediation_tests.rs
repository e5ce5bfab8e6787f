use std::time::Duration;

use super::Decision;
use super::tests::{at, failed, journaled, release, remediation, revision, with};
use crate::release::observed::{Action, Observed, Phase, Released, Verdict};
use crate::release::remediation::{OnFailure, RollbackTarget, Strategy};

/// An upgrade to `b`, revision 2, that failed and is recorded, as the first of so many tries.
fn upgrade_failed(facts: &mut Observed, failures: i64) {
    facts.desired.config_digest = "b".into();
    facts.desired.on_upgrade_failure = remediation(2, true, Strategy::Rollback);
    facts.revisions.insert(0, revision(2, Phase::Failed, "b"));
    let latest = facts.record.latest.as_mut().expect("set");
    (latest.version, latest.failed, latest.action) = (2, true, Some(Action::Upgrade));
    latest.config_digest = "b".into();
    facts.record.attempted = Some(facts.desired.attempt(Action::Upgrade));
    facts.record.upgrade_failures = failures;
    facts.record.released = Some(Released { done: false, since: at(5) });
    facts.record.failed_since = Some(at(5));
    facts.rollback_target = Some(RollbackTarget { version: 1, stored: true });
    facts.now = at(100);
}

/// As [`upgrade_failed`], rolled back by revision 3.
fn rolled_back(facts: &mut Observed, failures: i64) {
    upgrade_failed(facts, failures);
    facts.revisions.insert(0, revision(3, Phase::Deployed, "a"));
    facts.revisions[0].last_deployed = Some(at(7));
    let latest = facts.record.latest.as_mut().expect("set");
    (latest.version, latest.failed, latest.action) = (3, false, Some(Action::Rollback));
    latest.config_digest = "a".into();
    facts.record.remediated = Some(Released { done: false, since: at(8) });
}

fn after(scene: fn(&mut Observed, i64), failures: i64, change: impl FnOnce(&mut Observed)) -> Decision {
    with(|facts| {
        scene(facts, failures);
        change(facts);
    })
}

#[test]
fn a_failed_upgrade_is_rolled_back_while_there_are_tries_and_after_the_last() {
    let roll_back = Decision::Rollback { to: 1 };
    let stall = |attempts| Decision::Stall { action: Action::Upgrade, attempts };
    assert_eq!(after(upgrade_failed, 1, |_| {}), roll_back);
    assert_eq!(after(upgrade_failed, 3, |_| {}), roll_back, "the last failure too");
    let keep_last = |facts: &mut Observed| facts.desired.on_upgrade_failure = remediation(2, false, Strategy::Rollback);
    assert_eq!(after(upgrade_failed, 2, keep_last), roll_back);
    assert_eq!(after(upgrade_failed, 3, keep_last), stall(3));
    let for_ever = |facts: &mut Observed| facts.desired.on_upgrade_failure = remediation(-1, false, Strategy::Rollback);
    assert_eq!(after(upgrade_failed, 99, for_ever), roll_back);
    assert_eq!(
        after(upgrade_failed, 1, |facts| facts.desired.forced = true),
        release(Action::Upgrade, "forced by annotation")
    );
    let why = "revision 2: it failed, and its inputs have changed since, or it was made by somebody else";
    assert_eq!(after(upgrade_failed, 1, |facts| facts.desired.generation = 9), release(Action::Upgrade, why));
    assert_eq!(after(upgrade_failed, 0, |_| {}), release(Action::Upgrade, why), "unlocked, not failed");
}

#[test]
fn without_a_revision_to_go_back_to_the_upgrade_is_tried_again_while_there_are_tries() {
    let lost = |facts: &mut Observed| facts.rollback_target = Some(RollbackTarget { version: 1, stored: false });
    let none = |facts: &mut Observed| facts.rollback_target = None;
    let why = "revision 2 failed, and the one to go back to is gone";
    assert_eq!(after(upgrade_failed, 1, lost), release(Action::Upgrade, why));
    assert_eq!(after(upgrade_failed, 3, lost), Decision::NoRollbackTarget);
    assert_eq!(after(upgrade_failed, 1, none), Decision::NoRollbackTarget);
}

#[test]
fn a_rollback_is_waited_for_and_followed_by_the_next_try() {
    assert_eq!(after(rolled_back, 1, |_| {}), Decision::Verify { version: 3 });
    let unknown = |facts: &mut Observed| {
        facts.record.latest.as_mut().expect("set").version = 2;
        journaled(facts, Action::Rollback, 2);
    };
    assert_eq!(after(rolled_back, 1, unknown), Decision::Record { version: 3 });
    let healthy = |facts: &mut Observed| facts.verdict = Some(Verdict::Healthy);
    assert_eq!(after(rolled_back, 1, healthy), Decision::Succeed { version: 3 });
    let slow = |facts: &mut Observed| {
        facts.desired.rollback.timeout = Duration::from_secs(3);
        facts.verdict = Some(Verdict::InProgress("pulling".into()));
    };
    assert_eq!(after(rolled_back, 1, slow), Decision::Fail { version: 3, why: "timed out: pulling".into() });
    assert_eq!(after(rolled_back, 1, |facts| facts.desired.rollback.wait = false), Decision::Succeed { version: 3 });
    let done = |facts: &mut Observed| facts.record.remediated = Some(Released { done: true, since: at(9) });
    assert_eq!(after(rolled_back, 1, done), release(Action::Upgrade, "values changed"));
    assert_eq!(after(rolled_back, 3, done), Decision::Stall { action: Action::Upgrade, attempts: 3 });
    assert_eq!(
        after(rolled_back, 3, |facts| facts.desired.config_digest = "c".into()),
        release(Action::Upgrade, "values changed"),
        "other inputs supersede it"
    );
    let wanted_again = |facts: &mut Observed| {
        facts.desired.config_digest = "a".into();
        facts.desired.generation = 3;
    };
    assert_eq!(after(rolled_back, 1, wanted_again), Decision::Verify { version: 3 }, "the release of what is desired");
}

#[test]
fn a_rollback_that_fails_is_not_repeated() {
    let failed = |facts: &mut Observed| {
        facts.revisions[0].status = Phase::Failed;
        facts.record.latest.as_mut().expect("set").failed = true;
        facts.record.remediated = Some(Released { done: true, since: at(9) });
    };
    assert_eq!(after(rolled_back, 1, failed), release(Action::Upgrade, "revision 3, a rollback: it failed"));
    assert_eq!(after(rolled_back, 3, failed), Decision::Stall { action: Action::Upgrade, attempts: 3 });
    let unrecorded = |facts: &mut Observed| {
        facts.revisions[0].status = Phase::Failed;
        facts.record.latest.as_mut().expect("set").version = 2;
        journaled(facts, Action::Rollback, 2);
    };
    assert_eq!(after(rolled_back, 1, unrecorded), Decision::RecordFailure { version: 3 });
    let interrupted = |facts: &mut Observed| {
        facts.revisions[0].status = Phase::Pending;
        facts.record.latest.as_mut().expect("set").version = 2;
        journaled(facts, Action::Rollback, 2);
    };
    assert_eq!(after(rolled_back, 1, interrupted), Decision::Discard { version: 3 });
}

#[test]
fn a_failed_release_is_removed_where_its_remediation_says_so() {
    let uninstall = |facts: &mut Observed| facts.desired.on_upgrade_failure = remediation(1, true, Strategy::Uninstall);
    assert_eq!(after(upgrade_failed, 1, uninstall), Decision::Remove { version: 2 });
    let install = |failures| {
        with(|facts| {
            failed(facts, true, failures);
            facts.desired.on_install_failure = remediation(1, false, Strategy::Uninstall);
            facts.record.failed_since = Some(at(1));
        })
    };
    assert_eq!(install(1), Decision::Remove { version: 1 });
    assert_eq!(install(2), Decision::Stall { action: Action::Install, attempts: 2 });
    let gone = |failures| {
        with(|facts| {
            failed(facts, true, failures);
            facts.revisions.clear();
            facts.desired.on_install_failure = remediation(1, true, Strategy::Uninstall);
        })
    };
    assert_eq!(gone(1), release(Action::Install, "no release in storage"));
    assert_eq!(gone(2), Decision::Stall { action: Action::Install, attempts: 2 });
    let dying = with(|facts| {
        failed(facts, true, 1);
        facts.revisions[0].status = Phase::Uninstalling;
        facts.revisions[0].deleted = Some(at(9));
        journaled(facts, Action::Uninstall, 1);
    });
    assert_eq!(dying, Decision::Remove { version: 1 }, "interrupted by a sudden death");
}

#[test]
fn every_try_after_a_failure_comes_after_a_pause() {
    let at_second = |second, failures| {
        after(rolled_back, failures, |facts| {
            facts.desired.on_upgrade_failure = remediation(-1, true, Strategy::Rollback);
            facts.record.remediated = Some(Released { done: true, since: at(9) });
            facts.now = at(second);
        })
    };
    assert_eq!(at_second(7, 1), Decision::AwaitRetry { until: at(8) });
    assert_eq!(at_second(8, 1), release(Action::Upgrade, "values changed"));
    assert_eq!(at_second(8, 4), Decision::AwaitRetry { until: at(15) });
    assert_eq!(at_second(8, 1000), Decision::AwaitRetry { until: at(307) });
    let retry = |second, failures| {
        after(upgrade_failed, failures, |facts| {
            facts.desired.on_upgrade_failure = OnFailure::Retry { interval: Duration::from_secs(30) };
            facts.now = at(second);
        })
    };
    assert_eq!(retry(34, 7), Decision::AwaitRetry { until: at(35) });
    assert_eq!(retry(35, 7), release(Action::Upgrade, "revision 2: it failed"));
}
