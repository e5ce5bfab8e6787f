//! The decision applied again and again in a small world, with changes and sudden deaths at every
//! point, converges: one revision for one change, never a stuck release.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::observed::{Action, Desired, Journal, Observed, Phase, Record, Recorded, Released, Revision, Verdict};
use super::plan::tests::{at, desired};
use super::plan::{Decision, decide};

/// What a release of one set of values turns into.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Healthy after this many seconds.
    Healthy(u64),
    /// Objects that never become healthy.
    Sick,
    /// Helm fails and leaves a failed revision.
    Rejected,
}

/// The stores that outlive the operator, and the outer world.
struct World {
    desired: Desired,
    fate: Fate,
    revisions: Vec<Revision>,
    record: Record,
    journal: Option<Journal>,
    now: Timestamp,
    /// Helm actions that ended, since the last change.
    ended: u32,
    /// Writes left before the operator dies.
    lives: u32,
    /// The values change on their way through helm's storage.
    odd: bool,
}

/// The operator has died between two writes.
struct Dead;

impl World {
    fn write(&mut self, change: impl FnOnce(&mut Self)) -> Result<(), Dead> {
        if self.lives == 0 {
            return Err(Dead);
        }
        self.lives -= 1;
        change(self);
        self.now += Duration::from_millis(20);
        Ok(())
    }

    /// What helm's storage makes of the values.
    fn stored(&self) -> String {
        let digest = &self.desired.config_digest;
        if self.odd { format!("odd {digest}") } else { digest.clone() }
    }

    fn facts(&self, verdict: Option<Verdict>) -> Observed {
        Observed {
            desired: self.desired.clone(),
            revisions: self.revisions.clone(),
            record: self.record.clone(),
            journal: self.journal.clone(),
            verdict,
            drift: None,
            now: self.now,
        }
    }

    fn look(&self) -> Verdict {
        let age = self.now.duration_since(self.revisions[0].last_deployed.expect("set"));
        match self.fate {
            Fate::Healthy(after) if age >= Duration::from_secs(after).try_into().expect("small") => Verdict::Healthy,
            _ => Verdict::InProgress("not there yet".to_owned()),
        }
    }

    /// Decides and acts until there is nothing to do now; true when there is nothing to do at all.
    fn pass(&mut self) -> Result<bool, Dead> {
        let mut verdict = None;
        for _ in 0..20 {
            match decide(&self.facts(verdict.take())) {
                Decision::Nothing | Decision::Stall { .. } => return Ok(true),
                Decision::Verify { .. } => verdict = Some(self.look()),
                Decision::Wait { again, .. } => {
                    self.now += again;
                    return Ok(false);
                }
                Decision::AwaitLock { until, .. } => {
                    self.now = until;
                    return Ok(false);
                }
                decision => self.act(&decision)?,
            }
        }
        panic!("twenty steps without an end");
    }

    fn act(&mut self, decision: &Decision) -> Result<(), Dead> {
        match decision {
            Decision::Release { action, .. } => self.release(*action),
            Decision::Record { version } => self.write(|world| world.put(*version, false)),
            Decision::Succeed { version } => self.write(|world| {
                world.put(*version, false);
                world.record.released = Some(Released { done: true, since: world.now });
            }),
            Decision::Fail { version, .. } => {
                self.write(|world| world.revisions[0].status = Phase::Failed)?;
                self.write(|world| world.put(*version, true))
            }
            Decision::RecordFailure { version } => self.write(|world| world.put(*version, true)),
            Decision::Discard { .. } => self.write(|world| drop(world.revisions.remove(0))),
            other => panic!("this world has no reason for {other:?}"),
        }
    }

