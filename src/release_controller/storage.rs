//! Helm's storage, as decisions and the history see it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use serde_json::Value;

use super::fault::Fault;
use crate::api::helm::v2::Snapshot;
use crate::helm::summary::summary;
use crate::helm::{
    ReleaseCache, ReleaseKey, ReleaseStatus, ReleaseSummary, Releases, ReleasesError, StoredRelease, observation_digest,
};
use crate::release::history::API_VERSION;
use crate::release::observed::{Action, Phase, Revision, Target};
use crate::values::config_digest;

/// Helm's release Secrets: the watch for what rests, the API server for what is acted on. Without
/// a watch, the API server is asked each time.
pub struct Storage {
    client: Client,
    watched: Option<ReleaseCache>,
    /// The newest revisions that were read, to read each only once.
    seen: Mutex<HashMap<ReleaseKey, ReleaseSummary>>,
    releases: Releases,
}

impl Storage {
    /// The storage behind a watch that somebody else drives.
    pub fn watched(client: Client, cache: ReleaseCache) -> Self {
        Self { releases: Releases::new(client.clone()), client, watched: Some(cache), seen: Mutex::default() }
    }

    /// The storage without a watch.
    pub fn direct(client: Client) -> Self {
        Self { releases: Releases::new(client.clone()), client, watched: None, seen: Mutex::default() }
    }

    /// Waits until the watch knows every release.
    pub async fn ready(&self) {
        if let Some(cache) = &self.watched {
            cache.ready().await;
        }
    }

    /// The revisions as of the last watch event, newest first; without a watch the newest one as
    /// of now, alone.
    pub async fn at_rest(&self, target: &Target) -> Result<Vec<Revision>, Fault> {
        match &self.watched {
            Some(cache) => Ok(cache.get(&target.storage, &target.name).iter().map(revision).collect()),
            None => self.newest(target).await,
        }
    }

    /// The revisions that are known without asking, newest first.
    fn known(&self, target: &Target) -> Vec<ReleaseSummary> {
        let watched = self.watched.as_ref().map(|cache| cache.get(&target.storage, &target.name)).unwrap_or_default();
        if watched.is_empty() { self.seen().get(&key(target)).cloned().into_iter().collect() } else { watched }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<ReleaseKey, ReleaseSummary>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest revision as of now, alone.
    pub async fn newest(&self, target: &Target) -> Result<Vec<Revision>, Fault> {
        let labels = format!("owner=helm,name={}", target.name);
        let listed = self.api(target).list_metadata(&ListParams::default().labels(&labels)).await?;
        let version = |labels: &std::collections::BTreeMap<String, String>| labels.get("version")?.parse::<i64>().ok();
        let newest = listed
            .items
            .iter()
            .filter_map(|secret| Some((version(secret.labels())?, secret)))
            .max_by_key(|found| found.0);
        let Some((version, newest)) = newest else {
            self.seen().remove(&key(target));
            return Ok(Vec::new());
        };
        let current = newest.resource_version().unwrap_or_default();
        let known = self.known(target);
        if let Some(known) = known.iter().find(|known| known.version == version && *known.resource_version == current) {
            return Ok(vec![revision(known)]);
        }
        let Some(secret) = self.api(target).get_opt(&newest.name_any()).await? else {
            return Ok(Vec::new());
        };
        let read = summary(&secret).map_err(|source| ReleasesError::Storage {
            namespace: target.storage.clone(),
            secret: newest.name_any(),
            source,
        })?;
        let found = vec![revision(&read.1)];
        if self.watched.is_none() {
            self.seen().insert(key(target), read.1);
        }
        Ok(found)
    }

    /// Whether that revision was applied by the API server; `None` when it is not kept.
    pub async fn was_server_side(&self, target: &Target, version: i64) -> Result<Option<bool>, Fault> {
        if let Some(known) = self.known(target).iter().find(|known| known.version == version) {
            return Ok(Some(known.server_side));
        }
        Ok(self.stored(target, version).await?.map(|stored| stored.is_server_side()))
    }

    /// The whole of a revision, if it is there.
    pub async fn stored(&self, target: &Target, version: i64) -> Result<Option<StoredRelease>, Fault> {
        Ok(self.releases.read(&target.storage, &target.name, version).await?)
    }

    /// Marks a revision failed; `None` when it is gone.
    pub async fn mark_failed(&self, target: &Target, version: i64, why: &str) -> Result<Option<StoredRelease>, Fault> {
        Ok(self.releases.mark_failed(&target.storage, &target.name, version, why).await?)
    }

    /// Marks a pending revision failed; `None` when it is gone.
    pub async fn break_lock(&self, target: &Target, version: i64, why: &str) -> Result<Option<StoredRelease>, Fault> {
        Ok(self.releases.break_lock(&target.storage, &target.name, version, why).await?)
    }

    /// Removes a revision that is half made; one that is gone is what was wanted.
    pub async fn discard(&self, target: &Target, version: i64) -> Result<(), Fault> {
        Ok(self.releases.delete(&target.storage, &target.name, version).await?)
    }

    fn api(&self, target: &Target) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &target.storage)
    }
}

