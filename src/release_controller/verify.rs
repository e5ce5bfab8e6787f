//! Looks at the objects of a revision and says whether it is healthy, and if not, why.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::api::meta::ResourceInventory;
use crate::health::Health;
use crate::health::explain::explain;
use crate::health::rules::Rules;
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

/// The revision of each release whose objects are known.
type Known = HashMap<Target, Revision>;

struct Revision {
    version: i64,
    objects: Arc<Vec<ReleasedObject>>,
    /// Jobs that were seen complete, by their names for people.
    complete: HashSet<String>,
}

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
        known.get(target).filter(|known| known.version == version).map(|known| known.objects.clone())
    }

    /// Learns the objects of a revision from its manifest.
    pub fn learn(&self, target: &Target, version: i64, manifest: &str) -> Arc<Vec<ReleasedObject>> {
        let found = Arc::new(objects(manifest));
        let revision = Revision { version, objects: found.clone(), complete: HashSet::new() };
        self.locked().insert(target.clone(), revision);
        found
    }

    /// Forgets a release that nobody waits for any more.
    pub fn forget(&self, target: &Target) {
        self.locked().remove(target);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges the objects. An error means that the API server failed.
    pub async fn verdict(
        &self,
        target: &Target,
        objects: &[ReleasedObject],
        rules: &Rules<'_>,
        depth: Depth,
        redactor: &Redactor,
    ) -> Result<Verdict, kube::Error> {
        let wanted = objects.iter().filter(|one| rules.concern(&one.api_version, &one.kind, one.has_health));
        // Boxed, or the compiler cannot prove that futures borrowing each object are Send.
        let looks: Vec<_> = wanted.map(|object| Box::pin(self.look(target, object, rules, depth, redactor))).collect();
        let found: Vec<Option<Unhealthy>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        Ok(sum(found.into_iter().flatten().collect()))
    }

    async fn look(
        &self,
        target: &Target,
        object: &ReleasedObject,
        rules: &Rules<'_>,
        depth: Depth,
        redactor: &Redactor,
    ) -> Result<Option<Unhealthy>, kube::Error> {
        let namespace = object.namespace.as_deref().unwrap_or(&target.namespace);
        let unhealthy = |failed: bool, message: String| Ok(Some(Unhealthy { failed, message }));
        let name = match self.resolver.resolve(&object.api_version, &object.kind).await {
            Ok(resolved) => object.display(if resolved.namespaced { namespace } else { "" }),
            Err(ResolveError::Unreachable { source, .. }) => return Err(source),
            Err(error) => return unhealthy(false, format!("{}: {error}", object.display(namespace))),
        };
        let Some(live) = self.live(&target.namespace, object).await? else {
            if object.vanishes || self.was_complete(target, &name) {
                return Ok(None);
            }
            return unhealthy(false, format!("{name} does not exist"));
        };
        let (failed, why) = match rules.assess(&live) {
            Health::Current => {
                if object.kind == "Job" {
                    self.is_complete(target, name);
                }
                return Ok(None);
            }
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
        unhealthy(failed, message)
    }

    /// An object as it is now, with its type; `None` when it, or its kind, is not there.
    pub async fn live(&self, namespace: &str, object: &ReleasedObject) -> Result<Option<Value>, kube::Error> {
        let namespace = object.namespace.as_deref().unwrap_or(namespace);
        match self.resolver.api(&object.api_version, &object.kind, Some(namespace)).await {
            Ok(api) => Ok(api.get_opt(&object.name).await?.map(|live| with_type(live, object))),
            Err(ResolveError::Unreachable { source, .. }) => Err(source),
            Err(_) => Ok(None),
        }
    }

    /// The trouble of an object's pods, with the last log lines; `None` where they do not tell.
    pub async fn why(&self, live: &Value, redactor: &Redactor) -> Option<String> {
        explain(&self.client, live, true, redactor).await
    }

    /// A Job that is complete stays so, whoever removes it.
    fn is_complete(&self, target: &Target, name: String) {
        if let Some(revision) = self.locked().get_mut(target) {
            revision.complete.insert(name);
        }
    }

    fn was_complete(&self, target: &Target, name: &str) -> bool {
        self.locked().get(target).is_some_and(|revision| revision.complete.contains(name))
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