    fn release(&mut self, action: Action) -> Result<(), Dead> {
        let base = self.revisions.first().map_or(0, |newest| newest.version);
        self.write(|world| {
            if !world.facts(None).same_attempt() {
                world.record.install_failures = 0;
                world.record.upgrade_failures = 0;
            }
            world.record.attempted = Some(world.desired.attempt(action));
        })?;
        self.write(|world| {
            let target = world.desired.target.clone();
            world.journal = Some(Journal {
                target,
                action,
                base,
                config_digest: world.desired.config_digest.clone(),
                rendering: world.desired.rendering.clone(),
            });
        })?;
        self.write(|world| {
            let made = Revision {
                version: base + 1,
                status: Phase::Pending,
                chart_name: world.desired.chart_name.clone(),
                chart_version: world.desired.chart_version.clone(),
                config_digest: world.stored(),
                last_deployed: Some(world.now),
                deleted: None,
                description: String::new(),
            };
            world.revisions.insert(0, made);
        })?;
        if self.fate == Fate::Rejected {
            self.write(|world| world.end(Phase::Failed))?;
        } else {
            if base > 0 && self.revisions[1].status == Phase::Deployed {
                self.write(|world| world.revisions[1].status = Phase::Superseded)?;
            }
            self.write(|world| world.end(Phase::Deployed))?;
        }
        let failed = self.fate == Fate::Rejected;
        self.write(|world| world.put(base + 1, failed))?;
        self.write(|world| world.journal = None)
    }

    fn end(&mut self, status: Phase) {
        self.revisions[0].status = status;
        self.ended += 1;
    }

    fn put(&mut self, version: i64, failed: bool) {
        let target = self.desired.target.clone();
        self.record.latest = Some(Recorded {
            target,
            version,
            failed,
            chart_name: self.desired.chart_name.clone(),
            config_digest: self.desired.config_digest.clone(),
        });
        self.record.released = Some(Released { done: false, since: self.now });
        if failed {
            match self.record.attempted.as_ref().and_then(|attempt| attempt.action) {
                Some(Action::Install) => self.record.install_failures += 1,
                _ => self.record.upgrade_failures += 1,
            }
        }
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![(0_u64..20).prop_map(Fate::Healthy), Just(Fate::Sick), Just(Fate::Rejected)]
}

/// Changes in order: what each turns into, how many passes run before the next, and the writes
/// after which the operator dies in each of its lives.
fn script() -> impl Strategy<Value = Vec<(Fate, u8, Vec<u32>)>> {
    prop::collection::vec((fate(), 1_u8..6, prop::collection::vec(0_u32..9, 0..4)), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn one_change_is_one_revision_whatever_dies(script in script(), keep_journal in any::<bool>(), odd in any::<bool>()) {
        let mut world = World {
            desired: desired("0"),
            fate: Fate::Sick,
            revisions: Vec::new(),
            record: Record::default(),
            journal: None,
            now: at(0),
            ended: 0,
            lives: u32::MAX,
            // Only the journal can tell then what an interrupted action was about.
            odd: odd && keep_journal,
        };
        let changes = script.len();
        for (number, (fate, passes, deaths)) in script.into_iter().enumerate() {
            world.desired.config_digest = number.to_string();
            world.desired.generation += 1;
            world.fate = fate;
            world.ended = 0;
            for lives in deaths {
                world.lives = lives;
                while world.pass().is_ok_and(|settled| !settled) {}
                // The directory of the journal may be lost with the process.
                if !keep_journal && world.revisions.first().is_none_or(|newest| newest.status != Phase::Pending) {
                    world.journal = None;
                }
            }
            world.lives = u32::MAX;
            for _ in 0..passes {
                let _ = world.pass();
            }
            prop_assert!(world.ended <= 1, "{} actions ended for one change", world.ended);
        }
        let settled = (0..1000).any(|_| world.pass().is_ok_and(|settled| settled));
        prop_assert!(settled, "never settles");
        prop_assert_eq!(world.ended, 1, "the last change is released once");
        prop_assert!(world.revisions.len() <= changes);
        prop_assert_eq!(&world.revisions[0].config_digest, &world.stored());
        let healthy = matches!(world.fate, Fate::Healthy(_));
        let wanted = if healthy { Phase::Deployed } else { Phase::Failed };
        prop_assert_eq!(world.revisions[0].status, wanted);
        prop_assert_eq!(world.record.released.map(|released| released.done), Some(healthy));
    }
}
