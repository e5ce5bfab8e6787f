use std::time::Duration;

use jiff::Timestamp;

use super::{Decision, decide, poll_interval};
use crate::release::observed::{
    Action, Desired, Journal, Observed, Phase, Record, Recorded, Released, Rendering, Revision, Settings, Target,
    Tests, Verdict,
};
use crate::release::remediation::{OnFailure, Remediation, Strategy};

pub(in crate::release) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("in range")
}

pub(in crate::release) fn target(storage: &str, namespace: &str, name: &str) -> Target {
    let [storage, namespace, name] = [storage, namespace, name].map(str::to_owned);
    Target { cluster: String::new(), storage, namespace, name }
}

pub(in crate::release) fn desired(config: &str) -> Desired {
    let settings = Settings { timeout: Duration::from_mins(5), wait: true };
    Desired {
        target: target("apps", "apps", "ui"),
        chart_name: "node".to_owned(),
        chart_version: "1.0.0".to_owned(),
        config_digest: config.to_owned(),
        generation: 1,
        install: settings,
        upgrade: settings,
        rollback: settings,
        uninstall: settings,
        on_install_failure: remediation(0, false, Strategy::Uninstall),
        on_upgrade_failure: remediation(0, false, Strategy::Rollback),
        tests: false,
        reinstall_renamed_chart: true,
        rendering: Rendering::default(),
        forced: false,
        reset: false,
    }
}

pub(in crate::release) fn remediation(retries: i64, last_failure: bool, strategy: Strategy) -> OnFailure {
    OnFailure::Remediate(Remediation { retries, last_failure, strategy, ignore_test_failures: false })
}

pub(in crate::release) fn revision(version: i64, status: Phase, config: &str) -> Revision {
    Revision {
        version,
        status,
        chart_name: "node".to_owned(),
        chart_version: "1.0.0".to_owned(),
        config_digest: config.to_owned(),
        last_deployed: Some(at(0)),
        deleted: None,
        description: String::new(),
        server_side: false,
    }
}

/// A release of `a`, deployed as revision 1, recorded and seen healthy, ten seconds old.
pub(in crate::release) fn in_sync() -> Observed {
    let desired = desired("a");
    let latest = Recorded {
        target: desired.target.clone(),
        version: 1,
        failed: false,
        chart_name: "node".to_owned(),
        config_digest: "a".to_owned(),
        action: Some(Action::Install),
        tests: Tests::Pending,
    };
    Observed {
        rollback_target: None,
        revisions: vec![revision(1, Phase::Deployed, "a")],
        record: Record {
            latest: Some(latest),
            released: Some(Released { done: true, since: at(1) }),
            attempted: Some(desired.attempt(Action::Install)),
            ..Record::default()
        },
        desired,
        journal: None,
        verdict: None,
        drift: None,
        now: at(10),
    }
}

pub(super) fn with(change: impl FnOnce(&mut Observed)) -> Decision {
    let mut facts = in_sync();
    change(&mut facts);
    decide(&facts)
}

/// As [`with`], for a release whose status knows nothing.
pub(super) fn without_record(change: impl FnOnce(&mut Observed)) -> Decision {
    with(|facts| {
        facts.record = Record::default();
        change(facts);
    })
}

pub(in crate::release) fn waiting(facts: &mut Observed) {
    facts.record.released = Some(Released { done: false, since: at(1) });
}

pub(super) fn journaled(facts: &mut Observed, action: Action, base: i64) {
    facts.journal = Some(Journal {
        forced: false,
        target: facts.desired.target.clone(),
        action,
        base,
        config_digest: "a".to_owned(),
        rendering: facts.desired.rendering.clone(),
    });
}

pub(super) fn failed(facts: &mut Observed, recorded: bool, failures: i64) {
    facts.revisions[0].status = Phase::Failed;
    if let Some(latest) = facts.record.latest.as_mut() {
        latest.failed = recorded;
    }
    facts.record.install_failures = failures;
}

pub(super) fn release(action: Action, why: &str) -> Decision {
    Decision::Release { action, why: why.to_owned() }
}

type Change = fn(&mut Observed);

