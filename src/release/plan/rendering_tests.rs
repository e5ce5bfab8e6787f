use super::Decision;
use super::tests::{journaled, release, revision, waiting, with, without_record};
use crate::release::observed::{Action, Observed, Phase, Rendering};

fn rendering(post_renderers: &str, common_metadata: &str) -> Rendering {
    let set = |digest: &str| Some(digest.to_owned()).filter(|digest| !digest.is_empty());
    Rendering { post_renderers: set(post_renderers), common_metadata: set(common_metadata) }
}

#[test]
fn a_change_of_what_changes_the_objects_is_an_upgrade() {
    let renderers = release(Action::Upgrade, "post-renderers changed");
    let metadata = release(Action::Upgrade, "common metadata changed");
    let table = [
        ("nothing is asked for", ("", ""), ("", ""), Decision::Nothing),
        ("nothing changed", ("p", "m"), ("p", "m"), Decision::Nothing),
        ("post-renderers came", ("", "m"), ("p", "m"), renderers.clone()),
        ("post-renderers went", ("p", ""), ("", ""), renderers.clone()),
        ("post-renderers changed", ("o", "m"), ("p", "n"), renderers.clone()),
        ("metadata came", ("p", ""), ("p", "m"), metadata.clone()),
        ("metadata changed", ("", "m"), ("", "n"), metadata.clone()),
    ];
    for (what, was, now, decision) in table {
        let found = with(|facts| {
            facts.record.rendering = rendering(was.0, was.1);
            facts.record.generation = Some(1);
            facts.desired.rendering = rendering(now.0, now.1);
            facts.desired.generation = 2;
        });
        assert_eq!(found, decision, "{what}");
    }
}

#[test]
fn objects_that_an_older_flux_changed_are_left_alone() {
    let settled = |facts: &mut Observed| {
        facts.desired.rendering = rendering("p", "m");
        facts.record.generation = Some(facts.desired.generation);
    };
    let metadata = release(Action::Upgrade, "common metadata changed");
    assert_eq!(with(settled), Decision::Nothing);
    let known = |facts: &mut Observed| {
        settled(facts);
        facts.record.rendering = rendering("p", "other");
    };
    assert_eq!(with(known), metadata, "a digest that differs");
    let unseen = |facts: &mut Observed| {
        settled(facts);
        facts.record.rendering = rendering("p", "");
        waiting(facts);
    };
    assert_eq!(with(unseen), metadata, "not seen healthy");
}

#[test]
fn only_a_plain_release_of_somebody_else_can_be_what_is_desired() {
    let renderers = release(Action::Upgrade, "post-renderers changed");
    assert_eq!(without_record(|facts| facts.desired.rendering = rendering("p", "")), renderers);
    let by_hand = |now: Rendering| {
        with(|facts| {
            facts.revisions.insert(0, revision(2, Phase::Deployed, "a"));
            facts.record.rendering = rendering("p", "");
            facts.record.generation = Some(1);
            facts.desired.rendering = now;
        })
    };
    assert_eq!(by_hand(rendering("p", "")), renderers, "it lacks our patches");
    assert_eq!(by_hand(Rendering::default()), Decision::Record { version: 2 });
}

#[test]
fn after_a_sudden_death_the_journal_tells_what_changed_the_objects() {
    let unfinished = |made_with: Rendering| {
        with(|facts| {
            facts.desired.rendering = rendering("p", "m");
            facts.revisions.insert(0, revision(2, Phase::Deployed, "a"));
            journaled(facts, Action::Upgrade, 1);
            if let Some(entry) = facts.journal.as_mut() {
                entry.rendering = made_with;
            }
        })
    };
    assert_eq!(unfinished(rendering("p", "m")), Decision::Record { version: 2 });
    assert_eq!(unfinished(rendering("p", "n")), release(Action::Upgrade, "post-renderers changed"));
}