fn key(target: &Target) -> ReleaseKey {
    ReleaseKey { namespace: target.storage.clone(), name: target.name.clone() }
}

fn revision(summary: &ReleaseSummary) -> Revision {
    Revision {
        version: summary.version,
        status: phase(summary.status),
        chart_name: summary.chart_name.to_string(),
        chart_version: summary.chart_version.to_string(),
        config_digest: summary.config_digest.to_string(),
        last_deployed: summary.last_deployed,
        deleted: summary.deleted,
        description: summary.description.to_string(),
        server_side: summary.server_side,
    }
}

fn phase(status: ReleaseStatus) -> Phase {
    match status {
        ReleaseStatus::Deployed => Phase::Deployed,
        ReleaseStatus::Superseded => Phase::Superseded,
        ReleaseStatus::Failed => Phase::Failed,
        ReleaseStatus::Uninstalled => Phase::Uninstalled,
        ReleaseStatus::Uninstalling => Phase::Uninstalling,
        ReleaseStatus::PendingInstall | ReleaseStatus::PendingUpgrade | ReleaseStatus::PendingRollback => {
            Phase::Pending
        }
        ReleaseStatus::Unknown => Phase::Unknown,
    }
}

/// The snapshot of a revision, with the digests that Flux gives it.
pub fn snapshot(stored: &StoredRelease, action: Option<Action>) -> Snapshot {
    let metadata = |field: &str| {
        let value = stored.chart_metadata().and_then(|metadata| metadata.get(field)).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    Snapshot {
        api_version: Some(API_VERSION.to_owned()),
        digest: observation_digest(stored),
        name: stored.name().to_owned(),
        namespace: stored.namespace().to_owned(),
        version: stored.version(),
        status: stored.status().as_str().to_owned(),
        action: action.map(|action| action.as_str().to_owned()),
        chart_name: metadata("name"),
        chart_version: metadata("version"),
        app_version: Some(metadata("appVersion")).filter(|version| !version.is_empty()),
        config_digest: stored.config().map_or_else(|| config_digest(&serde_json::Map::new()), config_digest),
        first_deployed: Time(time(stored, "first_deployed").unwrap_or(Timestamp::UNIX_EPOCH)),
        last_deployed: Time(time(stored, "last_deployed").unwrap_or(Timestamp::UNIX_EPOCH)),
        deleted: time(stored, "deleted").map(Time),
        test_hooks: None,
        oci_digest: None,
    }
}

/// Whole seconds, as Kubernetes keeps them; Go's zero time is the year 1.
fn time(stored: &StoredRelease, field: &str) -> Option<Timestamp> {
    let found: Timestamp = stored.info(field)?.as_str()?.parse().ok()?;
    Timestamp::from_second(found.as_second()).ok().filter(|time| *time > Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_snapshot_says_what_storage_says() {
        let document = json!({
            "name": "ui", "namespace": "apps", "version": 2,
            "info": {"status": "failed", "first_deployed": "2026-01-01T00:00:00.5Z", "last_deployed": "2026-01-02T01:00:00.123456789+01:00", "deleted": ""},
            "chart": {"metadata": {"name": "node", "version": "1.0.0+abc", "appVersion": "7"}},
            "config": {"a": 1},
        });
        let stored = StoredRelease::from_document(document.as_object().expect("an object").clone());
        let found = snapshot(&stored, Some(Action::Upgrade));
        let show = |time: &Time| time.0.to_string();
        assert_eq!((found.namespace.as_str(), found.name.as_str(), found.version), ("apps", "ui", 2));
        assert_eq!((found.status.as_str(), found.action.as_deref()), ("failed", Some("upgrade")));
        assert_eq!((found.chart_name.as_str(), found.chart_version.as_str()), ("node", "1.0.0+abc"));
        assert_eq!(found.app_version.as_deref(), Some("7"));
        assert_eq!(show(&found.first_deployed), "2026-01-01T00:00:00Z");
        assert_eq!(show(&found.last_deployed), "2026-01-02T00:00:00Z");
        assert_eq!(found.deleted, None);
        assert!(found.config_digest.starts_with("sha256:") && found.digest.starts_with("sha256:"));
    }
}
