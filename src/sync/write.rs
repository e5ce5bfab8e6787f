//! Writes one object as its manifest, its labels and the Kustomization say.

use super::desired::Owner;
use super::ignored::without_ignored;
use super::policy::{self, Step};
use crate::drift::ignore::{IgnoreRules, Pointer};
use crate::kube_ext::apply::{self, Applied, ApplyError, Change, FIELD_MANAGER, Refusal, adopt};
use crate::kube_ext::discovery::Resolved;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long an object that is to be made anew may take to go.
const REPLACEMENT: Duration = Duration::from_secs(20);
/// Pause between two looks at it.
const REPLACEMENT_STEP: Duration = Duration::from_millis(100);
/// Attempts at one object whose ignored fields change at the same time.
const ATTEMPTS: usize = 4;
/// What `kubectl apply` notes, to compare with the next time; it would undo ours.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Writes objects.
pub struct Writer<'a> {
    /// The API server.
    pub client: &'a Client,
    /// The Kustomization.
    pub owner: &'a Owner,
    /// `spec.force`.
    pub force: bool,
    /// `spec.ignore`.
    pub ignore: &'a IgnoreRules,
}

impl Writer<'_> {
    /// Makes an object what its manifest says; none when its own labels keep us off it.
    pub async fn write(
        &self,
        resolved: &Resolved,
        namespace: Option<&str>,
        manifest: &Value,
    ) -> Result<Option<Applied>, ApplyError> {
        let name = manifest.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let api = self.api(resolved, namespace);
        let live = metadata(&api, name).await?;
        let ignored = self.ignore.of(manifest);
        if live.is_some() && ignored.iter().any(|pointer| pointer.is_empty()) {
            return Ok(None);
        }
        match policy::step(manifest, live.as_ref()) {
            Step::Leave => return Ok(None),
            Step::Wait => return Err(ApplyError::terminating()),
            Step::Apply => {}
        }
        if let Some(live) = live.as_ref().filter(|live| !policy::merges(manifest, Some(live))) {
            take_over(&api, name, live).await?;
        }
        let refused = match self.apply(resolved, namespace, manifest, &ignored).await {
            Err(refused) if refused.refusal == Refusal::Immutable => refused,
            other => return other.map(Some),
        };
        let Some(live) = live else {
            return Err(refused);
        };
        if let Err(why) = policy::may_replace(self.force, manifest, &live, self.owner) {
            return Err(refused.because(why));
        }
        remove(&api, name, live.uid).await?;
        let applied = apply::apply(self.client, resolved, namespace, manifest.clone()).await?;
        Ok(Some(Applied { change: Change::Recreated, ..applied }))
    }

    /// Applies a manifest but for its ignored fields. That is bound to the version of the object that
    /// these were read from, so that nobody's newer word is taken back.
    async fn apply(
        &self,
        resolved: &Resolved,
        namespace: Option<&str>,
        manifest: &Value,
        ignored: &[&Pointer],
    ) -> Result<Applied, ApplyError> {
        let name = manifest.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let mut attempt = 1;
        loop {
            let body = match self.live(resolved, namespace, name, ignored).await? {
                Some(live) => without_ignored(manifest, &live, ignored),
                None => manifest.clone(),
            };
            match apply::apply(self.client, resolved, namespace, body).await {
                Err(error) if !ignored.is_empty() && error.refusal == Refusal::Conflict && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// The object as it is, where anything of it is to be left alone.
    async fn live(
        &self,
        resolved: &Resolved,
        namespace: Option<&str>,
        name: &str,
        ignored: &[&Pointer],
    ) -> Result<Option<Value>, ApplyError> {
        if ignored.is_empty() {
            return Ok(None);
        }
        let live = self.api(resolved, namespace).get_opt(name).await;
        let live = live.map_err(|error| ApplyError::from_client(&error))?;
        Ok(live.and_then(|live| serde_json::to_value(live).ok()))
    }

    fn api(&self, resolved: &Resolved, namespace: Option<&str>) -> Api<DynamicObject> {
        let client = self.client.clone();
        match namespace.filter(|_| resolved.namespaced) {
            Some(namespace) => Api::namespaced_with(client, namespace, &resolved.resource),
            None => Api::all_with(client, &resolved.resource),
        }
    }
}

async fn metadata(api: &Api<DynamicObject>, name: &str) -> Result<Option<ObjectMeta>, ApplyError> {
    let found = api.get_metadata_opt(name).await.map_err(|error| ApplyError::from_client(&error))?;
    Ok(found.map(|found| found.metadata))
}

/// Takes over what people changed by hand, so that the apply takes back what the manifest does not
/// state.
async fn take_over(api: &Api<DynamicObject>, name: &str, live: &ObjectMeta) -> Result<(), ApplyError> {
    let entries = live.managed_fields.as_deref().unwrap_or_default();
    let Some(adopted) = adopt(entries, FIELD_MANAGER) else {
        return Ok(());
    };
    let mut patch = vec![
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": live.resource_version}),
        json!({"op": "replace", "path": "/metadata/managedFields", "value": adopted}),
    ];
    if live.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LAST_APPLIED)) {
        let note = format!("/metadata/annotations/{}", LAST_APPLIED.replace('/', "~1"));
        patch.push(json!({"op": "remove", "path": note}));
    }
    let patch: json_patch::Patch = serde_json::from_value(patch.into()).expect("it is a patch");
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let written = api.patch_metadata(name, &parameters, &Patch::Json::<()>(patch)).await;
    written.map(drop).map_err(|error| ApplyError::from_client(&error))
}

/// Deletes an object and waits until it is gone.
async fn remove(api: &Api<DynamicObject>, name: &str, uid: Option<String>) -> Result<(), ApplyError> {
    let preconditions = Preconditions { uid: uid.clone(), resource_version: None };
    match api.delete(name, &DeleteParams::background().preconditions(preconditions)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        result => drop(result.map_err(|error| ApplyError::from_client(&error))?),
    }
    let deadline = Instant::now() + REPLACEMENT;
    while metadata(api, name).await?.is_some_and(|live| live.uid == uid) {
        if Instant::now() > deadline {
            return Err(ApplyError::terminating());
        }
        tokio::time::sleep(REPLACEMENT_STEP).await;
    }
    Ok(())
}
