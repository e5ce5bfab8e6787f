//! The decision applied again and again in a small world, with changes and sudden deaths at every
//! point, converges: one revision for one change, never a stuck release.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::observed::{
    Action, Desired, Journal, Observed, Phase, Record, Recorded, Released, Revision, Tests, Verdict,
};
use super::plan::tests::{at, desired, remediation};
use super::plan::{Decision, decide};
use super::remediation::{OnFailure, RollbackTarget, Strategy as Remedy};

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
    /// Installs and upgrades that ended, since the last change.
    ended: u32,
    /// Rollbacks and uninstalls that ended, since the last change.
    set_back: u32,
    /// Whether rollbacks become healthy.
    rollbacks_work: bool,
    /// Writes left before the operator dies.
    lives: u32,
    /// The values change on their way through helm's storage.
    odd: bool,
}

/// How helm describes what a rollback made.
const ROLLBACK: &str = "Rollback";

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
            rollback_target: self.rollback_target(),
            now: self.now,
        }
    }

    fn rollback_target(&self) -> Option<RollbackTarget> {
        let good = |revision: &&Revision| matches!(revision.status, Phase::Deployed | Phase::Superseded);
        let found = self.revisions.iter().skip(1).find(good)?;
        Some(RollbackTarget { version: found.version, stored: true })
    }

    fn is_rollback(&self) -> bool {
        self.revisions[0].description == ROLLBACK
    }

    fn look(&self) -> Verdict {
        if self.is_rollback() && self.rollbacks_work {
            return Verdict::Healthy;
        }
        let age = self.now.duration_since(self.revisions[0].last_deployed.expect("set"));
        match self.fate {
            Fate::Healthy(after)
                if !self.is_rollback() && age >= Duration::from_secs(after).try_into().expect("small") =>
            {
                Verdict::Healthy
            }
            _ => Verdict::InProgress("not there yet".to_owned()),
        }
    }

    /// Decides and acts until there is nothing to do now; true when there is nothing to do at all.
    fn pass(&mut self) -> Result<bool, Dead> {
        let mut verdict = None;
        let mut steps = Vec::new();
        for _ in 0..20 {
            let decision = decide(&self.facts(verdict.take()));
            steps.push(decision.clone());
            match decision {
                Decision::Nothing | Decision::Stall { .. } | Decision::NoRollbackTarget => return Ok(true),
                Decision::Verify { .. } => verdict = Some(self.look()),
                Decision::Wait { again, .. } => {
                    self.now += again;
                    return Ok(false);
                }
                Decision::AwaitLock { until, .. } | Decision::AwaitRetry { until } => {
                    self.now = until;
                    return Ok(false);
                }
                decision => self.act(&decision)?,
            }
        }
        panic!("twenty steps without an end: {steps:?}");
    }

    fn act(&mut self, decision: &Decision) -> Result<(), Dead> {
        match decision {
            Decision::Release { action, .. } => self.release(*action),
            Decision::Record { version } => self.write(|world| world.put(*version, false)),
            Decision::Succeed { .. }
                if self.is_rollback() && self.record.remediated.is_some_and(|found| !found.done) =>
            {
                self.write(|world| world.record.remediated = Some(Released { done: true, since: world.now }))
            }
            Decision::Succeed { version } => self.write(|world| {
                world.put(*version, false);
                world.record.released = Some(Released { done: true, since: world.now });
                world.record.remediated = None;
            }),
            Decision::Fail { version, .. } => {
                self.write(|world| world.revisions[0].status = Phase::Failed)?;
                self.write(|world| world.put(*version, true))
            }
            Decision::RecordFailure { version } => self.write(|world| world.put(*version, true)),
            Decision::Discard { .. } => self.write(|world| drop(world.revisions.remove(0))),
            Decision::Rollback { to } => self.roll_back(*to),
            Decision::Remove { .. } => self.remove(true),
            Decision::Uninstall { .. } => self.remove(false),
            Decision::Test { .. } => self.write(|world| {
                world.record.latest.as_mut().expect("recorded").tests = Tests::Passed;
            }),
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
            world.record.remediated = None;
            // An install begins a history of its own.
            world.record.latest = world.record.latest.take().filter(|_| action != Action::Install);
        })?;
        let digest = self.desired.config_digest.clone();
        self.begin(action, base, digest)?;
        let stored = self.stored();
        self.pend(base + 1, stored, "")?;
        if self.fate == Fate::Rejected {
            self.write(|world| world.end(Phase::Failed))?;
        } else {
            self.supersede()?;
            self.write(|world| world.end(Phase::Deployed))?;
        }
        let failed = self.fate == Fate::Rejected;
        self.write(|world| world.put(base + 1, failed))?;
        self.write(|world| world.journal = None)
    }

    fn begin(&mut self, action: Action, base: i64, config_digest: String) -> Result<(), Dead> {
        self.write(|world| {
            let target = world.desired.target.clone();
            let rendering = world.desired.rendering.clone();
            world.journal = Some(Journal { target, action, base, config_digest, rendering, forced: false });
        })
    }

    fn pend(&mut self, version: i64, config_digest: String, description: &str) -> Result<(), Dead> {
        self.write(|world| {
            let made = Revision {
                version,
                status: Phase::Pending,
                chart_name: world.desired.chart_name.clone(),
                chart_version: world.desired.chart_version.clone(),
                config_digest,
                last_deployed: Some(world.now),
                deleted: None,
                description: description.to_owned(),
                server_side: false,
            };
            world.revisions.insert(0, made);
        })
    }

    fn supersede(&mut self) -> Result<(), Dead> {
        if let Some(before) = self.revisions.iter().position(|revision| revision.status == Phase::Deployed) {
            self.write(|world| world.revisions[before].status = Phase::Superseded)?;
        }
        Ok(())
    }

    fn roll_back(&mut self, to: i64) -> Result<(), Dead> {
        let base = self.revisions[0].version;
        let config = self.revisions.iter().find(|revision| revision.version == to).expect("kept").config_digest.clone();
        self.begin(Action::Rollback, base, String::new())?;
        self.pend(base + 1, config, ROLLBACK)?;
        self.supersede()?;
        self.write(|world| {
            world.revisions[0].status = Phase::Deployed;
            world.set_back += 1;
        })?;
        self.write(|world| world.put(base + 1, false))?;
        self.write(|world| world.journal = None)
    }

    fn remove(&mut self, remembers: bool) -> Result<(), Dead> {
        self.begin(Action::Uninstall, self.revisions[0].version, String::new())?;
        self.write(|world| {
            world.revisions[0].status = Phase::Uninstalling;
            world.revisions[0].deleted = Some(world.now);
        })?;
        self.write(|world| {
            world.revisions.clear();
            world.set_back += 1;
        })?;
        self.write(|world| {
            world.record.remediated = Some(Released { done: true, since: world.now });
            if let Some(latest) = &mut world.record.latest {
                latest.failed = false;
            }
            if !remembers {
                world.record.latest = None;
                (world.record.install_failures, world.record.upgrade_failures) = (0, 0);
            }
        })?;
        self.write(|world| world.journal = None)
    }

    fn end(&mut self, status: Phase) {
        self.revisions[0].status = status;
        self.ended += 1;
    }

    fn put(&mut self, version: i64, failed: bool) {
        let target = self.desired.target.clone();
        let rollback = self.is_rollback();
        let config_digest =
            if rollback { self.revisions[0].config_digest.clone() } else { self.desired.config_digest.clone() };
        self.record.latest = Some(Recorded {
            target,
            version,
            failed,
            chart_name: self.desired.chart_name.clone(),
            config_digest,
            action: rollback.then_some(Action::Rollback),
            tests: Tests::Pending,
        });
        if rollback {
            self.record.remediated = Some(Released { done: failed, since: self.now });
            return;
        }
        self.record.released = Some(Released { done: false, since: self.now });
        self.record.failed_since = failed.then_some(self.now);
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

/// Retries, whether the last failure is set back, and how.
fn policy() -> impl Strategy<Value = (i64, OnFailure, OnFailure)> {
    let remedy = prop_oneof![Just(Remedy::Rollback), Just(Remedy::Uninstall)];
    (0_i64..3, any::<bool>(), remedy).prop_map(|(retries, last, remedy)| {
        (retries, remediation(retries, last, Remedy::Uninstall), remediation(retries, last, remedy))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_change_is_released_no_more_often_than_allowed_whatever_dies(
        script in script(),
        (retries, on_install_failure, on_upgrade_failure) in policy(),
        keep_journal in any::<bool>(),
        odd in any::<bool>(),
        rollbacks_work in any::<bool>(),
        tests in any::<bool>(),
    ) {
        // A change that begins as an upgrade and is removed is installed anew, with tries of its own.
        let longest = u32::try_from(2 * (retries + 1)).expect("small");
        let most = if matches!(on_upgrade_failure, OnFailure::Remediate(found) if found.strategy == Remedy::Uninstall) {
            longest
        } else {
            longest / 2
        };
        let mut world = World {
            desired: Desired { on_install_failure, on_upgrade_failure, tests, ..desired("0") },
            set_back: 0,
            rollbacks_work,
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
        for (number, (fate, passes, deaths)) in script.into_iter().enumerate() {
            world.desired.config_digest = number.to_string();
            world.desired.generation += 1;
            world.fate = fate;
            (world.ended, world.set_back) = (0, 0);
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
            prop_assert!(world.ended <= most, "{} actions ended for one change", world.ended);
            // The change before may have left one unfinished.
            prop_assert!(world.set_back <= world.ended + 1, "{} times set back for one change", world.set_back);
        }
        let settled = (0..1000).any(|_| world.pass().is_ok_and(|settled| settled));
        prop_assert!(settled, "never settles");
        prop_assert!(world.ended >= 1, "the last change is released");
        prop_assert!(world.ended <= most && world.set_back <= world.ended + 1);
        let healthy = matches!(world.fate, Fate::Healthy(_));
        prop_assert_eq!(world.record.released.map(|released| released.done), Some(healthy));
        if healthy {
            prop_assert_eq!(world.ended, 1, "one change is one revision");
            prop_assert_eq!(&world.revisions[0].config_digest, &world.stored());
            prop_assert_eq!(world.revisions[0].status, Phase::Deployed);
        }
        // Nothing more is done about what has settled.
        let before = (world.revisions.clone(), world.record.clone());
        prop_assert!(world.pass().is_ok_and(|settled| settled));
        prop_assert_eq!(before, (world.revisions, world.record));
    }
}
