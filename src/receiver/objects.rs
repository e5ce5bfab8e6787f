//! The objects that a call is about, and how they are told: in this process where it looks after
//! their kind, by an annotation where another controller does.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::target::{Target, Which};
use crate::api::annotation::REQUESTED_AT;
use crate::api::notification::v1::ReceiverResourceKind as Kind;
use crate::controller::{Cache, Context, Watched};
use crate::kube_ext::discovery::Resolver;

/// An object as a filter sees it, and how to reach it.
pub struct Found {
    /// Its group and version, kind and metadata.
    pub seen: Value,
    api_version: String,
    kind: Kind,
    namespace: String,
    name: String,
}

/// Finds and tells objects. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    context: Context,
    resolver: Resolver,
}

impl Objects {
    /// Of the operator's own cluster.
    pub fn new(context: Context) -> Self {
        let resolver = Resolver::new(context.client.clone());
        Self { context, resolver }
    }

    /// The objects of a target; a named one that does not exist is an error.
    pub async fn find(&self, target: &Target) -> Result<Vec<Found>, String> {
        let found = if self.is_own(target) { self.watched(target) } else { self.listed(target).await? };
        match &target.which {
            Which::Named(name) if found.is_empty() => {
                Err(format!("{} {}/{name} does not exist", target.kind, target.namespace))
            }
            _ => Ok(found),
        }
    }

    /// Has an object looked at.
    pub async fn tell(&self, object: &Found) -> Result<(), String> {
        let group = object.api_version.split('/').next().unwrap_or_default();
        let kind = object.kind.as_str();
        let labels = object.seen["metadata"]["labels"].as_object();
        let is_own = self.context.config.shard.as_ref().is_none_or(|shard| shard.matches(labels));
        if is_own && self.context.wakes.reach(group, kind) {
            self.context.wakes.wake(group, kind, &object.namespace, &object.name);
            return Ok(());
        }
        let failed = |error: String| format!("cannot annotate {kind} {}/{}: {error}", object.namespace, object.name);
        let api = self.resolver.api(&object.api_version, kind, Some(&object.namespace)).await;
        let api = api.map_err(|error| failed(error.to_string()))?;
        let patch = json!({"metadata": {"annotations": {REQUESTED_AT: Timestamp::now().to_string()}}});
        let patched = api.patch_metadata(&object.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).map_err(|error| failed(error.to_string()))
    }

    fn is_own(&self, target: &Target) -> bool {
        // Those of other controllers are not reconciled here, though they may be watched.
        self.context.wakes.reach(target.group(), target.kind.as_str())
    }

    fn watched(&self, target: &Target) -> Vec<Found> {
        let caches = &self.context.caches;
        match target.kind {
            Kind::Bucket => chosen(&caches.buckets, target),
            Kind::GitRepository => chosen(&caches.git_repositories, target),
            Kind::Kustomization => chosen(&caches.kustomizations, target),
            Kind::HelmRelease => chosen(&caches.helm_releases, target),
            Kind::HelmChart => chosen(&caches.helm_charts, target),
            Kind::HelmRepository => chosen(&caches.helm_repositories, target),
            Kind::OciRepository => chosen(&caches.oci_repositories, target),
            Kind::ExternalArtifact => chosen(&caches.external_artifacts, target),
            // No controller here looks after these.
            Kind::ImageRepository | Kind::ImagePolicy | Kind::ImageUpdateAutomation | Kind::ArtifactGenerator => {
                Vec::new()
            }
        }
    }

    async fn listed(&self, target: &Target) -> Result<Vec<Found>, String> {
        let kind = target.kind.as_str();
        let failed = |error: String| format!("cannot read {kind} in {}: {error}", target.namespace);
        let api = self.resolver.api(&target.api_version, kind, Some(&target.namespace)).await;
        let api = api.map_err(|error| failed(error.to_string()))?;
        let objects = match &target.which {
            Which::Named(name) => api.get_metadata_opt(name).await.map(|found| found.into_iter().collect()),
            Which::Labelled(labels) => {
                api.list_metadata(&ListParams::default().labels(&selector(labels))).await.map(|list| list.items)
            }
        };
        let objects: Vec<_> = objects.map_err(|error| failed(error.to_string()))?;
        objects.iter().map(|object| Ok(found(target, object.name_any(), &object.metadata))).collect()
    }
}

fn chosen<K: Watched>(cache: &Cache<K>, target: &Target) -> Vec<Found> {
    let objects = match &target.which {
        Which::Named(name) => cache.get(&target.namespace, name).into_iter().collect(),
        Which::Labelled(_) => cache.all(),
    };
    let wanted = objects.into_iter().filter(|object| {
        object.meta().namespace.as_deref() == Some(&target.namespace) && target.which.accepts(object.labels())
    });
    wanted.map(|object| found(target, object.name_any(), object.meta())).collect()
}

fn found(target: &Target, name: String, metadata: &kube::core::ObjectMeta) -> Found {
    let seen = json!({"apiVersion": target.api_version, "kind": target.kind.as_str(), "metadata": metadata});
    let Target { api_version, kind, namespace, .. } = target;
    Found { seen, api_version: api_version.clone(), kind: *kind, namespace: namespace.clone(), name }
}

fn selector(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}
