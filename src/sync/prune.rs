//! What leaves the cluster because it left the folder. Pure: the decision only.

use super::hold::{Folder, Held};
use super::inventory::{Inventory, ObjectId};
use super::order::Stage;
use super::problem::Place;
use crate::api::annotation::{DISABLED, OWNER_NAME, OWNER_NAMESPACE, PRUNE, RECONCILE, SSA};
use serde_json::Value;

/// What becomes of the objects of the inventory that the folder does not hold any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be deleted, in this order, with their versions.
    pub delete: Vec<(ObjectId, String)>,
    /// Kept, and kept in the inventory, because a problem may hide them.
    pub held: Vec<(ObjectId, String)>,
    /// Where the problem stands that keeps them.
    pub because: Option<Place>,
    /// Not in the folder any more and `prune` is off: they stay and leave the inventory.
    pub orphaned: Vec<(ObjectId, String)>,
    /// For the next pass.
    pub memory: Held,
}

/// Compares the inventory with the folder.
pub fn plan(inventory: &Inventory, folder: Folder<'_>, prune: bool) -> Plan {
    let (kept, because, memory) = folder.keeps(inventory);
    let mut plan = Plan { because: because.map(|problem| problem.place.clone()), memory, ..Plan::default() };
    for (id, version) in inventory.iter().filter(|(id, _)| !folder.stated.contains(id)) {
        let entry = (id.clone(), version.to_owned());
        if kept.contains(id) {
            plan.held.push(entry);
        } else if prune {
            plan.delete.push(entry);
        } else {
            plan.orphaned.push(entry);
        }
    }
    plan.delete.sort_by_key(|(id, _)| std::cmp::Reverse(Stage::of(id)));
    plan
}

/// What to do with a live object that is due to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Delete it.
    Delete,
    /// It says that it stays.
    Keep,
    /// It belongs to somebody else by now.
    NotOurs,
}

/// Judges a live object; `name` and `namespace` are those of the Kustomization.
pub fn verdict(live: &Value, namespace: &str, name: &str) -> Verdict {
    let metadata = &live["metadata"];
    let label = |key: &str| metadata["labels"][key].as_str();
    let says = |key: &str, wanted: &str| {
        ["labels", "annotations"]
            .iter()
            .any(|map| metadata[*map][key].as_str().is_some_and(|value| value.eq_ignore_ascii_case(wanted)))
    };
    if label(OWNER_NAME) != Some(name) || label(OWNER_NAMESPACE) != Some(namespace) {
        Verdict::NotOurs
    } else if says(PRUNE, DISABLED) || says(RECONCILE, DISABLED) || says(SSA, "Ignore") {
        Verdict::Keep
    } else {
        Verdict::Delete
    }
}

#[cfg(test)]
mod tests {
    use super::super::problem::{Hold, Problem};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn id(kind: &str, namespace: &str, name: &str) -> ObjectId {
        ObjectId { namespace: namespace.to_owned(), name: name.to_owned(), group: String::new(), kind: kind.to_owned() }
    }

    fn inventory(ids: &[ObjectId]) -> Inventory {
        let mut inventory = Inventory::default();
        for id in ids {
            inventory.insert(id.clone(), "v1");
        }
        inventory
    }

    fn problem(hold: Hold) -> Problem {
        let place = Place { file: "a.yaml".into(), line: None };
        Problem { hold, ..Problem::error(place, "broken") }
    }

    fn plan(ids: &[ObjectId], folder: &BTreeSet<ObjectId>, problems: &[Problem], prune: bool) -> Plan {
        let applied = folder.iter().collect();
        let folder = Folder { stated: folder, applied: &applied, problems, target_namespace: None, before: None };
        super::plan(&inventory(ids), folder, prune)
    }

    fn names(entries: &[(ObjectId, String)]) -> Vec<&str> {
        entries.iter().map(|(id, _)| id.name.as_str()).collect()
    }

    #[test]
    fn what_left_the_folder_goes_namespaces_last() {
        let all = [id("Namespace", "", "ns"), id("ConfigMap", "ns", "a"), id("Pod", "ns", "b"), id("Pod", "ns", "c")];
        let folder = BTreeSet::from([id("Pod", "ns", "c")]);
        let plan = plan(&all, &folder, &[], true);
        assert_eq!(names(&plan.delete), ["b", "a", "ns"]);
        assert!(plan.held.is_empty());
    }

    #[test]
    fn nothing_goes_while_a_file_cannot_be_read() {
        let all = [id("Pod", "ns", "a")];
        let plan = plan(&all, &BTreeSet::new(), &[problem(Hold::Everything)], true);
        assert_eq!((names(&plan.held), plan.delete.len()), (vec!["a"], 0));
    }

    #[test]
    fn without_prune_objects_are_let_go() {
        let plan = plan(&[id("Pod", "ns", "a")], &BTreeSet::new(), &[], false);
        assert_eq!((names(&plan.orphaned), plan.delete.len()), (vec!["a"], 0));
    }

    #[test]
    fn only_our_own_objects_go_and_only_if_they_may() {
        let live =
            |labels: Value, annotations: Value| json!({"metadata": {"labels": labels, "annotations": annotations}});
        let ours = json!({OWNER_NAME: "apps", OWNER_NAMESPACE: "flux-system"});
        let table = [
            (live(ours.clone(), json!({})), Verdict::Delete),
            (live(json!({}), json!({})), Verdict::NotOurs),
            (live(json!({OWNER_NAME: "other", OWNER_NAMESPACE: "flux-system"}), json!({})), Verdict::NotOurs),
            (live(ours.clone(), json!({PRUNE: "disabled"})), Verdict::Keep),
            (live(ours.clone(), json!({PRUNE: "Disabled"})), Verdict::Keep),
            (live(ours.clone(), json!({RECONCILE: "disabled"})), Verdict::Keep),
            (live(ours.clone(), json!({SSA: "Ignore"})), Verdict::Keep),
            (live(ours, json!({PRUNE: "enabled"})), Verdict::Delete),
        ];
        for (object, expected) in table {
            assert_eq!(verdict(&object, "flux-system", "apps"), expected, "{object}");
        }
    }

    proptest! {
        #[test]
        fn every_entry_has_one_fate_and_none_of_the_folder_goes(
            old in prop::collection::btree_set("[a-e]", 0..5),
            new in prop::collection::btree_set("[a-e]", 0..5),
            broken in any::<bool>(),
            prune in any::<bool>(),
        ) {
            let ids: Vec<_> = old.iter().map(|name| id("Pod", "ns", name)).collect();
            let folder: BTreeSet<_> = new.iter().map(|name| id("Pod", "ns", name)).collect();
            let problems: Vec<_> = broken.then(|| problem(Hold::Everything)).into_iter().collect();
            let plan = plan(&ids, &folder, &problems, prune);
            let gone = plan.delete.len() + plan.held.len() + plan.orphaned.len();
            prop_assert_eq!(gone, old.difference(&new).count());
            prop_assert!(plan.delete.iter().all(|(id, _)| !folder.contains(id)));
            if broken || !prune {
                prop_assert!(plan.delete.is_empty());
            }
        }
    }
}
