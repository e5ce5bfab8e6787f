//! What the labels and annotations of a manifest, and of the object that is there, want done. Pure.
//!
//! What the manifest says goes before what the object in the cluster says, so that a folder can end
//! what somebody has set by hand.

use super::desired::Owner;
use crate::api::annotation::{DISABLED, ENABLED, FORCE, OWNER_NAME, OWNER_NAMESPACE, RECONCILE, SSA};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

/// What to do with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Apply the manifest.
    Apply,
    /// Leave it as it is.
    Leave,
    /// It is being deleted: what is applied to it now is gone with it.
    Wait,
}

/// Decides by the manifest and, where there is one, the metadata of the object in the cluster.
pub fn step(manifest: &Value, live: Option<&ObjectMeta>) -> Step {
    let says = |key: &str, wanted: &str| says(manifest, live, key, wanted);
    let leave = says(SSA, "Ignore")
        || says(RECONCILE, DISABLED)
        || (live.is_some() && stated(manifest, SSA).is_some_and(|value| value.eq_ignore_ascii_case("IfNotPresent")));
    if leave {
        Step::Leave
    } else if live.is_some_and(|live| live.deletion_timestamp.is_some()) {
        Step::Wait
    } else {
        Step::Apply
    }
}

/// Whether what people changed by hand stays, as far as the manifest does not state it.
pub fn merges(manifest: &Value, live: Option<&ObjectMeta>) -> bool {
    says(manifest, live, SSA, "Merge")
}

/// Whether an object may be deleted to be made anew, because a field of it cannot change; if not,
/// why not.
pub fn may_replace(force: bool, manifest: &Value, live: &ObjectMeta, owner: &Owner) -> Result<(), &'static str> {
    let named = says(manifest, Some(live), FORCE, ENABLED);
    if !named && !force {
        return Err("");
    }
    let label = |key: &str| live.labels.as_ref().and_then(|labels| labels.get(key).map(String::as_str));
    if label(OWNER_NAME) != Some(&owner.name) || label(OWNER_NAMESPACE) != Some(&owner.namespace) {
        return Err("it is not made anew: its labels do not say that it belongs to this Kustomization");
    }
    let kind = manifest["kind"].as_str().unwrap_or_default();
    if !named && matches!(kind, "CustomResourceDefinition" | "PersistentVolumeClaim" | "PersistentVolume") {
        return Err("spec.force does not count for this kind, which takes data along when it is deleted");
    }
    Ok(())
}

fn says(manifest: &Value, live: Option<&ObjectMeta>, key: &str, wanted: &str) -> bool {
    let in_cluster = || {
        let maps = live.map(|live| [live.labels.as_ref(), live.annotations.as_ref()]);
        let found = |map: &std::collections::BTreeMap<String, String>| {
            map.get(key).is_some_and(|value| value.eq_ignore_ascii_case(wanted))
        };
        maps.is_some_and(|maps| maps.into_iter().flatten().any(found))
    };
    match stated(manifest, key) {
        // One of the two maps is enough, as in Flux.
        Some(_) => values(manifest, key).any(|value| value.eq_ignore_ascii_case(wanted)),
        None => in_cluster(),
    }
}

fn stated<'m>(manifest: &'m Value, key: &'m str) -> Option<&'m str> {
    values(manifest, key).next()
}

fn values<'m>(manifest: &'m Value, key: &'m str) -> impl Iterator<Item = &'m str> {
    ["labels", "annotations"].into_iter().filter_map(move |map| manifest["metadata"][map][key].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(map: &str, key: &str, value: &str) -> Value {
        json!({"kind": "ConfigMap", "metadata": {map: {key: value}}})
    }

    fn live(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn labels_and_annotations_choose_the_step() {
        let plain = json!({"metadata": {}});
        let there = live(json!({}));
        let disabled = live(json!({"annotations": {RECONCILE: "disabled"}}));
        let going = live(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}));
        let table = [
            (plain.clone(), None, Step::Apply),
            (plain.clone(), Some(&there), Step::Apply),
            (plain.clone(), Some(&going), Step::Wait),
            (plain, Some(&disabled), Step::Leave),
            (manifest("annotations", RECONCILE, "Enabled"), Some(&disabled), Step::Apply),
            (manifest("annotations", RECONCILE, "Disabled"), None, Step::Leave),
            (manifest("labels", RECONCILE, "disabled"), Some(&going), Step::Leave),
            (manifest("labels", SSA, "ignore"), None, Step::Leave),
            (manifest("annotations", SSA, "Merge"), Some(&there), Step::Apply),
            (manifest("annotations", SSA, "IfNotPresent"), None, Step::Apply),
            (manifest("annotations", SSA, "IfNotPresent"), Some(&there), Step::Leave),
        ];
        for (manifest, live, expected) in table {
            assert_eq!(step(&manifest, live), expected, "{manifest} {live:?}");
        }
        // Only the folder's own word makes an object one that is not touched again.
        let there = live(json!({"annotations": {SSA: "IfNotPresent"}}));
        assert_eq!(step(&json!({"metadata": {}}), Some(&there)), Step::Apply);
    }

    #[test]
    fn one_of_both_maps_is_enough() {
        let both = json!({"metadata": {"labels": {SSA: "Override"}, "annotations": {SSA: "Merge"}}});
        assert!(merges(&both, None));
        assert!(merges(&json!({}), Some(&live(json!({"annotations": {SSA: "merge"}})))));
        assert!(!merges(&manifest("labels", SSA, "Override"), Some(&live(json!({"annotations": {SSA: "Merge"}})))));
    }

    #[test]
    fn only_what_is_ours_is_made_anew_and_only_if_that_is_asked_for() {
        let owner = Owner { namespace: "flux-system".to_owned(), name: "apps".to_owned() };
        let ours = live(json!({"labels": {OWNER_NAME: "apps", OWNER_NAMESPACE: "flux-system"}}));
        let others = live(json!({"labels": {OWNER_NAME: "apps", OWNER_NAMESPACE: "web"}}));
        let of = |kind: &str| json!({"kind": kind, "metadata": {}});
        let named = |kind: &str| json!({"kind": kind, "metadata": {"annotations": {FORCE: "Enabled"}}});
        let table = [
            (false, of("Job"), &ours, Some("")),
            (true, of("Job"), &ours, None),
            (false, named("Job"), &ours, None),
            (true, of("Job"), &others, Some("it is not made anew")),
            (false, named("Job"), &others, Some("it is not made anew")),
            (true, of("PersistentVolumeClaim"), &ours, Some("spec.force does not count")),
            (false, named("PersistentVolumeClaim"), &ours, None),
        ];
        for (force, manifest, live, refused) in table {
            let found = may_replace(force, &manifest, live, &owner).err();
            let fits = match (found, refused) {
                (Some(found), Some(refused)) => found.starts_with(refused) && found.is_empty() == refused.is_empty(),
                (found, refused) => found == refused,
            };
            assert!(fits, "{force} {manifest}: {found:?}");
        }
    }
}
