use super::*;
use crate::traces::span::Value;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn period(start: i64, end: i64) -> Period {
    Period::new(at(start), at(end))
}

fn name(namespace: &str, name: &str) -> Name {
    (namespace.to_owned(), name.to_owned())
}

fn origin() -> Origin {
    Origin {
        kind: "GitRepository".to_owned(),
        name: name("flux-system", "releases"),
        uid: "uid-1".to_owned(),
        url: Some("https://git.example/releases".to_owned()),
        revision: "main@sha1:ab".to_owned(),
    }
}

fn action(verb: &'static str, start: i64, end: i64, failure: Option<&str>) -> HelmAction {
    HelmAction {
        verb,
        period: period(start, end),
        helm: Some("4.0.1".to_owned()),
        chart: "nodejs".to_owned(),
        chart_version: "1.2.3".to_owned(),
        revision: Some(7),
        failure: failure.map(|reason| Failure::new(reason, "why")),
    }
}

fn ui() -> Release {
    Release { name: name("apps", "ui"), uid: "uid-2".to_owned(), generation: 3 }
}

fn attribute<'s>(span: &'s Span, key: &str) -> Option<&'s Value> {
    span.attributes.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
}

#[test]
fn the_root_has_no_parent_and_the_other_spans_of_a_change_have_the_root() {
    let (origin, by, counts) = (origin(), name("flux-system", "production"), Counts::default());
    let root = origin.change(period(1, 9), Tally::default(), None, None);
    assert_eq!((root.trace, root.id, root.parent), (origin.trace(), origin.root(), None));
    let mut ids = vec![root.id];
    for (span, name) in [
        (origin.fetch(period(1, 2)), "fetch"),
        (origin.apply(&by, 0, period(2, 3), counts, None), "apply"),
        (origin.apply(&by, 1, period(2, 3), counts, None), "apply"),
        (origin.wait(&by, 0, period(3, 4), None), "wait"),
    ] {
        assert_eq!((span.trace, span.parent, span.name.as_ref()), (root.trace, Some(root.id), name));
        assert!(!ids.contains(&span.id), "{name} has the id of another");
        ids.push(span.id);
    }
}

#[test]
fn a_change_tells_its_commit_by_the_conventions_and_what_became_of_its_releases() {
    let failure = Failure::new("InstallFailed", "why");
    let root = origin().change(period(1, 9), Tally { ready: 2, failed: 1 }, Some(&failure), Some("main@sha1:cd"));
    for (key, expected) in [
        ("k8s.namespace.name", Some("flux-system".into())),
        ("vcs.ref.head.revision", Some("ab".into())),
        ("vcs.ref.head.name", Some("main".into())),
        ("vcs.repository.url.full", Some("https://git.example/releases".into())),
        ("fairlead.source.kind", Some("GitRepository".into())),
        ("fairlead.source.name", Some("releases".into())),
        ("fairlead.revision", Some("main@sha1:ab".into())),
        ("fairlead.releases.ready", Some(Value::Number(2))),
        ("fairlead.releases.failed", Some(Value::Number(1))),
        ("fairlead.superseded_by", Some("main@sha1:cd".into())),
        ("fairlead.chart.name", None),
    ] {
        assert_eq!(attribute(&root, key), expected.as_ref(), "{key}");
    }
    assert_eq!(root.failure, Some(failure));
}

#[test]
fn a_revision_that_is_no_commit_names_none() {
    for (revision, expected) in [
        ("main@sha1:ab", Some((Some("main"), "ab"))),
        ("refs/heads/a@b@sha1:ab", Some((Some("refs/heads/a@b"), "ab"))),
        ("sha1:ab", Some((None, "ab"))),
        ("1.0.0@sha256:ab", None),
        ("sha256:ab", None),
    ] {
        assert_eq!(commit(revision), expected, "{revision}");
    }
}

#[test]
fn an_address_is_told_without_a_login() {
    for (url, expected) in [
        ("https://ann:hunter2@git.example/releases?token=hunter2#x", Some("https://git.example/releases")),
        ("ssh://git@git.example:2222/releases", Some("ssh://git.example:2222/releases")),
        ("git@git.example:releases", None),
    ] {
        assert_eq!(address(url).as_deref(), expected, "{url}");
    }
}

#[test]
fn a_release_tells_what_helm_did_and_how_long_objects_were_waited_for() {
    let place = origin().place(0);
    let actions = [
        action("upgrade", 2, 3, None),
        action("rollback", 6, 7, None),
        action("test", 8, 9, Some("TestFailed")),
        action("upgrade", 9, 10, Some("UpgradeFailed")),
    ];
    let failure = Failure::new("UpgradeFailed", "not healthy");
    let spans = release(place, &ui(), period(1, 12), &actions, &End::Failed(&failure));
    let told: Vec<_> = spans
        .iter()
        .map(|span| (span.name.as_ref(), span.period, span.failure.as_ref().map(|failure| failure.reason.as_str())))
        .collect();
    let expected = [
        ("release", period(1, 12), Some("UpgradeFailed")),
        ("helm upgrade", period(2, 3), None),
        ("wait", period(3, 6), None),
        ("helm rollback", period(6, 7), None),
        ("wait", period(7, 8), None),
        ("helm test", period(8, 9), Some("TestFailed")),
        ("helm upgrade", period(9, 10), Some("UpgradeFailed")),
    ];
    assert_eq!(told, expected);
    assert_eq!(spans[0].parent, place.parent);
    assert!(spans[1..].iter().all(|span| span.parent == Some(spans[0].id)));
    let ids: std::collections::HashSet<_> = spans.iter().map(|span| span.id).collect();
    assert_eq!(ids.len(), spans.len());
    for (key, expected) in [
        ("fairlead.helm.version", Value::from("4.0.1")),
        ("fairlead.helm.revision", Value::Number(7)),
        ("fairlead.chart.version", "1.2.3".into()),
        ("fairlead.release.name", "ui".into()),
        ("fairlead.release.generation", Value::Number(3)),
    ] {
        assert_eq!(attribute(&spans[1], key), Some(&expected), "{key}");
    }
}

#[test]
fn tries_of_a_release_are_different_spans_of_the_same_trace() {
    let spans: Vec<_> = [0, 1]
        .into_iter()
        .flat_map(|tries| release(origin().place(tries), &ui(), period(1, 2), &[], &End::Well))
        .collect();
    assert_eq!((spans.len(), spans[0].trace), (2, spans[1].trace));
    assert_ne!(spans[0].id, spans[1].id);
    let superseded = release(origin().place(0), &ui(), period(1, 2), &[], &End::Superseded("generation 4"));
    assert_eq!(attribute(&superseded[0], "fairlead.superseded_by"), Some(&"generation 4".into()));
    assert_eq!(superseded[0].failure, None);
}
