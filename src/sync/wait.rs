//! `spec.wait` and `spec.healthChecks`: are the applied objects healthy, and if not, why?

use super::inventory::{Inventory, ObjectId, api_version, split_api_version};
use super::policy;
use crate::api::kustomize::v1::{Kustomization, KustomizationSpec};
use crate::controller::namespaced_name;
use crate::health::Health;
use crate::health::explain::explain;
use crate::health::expressions::Checks;
use crate::health::rules::Rules;
use crate::kube_ext::discovery::{ResolveError, Resolver};
use crate::redact::Redactor;
use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Objects looked at at the same time.
const CONCURRENCY: usize = 8;
/// What a health check without `apiVersion` is about, as in Flux: its first ones were for workloads alone.
const DEFAULT_API_VERSION: &str = "apps/v1";
/// How many unhealthy objects a message names.
const SHOWN: usize = 5;

/// An object whose health is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// Which one; its namespace may be one that its kind does not need.
    pub id: ObjectId,
    /// Version of its API.
    pub version: String,
    /// It removes itself when it is done.
    pub vanishes: bool,
}

/// What manifests say about being waited for.
#[derive(Debug, Default)]
pub struct Exceptions {
    /// Objects that this pass did not apply and would not: others look after them.
    pub left_alone: BTreeSet<ObjectId>,
    /// Jobs that remove themselves when they are done.
    pub vanishing: BTreeSet<ObjectId>,
}

/// Whether anything is waited for.
pub fn is_asked_for(spec: &KustomizationSpec) -> bool {
    spec.wait || !spec.health_checks.is_empty()
}

/// The objects to wait for: all that were applied with `wait`, otherwise those that the spec names.
/// A Kustomization does not wait for itself.
pub fn awaited(object: &Kustomization, inventory: &Inventory, exceptions: &Exceptions) -> Vec<Awaited> {
    let spec = &object.spec;
    let (own_namespace, own_name) = namespaced_name(object);
    let named = |reference: &crate::api::meta::NamespacedObjectKindReference| {
        let given = reference.api_version.as_deref().filter(|given| !given.is_empty());
        let (group, version) = split_api_version(given.unwrap_or(DEFAULT_API_VERSION));
        let namespace = reference.namespace.clone().filter(|namespace| !namespace.is_empty());
        let id = ObjectId {
            namespace: namespace.unwrap_or_else(|| own_namespace.clone()),
            name: reference.name.clone(),
            group: group.to_owned(),
            kind: reference.kind.clone(),
        };
        (id, version.to_owned())
    };
    let found: Vec<_> = if spec.wait { inventory.entries() } else { spec.health_checks.iter().map(named).collect() };
    let is_own = |id: &ObjectId| {
        id.group == "kustomize.toolkit.fluxcd.io"
            && (&*id.kind, &id.namespace, &id.name) == ("Kustomization", &own_namespace, &own_name)
    };
    let is_left_alone = |id: &ObjectId| spec.wait && exceptions.left_alone.contains(id);
    found
        .into_iter()
        .filter(|(id, _)| !is_own(id) && !is_left_alone(id))
        .map(|(id, version)| Awaited { vanishes: exceptions.vanishing.contains(&id), id, version })
        .collect()
}

/// Health of everything that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every object is healthy.
    Healthy,
    /// Some are on their way.
    Waiting(String),
    /// Some will not get there by themselves.
    Failed(String),
}

impl Verdict {
    /// What it comes to when the time for waiting is over.
    #[must_use]
    pub fn at_last(self, timeout: Duration) -> Self {
        match self {
            Self::Waiting(message) => Self::Failed(format!("not healthy within {timeout:?}: {message}")),
            other => other,
        }
    }
}

/// A look at objects as they are in the cluster now.
pub struct Look<'a> {
    /// The cluster.
    pub client: &'a Client,
    /// Its kinds.
    pub resolver: &'a Resolver,
    /// `spec.healthCheckExprs`.
    pub checks: &'a Checks,
    /// Whether unhealthy objects are looked into: their pods, and the last lines of their logs.
    pub closely: bool,
    /// Knows what must not be told.
    pub redactor: &'a Redactor,
}

impl Look<'_> {
    /// Judges all of them.
    pub async fn at(&self, awaited: &[Awaited]) -> Verdict {
        // Boxed, or the compiler cannot prove that futures borrowing each object are Send.
        let looks: Vec<_> = awaited.iter().map(|one| Box::pin(self.health_of(one))).collect();
        let found: Vec<_> = futures::stream::iter(looks).buffered(CONCURRENCY).collect().await;
        judge(&found)
    }

    async fn health_of(&self, one: &Awaited) -> (String, Health) {
        let Awaited { id, version, vanishes } = one;
        let name = id.to_string();
        let live = match self.live(id, version).await {
            Ok(Some(live)) => live,
            Ok(None) if *vanishes => return (name, Health::Current),
            Ok(None) => return (name, Health::InProgress("it does not exist".to_owned())),
            Err(error) => return (name, Health::InProgress(error)),
        };
        let metadata = serde_json::from_value::<ObjectMeta>(live["metadata"].clone()).ok();
        if policy::step(&Value::Null, metadata.as_ref()) == policy::Step::Leave {
            return (name, Health::Current);
        }
        let health = Rules { checks: self.checks, legacy: false, jobs: true }.assess(&live);
        match health {
            Health::InProgress(why) if self.closely => (name, Health::InProgress(self.why(&live, why).await)),
            Health::Failed(why) if self.closely => (name, Health::Failed(self.why(&live, why).await)),
            health => (name, health),
        }
    }

    async fn live(&self, id: &ObjectId, version: &str) -> Result<Option<Value>, String> {
        let namespace = Some(id.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        let api = match self.resolver.api(&api_version(&id.group, version), &id.kind, namespace).await {
            // As in Flux, the group says which kind it is.
            Err(ResolveError::UnknownKind { .. }) => {
                self.resolver.api_of_any_version(&id.group, &id.kind, namespace).await
            }
            found => found,
        };
        let live =
            api.map_err(|error| error.to_string())?.get_opt(&id.name).await.map_err(|error| error.to_string())?;
        live.map(serde_json::to_value).transpose().map_err(|error| error.to_string())
    }

    async fn why(&self, live: &Value, why: String) -> String {
        match explain(self.client, live, true, self.redactor).await {
            Some(reason) => format!("{why}; {reason}"),
            None => why,
        }
    }
}

