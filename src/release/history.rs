//! The history on the status: snapshots, newest first, as many as Flux keeps.

use crate::api::helm::v2::{Snapshot, TestHookStatus};

use super::observed::{Action, Recorded, Target, Tests};

/// Version of the rules that snapshot digests are computed by: helm 4's release format.
pub const API_VERSION: &str = "v2";

/// Helm's phase of a hook that failed.
pub const FAILED: &str = "Failed";
/// Helm's phase of a hook that succeeded.
pub const SUCCEEDED: &str = "Succeeded";

/// Snapshots that are kept when none of them is one to go back to.
const LONGEST: usize = 5;

/// Puts a snapshot in its place; one of the same revision is replaced, its test results kept.
pub fn put(history: &mut Vec<Snapshot>, mut snapshot: Snapshot) {
    let same = |known: &Snapshot| is_of(known, &snapshot.namespace, &snapshot.name, snapshot.version);
    if let Some(position) = history.iter().position(same) {
        let known = history.remove(position);
        snapshot.test_hooks = snapshot.test_hooks.or(known.test_hooks);
        snapshot.oci_digest = snapshot.oci_digest.or(known.oci_digest);
        snapshot.action = snapshot.action.or(known.action);
    }
    history.push(snapshot);
    history.sort_by_key(|known| std::cmp::Reverse(known.version));
}

/// Drops what is older than the release before the newest one that a rollback would go back to;
/// without such a release the newest five are kept.
pub fn truncate(history: &mut Vec<Snapshot>, ignore_test_failures: bool) {
    let previous = position_of_previous(history, ignore_test_failures);
    history.truncate(previous.map_or(LONGEST, |position| position + 1));
}

/// Whether a snapshot is of that revision.
pub fn is_of(snapshot: &Snapshot, namespace: &str, name: &str, version: i64) -> bool {
    snapshot.namespace == namespace && snapshot.name == name && snapshot.version == version
}

/// `namespace/name.v1`, as messages name a revision.
pub fn full_name(snapshot: &Snapshot) -> String {
    format!("{}/{}.v{}", snapshot.namespace, snapshot.name, snapshot.version)
}

/// `chart@1.0.0`, as messages name a chart.
pub fn chart(snapshot: &Snapshot) -> String {
    format!("{}@{}", snapshot.chart_name, snapshot.chart_version)
}

/// The newest snapshot, in as much as decisions need of it. Snapshots do not say in which cluster
/// they are, nor in which namespace helm's records of them: the former is the one asked for.
pub fn recorded(history: &[Snapshot], cluster: &str, storage: &str) -> Option<Recorded> {
    let newest = history.iter().max_by_key(|known| known.version)?;
    Some(Recorded {
        target: Target {
            cluster: cluster.to_owned(),
            storage: storage.to_owned(),
            namespace: newest.namespace.clone(),
            name: newest.name.clone(),
        },
        version: newest.version,
        failed: newest.status == "failed",
        chart_name: newest.chart_name.clone(),
        config_digest: newest.config_digest.clone(),
        action: newest.action.as_deref().and_then(Action::from_snapshot),
        tests: tests(newest),
    })
}

/// How the tests of a revision went, by its snapshot.
fn tests(snapshot: &Snapshot) -> Tests {
    let Some(hooks) = &snapshot.test_hooks else {
        return Tests::Pending;
    };
    let ended_as = |hook: &TestHookStatus, phase: &str| hook.phase.as_deref() == Some(phase);
    if hooks.values().any(|hook| ended_as(hook, FAILED)) {
        return Tests::Failed;
    }
    if hooks.values().all(|hook| ended_as(hook, SUCCEEDED)) { Tests::Passed } else { Tests::Pending }
}

/// The revision that a rollback goes back to: the newest good one before the latest; one with
/// failed tests is good only where these are ignored.
pub fn previous(history: &[Snapshot], ignore_test_failures: bool) -> Option<i64> {
    position_of_previous(history, ignore_test_failures).map(|position| history[position].version)
}

/// The history is newest first.
fn position_of_previous(history: &[Snapshot], ignore_test_failures: bool) -> Option<usize> {
    let good = |known: &Snapshot| {
        matches!(known.status.as_str(), "deployed" | "superseded")
            && (ignore_test_failures || tests(known) != Tests::Failed)
    };
    Some(history.iter().skip(1).position(good)? + 1)
}