const CHANGED: &str = "revision 1: it failed, and its inputs have changed since, or it was made by somebody else";

#[test]
fn what_is_desired_and_in_force_is_left_alone() {
    assert_eq!(with(|_| {}), Decision::Nothing);
    assert_eq!(with(|facts| facts.desired.generation = 2), Decision::Nothing, "a new generation alone");
    assert_eq!(
        with(|facts| facts.revisions[0].config_digest = "odd".into()),
        Decision::Nothing,
        "made of these values"
    );
    let unfinished = with(|facts| {
        facts.revisions.insert(0, revision(2, Phase::Deployed, "odd"));
        journaled(facts, Action::Upgrade, 1);
    });
    assert_eq!(unfinished, Decision::Record { version: 2 }, "made of these values before a sudden death");
    let by_hand = with(|facts| facts.revisions.insert(0, revision(2, Phase::Deployed, "odd")));
    assert_eq!(by_hand, release(Action::Upgrade, "values changed"));
    assert_eq!(with(|facts| facts.desired.reset = true), Decision::Nothing);
    assert_eq!(with(|facts| journaled(facts, Action::Upgrade, 1)), Decision::Nothing, "an action that never landed");
}

#[test]
fn nothing_in_storage_is_an_install() {
    let wanted = release(Action::Install, "no release in storage");
    assert_eq!(without_record(|facts| facts.revisions.clear()), wanted);
    assert_eq!(without_record(|facts| facts.revisions[0].status = Phase::Uninstalled), wanted);
    assert_eq!(with(|facts| facts.revisions.clear()), wanted, "removed by somebody else");
    let exhausted = |facts: &mut Observed| {
        facts.revisions.clear();
        facts.record.install_failures = 1;
    };
    assert_eq!(with(exhausted), Decision::Stall { action: Action::Install, attempts: 1 });
    let and = |change: fn(&mut Observed)| {
        with(|facts| {
            exhausted(facts);
            change(facts);
        })
    };
    assert_eq!(and(|facts| facts.desired.generation = 2), wanted);
    assert_eq!(and(|facts| facts.desired.chart_version = "2".into()), wanted);
    assert_eq!(and(|facts| facts.desired.config_digest = "b".into()), wanted);
    assert_eq!(and(|facts| facts.desired.reset = true), wanted);
    assert_eq!(and(|facts| facts.desired.forced = true), release(Action::Install, "forced by annotation"));
}

#[test]
fn a_difference_is_an_upgrade() {
    let rows: [(&str, Change); 5] = [
        ("values changed", |facts| facts.desired.config_digest = "b".into()),
        ("chart node@1.1.0 replaces node@1.0.0", |facts| facts.desired.chart_version = "1.1.0".into()),
        ("the newest revision, 1, is superseded", |facts| facts.revisions[0].status = Phase::Superseded),
        ("revision 1 is in a state unknown to this operator", |facts| facts.revisions[0].status = Phase::Unknown),
        ("forced by annotation", |facts| facts.desired.forced = true),
    ];
    for (why, change) in rows {
        assert_eq!(with(change), release(Action::Upgrade, why));
        let while_waiting = with(|facts| {
            waiting(facts);
            change(facts);
        });
        assert_eq!(while_waiting, release(Action::Upgrade, why), "a wait is superseded");
    }
    let exhausted = with(|facts| {
        facts.desired.config_digest = "b".into();
        facts.record.attempted = Some(facts.desired.attempt(Action::Upgrade));
        facts.record.upgrade_failures = 2;
    });
    assert_eq!(exhausted, Decision::Stall { action: Action::Upgrade, attempts: 2 });
}

#[test]
fn a_renamed_chart_replaces_the_release_unless_told_otherwise() {
    let renamed = |facts: &mut Observed| facts.desired.chart_name = "deno".into();
    let in_place = |facts: &mut Observed| {
        renamed(facts);
        facts.desired.reinstall_renamed_chart = false;
    };
    assert_eq!(with(in_place), release(Action::Upgrade, "chart deno@1.0.0 replaces node@1.0.0"));
    let why = "chart deno takes the place of node".to_owned();
    assert_eq!(with(renamed), Decision::Forget { why: why.clone() });
    let present = with(|facts| {
        renamed(facts);
        facts.record.previous_target_exists = true;
    });
    assert_eq!(present, Decision::Uninstall { target: desired("a").target, why });
}

