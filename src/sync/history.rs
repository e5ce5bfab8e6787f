//! `status.history`: the latest distinct outcomes, newest first. Pure.

use super::inventory::ObjectId;
use crate::api::kustomize::v1::Reconciliation;
use crate::api::meta::Artifact;
use crate::controller::conditions::whole_second;
use crate::source::digest::sha256;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many outcomes are kept.
const KEPT: usize = 5;
/// Key of an artifact's metadata that names the revision it was made from.
pub const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";

/// A pass that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// Checksum of the manifests it worked with.
    pub digest: &'a str,
    /// What they were read from.
    pub artifact: &'a Artifact,
    /// How long it took.
    pub took: Duration,
    /// Reason of the `Ready` condition after it.
    pub reason: &'a str,
}

/// Notes a pass: the outcome of the same manifests is counted, another one is added.
pub fn note(history: &mut Vec<Reconciliation>, pass: &Pass<'_>, now: Timestamp) {
    let now = Time(whole_second(now));
    let mut metadata = BTreeMap::from([("revision".to_owned(), pass.artifact.revision.clone())]);
    if let Some(origin) = pass.artifact.metadata.get(ORIGIN_REVISION) {
        metadata.insert("originRevision".to_owned(), origin.clone());
    }
    let same = |known: &Reconciliation| known.digest == pass.digest && known.last_reconciled_status == pass.reason;
    let known = history.iter().position(same).map(|position| history.remove(position));
    history.insert(
        0,
        Reconciliation {
            digest: pass.digest.to_owned(),
            first_reconciled: known.as_ref().map_or_else(|| now.clone(), |known| known.first_reconciled.clone()),
            last_reconciled: now,
            last_reconciled_duration: pass.took.into(),
            last_reconciled_status: pass.reason.to_owned(),
            total_reconciliations: known.map_or(0, |known| known.total_reconciliations).saturating_add(1),
            metadata,
        },
    );
    history.truncate(KEPT);
}

/// Checksum of manifests: the same for the same objects, in whatever order they stand.
pub fn digest<'m>(manifests: impl Iterator<Item = (ObjectId, &'m serde_json::Value)>) -> String {
    let mut lines: Vec<_> = manifests.map(|(id, object)| format!("{id}\n{object}\n")).collect();
    lines.sort_unstable();
    format!("sha256:{}", sha256(lines.concat().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn artifact(revision: &str) -> Artifact {
        serde_json::from_value(json!({
            "path": "", "url": "", "revision": revision, "digest": "", "lastUpdateTime": "2026-01-01T00:00:00Z",
            "metadata": {ORIGIN_REVISION: "origin"},
        }))
        .unwrap()
    }

    #[test]
    fn outcomes_are_counted_and_the_newest_is_first() {
        let mut history = Vec::new();
        let mut second = 0;
        let mut pass = |revision: &str, digest: &str, reason: &str| {
            second += 1;
            let artifact = artifact(revision);
            let pass = Pass { digest, artifact: &artifact, took: Duration::from_millis(1_500), reason };
            note(&mut history, &pass, Timestamp::from_second(second).unwrap());
            let shown = |one: &Reconciliation| {
                format!("{} {} {}", one.digest, one.last_reconciled_status, one.total_reconciliations)
            };
            (history.iter().map(shown).collect::<Vec<_>>(), history[0].clone())
        };
        assert_eq!(pass("r1", "a", "Good").0, ["a Good 1"]);
        assert_eq!(pass("r2", "a", "Good").0, ["a Good 2"]);
        assert_eq!(pass("r3", "a", "Bad").0, ["a Bad 1", "a Good 2"]);
        assert_eq!(pass("r3", "b", "Bad").0, ["b Bad 1", "a Bad 1", "a Good 2"]);
        let (shown, newest) = pass("r4", "a", "Good");
        assert_eq!(shown, ["a Good 3", "b Bad 1", "a Bad 1"]);
        assert_eq!(newest.first_reconciled.0.as_second(), 1);
        assert_eq!(newest.last_reconciled.0.as_second(), 5);
        assert_eq!(
            newest.metadata,
            [("originRevision", "origin"), ("revision", "r4")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
        );
        for digest in ["c", "d", "e"] {
            pass("r5", digest, "Good");
        }
        assert_eq!(pass("r5", "f", "Good").0, ["f Good 1", "e Good 1", "d Good 1", "c Good 1", "a Good 3"]);
    }

    #[test]
    fn the_order_of_files_does_not_count() {
        let object = |name: &str| json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": name}});
        let (a, b, other) =
            (object("a"), object("b"), json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "b"}, "x": 1}));
        let of =
            |objects: [&serde_json::Value; 2]| digest(objects.into_iter().map(|object| (ObjectId::of(object), object)));
        assert_eq!(of([&a, &b]), of([&b, &a]));
        assert_ne!(of([&a, &b]), of([&a, &other]));
        assert!(of([&a, &b]).starts_with("sha256:"));
    }
}
