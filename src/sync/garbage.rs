//! Deletes objects that left the folder, and only those that still are ours.

use super::desired::Owner;
use super::inventory::{ObjectId, api_version};
use super::order::Stage;
use super::prune::{Verdict, verdict};
use crate::kube_ext::discovery::{ResolveError, Resolver};
use futures::StreamExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, Preconditions};
use std::collections::BTreeMap;

/// Objects of one stage that are deleted at the same time.
const CONCURRENCY: usize = 8;

/// What became of the objects.
#[derive(Debug, Default)]
pub struct Collected {
    /// Deletion has begun, or is done.
    pub deleted: Vec<ObjectId>,
    /// Not there any more, not ours any more, or marked to stay.
    pub let_go: Vec<ObjectId>,
    /// Not deleted, with the reason; to be tried again.
    pub failed: Vec<(ObjectId, String, String)>,
}

enum Fate {
    Deleted,
    LetGo,
}

/// Deletes objects (with their versions), those of the last stage first.
pub async fn collect(resolver: &Resolver, owner: &Owner, entries: Vec<(ObjectId, String)>) -> Collected {
    let mut stages: BTreeMap<Stage, Vec<_>> = BTreeMap::new();
    for entry in entries {
        stages.entry(Stage::of(&entry.0)).or_default().push(entry);
    }
    let mut collected = Collected::default();
    for entries in stages.into_values().rev() {
        let mut results = futures::stream::iter(entries)
            .map(|(id, version)| async move {
                let result = Box::pin(delete(resolver, owner, &id, &version)).await;
                (id, version, result)
            })
            .buffer_unordered(CONCURRENCY);
        while let Some((id, version, result)) = results.next().await {
            match result {
                Ok(Fate::Deleted) => collected.deleted.push(id),
                Ok(Fate::LetGo) => collected.let_go.push(id),
                Err(reason) => collected.failed.push((id, version, reason)),
            }
        }
    }
    collected
}

/// Which of the objects would be deleted by [`collect`]. Those that nobody can look at count.
pub async fn doomed(resolver: &Resolver, owner: &Owner, entries: &[(ObjectId, String)]) -> Vec<ObjectId> {
    let looks = entries.iter().cloned().map(|(id, version)| async move {
        let found = Box::pin(to_delete(resolver, owner, &id, &version)).await;
        (!matches!(found, Ok(None))).then_some(id)
    });
    futures::stream::iter(looks).buffered(CONCURRENCY).filter_map(std::future::ready).collect().await
}

async fn delete(resolver: &Resolver, owner: &Owner, id: &ObjectId, version: &str) -> Result<Fate, String> {
    let Some((api, uid)) = to_delete(resolver, owner, id, version).await? else {
        return Ok(Fate::LetGo);
    };
    let parameters = DeleteParams::background().preconditions(Preconditions { uid, resource_version: None });
    match api.delete(&id.name, &parameters).await {
        Ok(_) => Ok(Fate::Deleted),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Fate::Deleted),
        Err(error) => Err(error.to_string()),
    }
}

/// The API of an object that is ours to delete, and the object's uid; none when it is not there, or
/// not ours, or marked to stay.
async fn to_delete(
    resolver: &Resolver,
    owner: &Owner,
    id: &ObjectId,
    version: &str,
) -> Result<Option<(Api<DynamicObject>, Option<String>)>, String> {
    let Some(api) = api(resolver, id, version).await? else {
        return Ok(None);
    };
    let Some(live) = api.get_opt(&id.name).await.map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let uid = live.metadata.uid.clone();
    let live = serde_json::to_value(live).map_err(|error| error.to_string())?;
    let ours = verdict(&live, &owner.namespace, &owner.name) == Verdict::Delete;
    Ok(ours.then_some((api, uid)))
}

/// Which of the objects still exist and are ours to wait for.
pub async fn remaining(resolver: &Resolver, ids: impl Iterator<Item = (ObjectId, String)>) -> Vec<ObjectId> {
    let found = futures::stream::iter(ids).map(|(id, version)| async move {
        // When the API server cannot say, the object counts as there: it is looked at again.
        is_going(resolver, &id, &version).await.unwrap_or(true).then_some(id)
    });
    found.buffer_unordered(CONCURRENCY).filter_map(std::future::ready).collect().await
}

async fn is_going(resolver: &Resolver, id: &ObjectId, version: &str) -> Result<bool, String> {
    let Some(api) = api(resolver, id, version).await? else { return Ok(false) };
    let live = api.get_metadata_opt(&id.name).await.map_err(|error| error.to_string())?;
    Ok(live.is_some_and(|live| live.metadata.deletion_timestamp.is_some()))
}

/// The API of an object's kind; `None` when no version of the kind is served any more, which means
/// that its objects are gone.
async fn api(resolver: &Resolver, id: &ObjectId, version: &str) -> Result<Option<Api<DynamicObject>>, String> {
    let namespace = Some(id.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    match resolver.api(&api_version(&id.group, version), &id.kind, namespace).await {
        Ok(api) => return Ok(Some(api)),
        Err(ResolveError::UnknownKind { .. }) => {}
        Err(error) => return Err(error.to_string()),
    }
    match resolver.api_of_any_version(&id.group, &id.kind, namespace).await {
        Ok(api) => Ok(Some(api)),
        Err(ResolveError::UnknownKind { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::{Client, Config};

    #[tokio::test]
    async fn what_nobody_can_say_the_end_of_is_still_waited_for() {
        // Nothing listens there, so that not even the kind is known.
        let nowhere =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a free port");
        let config = Config::new(format!("http://{nowhere}").parse().expect("a URL"));
        let resolver = Resolver::new(Client::try_from(config).expect("a client"));
        let id = ObjectId::parse("apps_a__ConfigMap").expect("an id");
        let entries = std::iter::once((id.clone(), "v1".to_owned()));
        assert_eq!(remaining(&resolver, entries).await, [id]);
    }
}
