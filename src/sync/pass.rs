//! One pass: read the folder, apply it, prune what left it.

use super::build::{Builder, Read};
use super::ceiling::{self, Ceiling, Consent};
use super::desired::Owner;
use super::garbage::{self, Collected};
use super::history;
use super::hold::{self, Folder, Held};
use super::inventory::{Inventory, ObjectId};
use super::manifest::Manifest;
use super::material::Material;
use super::post_build;
use super::problem::{Problem, Severity};
use super::prune::{self, Plan};
use super::referrals;
use super::scan::{self, Scan, ScanError};
use super::stages::{Outcome, Stages};
use super::status::{Ending, ending};
use super::substitute::Variables;
use super::validate::validate;
use super::wait::Exceptions;
use crate::api::condition::reason;
use crate::api::kustomize::v1::KustomizationSpec;
use crate::controller::changes::Changed;
use crate::drift::ignore::IgnoreRules;
use crate::kube_ext::apply::{Change, Conflict};
use crate::kube_ext::discovery::Resolver;
use crate::redact::Redactor;
use crate::traces::stages::Counts;
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// How many fields that were taken over an event names for an object.
const TAKEN_SHOWN: usize = 3;
/// How many objects that are kept a message names.
const KEPT_SHOWN: usize = 20;

/// What a pass works with.
pub struct Pass<'a> {
    /// The API server.
    pub client: &'a Client,
    /// Kinds.
    pub resolver: &'a Resolver,
    /// What makes manifests of the folder.
    pub builder: Builder<'a>,
    /// The Kustomization.
    pub owner: Owner,
    /// Its spec.
    pub spec: &'a KustomizationSpec,
    /// What the build needs from the cluster.
    pub material: &'a Material,
    /// What earlier passes applied.
    pub inventory: Inventory,
    /// How much may be deleted without consent.
    pub ceiling: Ceiling,
    /// Whether more than that may be.
    pub consent: Consent<'a>,
    /// What the last pass kept from being deleted, and why.
    pub held: Option<&'a Held>,
}

/// What a pass did.
#[derive(Debug)]
pub struct Done {
    /// How it ended.
    pub ending: Ending,
    /// The new inventory; `None` when the folder could not be read at all.
    pub inventory: Option<Inventory>,
    /// Objects that were created, configured or deleted, in words.
    pub changes: Vec<String>,
    /// Releases that were created or configured.
    pub releases: Vec<Changed>,
    /// How many objects were changed, deleted, refused.
    pub counts: Counts,
    /// Digests of the manifests that are applied.
    pub digests: BTreeMap<ObjectId, u64>,
    /// Objects whose health is another matter.
    pub exceptions: Exceptions,
    /// What was kept from being deleted; none when the folder could not be read at all.
    pub held: Option<Held>,
    /// Checksum of all manifests that were read; none when the folder could not be.
    pub digest: Option<String>,
    /// Knows what must not be told.
    pub redactor: Redactor,
}

impl Done {
    /// Nothing could be read; `known` are the digests of what is applied.
    pub fn unread(ending: Ending, known: &BTreeMap<ObjectId, u64>) -> Self {
        Self {
            ending,
            inventory: None,
            changes: Vec::new(),
            releases: Vec::new(),
            counts: Counts::default(),
            digests: known.clone(),
            exceptions: Exceptions::default(),
            held: None,
            digest: None,
            redactor: Redactor::default(),
        }
    }
}

