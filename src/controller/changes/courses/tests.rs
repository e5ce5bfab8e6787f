use super::*;
use crate::traces::span::Value;

const UI: &str = "ui";
const API: &str = "api";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn name(name: &str) -> Name {
    ("apps".to_owned(), name.to_owned())
}

fn origin(revision: &str) -> Origin {
    Origin {
        kind: "GitRepository".to_owned(),
        name: name("releases"),
        uid: "uid-1".to_owned(),
        url: None,
        revision: revision.to_owned(),
    }
}

fn named(names: &[&str]) -> BTreeSet<Name> {
    names.iter().map(|text| name(text)).collect()
}

fn application(revision: &str, start: i64, end: i64) -> Application {
    Application {
        origin: origin(revision),
        followers: BTreeSet::new(),
        begun: at(start),
        updated: at(start),
        period: Period::new(at(start), at(end)),
        counts: Counts::default(),
        failure: None,
        waits: false,
    }
}

fn failed(application: Application, reason: &str) -> Application {
    Application { failure: Some(Failure::new(reason, "why")), ..application }
}

fn release(name_: &str, generation: i64) -> Release {
    Release { name: name(name_), uid: format!("uid of {name_}"), generation }
}

fn upgrade(start: i64, end: i64) -> HelmAction {
    HelmAction {
        verb: "upgrade",
        period: Period::new(at(start), at(end)),
        helm: None,
        chart: "nodejs".to_owned(),
        chart_version: "1.0.0".to_owned(),
        revision: None,
        failure: None,
    }
}

/// Courses, with short words for what happens to them.
#[derive(Default)]
struct Scene(Courses);

impl Scene {
    /// The source has a revision since `end`, that was made at `begun` and asked for at `asked`.
    fn seen(&mut self, revision: &str, (begun, asked, end): (i64, i64, i64), followers: &[&str]) -> Vec<Span> {
        let sighting = Sighting { origin: origin(revision), asked: at(asked), followers: named(followers) };
        self.0.seen(sighting, at(begun), at(end))
    }

    fn applied(&mut self, by: &str, changed: &[(&str, i64)], application: Option<Application>) -> Vec<Span> {
        let changed: Vec<_> = changed
            .iter()
            .map(|(release, generation)| Changed { release: name(release), generation: *generation })
            .collect();
        self.0.applied(&name(by), &changed, application)
    }

    fn begins(&mut self, of: &str, generation: i64, now: i64) -> Vec<Span> {
        self.0.begins(release(of, generation), None, at(now))
    }

    fn upgrades(&mut self, of: &str, start: i64, end: i64) {
        self.0.acted(&name(of), upgrade(start, end));
    }

    fn settled(&mut self, of: &str, failure: Option<&str>, now: i64) -> Vec<Span> {
        self.attempted(of, "1.0.0", failure, now)
    }

    fn attempted(&mut self, of: &str, attempt: &str, failure: Option<&str>, now: i64) -> Vec<Span> {
        let failure = failure.map(|reason| Failure::new(reason, "why"));
        self.0.settled(&name(of), Some(&name("production")), attempt, failure, at(now))
    }
}

/// Spans in words: name, what of, from when to when, what took its place, why it failed.
fn told(spans: &[Span]) -> Vec<String> {
    let told = spans.iter().map(|span| {
        let text = |key: &str| {
            span.attributes.iter().find(|(known, _)| *known == key).map(|(_, value)| match value {
                Value::Text(text) => text.clone(),
                Value::Number(number) => number.to_string(),
            })
        };
        let second = |time: Timestamp| time.as_second() - 1_000_000;
        let of = ["fairlead.release.name", "fairlead.kustomization.name", "fairlead.revision"];
        let of = of.iter().find_map(|key| text(key)).unwrap_or_default();
        let by = text("fairlead.superseded_by").map(|by| format!(" until {by}")).unwrap_or_default();
        let failure = span.failure.as_ref().map(|failure| format!(" {}", failure.reason)).unwrap_or_default();
        format!("{} {of} {}..{}{by}{failure}", span.name, second(span.period.start), second(span.period.end))
    });
    told.collect()
}

