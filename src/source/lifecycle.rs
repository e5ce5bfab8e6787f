//! What every source's pass begins and ends with: deletion, finalizer, suspension; then status,
//! event and the time of the next pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::core::object::HasStatus;
use kube::runtime::reflector::ObjectRef;
use serde::Serialize;

use super::outcome::{Failure, SourceStatus, Stored, has_failed, is_known, record};
use super::store::{ArtifactStore, Owner, StoreError};
use crate::api::annotation::REQUESTED_AT;
use crate::api::condition::{self, reason};
use crate::api::meta::Artifact;
use crate::controller::conditions;
use crate::controller::resources::Described;
use crate::controller::{Context, Requeue, Watched, jittered, namespaced_name};

/// A source that this process produces artifacts for.
pub trait Source: Described + HasStatus<Status: SourceStatus> {}

impl<K> Source for K
where
    K: Described + HasStatus,
    K::Status: SourceStatus,
{
}

/// What the frame has left to do of a pass.
pub enum Stage<K> {
    /// Nothing.
    Done(Requeue),
    /// The work itself, on this state of the object.
    Work(Arc<K>),
}

/// The owner of an object's artifacts.
pub fn owner_of<K: Watched>(object: &K) -> Owner {
    let (namespace, name) = namespaced_name(object);
    Owner { kind: K::kind(&()).into_owned(), namespace, name }
}

/// Handles deletion, finalizer and suspension. `gone` runs when the object goes away.
pub async fn begin<K: Source>(
    context: &Context,
    store: &Arc<ArtifactStore>,
    object: Arc<K>,
    gone: impl FnOnce(&K),
) -> Result<Stage<K>, kube::Error> {
    if object.meta().deletion_timestamp.is_some() {
        let owner = owner_of(object.as_ref());
        if let Err(error) = store.remove(&owner).await {
            tracing::warn!(kind = owner.kind, namespace = owner.namespace, name = owner.name, %error, "cannot remove artifacts");
            return Ok(Stage::Done(Requeue::Backoff { max: Duration::from_secs(30) }));
        }
        gone(&object);
        context.remove_finalizer(object.as_ref()).await?;
        return Ok(Stage::Done(Requeue::OnChange));
    }
    let object = context.add_finalizer(object.as_ref()).await?;
    if object.is_suspended() {
        return Ok(Stage::Done(Requeue::OnChange));
    }
    Ok(Stage::Work(object))
}

/// Writes the status of a pass, tells what is new, and says when to look again.
pub async fn end<K>(
    context: &Context,
    object: &K,
    mut status: K::Status,
    outcome: Result<Stored, Failure>,
    not_acted_on: &[&str],
    interval: Duration,
) -> Result<Requeue, kube::Error>
where
    K: Source,
    K::Status: Clone + Default + PartialEq + Serialize,
{
    let generation = object.meta().generation;
    let now = Timestamp::now();
    let mut before = object.status().cloned().unwrap_or_default();
    record(&mut status, &outcome, generation, now);
    {
        let common = status.common();
        conditions::set_not_acted_on(common.conditions, not_acted_on, generation, now);
        if let Some(requested) = object.annotations().get(REQUESTED_AT) {
            *common.last_handled_reconcile_at = Some(requested.clone());
        }
    }
    let artifact = status.artifact().cloned();
    context.put_status(object, status).await?;
    report(context, object, &mut before, artifact.as_ref(), &outcome, not_acted_on);
    Ok(match outcome {
        Ok(_) => Requeue::After(jittered(interval)),
        Err(failure) if failure.terminal => Requeue::OnChange,
        Err(_) => Requeue::Backoff { max: interval },
    })
}

/// Tells of a new artifact, of a recovery and of a new failure; not of the same twice.
fn report<K: Source>(
    context: &Context,
    object: &K,
    before: &mut K::Status,
    artifact: Option<&Artifact>,
    outcome: &Result<Stored, Failure>,
    not_acted_on: &[&str],
) {
    let old_digest = before.artifact().map(|artifact| artifact.digest.clone());
    let known = before.common();
    if !not_acted_on.is_empty() && conditions::get(known.conditions, conditions::FIELDS_NOT_ACTED_ON).is_none() {
        let message = conditions::not_acted_on_message(not_acted_on);
        context.reporter.warning(object, reason::NOT_ACTED_ON, &message, &[]);
    }
    match outcome {
        Ok(stored) => {
            let Some(artifact) = artifact else { return };
            let facts = [("revision", artifact.revision.as_str()), ("digest", artifact.digest.as_str())];
            if old_digest.as_deref() != Some(&artifact.digest) {
                context.reporter.normal(object, stored.event_reason, &stored.event, &facts);
            } else if has_failed(known.conditions) {
                context.reporter.normal(object, stored.reason, &stored.message, &facts);
            }
        }
        Err(failure) if is_known(known.conditions, failure) => {}
        Err(failure) => context.reporter.warning(object, failure.reason, &failure.message, &[]),
    }
}

/// The artifact that an object has, if it is in the store. A damaged one is removed and told of.
pub async fn stored_artifact<K: Source>(
    context: &Context,
    store: &Arc<ArtifactStore>,
    object: &K,
    artifact: Option<&Artifact>,
) -> Result<Option<Artifact>, Failure> {
    let Some(artifact) = artifact else { return Ok(None) };
    let owner = owner_of(object);
    if let Err(error) = store.collect(&owner, artifact).await {
        let Owner { kind, namespace, name } = owner;
        tracing::warn!(kind, namespace, name, path = artifact.path, %error, "older artifacts cannot be removed");
    }
    match store.has(artifact).await {
        Ok(true) => Ok(Some(Artifact { url: store.url(&artifact.path), ..artifact.clone() })),
        Ok(false) => Ok(None),
        Err(error @ StoreError::Corrupt { .. }) => {
            let message = format!("failed to verify integrity of artifact: {error}");
            context.reporter.warning(object, reason::ARTIFACT_VERIFICATION_FAILED, &message, &[]);
            Ok(None)
        }
        Err(error) => Err(storage_failure(&error)),
    }
}

/// Notes that a source has a new revision, where it is one: its commit was made at `committed`,
/// and it was asked for at `asked`.
pub fn seen<K: Source>(
    context: &Context,
    object: &K,
    (before, revision): (Option<&Artifact>, &str),
    committed: Option<Timestamp>,
    asked: Timestamp,
) {
    if before.is_none_or(|before| before.revision != revision) {
        let Owner { kind, namespace, name } = owner_of(object);
        context.seen((&kind, &namespace, &name), revision, committed, asked);
    }
}

/// The failure to store an artifact.
pub fn storage_failure(error: &StoreError) -> Failure {
    let message = format!("unable to store the artifact: {error}");
    Failure::transient(condition::STORAGE_OPERATION_FAILED, reason::ARCHIVE_OPERATION_FAILED, message)
}

/// The data of a Secret that an object refers to.
pub async fn secret_data(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<BTreeMap<String, ByteString>, Failure> {
    let secret = context.api::<Secret>(namespace).get_opt(name).await;
    let reason = match secret {
        Ok(Some(secret)) => return Ok(secret.data.unwrap_or_default()),
        Ok(None) => "it does not exist".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("failed to get secret '{namespace}/{name}': {reason}");
    Err(Failure::transient(condition::FETCH_FAILED, reason::AUTHENTICATION_FAILED, message))
}

/// The name of an object in trigger streams.
pub fn object_ref<K: Watched>(object: &K) -> ObjectRef<K> {
    ObjectRef::from_obj(object)
}