#[test]
fn a_moved_release_leaves_nothing_behind() {
    let rows: [(&str, Change); 3] = [
        ("helm's records move from namespace apps to records", |facts| facts.desired.target.storage = "records".into()),
        ("the release moves from namespace apps to other", |facts| facts.desired.target.namespace = "other".into()),
        ("release api takes the place of ui", |facts| facts.desired.target.name = "api".into()),
    ];
    for (why, change) in rows {
        assert_eq!(with(change), Decision::Forget { why: why.to_owned() });
        let present = with(|facts| {
            change(facts);
            facts.record.previous_target_exists = true;
        });
        assert_eq!(present, Decision::Uninstall { target: desired("a").target, why: why.to_owned() });
    }
}

#[test]
fn a_lock_is_broken_only_when_its_owner_is_gone() {
    let lock = |facts: &mut Observed| facts.revisions.insert(0, revision(2, Phase::Pending, "b"));
    assert_eq!(with(lock), Decision::AwaitLock { version: 2, until: at(300) });
    let also = |change: fn(&mut Observed)| {
        with(|facts| {
            lock(facts);
            change(facts);
        })
    };
    assert_eq!(also(|facts| journaled(facts, Action::Upgrade, 1)), Decision::Discard { version: 2 });
    assert_eq!(also(|facts| facts.desired.forced = true), Decision::AwaitLock { version: 2, until: at(300) });
    let theirs = Decision::AwaitLock { version: 2, until: at(300) };
    assert_eq!(also(|facts| journaled(facts, Action::Upgrade, 2)), theirs, "made before ours began");
    let elsewhere = also(|facts| {
        journaled(facts, Action::Upgrade, 1);
        facts.journal.as_mut().expect("set").target.name = "api".into();
    });
    assert_eq!(elsewhere, theirs, "the journal of another release");
    assert_eq!(also(|facts| facts.now = at(300)), Decision::Unlock { version: 2 });
    assert_eq!(also(|facts| facts.revisions[0].last_deployed = None), Decision::Unlock { version: 2 });
}

#[test]
fn a_deletion_of_somebody_else_is_finished_only_when_its_owner_is_gone() {
    let at_once = |facts: &mut Observed| facts.revisions[0].status = Phase::Uninstalling;
    let begun = |facts: &mut Observed| {
        at_once(facts);
        facts.revisions[0].deleted = Some(at(5));
    };
    let finish =
        Decision::Uninstall { target: desired("a").target, why: "its deletion was begun and not finished".to_owned() };
    assert_eq!(with(begun), Decision::AwaitLock { version: 1, until: at(305) });
    let late = with(|facts| {
        begun(facts);
        facts.now = at(305);
    });
    assert_eq!(late, finish);
    assert_eq!(with(at_once), finish, "nobody knows when it began");
    let installing = with(|facts| {
        begun(facts);
        journaled(facts, Action::Install, 0);
    });
    assert_eq!(installing, Decision::AwaitLock { version: 1, until: at(305) }, "our own action was another");
    let elsewhere = with(|facts| {
        begun(facts);
        journaled(facts, Action::Uninstall, 1);
        facts.journal.as_mut().expect("set").target.name = "other".to_owned();
    });
    assert_eq!(elsewhere, Decision::AwaitLock { version: 1, until: at(305) }, "our own deletion was of another");
    let ours = with(|facts| {
        begun(facts);
        journaled(facts, Action::Uninstall, 1);
    });
    assert_eq!(ours, finish);
    let forced = with(|facts| {
        begun(facts);
        facts.desired.forced = true;
    });
    assert_eq!(forced, Decision::AwaitLock { version: 1, until: at(305) });
}

