//! What fairlead writes into helm's storage, helm understands.

use std::time::Duration;

use fairlead::helm::client::HelmError;
use fairlead::helm::output::Cause;
use fairlead::helm::{ReleaseCache, ReleaseStatus, Releases, ReleasesError, StorageError, storage};
use fairlead_testbench::{TestBench, wait_for};
use kube::api::PostParams;

use super::*;

const CHART: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {v: {{ .Values.v | quote }}}}";

fn history(bench: &TestBench, major: Major, namespace: &str) -> Vec<(i64, String, String)> {
    let text = bench.helm(major, &["history", "app", "-n", namespace, "-o", "json"]);
    let entries: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = entries.iter();
    entries
        .map(|entry| {
            (entry["revision"].as_i64().unwrap_or_default(), text(entry, "status"), text(entry, "description"))
        })
        .collect()
}

#[tokio::test]
async fn a_release_marked_failed_is_failed_for_helm() {
    let bench = shared().await;
    let releases = Releases::new(bench.client().await);
    for major in Major::BOTH {
        let folder = tempfile::tempdir().expect("a folder");
        let helm = helm(bench, major, folder.path()).await;
        let namespace = bench.namespace("failed").await;
        let chart = chart_of(&folder.path().join("chart"), CHART);
        helm.release(&action(Verb::Install, &namespace, &chart), &values(json!({"v": 1}))).await.expect("an install");
        let before = releases.read(&namespace, "app", 1).await.expect("a read").expect("a release");

        let why = "Deployment app/app: container api crashes with exit code 1";
        let marked = releases.mark_failed(&namespace, "app", 1, why).await.expect("a write").expect("a release");
        assert_eq!((marked.status(), marked.description()), (ReleaseStatus::Failed, why));
        assert_eq!(marked.info("last_deployed"), before.info("last_deployed"));
        assert_eq!(history(bench, major, &namespace), [(1, "failed".to_owned(), why.to_owned())]);
        assert!(bench.helm(major, &["status", "app", "-n", &namespace]).contains("STATUS: failed"));
        let labels =
            bench.kubectl(&["get", "secret", "-n", &namespace, "-l", "owner=helm,status=failed", "-o", "name"]);
        assert_eq!(labels.trim(), "secret/sh.helm.release.v1.app.v1");

        helm.release(&action(Verb::Upgrade, &namespace, &chart), &values(json!({"v": 2}))).await.expect("an upgrade");
        let after = history(bench, major, &namespace);
        assert_eq!((after[1].0, after[1].1.as_str()), (2, "deployed"));
        assert!(releases.mark_failed(&namespace, "app", 9, why).await.expect("a look").is_none());
        releases.delete(&namespace, "app", 1).await.expect("a delete");
        releases.delete(&namespace, "app", 1).await.expect("nothing left to delete");
        assert_eq!(history(bench, major, &namespace).len(), 1);
    }
}

/// The second revision as a helm that was killed in mid-upgrade leaves it.
async fn leave_a_lock(client: &kube::Client, namespace: &str) {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let mut secret = secrets.get("sh.helm.release.v1.app.v1").await.expect("the first revision");
    let mut document = storage::decode(&secret).expect("a release").document().clone();
    document["version"] = json!(2);
    document["info"]["status"] = json!("pending-upgrade");
    document["info"]["description"] = json!("Preparing upgrade");
    secret.data = Some(storage::encode(&storage::StoredRelease::from_document(document)).expect("encodes"));
    secret.metadata.name = Some("sh.helm.release.v1.app.v2".to_owned());
    secret.metadata.resource_version = None;
    let labels = secret.metadata.labels.get_or_insert_default();
    labels.insert("status".to_owned(), "pending-upgrade".to_owned());
    labels.insert("version".to_owned(), "2".to_owned());
    secrets.create(&PostParams::default(), &secret).await.expect("a second revision");
}

