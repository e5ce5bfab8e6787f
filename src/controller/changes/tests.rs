use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn name() -> Name {
    ("apps".to_owned(), "ui".to_owned())
}

fn changed(generation: i64) -> Vec<Changed> {
    vec![Changed { release: name(), generation }]
}

#[test]
fn a_way_begins_with_the_commit_unless_that_is_far_off() {
    let table = [(Some(10), 10), (Some(-4_000), 12), (Some(13), 12), (None, 12)];
    for (committed, expected) in table {
        assert_eq!(beginning(committed.map(at), at(12)), at(expected), "{committed:?}");
    }
}

#[test]
fn a_revision_is_known_until_the_next_one() {
    let (changes, source) = (Changes::default(), ("GitRepository", "a", "b"));
    changes.seen(source, "one", None, None, at(1));
    assert_eq!(changes.begun(source, "one"), Some(at(1)));
    changes.seen(source, "two", Some(at(2)), None, at(3));
    assert_eq!((changes.begun(source, "one"), changes.begun(source, "two")), (None, Some(at(2))));
    changes.forget(source, at(4));
    assert_eq!(changes.begun(source, "two"), None);
}

#[test]
fn a_release_counts_when_the_changed_generation_is_ready() {
    let changes = Changes::default();
    assert_eq!(changes.ready(name(), 1, at(0)), None);
    assert!(changes.applied(changed(2), at(10), at(11)).is_empty());
    assert_eq!(changes.ready(name(), 1, at(12)), None);
    assert_eq!(changes.ready(name(), 2, at(14)), Some(Duration::from_secs(4)));
    assert_eq!(changes.ready(name(), 2, at(15)), None, "it counts once");
}

#[test]
fn a_release_that_was_faster_than_the_pass_that_changed_it_counts_too() {
    let changes = Changes::default();
    changes.ready(name(), 2, at(14));
    assert_eq!(changes.applied(changed(2), at(10), at(12)), [Duration::from_secs(4)]);
    assert!(changes.applied(changed(2), at(20), at(21)).is_empty(), "its spec did not change");
    assert_eq!(changes.ready(name(), 2, at(22)), None);
}

#[test]
fn a_newer_commit_takes_over_and_what_is_gone_is_forgotten() {
    let changes = Changes::default();
    changes.applied(changed(2), at(10), at(10));
    changes.applied(changed(3), at(20), at(20));
    assert_eq!(changes.ready(name(), 3, at(21)), Some(Duration::from_secs(1)));
    changes.applied(changed(4), at(30), at(30));
    changes.forget(("HelmRelease", "apps", "ui"), at(31));
    assert_eq!(changes.ready(name(), 4, at(31)), None);
}