#[test]
fn a_release_of_somebody_else_is_taken_over_as_it_is() {
    assert_eq!(without_record(|_| {}), Decision::Record { version: 1 });
    let newer = with(|facts| facts.revisions.insert(0, revision(2, Phase::Deployed, "a")));
    assert_eq!(newer, Decision::Record { version: 2 });
}

#[test]
fn a_failure_is_recorded_once_and_then_stalls_until_an_input_changes() {
    let upgrade = release(Action::Upgrade, CHANGED);
    assert_eq!(with(|facts| failed(facts, false, 0)), Decision::RecordFailure { version: 1 });
    assert_eq!(with(|facts| failed(facts, true, 1)), Decision::Stall { action: Action::Install, attempts: 1 });
    assert_eq!(with(|facts| failed(facts, true, 0)), upgrade, "unlocked, not failed");
    assert_eq!(without_record(|facts| failed(facts, false, 0)), upgrade, "somebody else's");
    let also = |change: fn(&mut Observed)| {
        with(|facts| {
            failed(facts, true, 1);
            change(facts);
        })
    };
    assert_eq!(also(|facts| facts.desired.generation = 2), upgrade);
    assert_eq!(also(|facts| facts.desired.chart_version = "2".into()), upgrade);
    assert_eq!(also(|facts| facts.desired.config_digest = "b".into()), upgrade);
    assert_eq!(also(|facts| facts.desired.reset = true), upgrade);
    assert_eq!(also(|facts| facts.desired.forced = true), release(Action::Upgrade, "forced by annotation"));
    let foreign = with(|facts| {
        failed(facts, false, 0);
        facts.record.attempted = None;
    });
    assert_eq!(foreign, upgrade);
    let ours = without_record(|facts| {
        failed(facts, false, 0);
        journaled(facts, Action::Install, 0);
    });
    assert_eq!(ours, Decision::RecordFailure { version: 1 });
    let never_landed = with(|facts| {
        failed(facts, false, 0);
        journaled(facts, Action::Upgrade, 1);
    });
    assert_eq!(never_landed, upgrade, "the journal tells that the failed revision is older");
    let unlocked = with(|facts| {
        failed(facts, false, 0);
        facts.revisions[0].description = "Release unlocked from stale 'pending-upgrade' state".into();
    });
    assert_eq!(unlocked, upgrade);
}

#[test]
fn a_wait_ends_healthy_failed_or_late() {
    let wait = |change: fn(&mut Observed)| {
        with(|facts| {
            waiting(facts);
            change(facts);
        })
    };
    let slow = || Some(Verdict::InProgress("pod x: pulling".to_owned()));
    assert_eq!(wait(|_| {}), Decision::Verify { version: 1 });
    assert_eq!(wait(|facts| facts.record.released = None), Decision::Verify { version: 1 });
    assert_eq!(wait(|facts| facts.desired.install.wait = false), Decision::Succeed { version: 1 });
    assert_eq!(wait(|facts| facts.desired.upgrade.wait = false), Decision::Verify { version: 1 });
    assert_eq!(wait(|facts| facts.verdict = Some(Verdict::Healthy)), Decision::Succeed { version: 1 });
    assert_eq!(
        wait(|facts| facts.verdict = Some(Verdict::Failed("job failed".into()))),
        Decision::Fail { version: 1, why: "job failed".to_owned() }
    );
    let again = with(|facts| {
        waiting(facts);
        facts.verdict = slow();
    });
    assert_eq!(again, Decision::Wait { version: 1, again: Duration::from_secs(2), why: "pod x: pulling".to_owned() });
    let late = with(|facts| {
        waiting(facts);
        facts.verdict = slow();
        facts.now = at(301);
    });
    assert_eq!(late, Decision::Fail { version: 1, why: "timed out: pod x: pulling".to_owned() });
    let upgrade_has_its_own_timeout = with(|facts| {
        waiting(facts);
        facts.verdict = slow();
        facts.record.attempted = Some(facts.desired.attempt(Action::Upgrade));
        facts.desired.upgrade.timeout = Duration::from_secs(1);
    });
    assert!(matches!(upgrade_has_its_own_timeout, Decision::Fail { .. }));
    let from_the_later_moment = with(|facts| {
        waiting(facts);
        facts.verdict = slow();
        facts.revisions[0].last_deployed = Some(at(9));
        facts.now = at(302);
    });
    assert!(matches!(from_the_later_moment, Decision::Wait { .. }));
}

