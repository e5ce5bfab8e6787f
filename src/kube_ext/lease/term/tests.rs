use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const ME: &str = "me";

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lease(holder: &str, since: u64) -> Seen {
    Seen { holder: holder.to_owned(), duration: s(15), since: s(since) }
}

fn step(facts: &Facts, now: u64) -> Step {
    next(ME, &Timing::default(), facts, s(now))
}

#[test]
fn a_candidate_looks_waits_and_acquires_what_is_free() {
    let nothing = Facts::default();
    assert_eq!(step(&nothing, 100), Step::Look);
    let looked = |seen| Facts { seen, asked: Some(s(100)), fresh: true, renewed: None };
    assert_eq!(step(&looked(None), 100), Step::Acquire, "there is none");
    assert_eq!(step(&looked(Some(lease("", 100))), 100), Step::Acquire, "it was given back");
    assert_eq!(step(&looked(Some(lease(ME, 100))), 100), Step::Acquire, "an earlier life of this process held it");
    assert_eq!(step(&looked(Some(lease("other", 100))), 100), Step::Wait(s(2)));
    assert_eq!(step(&looked(Some(lease("other", 86))), 100), Step::Wait(s(1)), "no later than it becomes free");
    assert_eq!(step(&looked(Some(lease("other", 85))), 100), Step::Acquire, "its holder is gone");
    assert_eq!(step(&looked(Some(lease("other", 98))), 102), Step::Look);
    let promised = Some(Seen { duration: s(60), ..lease("other", 50) });
    assert_eq!(step(&looked(promised), 101), Step::Wait(s(1)), "a longer promise is believed");
}

#[test]
fn a_failed_attempt_is_followed_by_a_pause_and_a_look() {
    let failed = Facts { seen: None, asked: Some(s(100)), fresh: false, renewed: None };
    assert_eq!(step(&failed, 100), Step::Wait(s(2)));
    assert_eq!(step(&failed, 102), Step::Look);
}

#[test]
fn a_holder_renews_retries_and_gives_up() {
    let holds =
        |asked| Facts { seen: Some(lease(ME, 100)), renewed: Some(s(100)), asked: Some(s(asked)), fresh: false };
    assert_eq!(step(&holds(100), 101), Step::Wait(s(4)));
    assert_eq!(step(&holds(100), 105), Step::Renew);
    assert_eq!(step(&holds(105), 106), Step::Wait(s(1)), "the renewal failed");
    assert_eq!(step(&holds(105), 107), Step::Renew);
    assert_eq!(step(&holds(109), 109), Step::Wait(s(1)), "no longer than until the deadline");
    assert_eq!(step(&holds(109), 110), Step::Lost(Loss::Expired(s(10))));
    assert_eq!(step(&holds(100), 500), Step::Lost(Loss::Expired(s(10))), "it was asleep");
}

#[test]
fn a_holder_that_is_none_any_more_stops() {
    let sees = |seen| Facts { seen, renewed: Some(s(100)), asked: Some(s(105)), fresh: true };
    assert_eq!(step(&sees(Some(lease("other", 105))), 105), Step::Lost(Loss::Taken("other".into())));
    assert_eq!(step(&sees(Some(lease("", 105))), 105), Step::Lost(Loss::Taken("nobody".into())));
    assert_eq!(step(&sees(None), 107), Step::Acquire, "somebody removed it");
}

/// What a candidate does in a simulated world.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// It is given the processor.
    Runs,
    /// It can, or cannot, reach the API server.
    Cut(bool),
    /// It cannot run for some seconds, while the time goes on.
    Sleeps(u64),
}

#[derive(Default)]
struct Candidate {
    facts: Facts,
    cut: bool,
    asleep_until: Duration,
    /// The version of the lease that it saw.
    version: u64,
    ended: bool,
}

#[derive(Clone, Default)]
struct Lease {
    version: u64,
    holder: String,
}

/// Two candidates and an API server that compares versions; the time is in tenths of a second.
struct World {
    lease: Lease,
    candidates: BTreeMap<&'static str, Candidate>,
    now: Duration,
}

impl World {
    fn run(&mut self, name: &'static str) {
        let timing = Timing::default();
        let Some(one) = self.candidates.get_mut(name) else { return };
        if one.ended || one.asleep_until > self.now {
            return;
        }
        match next(name, &timing, &one.facts, self.now) {
            Step::Wait(_) => {}
            Step::Lost(_) => one.ended = true,
            Step::Look => {
                one.facts.asked = Some(self.now);
                if !one.cut {
                    one.see(&self.lease, self.now);
                }
            }
            Step::Acquire | Step::Renew => {
                one.facts.asked = Some(self.now);
                one.facts.fresh = false;
                if one.cut {
                } else if one.version == self.lease.version {
                    self.lease = Lease { version: self.lease.version + 1, holder: name.to_owned() };
                    one.see(&self.lease, self.now);
                    one.facts.renewed = Some(self.now);
                } else {
                    one.see(&self.lease, self.now);
                }
            }
        }
    }

    /// Those that would act now if they were given the processor.
    fn acting(&self) -> Vec<&'static str> {
        let timing = Timing::default();
        let acts = |one: &Candidate| {
            !one.ended
                && one.asleep_until <= self.now
                && one.facts.renewed.is_some_and(|renewed| self.now < expiry(&timing, renewed))
        };
        self.candidates.iter().filter(|(_, one)| acts(one)).map(|(name, _)| *name).collect()
    }
}

impl Candidate {
    fn see(&mut self, lease: &Lease, now: Duration) {
        if self.version != lease.version || self.facts.seen.is_none() {
            self.version = lease.version;
            self.facts.seen = (lease.version > 0).then(|| Seen {
                holder: lease.holder.clone(),
                duration: Duration::ZERO,
                since: now,
            });
        }
        self.facts.fresh = true;
    }
}

fn events() -> impl Strategy<Value = Vec<(bool, Event)>> {
    let event = prop_oneof![
        6 => Just(Event::Runs),
        1 => any::<bool>().prop_map(Event::Cut),
        1 => (1_u64..40).prop_map(Event::Sleeps),
    ];
    proptest::collection::vec((any::<bool>(), event), 1..400)
}

proptest! {
    #[test]
    fn two_never_act_at_the_same_time(events in events(), pause in 1_u64..20) {
        let mut world = World {
            lease: Lease::default(),
            candidates: [("a", Candidate::default()), ("b", Candidate::default())].into(),
            now: Duration::from_secs(1000),
        };
        for (first, event) in events {
            let name = if first { "a" } else { "b" };
            let candidate = world.candidates.get_mut(name).unwrap();
            match event {
                Event::Runs => {}
                Event::Cut(cut) => candidate.cut = cut,
                Event::Sleeps(seconds) => candidate.asleep_until = world.now + Duration::from_secs(seconds),
            }
            world.run(name);
            prop_assert!(world.acting().len() < 2, "{:?} act at {:?}", world.acting(), world.now);
            world.now += Duration::from_millis(100 * pause);
        }
    }

    #[test]
    fn somebody_leads_soon_after_the_holder_is_gone(offset in 0_u64..100) {
        let mut world = World {
            lease: Lease { version: 1, holder: "gone".to_owned() },
            candidates: [("a", Candidate::default())].into(),
            now: Duration::from_millis(1_000_000 + offset),
        };
        let begun = world.now;
        while world.acting().is_empty() {
            world.run("a");
            world.now += Duration::from_millis(100);
            prop_assert!(world.now < begun + Duration::from_secs(17));
        }
        prop_assert!(world.now >= begun + Duration::from_secs(15));
    }
}