#[test]
fn a_change_lasts_from_its_commit_to_its_last_release() {
    let mut scene = Scene::default();
    let mut spans = scene.seen("one", (10, 12, 13), &["production"]);
    assert_eq!(told(&spans), ["fetch one 12..13"]);
    scene.0.applies(name("production"));
    spans.extend(scene.applied("production", &[(UI, 2), (API, 5)], Some(application("one", 14, 15))));
    scene.begins(UI, 2, 16);
    scene.begins(API, 5, 17);
    scene.upgrades(UI, 17, 18);
    spans.extend(scene.settled(API, Some("UpgradeFailed"), 19));
    spans.extend(scene.settled(UI, None, 20));
    let expected = [
        "fetch one 12..13",
        "apply production 14..15",
        "release api 17..19 UpgradeFailed",
        "release ui 16..20",
        "helm upgrade ui 17..18",
        "wait ui 18..20",
        "change one 10..20 UpgradeFailed",
    ];
    assert_eq!(told(&spans), expected);
    assert!(spans.iter().all(|span| span.trace == origin("one").trace()));
    assert!(scene.settled(UI, None, 21).is_empty(), "it is told once");
    assert!(scene.settled(API, Some("UpgradeFailed"), 22).is_empty(), "so is a failure");
}

#[test]
fn a_root_waits_for_each_follower_and_for_what_each_waits_for() {
    let mut scene = Scene::default();
    scene.seen("one", (10, 10, 11), &["production", "base"]);
    let waits = Application { waits: true, ..application("one", 12, 13) };
    assert_eq!(told(&scene.applied("base", &[], Some(waits))), ["apply base 12..13"]);
    assert_eq!(told(&scene.applied("production", &[], Some(application("one", 13, 14)))), ["apply production 13..14"]);
    let source = source_of(&origin("one"));
    let failure = Failure::new("HealthCheckFailed", "why");
    assert!(scene.0.waited(&name("base"), &source, "none", Some(&failure), at(15)).is_empty());
    let spans = scene.0.waited(&name("base"), &source, "one", Some(&failure), at(15));
    assert_eq!(told(&spans), ["wait base 13..15 HealthCheckFailed", "change one 10..15 HealthCheckFailed"]);
    assert!(scene.0.waited(&name("base"), &source, "one", None, at(16)).is_empty());
}

#[test]
fn a_follower_that_goes_is_not_waited_for() {
    let mut scene = Scene::default();
    scene.seen("one", (10, 10, 11), &["production", "base"]);
    scene.applied("production", &[(UI, 2)], Some(application("one", 12, 13)));
    assert!(scene.0.forget("Kustomization", &name("base"), at(14)).is_empty());
    scene.begins(UI, 2, 14);
    let spans = scene.0.forget("HelmRelease", &name(UI), at(15));
    assert_eq!(told(&spans), ["release ui 14..15 until its deletion", "change one 10..15"]);
}

#[test]
fn a_revision_that_nobody_applies_is_not_told() {
    let mut scene = Scene::default();
    assert!(scene.seen("one", (10, 10, 11), &[]).is_empty());
    assert!(scene.seen("two", (20, 20, 21), &[]).is_empty());
    let spans = scene.applied("late", &[], Some(application("two", 30, 31)));
    assert_eq!(told(&spans), ["fetch two 20..21", "apply late 30..31", "change two 20..31"]);
    assert!(scene.seen("two", (20, 40, 41), &["late"]).is_empty(), "it was fetched again");
}

