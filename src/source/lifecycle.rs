//! What every source's pass begins and ends with: deletion, finalizer, suspension; then status,
//! event and the time of the next pass.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::core::object::HasStatus;
use kube::runtime::reflector::ObjectRef;
use serde::Serialize;

use super::outcome::{Failure, SourceStatus, Stored, has_failed, is_known, progress, record};
use super::store::{ArtifactStore, Owner, StoreError};
use crate::api::annotation::REQUESTED_AT;
use crate::api::condition::{self, reason};
use crate::api::meta::Artifact;
use crate::controller::conditions;
use crate::controller::resources::Described;
use crate::controller::{Context, Requeue, Watched, jittered, namespaced_name};

/// A pass that is over sooner is not told of before its end: most are, and each word is a write.
const UNNOTICED: Duration = Duration::from_secs(1);

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

/// What the work of a pass came to.
pub struct Pass<K: HasStatus> {
    /// The object as it was written while the work went on.
    written: Option<Arc<K>>,
    status: K::Status,
    outcome: Result<Stored, Failure>,
}

/// Does the work of a pass on the object's status, in which the artifact is one that is in the store.
/// Where it takes long and has something to tell, the status tells of it meanwhile.
pub async fn work<K>(
    context: &Context,
    store: &Arc<ArtifactStore>,
    object: &K,
    work: impl AsyncFnOnce(&mut K::Status) -> Result<Stored, Failure>,
) -> Pass<K>
where
    K: Source + Clone,
    K::Status: Clone + Default + PartialEq + Serialize,
{
    let mut status = object.status().cloned().unwrap_or_default();
    if let Err(failure) = look_up_artifact(context, store, object, &mut status).await {
        return Pass { written: None, status, outcome: Err(failure) };
    }
    let was_lost = status.artifact().is_none() && object.status().is_some_and(|before| before.artifact().is_some());
    let progress = progress(&status, was_lost, object.meta().generation, Timestamp::now());
    let (written, outcome) = told_of(context, object, progress, Box::pin(work(&mut status))).await;
    Pass { written, status, outcome }
}

/// Does the work; gives the object as it was written meanwhile, where there was something to tell and time to tell it.
async fn told_of<K>(
    context: &Context,
    object: &K,
    progress: Option<K::Status>,
    work: impl Future<Output = Result<Stored, Failure>>,
) -> (Option<Arc<K>>, Result<Stored, Failure>)
where
    K: Source + Clone,
    K::Status: Clone + PartialEq + Serialize,
{
    let Some(progress) = progress else { return (None, work.await) };
    let mut work = pin!(work);
    if let Ok(done) = tokio::time::timeout(UNNOTICED, work.as_mut()).await {
        return (None, done);
    }
    // Both are over before the end writes what it has to say.
    let (written, done) = tokio::join!(tell(context, object, progress), work);
    (Some(written), done)
}

/// Writes a status in the midst of a pass; gives the object with what is known of its status then.
async fn tell<K>(context: &Context, object: &K, status: K::Status) -> Arc<K>
where
    K: Source + Clone,
    K::Status: Clone + PartialEq + Serialize,
{
    context.put_status(object, status).await.unwrap_or_else(|error| {
        let Owner { kind, namespace, name } = owner_of(object);
        tracing::debug!(kind, namespace, name, %error, "the status cannot tell of a pass that takes long");
        // It may have been written all the same: the end has to write in any case.
        let mut unknown = object.clone();
        *unknown.status_mut() = None;
        Arc::new(unknown)
    })
}

/// Writes the status of a pass, tells what is new, and says when to look again.
pub async fn end<K>(
    context: &Context,
    object: &K,
    pass: Pass<K>,
    not_acted_on: &[&str],
    interval: Duration,
) -> Result<Requeue, kube::Error>
where
    K: Source,
    K::Status: Clone + Default + PartialEq + Serialize,
{
    let Pass { written, mut status, outcome } = pass;
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
    context.put_status(written.as_deref().unwrap_or(object), status).await?;
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

/// Leaves the artifact in the status only if it is in the store, under the addresses that the store
/// has now. A damaged one is removed and told of.
async fn look_up_artifact<K: Source>(
    context: &Context,
    store: &Arc<ArtifactStore>,
    object: &K,
    status: &mut K::Status,
) -> Result<(), Failure> {
    let found = match status.artifact() {
        Some(artifact) => stored_artifact(context, store, object, artifact).await?,
        None => None,
    };
    if let Some(url) = status.url() {
        *url = found.as_ref().and_then(|artifact| renewed(store, artifact, url.as_deref()?));
    }
    status.set_artifact(found);
    Ok(())
}

/// The address of the fixed name that `url` leads to, as the store serves it now.
fn renewed(store: &ArtifactStore, artifact: &Artifact, url: &str) -> Option<String> {
    let (_, name) = url.rsplit_once('/')?;
    Some(store.url(&Path::new(&artifact.path).with_file_name(name).to_string_lossy()))
}

async fn stored_artifact<K: Source>(
    context: &Context,
    store: &Arc<ArtifactStore>,
    object: &K,
    artifact: &Artifact,
) -> Result<Option<Artifact>, Failure> {
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
