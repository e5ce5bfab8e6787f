//! What keeps objects that left the folder from being deleted. Pure.
//!
//! An object whose manifest is broken may be one that the inventory has under another name, and one that could not be
//! applied may have been meant to take the place of one that left. Both are so in the revision in which the trouble
//! comes; what leaves the folder later on, while it lasts, was taken out by itself, but for what shares the namespace
//! of an object that is still to come: that may be moved in two steps.

use super::inventory::{Inventory, ObjectId};
use super::problem::{Hold, Problem, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What an earlier pass held back, by the object whose trouble did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held(BTreeMap<ObjectId, Trouble>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Trouble {
    /// How many problems there were: of two broken manifests for one object, the other one may be new.
    problems: usize,
    /// What was kept; one set for all that is kept by the same.
    kept: Arc<BTreeSet<ObjectId>>,
}

impl Held {
    /// One object may be in trouble of several kinds.
    fn note(&mut self, object: &ObjectId, problems: usize, kept: &Arc<BTreeSet<ObjectId>>) {
        let new = || Trouble { problems, kept: Arc::clone(kept) };
        let known = self.0.entry(object.clone()).or_insert_with(new);
        if !Arc::ptr_eq(&known.kept, kept) {
            known.kept = Arc::new(known.kept.union(kept).cloned().collect());
        }
    }
}

/// What a folder states, and what of it is in the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Folder<'a> {
    /// Every object that it states in some form: none of them left it.
    pub stated: &'a BTreeSet<ObjectId>,
    /// Those that are as wanted.
    pub applied: &'a BTreeSet<&'a ObjectId>,
    /// What is wrong.
    pub problems: &'a [Problem],
    /// `spec.targetNamespace`.
    pub target_namespace: Option<&'a str>,
    /// What the last pass held back; none if there was no other in this run of the operator.
    pub before: Option<&'a Held>,
}

/// Every identity that an object of a manifest may have in the cluster: whether its kind has namespaces may be unknown.
pub fn forms(id: &ObjectId, target_namespace: Option<&str>) -> Vec<ObjectId> {
    let in_namespace = |namespace: &str| ObjectId { namespace: namespace.to_owned(), ..id.clone() };
    let mut forms = vec![id.clone(), in_namespace("")];
    if let Some(target) = target_namespace {
        forms.push(in_namespace(target));
        if is_namespace(id) {
            forms.push(namespace(target));
        }
    }
    forms
}

/// What the API server deletes objects with.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Container<'i> {
    Namespace(&'i str),
    /// Definitions of kinds, by their API group.
    Definitions(&'i str),
}

impl<'i> Container<'i> {
    /// The one that this object is.
    fn of(id: &'i ObjectId) -> Option<Self> {
        if is_namespace(id) {
            return Some(Self::Namespace(&id.name));
        }
        let is_definition = id.group == "apiextensions.k8s.io" && id.kind == "CustomResourceDefinition";
        id.name.split_once('.').filter(|_| is_definition).map(|(_, group)| Self::Definitions(group))
    }

    /// Those that this object is in.
    fn around(id: &'i ObjectId) -> [Self; 2] {
        [Self::Namespace(&id.namespace), Self::Definitions(&id.group)]
    }
}

fn is_namespace(id: &ObjectId) -> bool {
    id.group.is_empty() && id.kind == "Namespace"
}

fn namespace(name: &str) -> ObjectId {
    ObjectId { namespace: String::new(), name: name.to_owned(), group: String::new(), kind: "Namespace".to_owned() }
}

impl Folder<'_> {
    /// What left the folder and is kept, with the first problem that keeps any of it, for the next pass as well.
    pub fn keeps<'i>(&self, inventory: &'i Inventory) -> (BTreeSet<&'i ObjectId>, Option<&Problem>, Held) {
        let left: Vec<&ObjectId> = inventory.iter().map(|(id, _)| id).filter(|id| !self.stated.contains(id)).collect();
        let hiding: Vec<(&Problem, Scope<'_>)> =
            self.problems.iter().filter_map(|problem| Some((problem, self.may_hide(problem, inventory)?))).collect();
        let mut counts: BTreeMap<&ObjectId, usize> = BTreeMap::new();
        for id in hiding.iter().filter_map(|(problem, _)| problem.object.as_ref()) {
            *counts.entry(id).or_default() += 1;
        }
        let (mut first, mut held) = (None, Held::default());
        // Many problems are of one kind, and there may be as many objects.
        let mut known: BTreeMap<_, Arc<BTreeSet<ObjectId>>> = BTreeMap::new();
        for (problem, scope) in &hiding {
            let object = problem.object.as_ref().filter(|_| problem.hold != Hold::Everything);
            let count = object.and_then(|id| counts.get(id)).copied().unwrap_or_default();
            let before = object.and_then(|id| self.before?.0.get(id)).filter(|before| count <= before.problems);
            let by_this =
                known.entry((scope.key(), before.map(|before| Arc::as_ptr(&before.kept)))).or_insert_with(|| {
                    let ids = left.iter().copied().filter(|id| self.holds(scope, before, id));
                    Arc::new(ids.cloned().collect())
                });
            first = first.or((!by_this.is_empty()).then_some(*problem));
            if let Some(object) = object {
                held.note(object, count, by_this);
            }
        }
        let mut kept: BTreeSet<&ObjectId> =
            left.iter().copied().filter(|id| known.values().any(|set| set.contains(*id))).collect();
        // These take with them what is in a namespace, or of a kind.
        let containers: BTreeSet<Container<'_>> = kept.iter().flat_map(|id| Container::around(id)).collect();
        let is_full = |id: &&ObjectId| Container::of(id).is_some_and(|container| containers.contains(&container));
        let along: Vec<&ObjectId> = left.iter().copied().filter(is_full).collect();
        kept.extend(along);
        (kept, first, held)
    }

    /// Whether trouble keeps an object; `before` is what is known of it, if it is no new one.
    fn holds(&self, scope: &Scope<'_>, before: Option<&Trouble>, id: &ObjectId) -> bool {
        scope.has(id, self.target_namespace)
            && before
                .is_none_or(|trouble| trouble.kept.contains(id) || scope.may_be_moved_to(id, self.target_namespace))
    }

    /// Where objects may be that a problem hides.
    fn may_hide<'p>(&self, problem: &'p Problem, inventory: &Inventory) -> Option<Scope<'p>> {
        match &problem.hold {
            Hold::Everything => Some(Scope::Everywhere),
            Hold::Kind { group, kind, namespace } => Some(Scope::Kind { group, kind, namespace: namespace.as_deref() }),
            Hold::Nothing => {
                let id = problem.object.as_ref().filter(|_| problem.severity == Severity::Error)?;
                let mut forms = forms(id, self.target_namespace).into_iter();
                let is_there = forms.any(|form| inventory.version(&form).is_some() || self.applied.contains(&form));
                (!is_there).then_some(Scope::Replaced(id))
            }
        }
    }
}