impl Pass<'_> {
    /// Applies the folder of an unpacked artifact. Objects whose manifest has the digest that
    /// `known` says are left alone, unless this pass is a `full` one.
    pub async fn run(&self, root: PathBuf, known: &BTreeMap<ObjectId, u64>, full: bool) -> Done {
        let ignore = match IgnoreRules::new("spec.ignore", &self.spec.ignore) {
            Ok(rules) => rules,
            Err(error) => {
                let ending = Ending::Stalled { reason: reason::RECONCILIATION_FAILED, message: error.to_string() };
                return Done::unread(ending, known);
            }
        };
        let Read { manifests, mut problems, redactor } = match self.read(root).await {
            Ok(read) => read,
            Err(ending) => {
                return Done::unread(ending, known);
            }
        };
        let digest = history::digest(manifests.iter().map(|manifest| (manifest.id(), &manifest.object)));
        let total = manifests.len() + problems.iter().filter(|problem| hides_an_object(problem)).count();
        let stages = Stages {
            client: self.client,
            resolver: self.resolver,
            owner: &self.owner,
            target_namespace: self.spec.target_namespace.as_deref(),
            force: self.spec.force,
            ignore: &ignore,
        };
        let due = |id: &ObjectId, digest: u64| full || known.get(id) != Some(&digest);
        let mut outcome = Box::pin(stages.run(manifests, known, due)).await;
        problems.append(&mut outcome.problems);
        let problems = problems.into_iter().map(|problem| problem.without_secrets(&redactor)).collect();
        let done = self.prune(outcome, problems, total).await;
        Done { digest: Some(digest), redactor, ..done }
    }

    async fn read(&self, root: PathBuf) -> Result<Read, Ending> {
        let spec_path = self.spec.path.clone().unwrap_or_default();
        let scanned = tokio::task::spawn_blocking(move || -> Result<(PathBuf, PathBuf, Scan), ScanError> {
            let folder = scan::resolve(&root, &spec_path)?;
            let scan = scan::scan(&root, &folder)?;
            Ok((root.canonicalize().unwrap_or(root), folder, scan))
        });
        let (root, folder, scan) = scanned
            .await
            .map_err(|error| failed(reason::BUILD_FAILED, error.to_string()))?
            .map_err(|error| unreadable(&error))?;
        let mut read = self.builder.read(&root, &folder, scan).await;
        if let Some(variables) = self.material.variables.clone() {
            // A template may take a while, and must not hold up others.
            let substituted = tokio::task::spawn_blocking(move || substituted(read, &variables));
            read = substituted.await.map_err(|error| failed(reason::BUILD_FAILED, error.to_string()))?;
        }
        let (manifests, invalid) = validate(read.manifests);
        read.problems.extend(invalid);
        let mut manifests: Vec<_> = manifests.into_iter().map(|manifest| self.with_common_metadata(manifest)).collect();
        if let Some(namespace) = &self.spec.target_namespace {
            referrals::follow(&mut manifests, namespace);
        }
        Ok(Read { manifests, ..read })
    }

    /// What `spec.commonMetadata` sets wins over what the manifest has.
    fn with_common_metadata(&self, mut manifest: Manifest) -> Manifest {
        let common = self.spec.common_metadata.iter();
        let maps = common.flat_map(|common| [("labels", &common.labels), ("annotations", &common.annotations)]);
        for (field, entries) in maps.filter(|(_, entries)| !entries.is_empty()) {
            let map = &mut manifest.object["metadata"][field];
            for (key, value) in entries {
                map[key] = value.clone().into();
            }
        }
        manifest
    }

    async fn prune(&self, outcome: Outcome, mut problems: Vec<Problem>, total: usize) -> Done {
        let stated = self.stated(&outcome, &problems);
        let folder = Folder {
            stated: &stated,
            applied: &outcome.applied.keys().collect(),
            problems: &problems,
            target_namespace: self.spec.target_namespace.as_deref(),
            before: self.held,
        };
        let mut plan = prune::plan(&self.inventory, folder, self.spec.prune);
        let kept = held_back(&plan).filter(|_| self.spec.prune);
        let stopped = self.stop(&mut plan).await;
        let mut inventory = self.next_inventory(&outcome, &stated, &plan);
        let collected = garbage::collect(self.resolver, &self.owner, plan.delete).await;
        for (id, version, _) in &collected.failed {
            inventory.insert(id.clone(), version);
        }
        let ending = match with_kept(&mut problems, kept, outcome.applied.len(), total) {
            Ending::Applied { .. } if !collected.failed.is_empty() => {
                failed(reason::PRUNE_FAILED, undeleted(&collected))
            }
            other => with_stop(other, stopped),
        };
        Done {
            ending,
            inventory: Some(inventory),
            changes: changes(&outcome, &collected),
            releases: releases(&outcome),
            counts: counts(&outcome, &collected, total),
            exceptions: outcome.exceptions,
            held: Some(plan.memory),
            digest: None,
            redactor: Redactor::default(),
            digests: outcome.applied.into_iter().filter_map(|(id, done)| Some((id, done.digest?))).collect(),
        }
    }

    /// Keeps what would be deleted when it is more than the ceiling allows and nobody has said that
    /// it is meant; says so then.
    async fn stop(&self, plan: &mut Plan) -> Option<String> {
        let (ceiling, total) = (self.ceiling, self.inventory.len());
        if !ceiling.is_exceeded(plan.delete.len(), total) || self.consent.is_given() {
            return None;
        }
        // What is gone already, or has moved to another Kustomization, is no loss.
        let doomed = garbage::doomed(self.resolver, &self.owner, &plan.delete).await;
        if !ceiling.is_exceeded(doomed.len(), total) {
            return None;
        }
        plan.held.append(&mut plan.delete);
        Some(ceiling::message(ceiling, self.consent, &doomed, total))
    }

    /// Every object that the folder states in some form: none of them left it.
    fn stated(&self, outcome: &Outcome, problems: &[Problem]) -> BTreeSet<ObjectId> {
        let named = problems.iter().filter_map(|problem| problem.object.as_ref());
        let target = self.spec.target_namespace.as_deref();
        outcome.stated.iter().cloned().chain(named.flat_map(|id| hold::forms(id, target))).collect()
    }

    fn next_inventory(&self, outcome: &Outcome, stated: &BTreeSet<ObjectId>, plan: &Plan) -> Inventory {
        let mut next = Inventory::default();
        for (id, version) in self.inventory.iter().filter(|(id, _)| stated.contains(id)) {
            next.insert(id.clone(), version);
        }
        for (id, done) in &outcome.applied {
            next.insert(id.clone(), &done.version);
        }
        for (id, version) in &plan.held {
            next.insert(id.clone(), version);
        }
        next
    }
}