#[tokio::test]
async fn a_broken_lock_lets_helm_go_on() {
    let bench = shared().await;
    let client = bench.client().await;
    let releases = Releases::new(client.clone());
    for major in Major::BOTH {
        let folder = tempfile::tempdir().expect("a folder");
        let helm = helm(bench, major, folder.path()).await;
        let namespace = bench.namespace("lock").await;
        let chart = chart_of(&folder.path().join("chart"), CHART);
        helm.release(&action(Verb::Install, &namespace, &chart), &EMPTY).await.expect("an install");
        leave_a_lock(&client, &namespace).await;

        let upgrade = action(Verb::Upgrade, &namespace, &chart);
        let error = helm.release(&upgrade, &EMPTY).await.expect_err("the release is locked");
        assert!(matches!(error, HelmError::Failed { cause: Cause::Locked, .. }), "{error:?}");
        let freed = releases.break_lock(&namespace, "app", 2, "the operator ended during the upgrade").await;
        assert_eq!(freed.expect("a write").expect("a release").status(), ReleaseStatus::Failed);
        let again = releases.break_lock(&namespace, "app", 2, "").await;
        let Err(ReleasesError::Storage { source: StorageError::NotPending { .. }, .. }) = again else {
            panic!("{again:?}: the lock is broken only once")
        };
        helm.release(&upgrade, &EMPTY).await.expect("an upgrade");
        let seen = history(bench, major, &namespace);
        assert_eq!(seen.iter().map(|entry| entry.1.as_str()).collect::<Vec<_>>(), ["superseded", "failed", "deployed"]);
    }
}

#[tokio::test]
async fn a_write_in_between_is_not_lost() {
    let bench = shared().await;
    let client = bench.client().await;
    let folder = tempfile::tempdir().expect("a folder");
    let helm = helm(bench, Major::V4, folder.path()).await;
    let namespace = bench.namespace("race").await;
    let chart = chart_of(&folder.path().join("chart"), CHART);
    helm.release(&action(Verb::Install, &namespace, &chart), &EMPTY).await.expect("an install");

    let secrets = Api::<Secret>::namespaced(client.clone(), &namespace);
    let name = storage::secret_name("app", 1);
    let stale = secrets.get(&name).await.expect("the revision");
    Releases::new(client).mark_failed(&namespace, "app", 1, "first").await.expect("a write");
    let late = storage::mark_failed(&stale, "second", "2026-01-02T03:04:05Z".parse().expect("a time"));
    let error = secrets.replace(&name, &PostParams::default(), &late.expect("a release")).await;
    assert!(matches!(error, Err(kube::Error::Api(status)) if status.code == 409));
}

#[tokio::test]
async fn the_cache_follows_helm() {
    let bench = shared().await;
    let folder = tempfile::tempdir().expect("a folder");
    let helm = helm(bench, Major::V3, folder.path()).await;
    let namespace = bench.namespace("cache").await;
    let chart = chart_of(&folder.path().join("chart"), CHART);
    helm.release(&action(Verb::Install, &namespace, &chart), &EMPTY).await.expect("an install");

    let cache = ReleaseCache::default();
    let client = bench.client().await;
    let watch = tokio::spawn({
        let (cache, namespace) = (cache.clone(), namespace.clone());
        async move { cache.run(client, Some(&namespace)).await }
    });
    tokio::time::timeout(Duration::from_secs(10), cache.ready()).await.expect("the first list");
    assert_eq!(cache.get(&namespace, "app").len(), 1, "what was there before");
    let mut changes = cache.changes();
    helm.release(&action(Verb::Upgrade, &namespace, &chart), &values(json!({"v": 2}))).await.expect("an upgrade");
    let release = tokio::time::timeout(Duration::from_secs(10), changes.recv()).await.expect("a change");
    assert_eq!(release.map(|key| key.name).as_deref(), Some("app"));
    let seen = || {
        let found = cache.get(&namespace, "app");
        async move { Ok::<_, String>(found) }
    };
    let expected = [(2, ReleaseStatus::Deployed), (1, ReleaseStatus::Superseded)];
    wait_for("both revisions", Duration::from_secs(10), || async {
        let seen: Vec<_> = seen().await?.iter().map(|revision| (revision.version, revision.status)).collect();
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    helm.uninstall(&uninstall(&namespace)).await.expect("an uninstall");
    wait_for("nothing", Duration::from_secs(10), || async {
        let left = seen().await?.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} revisions")) }
    })
    .await;
    watch.abort();
}
