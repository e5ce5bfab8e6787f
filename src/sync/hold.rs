//! What keeps objects that left the folder from being deleted. Pure.
//!
//! An object whose manifest is broken may be one that the inventory has under another name, and one that could not be
//! applied may have been meant to take the place of one that left. Both are so in the revision in which the trouble
//! comes; what leaves the folder later on, while it lasts, was taken out by itself.

use super::inventory::{Inventory, ObjectId};
use super::problem::{Hold, Problem, Severity};
use std::collections::BTreeSet;

/// What an earlier pass held back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The objects whose trouble was known.
    because: BTreeSet<ObjectId>,
    /// The objects that were kept.
    objects: BTreeSet<ObjectId>,
}

/// What a folder states, and what of it is in the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Folder<'a> {
    /// Every object that it states in some form: none of them left it.
    pub stated: &'a BTreeSet<ObjectId>,
    /// Those that are as wanted.
    pub applied: &'a BTreeSet<ObjectId>,
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

fn is_namespace(id: &ObjectId) -> bool {
    id.group.is_empty() && id.kind == "Namespace"
}

fn namespace(name: &str) -> ObjectId {
    ObjectId { namespace: String::new(), name: name.to_owned(), group: String::new(), kind: "Namespace".to_owned() }
}

impl Folder<'_> {
    /// Sorts what left the folder into what is kept, with the problem that keeps it, and the rest.
    pub fn keeps<'i>(&self, inventory: &'i Inventory) -> (Vec<&'i ObjectId>, Option<&Problem>, Held) {
        let left: Vec<&ObjectId> = inventory.iter().map(|(id, _)| id).filter(|id| !self.stated.contains(id)).collect();
        let holders: Vec<&Problem> =
            self.problems.iter().filter(|problem| self.may_hide(problem, inventory).is_some()).collect();
        let holder = |id: &ObjectId| holders.iter().copied().find(|problem| self.holds(problem, id, inventory));
        let first = left.iter().find_map(|id| holder(id));
        let mut kept: BTreeSet<&ObjectId> = left.iter().copied().filter(|id| holder(id).is_some()).collect();
        // A namespace takes with it what is in it.
        let full: BTreeSet<ObjectId> = kept.iter().map(|id| namespace(&id.namespace)).collect();
        kept.extend(left.iter().copied().filter(|id| full.contains(*id)));
        let held = Held {
            because: holders.iter().filter_map(|problem| problem.object.clone()).collect(),
            objects: kept.iter().map(|id| (*id).clone()).collect(),
        };
        (kept.into_iter().collect(), first, held)
    }

    fn holds(&self, problem: &Problem, id: &ObjectId, inventory: &Inventory) -> bool {
        self.may_hide(problem, inventory).is_some_and(|scope| scope.has(id, self.target_namespace))
            && (problem.hold == Hold::Everything || !self.is_old(problem) || self.was_held(id))
    }

    fn is_old(&self, problem: &Problem) -> bool {
        self.before.is_some_and(|before| problem.object.as_ref().is_some_and(|id| before.because.contains(id)))
    }

    fn was_held(&self, id: &ObjectId) -> bool {
        self.before.is_some_and(|before| before.objects.contains(id))
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
}

#[cfg(test)]
mod tests;
