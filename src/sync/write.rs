//! Writes one object as its manifest, its labels and the Kustomization say.

use super::desired::Owner;
use super::ignored::{as_stored, without_ignored};
use super::policy::{self, Step};
use crate::drift::ignore::{IgnoreRules, Pointer};
use crate::kube_ext::apply::{
    self, Applied, ApplyError, Change, FIELD_MANAGER, Refusal, adopt, adopt_texts, owns_texts,
};
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
        let name = name(manifest);
        let api = self.api(resolved, namespace);
        let ignored = as_stored(manifest, self.ignore.of(manifest));
        let ignored: Vec<&Pointer> = ignored.iter().collect();
        let mut live = Live::read(&api, name, &ignored).await?;
        if live.is_some() && ignored.iter().any(|pointer| pointer.is_empty()) {
            return Ok(None);
        }
        let metadata = live.as_ref().map(|live| &live.metadata);
        match policy::step(manifest, metadata) {
            Step::Leave => return Ok(None),
            Step::Wait => return Err(ApplyError::terminating()),
            Step::Apply => {}
        }
        if let Some(known) = metadata.filter(|known| !policy::merges(manifest, Some(known)))
            && take_over(&api, resolved, name, known).await?
        {
            live = Live::read(&api, name, &ignored).await?;
        }
        let refused = match self.apply(resolved, namespace, manifest, &ignored, live.as_ref()).await {
            Err(refused) if refused.refusal == Refusal::Immutable => refused,
            other => return other.map(Some),
        };
        let Some(Live { metadata, .. }) = live else {
            return Err(refused);
        };
        if let Err(why) = policy::may_replace(self.force, manifest, &metadata, self.owner) {
            return Err(refused.because(why));
        }
        remove(&api, name, metadata.uid).await?;
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
        live: Option<&Live>,
    ) -> Result<Applied, ApplyError> {
        let body = |live: Option<&Live>| match live.and_then(|live| live.whole.as_ref()) {
            Some(whole) => without_ignored(manifest, whole, ignored),
            None => manifest.clone(),
        };
        let mut applied = apply::apply(self.client, resolved, namespace, body(live)).await;
        for _ in 1..ATTEMPTS {
            if ignored.is_empty() || !applied.as_ref().is_err_and(|error| error.refusal == Refusal::Conflict) {
                break;
            }
            let live = Live::read(&self.api(resolved, namespace), name(manifest), ignored).await?;
            applied = apply::apply(self.client, resolved, namespace, body(live.as_ref())).await;
        }
        applied
    }

    fn api(&self, resolved: &Resolved, namespace: Option<&str>) -> Api<DynamicObject> {
        let client = self.client.clone();
        match namespace.filter(|_| resolved.namespaced) {
            Some(namespace) => Api::namespaced_with(client, namespace, &resolved.resource),
            None => Api::all_with(client, &resolved.resource),
        }
    }
}

/// An object as it is.
struct Live {
    metadata: ObjectMeta,
    /// All of it, where anything of it is to be left alone.
    whole: Option<Value>,
}

impl Live {
    async fn read(api: &Api<DynamicObject>, name: &str, ignored: &[&Pointer]) -> Result<Option<Self>, ApplyError> {
        if ignored.is_empty() {
            let found = metadata(api, name).await?;
            return Ok(found.map(|metadata| Self { metadata, whole: None }));
        }
        let found = api.get_opt(name).await.map_err(|error| ApplyError::from_client(&error))?;
        Ok(found.map(|found| Self { whole: serde_json::to_value(&found).ok(), metadata: found.metadata }))
    }
}

fn name(manifest: &Value) -> &str {
    manifest.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

async fn metadata(api: &Api<DynamicObject>, name: &str) -> Result<Option<ObjectMeta>, ApplyError> {
    let found = api.get_metadata_opt(name).await.map_err(|error| ApplyError::from_client(&error))?;
    Ok(found.map(|found| found.metadata))
}

/// Takes over what people changed by hand, and what a Secret was told by `stringData`, so that the apply takes back what the manifest does not
/// state; tells whether there was anything of it.
async fn take_over(
    api: &Api<DynamicObject>,
    resolved: &Resolved,
    name: &str,
    live: &ObjectMeta,
) -> Result<bool, ApplyError> {
    let entries = live.managed_fields.as_deref().unwrap_or_default();
    let mut adopted = adopt(entries, FIELD_MANAGER);
    let known = adopted.as_deref().unwrap_or(entries);
    let is_secret = resolved.resource.group.is_empty() && resolved.resource.kind == "Secret";
    if is_secret && owns_texts(known, FIELD_MANAGER) {
        let secret = api.get_opt(name).await.map_err(|error| ApplyError::from_client(&error))?;
        let data = secret.as_ref().and_then(|secret| secret.data["data"].as_object());
        let keys = data.into_iter().flatten().map(|(key, _)| key.as_str());
        adopted = Some(adopt_texts(known, FIELD_MANAGER, keys));
    }
    let Some(adopted) = adopted else {
        return Ok(false);
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
    written.map(|_| true).map_err(|error| ApplyError::from_client(&error))
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