#[test]
fn a_newer_revision_ends_a_change_and_takes_over_the_releases_that_it_changes() {
    let mut scene = Scene::default();
    scene.seen("one", (10, 10, 11), &["production"]);
    scene.applied("production", &[(UI, 2), (API, 5)], Some(application("one", 12, 13)));
    scene.begins(UI, 2, 13);
    scene.begins(API, 5, 13);
    let spans = scene.seen("two", (20, 20, 21), &["production"]);
    assert_eq!(told(&spans), ["change one 10..21 until two", "fetch two 20..21"]);
    let spans = scene.begins(UI, 3, 23);
    assert_eq!(told(&spans), ["release ui 13..23 until generation 3"]);
    assert_eq!(spans[0].trace, origin("one").trace());
    let spans = scene.applied("production", &[(UI, 3)], Some(application("two", 22, 24)));
    assert_eq!(told(&spans), ["apply production 22..24"]);
    let spans = scene.settled(API, None, 25);
    assert_eq!((told(&spans), spans[0].trace), (vec!["release api 13..25".to_owned()], origin("one").trace()));
    assert_eq!(told(&scene.settled(UI, None, 26)), ["release ui 23..26", "change two 20..26"]);
}

#[test]
fn an_apply_that_was_overtaken_is_not_one_of_the_newer_revision() {
    let mut scene = Scene::default();
    scene.seen("one", (10, 10, 11), &["production"]);
    scene.applied("production", &[], Some(application("one", 12, 13)));
    scene.seen("two", (20, 20, 21), &["production"]);
    let spans = scene.applied("base", &[], Some(Application { updated: at(11), ..application("one", 19, 22) }));
    assert_eq!((told(&spans), spans[0].trace), (vec!["apply base 19..22".to_owned()], origin("one").trace()));
    let spans = scene.applied("production", &[], Some(application("two", 22, 23)));
    assert_eq!(told(&spans), ["apply production 22..23", "change two 20..23"]);
}

#[test]
fn a_source_that_somebody_else_fetches_is_known_by_what_is_applied() {
    let mut scene = Scene::default();
    let first = Application { followers: named(&["base"]), ..application("one", 10, 11) };
    assert_eq!(told(&scene.applied("production", &[], Some(first))), ["apply production 10..11"]);
    let spans = scene.applied("production", &[], Some(application("two", 20, 21)));
    let expected = ["change one 10..20 until two", "apply production 20..21", "change two 20..21"];
    assert_eq!(told(&spans), expected);
}

#[test]
fn the_same_failure_to_apply_is_told_once_and_its_end_too() {
    let mut scene = Scene::default();
    scene.seen("one", (10, 10, 11), &["production"]);
    let again = |second| failed(application("one", second, second + 1), "BuildFailed");
    let spans = scene.applied("production", &[], Some(again(12)));
    assert_eq!(told(&spans), ["apply production 12..13 BuildFailed", "change one 10..13 BuildFailed"]);
    assert!(scene.applied("production", &[], Some(again(14))).is_empty());
    let spans = scene.applied("production", &[], Some(application("one", 16, 17)));
    assert_eq!(told(&spans), ["apply production 16..17"], "the root is told already");
}

#[test]
fn a_release_that_was_faster_than_the_pass_that_changed_it_belongs_to_its_change() {
    let mut scene = Scene::default();
    scene.seen("one", (10, 10, 11), &["production"]);
    scene.0.applies(name("production"));
    scene.begins(UI, 2, 13);
    scene.upgrades(UI, 13, 14);
    assert!(scene.settled(UI, None, 15).is_empty(), "nobody knows yet what it came from");
    let spans = scene.applied("production", &[(UI, 2)], Some(application("one", 12, 16)));
    let expected = [
        "apply production 12..16",
        "release ui 13..15",
        "helm upgrade ui 13..14",
        "wait ui 14..15",
        "change one 10..16",
    ];
    assert_eq!(told(&spans), expected);
}