/// Where an object may be.
enum Scope<'p> {
    Everywhere,
    /// Among the objects of a kind; in any namespace if none is known.
    Kind {
        group: &'p str,
        kind: &'p str,
        namespace: Option<&'p str>,
    },
    /// Among those that this one may have been meant to replace: of its kind, or in its namespace.
    Replaced(&'p ObjectId),
}

impl Scope<'_> {
    /// Equal for those that have the same objects.
    fn key(&self) -> (u8, &str, &str, Option<&str>) {
        match self {
            Self::Everywhere => (0, "", "", None),
            Self::Kind { group, kind, namespace } => (1, group, kind, *namespace),
            Self::Replaced(by) => (2, &by.group, &by.kind, Some(&by.namespace)),
        }
    }

    fn has(&self, id: &ObjectId, target_namespace: Option<&str>) -> bool {
        let within = |namespace: &str| id.namespace == namespace || target_namespace == Some(id.namespace.as_str());
        match self {
            Self::Everywhere => true,
            Self::Kind { group, kind, namespace } => {
                id.group == *group && id.kind == *kind && namespace.is_none_or(within)
            }
            Self::Replaced(by) => (id.group == by.group && id.kind == by.kind) || within(&by.namespace),
        }
    }

    /// Whether the object shares the namespace of one that is to come.
    fn may_be_moved_to(&self, id: &ObjectId, target_namespace: Option<&str>) -> bool {
        match self {
            Self::Replaced(by) => {
                let namespace = target_namespace.unwrap_or(&by.namespace);
                !namespace.is_empty() && id.namespace == namespace
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