fn judge(found: &[(String, Health)]) -> Verdict {
    let healthy = found.iter().filter(|(_, health)| health.is_current()).count();
    let failed = named(found, |health| match health {
        Health::Failed(reason) => Some(reason),
        _ => None,
    });
    if !failed.is_empty() {
        return Verdict::Failed(format!("{healthy} of {} objects are healthy: {failed}", found.len()));
    }
    let waiting = named(found, |health| match health {
        Health::InProgress(reason) => Some(reason),
        _ => None,
    });
    if waiting.is_empty() {
        return Verdict::Healthy;
    }
    Verdict::Waiting(format!("{healthy} of {} objects are healthy, waiting for {waiting}", found.len()))
}

fn named(found: &[(String, Health)], pick: impl Fn(&Health) -> Option<&String>) -> String {
    let picked: Vec<_> = found.iter().filter_map(|(id, health)| Some(format!("{id}: {}", pick(health)?))).collect();
    let mut shown = picked.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    if picked.len() > SHOWN {
        shown.push(format!("and {} more", picked.len() - SHOWN));
    }
    shown.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn failures_come_before_waits_and_are_named() {
        let current = ("A/x".to_owned(), Health::Current);
        let waiting = ("B/x".to_owned(), Health::InProgress("0 of 1 pods".to_owned()));
        let failed = ("C/x".to_owned(), Health::Failed("no".to_owned()));
        assert_eq!(judge(&[]), Verdict::Healthy);
        assert_eq!(judge(std::slice::from_ref(&current)), Verdict::Healthy);
        let text = "1 of 2 objects are healthy, waiting for B/x: 0 of 1 pods";
        assert_eq!(judge(&[current.clone(), waiting.clone()]), Verdict::Waiting(text.to_owned()));
        let text = "1 of 3 objects are healthy: C/x: no";
        assert_eq!(judge(&[current, waiting.clone(), failed]), Verdict::Failed(text.to_owned()));
        let Verdict::Waiting(text) = judge(&vec![waiting; 7]) else { panic!("not waiting") };
        assert!(text.ends_with("; and 2 more"), "{text}");
    }

    #[test]
    fn waiting_ends() {
        let minute = Duration::from_mins(1);
        let failed = |text: &str| Verdict::Failed(text.to_owned());
        assert_eq!(Verdict::Waiting("a".to_owned()).at_last(minute), failed("not healthy within 60s: a"));
        assert_eq!(failed("b").at_last(minute), failed("b"));
        assert_eq!(Verdict::Healthy.at_last(minute), Verdict::Healthy);
    }

    fn id(namespace: &str, group: &str, kind: &str, name: &str) -> ObjectId {
        let [namespace, group, kind, name] = [namespace, group, kind, name].map(str::to_owned);
        ObjectId { namespace, name, group, kind }
    }

    #[test]
    fn all_that_was_applied_is_waited_for_or_what_the_spec_names() {
        let group = "kustomize.toolkit.fluxcd.io";
        let inventory = {
            let mut inventory = Inventory::default();
            inventory.insert(id("flux-system", group, "Kustomization", "apps"), "v1");
            inventory.insert(id("web", "batch", "Job", "once"), "v1");
            inventory.insert(id("web", "", "Secret", "theirs"), "v1");
            inventory
        };
        let exceptions = Exceptions {
            left_alone: [id("web", "", "Secret", "theirs")].into(),
            vanishing: [id("web", "batch", "Job", "once")].into(),
        };
        let of = |spec: Value| {
            let mut all = json!({"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "a"}});
            all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            let mut object = Kustomization::new("apps", serde_json::from_value(all).unwrap());
            object.metadata.namespace = Some("flux-system".to_owned());
            (is_asked_for(&object.spec), awaited(&object, &inventory, &exceptions))
        };
        assert_eq!(of(json!({})), (false, Vec::new()));
        let once = Awaited { id: id("web", "batch", "Job", "once"), version: "v1".to_owned(), vanishes: true };
        let checks = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a"}, {"kind": "Deployment", "name": "c"},
            {"apiVersion": "", "kind": "StatefulSet", "name": "d"},
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "b", "namespace": "web"}]);
        assert_eq!(of(json!({"wait": true, "healthChecks": checks})), (true, vec![once]));
        let (asked, named) = of(json!({"healthChecks": checks}));
        let named: Vec<_> = named.into_iter().map(|one| one.id).collect();
        assert!(asked);
        let expected = [
            id("flux-system", "", "ConfigMap", "a"),
            id("flux-system", "apps", "Deployment", "c"),
            id("flux-system", "apps", "StatefulSet", "d"),
            id("web", "apps", "Deployment", "b"),
        ];
        assert_eq!(named, expected);
    }
}