fn substituted(mut read: Read, variables: &Variables) -> Read {
    let (manifests, problems) = post_build::substitute_all(read.manifests, variables, &mut read.redactor);
    read.problems.extend(problems);
    Read { manifests, ..read }
}

fn failed(reason: &'static str, message: String) -> Ending {
    Ending::Failed { reason, message }
}

/// The ending of a pass that did not prune all it should have.
fn with_stop(ending: Ending, stopped: Option<String>) -> Ending {
    match (ending, stopped) {
        (ending, None) => ending,
        (Ending::Failed { reason, message }, Some(stopped)) => failed(reason, format!("{stopped}; {message}")),
        (Ending::Applied { warnings }, Some(stopped)) if !warnings.is_empty() => {
            failed(reason::PRUNE_STOPPED, format!("{stopped}; {warnings}"))
        }
        (_, Some(stopped)) => failed(reason::PRUNE_STOPPED, stopped),
    }
}

fn unreadable(error: &ScanError) -> Ending {
    let message = error.to_string();
    match error {
        ScanError::Escapes(_) => Ending::Stalled { reason: reason::INVALID_PATH, message },
        _ => failed(reason::ARTIFACT_FAILED, message),
    }
}

/// Whether a problem stands for an object that was not handed on to be applied.
fn hides_an_object(problem: &Problem) -> bool {
    problem.severity == Severity::Error
}

/// Says that objects are kept, and where the problem stands that keeps them.
fn held_back(plan: &Plan) -> Option<Problem> {
    let mut names: Vec<_> = plan.held.iter().take(KEPT_SHOWN).map(|(id, _)| id.to_string()).collect();
    if plan.held.len() > KEPT_SHOWN {
        names.push(format!("and {} more", plan.held.len() - KEPT_SHOWN));
    }
    let reason = format!("kept while this lasts: {}", names.join(", "));
    Some(Problem::error(plan.because.clone()?, reason))
}

/// The ending that problems lead to. That something is kept makes the folder not ready by itself, and is not lost
/// among other problems.
fn with_kept(problems: &mut Vec<Problem>, kept: Option<Problem>, applied: usize, total: usize) -> Ending {
    match (ending(problems, applied, total), kept) {
        (ending, None) => ending,
        (Ending::Failed { reason, message }, Some(kept)) => failed(reason, format!("{message}; {}", kept.reason)),
        (_, Some(kept)) => {
            problems.push(kept);
            ending(problems, applied, total)
        }
    }
}

fn undeleted(collected: &Collected) -> String {
    let reasons: Vec<_> = collected.failed.iter().take(5).map(|(id, _, reason)| format!("{id}: {reason}")).collect();
    format!("{} objects could not be deleted: {}", collected.failed.len(), reasons.join("; "))
}

/// Which fields were taken over from whom.
fn taken(conflicts: &[Conflict]) -> String {
    if conflicts.is_empty() {
        return String::new();
    }
    let mut shown: Vec<_> = conflicts.iter().take(TAKEN_SHOWN).map(ToString::to_string).collect();
    if conflicts.len() > TAKEN_SHOWN {
        shown.push(format!("{} more", conflicts.len() - TAKEN_SHOWN));
    }
    format!(" (took over {})", shown.join(", "))
}

fn counts(outcome: &Outcome, collected: &Collected, total: usize) -> Counts {
    let changed = |done: &&super::stages::Done| done.change.is_some_and(|change| change != Change::Unchanged);
    Counts {
        changed: outcome.applied.values().filter(changed).count(),
        pruned: collected.deleted.len(),
        failed: total.saturating_sub(outcome.applied.len()) + collected.failed.len(),
    }
}

fn releases(outcome: &Outcome) -> Vec<Changed> {
    let changed = outcome.applied.iter().filter_map(|(id, done)| {
        let generation = done.generation.filter(|_| done.change != Some(Change::Unchanged))?;
        let is_release = id.kind == "HelmRelease" && id.group == "helm.toolkit.fluxcd.io";
        is_release.then(|| Changed { release: (id.namespace.clone(), id.name.clone()), generation })
    });
    changed.collect()
}

fn changes(outcome: &Outcome, collected: &Collected) -> Vec<String> {
    let applied = outcome.applied.iter().filter_map(|(id, done)| {
        let what = match done.change? {
            Change::Created => "created",
            Change::Configured => "configured",
            Change::Recreated => "deleted and made anew",
            Change::Unchanged if done.taken.is_empty() => return None,
            Change::Unchanged => "unchanged",
        };
        Some(format!("{id} {what}{}", taken(&done.taken)))
    });
    applied.chain(collected.deleted.iter().map(|id| format!("{id} deleted"))).collect()
}