#[test]
fn a_release_that_only_got_other_labels_is_no_part_of_a_change() {
    let mut scene = Scene::default();
    scene.begins(UI, 2, 1);
    assert!(scene.settled(UI, None, 2).is_empty(), "it was ready before this process began");
    let spans = scene.applied("production", &[(UI, 2)], Some(application("one", 12, 13)));
    assert_eq!(told(&spans), ["apply production 12..13", "change one 12..13"]);
}

#[test]
fn a_change_by_hand_and_one_of_the_chart_have_traces_of_their_own() {
    let mut scene = Scene::default();
    scene.begins(UI, 2, 1);
    scene.settled(UI, None, 2);
    scene.begins(UI, 3, 10);
    scene.upgrades(UI, 11, 12);
    let by_hand = scene.settled(UI, None, 13);
    assert_eq!(told(&by_hand), ["release ui 10..13", "helm upgrade ui 11..12", "wait ui 12..13"]);
    scene.begins(UI, 3, 20);
    scene.upgrades(UI, 21, 22);
    let of_chart = scene.attempted(UI, "1.1.0", None, 23);
    assert_eq!(told(&of_chart), ["release ui 21..23", "helm upgrade ui 21..22", "wait ui 22..23"]);
    assert_eq!((by_hand[0].parent, of_chart[0].parent), (None, None));
    assert_ne!(by_hand[0].trace, of_chart[0].trace);
}

#[test]
fn a_pass_that_did_not_change_a_release_lets_it_have_its_own_trace() {
    let mut scene = Scene::default();
    scene.0.applies(name("production"));
    scene.begins(UI, 3, 10);
    scene.upgrades(UI, 11, 12);
    assert!(scene.settled(UI, None, 13).is_empty());
    let spans = scene.applied("production", &[], None);
    assert_eq!(told(&spans), ["release ui 10..13", "helm upgrade ui 11..12", "wait ui 12..13"]);
    assert_eq!(spans[0].parent, None);
}

#[test]
fn a_release_that_recovers_tells_of_that_in_the_same_trace() {
    let mut scene = Scene::default();
    scene.applied("production", &[(UI, 2)], Some(application("one", 10, 11)));
    scene.begins(UI, 2, 12);
    let spans = scene.settled(UI, Some("UpgradeFailed"), 13);
    assert_eq!(told(&spans), ["release ui 12..13 UpgradeFailed", "change one 10..13 UpgradeFailed"]);
    scene.upgrades(UI, 14, 15);
    assert!(scene.settled(UI, Some("UpgradeFailed"), 16).is_empty());
    scene.upgrades(UI, 17, 18);
    let spans = scene.settled(UI, None, 19);
    assert_eq!(told(&spans), ["release ui 13..19", "helm upgrade ui 17..18", "wait ui 18..19"]);
    assert_eq!(spans[0].parent, Some(origin("one").root()));
    // The same without a change that it came from.
    scene.begins(API, 1, 30);
    scene.upgrades(API, 31, 32);
    let first = scene.settled(API, Some("UpgradeFailed"), 33);
    scene.upgrades(API, 34, 35);
    let second = scene.attempted(API, "the next", None, 36);
    assert_eq!(told(&second), ["release api 33..36", "helm upgrade api 34..35", "wait api 35..36"]);
    assert_eq!((second[0].trace, second[0].parent), (first[0].trace, Some(first[0].id)));
}

#[test]
fn what_another_process_began_goes_on_in_the_same_trace() {
    let mut scene = Scene::default();
    let interrupted = Interrupted { origin: origin("one"), begun: at(1) };
    scene.0.begins(release(UI, 2), Some(interrupted.clone()), at(20));
    scene.0.begins(release(API, 5), Some(interrupted), at(20));
    let spans = scene.settled(UI, None, 21);
    assert_eq!((told(&spans), spans[0].trace), (vec!["release ui 20..21".to_owned()], origin("one").trace()));
    let spans = scene.settled(API, None, 22);
    assert_eq!(told(&spans), ["release api 20..22", "change one 1..22"]);
    assert_eq!(spans[1].id, origin("one").root());
}
