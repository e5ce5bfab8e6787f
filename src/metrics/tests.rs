use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn series(text: &str) -> BTreeSet<&str> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect()
}

#[test]
fn what_happened_shows_under_flux_names() {
    let metrics = Metrics::default();
    metrics.pass("HelmRelease", ("a", "b"), Duration::from_millis(20), PassResult::Error);
    metrics.pass_begins("HelmRelease", Duration::from_millis(2));
    metrics.helm_action("install", Duration::from_secs(1), true);
    metrics.commit_to_ready(Duration::from_secs(3));
    metrics.leads("fairlead", true);
    metrics.queue("HelmRelease").due(1, std::time::Instant::now());
    let text = metrics.text(Format::Prometheus);
    for line in [
        "gotk_reconcile_duration_seconds_count{kind=\"HelmRelease\"} 1",
        "controller_runtime_reconcile_total{controller=\"helmrelease\",result=\"error\"} 1",
        "controller_runtime_reconcile_time_seconds_count{controller=\"helmrelease\"} 1",
        "workqueue_queue_duration_seconds_count{name=\"helmrelease\",controller=\"helmrelease\"} 1",
        "workqueue_depth{name=\"helmrelease\",controller=\"helmrelease\"} 1.0",
        "fairlead_helm_actions_total{action=\"install\",outcome=\"success\"} 1",
        "fairlead_helm_action_duration_seconds_sum{action=\"install\",outcome=\"success\"} 1.0",
        "fairlead_commit_to_ready_seconds_bucket{le=\"5.0\"} 1",
        "leader_election_master_status{name=\"fairlead\"} 1",
        "# TYPE fairlead_helm_actions_total counter",
        "# TYPE process_start_time_seconds gauge",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(metrics.text(Format::OpenMetrics).ends_with("# EOF\n"));
}

#[test]
fn series_per_object_are_asked_for_and_end_with_the_object() {
    let metrics = Metrics::new(true);
    metrics.pass("HelmRelease", ("a", "b"), Duration::ZERO, PassResult::Success);
    let count = "gotk_reconcile_duration_seconds_count{kind=\"HelmRelease\",name=\"b\",namespace=\"a\"}";
    assert!(series(&metrics.text(Format::OpenMetrics)).contains(count));
    metrics.forget("HelmRelease", "a", "b");
    assert!(!series(&metrics.text(Format::OpenMetrics)).contains(count));
}

proptest! {
    /// Whatever objects there are, and however many: the series are as many as those of one.
    #[test]
    fn objects_make_no_series(objects in proptest::collection::vec((".*", ".*"), 1..200)) {
        let metrics = Metrics::default();
        let pass = |namespace: &str, name: &str| {
            let queue = metrics.queue("Kustomization");
            queue.due(queue::key(namespace, name), std::time::Instant::now());
            metrics.pass("Kustomization", (namespace, name), Duration::from_secs(1), PassResult::Success);
        };
        pass("one", "object");
        let before = metrics.text(Format::OpenMetrics);
        // Children are counted for the whole process, in which other tests start some.
        let own = |text: &str| {
            let all = series(text).into_iter().filter(|name| !name.starts_with("fairlead_child"));
            all.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        for (namespace, name) in &objects {
            pass(namespace, name);
        }
        prop_assert_eq!(own(&metrics.text(Format::OpenMetrics)), own(&before));
    }
}
