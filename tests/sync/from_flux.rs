//! A folder that Flux's kustomize-controller has applied, as it leaves things: taken over, and given back.

use fairlead_testbench::wait_for;
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, config_map};

const FILE: &str = "production/a.yaml";
const LEAVES: &str = "production/leaves.yaml";

fn owned(manifest: &str, namespace: &str) -> String {
    let labels = format!(
        "metadata:\n  labels:\n    kustomize.toolkit.fluxcd.io/name: apps\n    kustomize.toolkit.fluxcd.io/namespace: {namespace}\n"
    );
    manifest.replacen("metadata:\n", &labels, 1)
}

/// The status that Flux 2.9 leaves after it has applied two maps of a revision.
fn status_by_flux(namespace: &str, revision: &str) -> Value {
    let condition = |type_: &str, reason: &str| {
        json!({"type": type_, "status": "True", "reason": reason, "observedGeneration": 1,
            "message": format!("Applied revision: {revision}"), "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let entry = |name: &str| json!({"id": format!("{namespace}_{name}__ConfigMap"), "v": "v1"});
    json!({"status": {
        "conditions": [condition("Ready", "ReconciliationSucceeded")],
        "history": [{
            "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "firstReconciled": "2026-01-01T00:00:00Z", "lastReconciled": "2026-01-01T00:10:00Z",
            "lastReconciledDuration": "312ms", "lastReconciledStatus": "ReconciliationSucceeded",
            "metadata": {"revision": revision}, "totalReconciliations": 2,
        }],
        "inventory": {"entries": [entry("leaves"), entry("stays")]},
        "lastAppliedRevision": revision, "lastAttemptedRevision": revision, "observedGeneration": 1,
    }})
}

#[tokio::test]
async fn a_folder_of_flux_is_taken_over_as_it_is_and_can_be_given_back() {
    let world = World::new("fromflux", &[("production/PLACEHOLDER", Some(""))]).await;
    let ns = world.id.clone();
    let (stays, leaves) = (config_map(&ns, "stays", "1"), config_map(&ns, "leaves", "1"));
    let commit = world.releases.commit("All", &[(FILE, Some(&stays)), (LEAVES, Some(&leaves))]);
    for manifest in [&stays, &leaves] {
        world.apply_as_flux(&owned(manifest, &ns));
    }
    let maps = async || {
        let mut found = Vec::new();
        for name in ["leaves", "stays"] {
            let map = world.live("v1", "ConfigMap", &ns, name).await.expect("it is there");
            found.push((map.metadata.uid, map.metadata.resource_version, map.metadata.managed_fields));
        }
        found
    };
    let before = maps().await;
    let kustomization = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "apps", "namespace": ns, "finalizers": ["finalizers.fluxcd.io"]},
        "spec": {"interval": "10m", "path": "./production", "prune": true, "suspend": true,
            "sourceRef": {"kind": "GitRepository", "name": "releases"}},
    });
    world.bench.apply(&kustomization.to_string());
    let status = status_by_flux(&ns, &format!("main@sha1:{commit}")).to_string();
    let patch = |more: &[&str]| {
        let args = ["-n", &ns, "patch", "kustomization", "apps", "--type=merge"];
        world.bench.kubectl(&[&args[..], more].concat());
    };
    patch(&["--subresource=status", "-p", &status]);
    wait_for("the source to have the commit", PATIENCE, || async {
        let revision = ["-n", &ns, "get", "gitrepository", "releases", "-o", "jsonpath={.status.artifact.revision}"];
        let found = world.bench.kubectl(&revision);
        if found.ends_with(&commit) { Ok(()) } else { Err(found) }
    })
    .await;
    patch(&["-p", r#"{"spec":{"suspend":false}}"#]);
    world.annotate("apps", "reconcile.fluxcd.io/requestedAt=taken-over");
    let verdict =
        world.verdict_of("apps", |status| status.last_handled_reconcile_at.as_deref() == Some("taken-over")).await;
    verdict.is_ready();
    assert_eq!(verdict.inventory(), ["leaves", "stays"].map(|name| format!("{ns}_{name}__ConfigMap")));
    assert_eq!(maps().await, before, "nothing was written: not even who manages what");

    // What Flux applied is pruned when it leaves, and what is applied now is as Flux would have it.
    world.push(&[(LEAVES, None)]).await.is_ready();
    assert!(world.live("v1", "ConfigMap", &ns, "leaves").await.is_none());
    world.apply_as_flux(&owned(&stays, &ns));
    let after = world.live("v1", "ConfigMap", &ns, "stays").await.expect("it is there").metadata;
    assert_eq!((after.uid, after.resource_version), (before[1].0.clone(), before[1].1.clone()), "Flux changes nothing");
}
