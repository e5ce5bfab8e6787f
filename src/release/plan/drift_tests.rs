use super::Decision;
use super::tests::{failed, waiting, with};
use crate::release::observed::{Action, Drift, Observed};

type Row = (&'static str, fn(&mut Observed));

const TO_CORRECT: Option<Drift> = Some(Drift::Found { correct: true });
const TO_TELL: Option<Drift> = Some(Drift::Found { correct: false });

#[test]
fn drift_of_a_release_in_sync_is_looked_for_and_dealt_with_as_asked() {
    assert_eq!(with(|facts| facts.drift = Some(Drift::Unseen)), Decision::DetectDrift { version: 1 });
    assert_eq!(with(|facts| facts.drift = TO_CORRECT), Decision::CorrectDrift { version: 1 });
    assert_eq!(with(|facts| facts.drift = TO_TELL), Decision::WarnDrift { version: 1 });
    assert_eq!(with(|facts| facts.drift = None), Decision::Nothing);
}

#[test]
fn drift_gives_way_to_everything_else() {
    let rows: [Row; 6] = [
        ("a wait", waiting),
        ("a failure", |facts| failed(facts, true, 1)),
        ("an upgrade", |facts| facts.desired.config_digest = "b".into()),
        ("a forced upgrade", |facts| facts.desired.forced = true),
        ("an unknown revision", |facts| facts.record.latest = None),
        ("an install", |facts| facts.revisions.clear()),
    ];
    for (what, change) in rows {
        let without = with(change);
        assert_ne!(without, Decision::Nothing, "{what}");
        for drift in [Some(Drift::Unseen), TO_CORRECT, TO_TELL] {
            let decision = with(|facts| {
                change(facts);
                facts.drift = drift;
            });
            assert_eq!(decision, without, "{what}");
        }
    }
    let forced = with(|facts| {
        facts.drift = TO_CORRECT;
        facts.desired.forced = true;
    });
    assert!(matches!(forced, Decision::Release { action: Action::Upgrade, .. }));
}