#[cfg(test)]
pub(in crate::release) mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::release::plan::tests::at;

    pub(in crate::release) fn snapshot(version: i64, status: &str) -> Snapshot {
        Snapshot {
            api_version: Some(API_VERSION.to_owned()),
            digest: format!("sha256:{version}{status}"),
            name: "ui".to_owned(),
            namespace: "apps".to_owned(),
            version,
            status: status.to_owned(),
            action: None,
            chart_name: "node".to_owned(),
            chart_version: "1.0.0".to_owned(),
            app_version: Some("2".to_owned()),
            config_digest: "sha256:a".to_owned(),
            first_deployed: Time(at(0)),
            last_deployed: Time(at(0)),
            deleted: None,
            test_hooks: None,
            oci_digest: None,
        }
    }

    fn history(entries: &[(i64, &str)]) -> Vec<Snapshot> {
        entries.iter().map(|(version, status)| snapshot(*version, status)).collect()
    }

    fn shown(history: &[Snapshot]) -> Vec<(i64, &str)> {
        history.iter().map(|known| (known.version, known.status.as_str())).collect()
    }

    #[test]
    fn snapshots_are_newest_first_and_once_per_revision() {
        let mut kept = history(&[(2, "deployed"), (1, "superseded")]);
        kept[0].test_hooks = Some(BTreeMap::new());
        kept[0].action = Some("upgrade".to_owned());
        put(&mut kept, snapshot(3, "deployed"));
        put(&mut kept, snapshot(2, "superseded"));
        assert_eq!(shown(&kept), [(3, "deployed"), (2, "superseded"), (1, "superseded")]);
        assert_eq!((kept[1].test_hooks.is_some(), kept[1].action.as_deref()), (true, Some("upgrade")));
        let mut elsewhere = snapshot(3, "deployed");
        elsewhere.namespace = "other".to_owned();
        put(&mut kept, elsewhere);
        assert_eq!(kept.len(), 4);
    }

    #[test]
    fn the_release_before_is_kept_and_nothing_older() {
        let mut kept = history(&[(4, "deployed"), (3, "failed"), (2, "superseded"), (1, "superseded")]);
        truncate(&mut kept, false);
        assert_eq!(shown(&kept), [(4, "deployed"), (3, "failed"), (2, "superseded")]);
        let mut failures: Vec<_> = (1..=7).rev().map(|version| snapshot(version, "failed")).collect();
        truncate(&mut failures, false);
        assert_eq!(failures.len(), 5);
        let mut alone = history(&[(1, "deployed")]);
        truncate(&mut alone, false);
        assert_eq!(alone.len(), 1);
    }

    #[test]
    fn a_rollback_goes_back_to_the_newest_good_revision() {
        let mut kept = history(&[(4, "deployed"), (3, "superseded"), (2, "failed"), (1, "superseded")]);
        let failed = TestHookStatus { phase: Some(FAILED.to_owned()), ..TestHookStatus::default() };
        kept[1].test_hooks = Some([("smoke".to_owned(), failed)].into());
        assert_eq!((previous(&kept, false), previous(&kept, true)), (Some(1), Some(3)));
        assert_eq!(previous(&kept[..1], true), None);
        let mut tolerant = kept.clone();
        truncate(&mut tolerant, true);
        truncate(&mut kept, false);
        assert_eq!((tolerant.len(), kept.len()), (2, 4));
    }

    #[test]
    fn tests_went_as_the_snapshot_says() {
        let went = |phases: Option<&[&str]>| {
            let hook = |phase: &&str| TestHookStatus { phase: Some((*phase).to_owned()), ..TestHookStatus::default() };
            let hooks = phases.map(|phases| phases.iter().map(|phase| ((*phase).to_owned(), hook(phase))).collect());
            tests(&Snapshot { test_hooks: hooks, ..snapshot(1, "deployed") })
        };
        assert_eq!(went(None), Tests::Pending);
        assert_eq!(went(Some(&[])), Tests::Passed, "a chart without tests");
        assert_eq!(went(Some(&["Succeeded"])), Tests::Passed);
        assert_eq!(went(Some(&["Succeeded", "Running"])), Tests::Pending);
        assert_eq!(went(Some(&["Running", "Failed"])), Tests::Failed);
    }

    #[test]
    fn the_record_is_of_the_newest() {
        let newest = recorded(&history(&[(1, "superseded"), (2, "failed")]), "", "apps").expect("not empty");
        assert_eq!((newest.version, newest.failed, newest.target.name.as_str()), (2, true, "ui"));
        assert_eq!(recorded(&[], "", ""), None);
        assert_eq!((full_name(&snapshot(3, "")), chart(&snapshot(3, ""))), ("apps/ui.v3".into(), "node@1.0.0".into()));
    }
}