#[test]
fn looks_get_rarer_and_end_at_the_deadline() {
    let millis = |since, deadline, now| poll_interval(since, deadline, now).as_millis();
    assert_eq!(millis(at(0), at(300), at(0)), 150);
    assert_eq!(millis(at(0), at(300), at(4)), 1000);
    assert_eq!(millis(at(0), at(300), at(100)), 2000);
    assert_eq!(millis(at(0), at(300), at(299)), 1000);
    assert_eq!(millis(at(5), at(300), at(0)), 150, "a clock that is behind the cluster's");
    assert_eq!(millis(at(0), at(300), at(400)), 0);
}

#[test]
fn tests_are_run_once_and_their_failure_counts_unless_ignored() {
    let tested = |tests: Tests, change: fn(&mut Observed)| {
        with(|facts| {
            facts.desired.tests = true;
            facts.record.latest.as_mut().expect("set").tests = tests;
            change(facts);
        })
    };
    assert_eq!(tested(Tests::Pending, |_| {}), Decision::Test { version: 1 });
    assert_eq!(tested(Tests::Passed, |_| {}), Decision::Nothing);
    assert_eq!(tested(Tests::Pending, waiting), Decision::Verify { version: 1 }, "health first");
    assert_eq!(tested(Tests::Failed, |facts| facts.desired.tests = false), Decision::Nothing);
    let counted = tested(Tests::Failed, |facts| facts.record.install_failures = 1);
    assert_eq!(counted, Decision::Stall { action: Action::Install, attempts: 1 });
    let removed = tested(Tests::Failed, |facts| {
        facts.desired.on_install_failure = remediation(1, false, Strategy::Uninstall);
        facts.record.install_failures = 1;
    });
    assert_eq!(removed, Decision::Remove { version: 1 });
    let ignored = tested(Tests::Failed, |facts| {
        facts.desired.on_install_failure = OnFailure::Remediate(Remediation {
            retries: 0,
            last_failure: false,
            strategy: Strategy::Uninstall,
            ignore_test_failures: true,
        });
    });
    assert_eq!(ignored, Decision::Nothing);
    assert_eq!(tested(Tests::Failed, |facts| facts.record.attempted = None), Decision::Nothing, "only taken over");
    let changed = tested(Tests::Failed, |facts| {
        facts.record.install_failures = 1;
        facts.desired.generation = 2;
    });
    let why = "revision 1: its tests failed, and its inputs have changed since, or it was made by somebody else";
    assert_eq!(changed, release(Action::Upgrade, why));
}

#[test]
fn a_change_right_after_a_release_waits_for_nothing() {
    let changed = with(|facts| {
        facts.now = at(0);
        facts.revisions[0].last_deployed = Some(at(0));
        facts.desired.config_digest = "b".into();
        facts.desired.generation = 2;
    });
    assert_eq!(changed, release(Action::Upgrade, "values changed"));
}

#[test]
fn what_made_a_release_is_told_by_journal_record_attempt_or_number() {
    let told = |version: i64, change: Change| {
        let mut facts = in_sync();
        facts.record.latest.as_mut().expect("set").version = version;
        change(&mut facts);
        facts.action_of(version)
    };
    let recorded = |facts: &mut Observed| facts.record.latest.as_mut().expect("set").action = Some(Action::Rollback);
    assert_eq!(told(3, recorded), Action::Rollback);
    assert_eq!(told(3, |_| {}), Action::Install, "as attempted last");
    assert_eq!(told(3, |facts| facts.record.attempted = None), Action::Upgrade, "a record of an install is of another");
    assert_eq!(told(1, |facts| facts.record.attempted = None), Action::Install);
    assert_eq!(told(3, |facts| journaled(facts, Action::Rollback, 2)), Action::Rollback);
    assert_eq!(told(3, |facts| journaled(facts, Action::Rollback, 3)), Action::Install, "begun before that revision");
}
