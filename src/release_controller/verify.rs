//! Looks at the objects of a revision and says whether it is healthy, and if not, why.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::api::meta::ResourceInventory;
use crate::health::{Health, assess, explain::explain};
use crate::kube_ext::discovery::{ResolveError, Resolver};
use crate::redact::Redactor;
use crate::release::inventory::{ReleasedObject, objects};
use crate::release::observed::{Target, Verdict};

/// Objects of one release that are asked for at the same time.
const AT_ONCE: usize = 8;
/// Objects that a message names; the others are counted.
const NAMED: usize = 3;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// At the objects alone.
    Objects,
    /// Also at the pods of those that are not healthy.
    Pods,
    /// Also at the last log lines of failing containers.
    Logs,
}

/// The revision of each release whose objects are known, and these.
type Known = HashMap<Target, (i64, Arc<Vec<ReleasedObject>>)>;

/// Knows the objects of the revisions that are waited for.
pub struct Verifier {
    client: Client,
    resolver: Resolver,
    known: Mutex<Known>,
}

/// What is wrong with one object.
struct Unhealthy {
    failed: bool,
    message: String,
}

impl Verifier {
    /// A verifier that knows nothing yet.
    pub fn new(client: Client, resolver: Resolver) -> Self {
        Self { client, resolver, known: Mutex::default() }
    }

    /// The objects of a revision, if they were learnt.
    pub fn known(&self, target: &Target, version: i64) -> Option<Arc<Vec<ReleasedObject>>> {
        let known = self.locked();
        known.get(target).filter(|(of, _)| *of == version).map(|(_, objects)| objects.clone())
    }

    /// Learns the objects of a revision from its manifest.
    pub fn learn(&self, target: &Target, version: i64, manifest: &str) -> Arc<Vec<ReleasedObject>> {
        let found = Arc::new(objects(manifest));
        self.locked().insert(target.clone(), (version, found.clone()));
        found
    }

    /// Forgets a release that nobody waits for any more.
    pub fn forget(&self, target: &Target) {
        self.locked().remove(target);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges the objects; `jobs` says whether Jobs have to be complete. An error means that the
    /// API server failed.
    pub async fn verdict(
        &self,
        target: &Target,
        objects: &[ReleasedObject],
        jobs: bool,
        depth: Depth,
        redactor: &Redactor,
    ) -> Result<Verdict, kube::Error> {
        let wanted = objects.iter().filter(|object| object.has_health && (jobs || object.kind != "Job"));
        // Boxed, or the compiler cannot prove that futures borrowing each object are Send.
        let looks: Vec<_> =
            wanted.map(|object| Box::pin(self.look(&target.namespace, object, depth, redactor))).collect();
        let found: Vec<Option<Unhealthy>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        Ok(sum(found.into_iter().flatten().collect()))
    }

    async fn look(
        &self,
        namespace: &str,
        object: &ReleasedObject,
        depth: Depth,
        redactor: &Redactor,
    ) -> Result<Option<Unhealthy>, kube::Error> {
        let namespace = object.namespace.as_deref().unwrap_or(namespace);
        let named = |namespaced: bool| object.display(if namespaced { namespace } else { "" });
        let resolved = match self.resolver.resolve(&object.api_version, &object.kind).await {
            Ok(resolved) => resolved,
            Err(ResolveError::Unreachable { source, .. }) => return Err(source),
            Err(error) => return Ok(Some(Unhealthy { failed: false, message: format!("{}: {error}", named(true)) })),
        };
        let api = if resolved.namespaced {
            kube::Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resolved.resource)
        } else {
            kube::Api::all_with(self.client.clone(), &resolved.resource)
        };
        let name = named(resolved.namespaced);
        let Some(live) = api.get_opt(&object.name).await? else {
            return Ok(Some(Unhealthy { failed: false, message: format!("{name} does not exist") }));
        };
        let live = with_type(live, object);
        let (failed, why) = match assess(&live) {
            Health::Current => return Ok(None),
            Health::InProgress(why) => (false, why),
            Health::Failed(why) => (true, why),
        };
        let mut message = format!("{name}: {}", redactor.text(&why));
        if depth != Depth::Objects
            && let Some(reason) = explain(&self.client, &live, depth == Depth::Logs, redactor).await
        {
            message.push_str("; ");
            message.push_str(&reason);
        }
        Ok(Some(Unhealthy { failed, message }))
    }

    /// The objects that are still there, for people.
    pub async fn remaining(&self, target: &Target, objects: &[ReleasedObject]) -> Result<Vec<String>, kube::Error> {
        let looks: Vec<_> = objects.iter().map(|object| Box::pin(self.presence(&target.namespace, object))).collect();
        let found: Vec<Option<String>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn presence(&self, namespace: &str, object: &ReleasedObject) -> Result<Option<String>, kube::Error> {
        let namespace = object.namespace.as_deref().unwrap_or(namespace);
        match self.resolver.api(&object.api_version, &object.kind, Some(namespace)).await {
            Ok(api) => Ok(api.get_metadata_opt(&object.name).await?.map(|_| object.display(namespace))),
            Err(ResolveError::Unreachable { source, .. }) => Err(source),
            // A kind that is gone took its objects along.
            Err(_) => Ok(None),
        }
    }

    /// The objects as an inventory. Kinds that the API server does not know count as namespaced.
    pub async fn inventory(&self, target: &Target, objects: &[ReleasedObject]) -> ResourceInventory {
        let mut entries = Vec::with_capacity(objects.len());
        for object in objects {
            let resolved = self.resolver.resolve(&object.api_version, &object.kind).await;
            let namespaced = resolved.map_or(true, |resolved| resolved.namespaced);
            let namespace = object.namespace.as_deref().unwrap_or(&target.namespace);
            entries.push(object.entry(if namespaced { namespace } else { "" }));
        }
        ResourceInventory { entries }
    }
}

/// The object as JSON, with the type that a GET leaves out.
fn with_type(live: DynamicObject, object: &ReleasedObject) -> Value {
    let mut value = serde_json::to_value(live).unwrap_or_default();
    value["apiVersion"] = object.api_version.clone().into();
    value["kind"] = object.kind.clone().into();
    value
}

/// One verdict for all: failed if one failed; those are named first.
fn sum(mut found: Vec<Unhealthy>) -> Verdict {
    if found.is_empty() {
        return Verdict::Healthy;
    }
    found.sort_by_key(|unhealthy| !unhealthy.failed);
    let failed = found[0].failed;
    let mut messages: Vec<&str> = found.iter().take(NAMED).map(|unhealthy| unhealthy.message.as_str()).collect();
    let more = format!("and {} more", found.len().saturating_sub(NAMED));
    if found.len() > NAMED {
        messages.push(&more);
    }
    let message = messages.join(" | ");
    if failed { Verdict::Failed(message) } else { Verdict::InProgress(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_sum_up_with_failures_first() {
        let one = |failed, message: &str| Unhealthy { failed, message: message.to_owned() };
        assert_eq!(sum(Vec::new()), Verdict::Healthy);
        assert_eq!(sum(vec![one(false, "a"), one(false, "b")]), Verdict::InProgress("a | b".to_owned()));
        let many = vec![one(false, "a"), one(true, "b"), one(false, "c"), one(false, "d"), one(false, "e")];
        assert_eq!(sum(many), Verdict::Failed("b | a | c | and 2 more".to_owned()));
    }
}
