//! What wakes a release besides its own object: its chart, its dependencies, its values, and
//! helm's storage.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use crate::api::helm::v2::{ChartRefKind, HelmRelease};
use crate::api::meta::{KubeConfigReference, ValuesReference, ValuesReferenceKind};
use crate::controller::references::{ReferenceChange, ReferenceKind};
use crate::controller::{Cache, Context, Watched, namespaced_name, wake};
use crate::helm::ReleaseKey;
use crate::kube_ext::remote;
use crate::release::chart::{self, SourceKey};
use crate::release::dependencies::depends_on;
use crate::release::name;
use crate::release::observed::Target;

/// Where a release lives by its spec.
pub fn target(object: &HelmRelease) -> Target {
    let given = object.spec.target_namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let release_name = object.spec.release_name.as_deref().filter(|name| !name.is_empty());
    let storage = object.spec.storage_namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let own = object.namespace().unwrap_or_default();
    Target {
        cluster: object.spec.kube_config.as_ref().map(|elsewhere| remote::key(&own, elsewhere)).unwrap_or_default(),
        storage: storage.unwrap_or(&own).to_owned(),
        namespace: given.unwrap_or(&own).to_owned(),
        name: name::release_name(release_name, given, &object.name_any()),
    }
}

/// The releases to look at, as something of theirs changes. `storage` names releases whose
/// records in helm's storage changed.
pub fn triggers(
    context: &Context,
    storage: BoxStream<'static, ReleaseKey>,
) -> BoxStream<'static, ObjectRef<HelmRelease>> {
    let releases = &context.caches.helm_releases;
    let dependencies = wake::stream_of(releases.changes());
    let references = wake::stream_of(context.references.changes());
    let (of_dependencies, of_references, of_storage) = (releases.clone(), releases.clone(), releases.clone());
    stream::select_all([
        of_charts(&context.caches.helm_charts, ChartRefKind::HelmChart, releases),
        of_charts(&context.caches.oci_repositories, ChartRefKind::OciRepository, releases),
        of_charts(&context.caches.external_artifacts, ChartRefKind::ExternalArtifact, releases),
        dependencies
            .map(move |change| {
                let (namespace, name) = (change.object().namespace().unwrap_or_default(), change.object().name_any());
                having(&of_dependencies, |release| depends_on(release, &namespace, &name))
            })
            .boxed(),
        references.map(move |change| having(&of_references, |release| refers_to(release, &change))).boxed(),
        storage.map(move |changed| having(&of_storage, |release| is_kept_at(release, &changed))).boxed(),
    ])
    .flat_map(stream::iter)
    .boxed()
}

fn having(releases: &Cache<HelmRelease>, wanted: impl Fn(&HelmRelease) -> bool) -> Vec<ObjectRef<HelmRelease>> {
    let found = releases.all().into_iter().filter(|release| wanted(release));
    found.map(|release: Arc<HelmRelease>| ObjectRef::from_obj(release.as_ref())).collect()
}

/// Whether helm's records of a release are under that key.
fn is_kept_at(release: &HelmRelease, key: &ReleaseKey) -> bool {
    let target = target(release);
    target.cluster.is_empty() && target.storage == key.namespace && target.name == key.name
}

/// Releases whose chart is in an object of this kind that changed.
fn of_charts<K: Watched>(
    sources: &Cache<K>,
    kind: ChartRefKind,
    releases: &Cache<HelmRelease>,
) -> BoxStream<'static, Vec<ObjectRef<HelmRelease>>> {
    let releases = releases.clone();
    wake::stream_of(sources.changes())
        .map(move |change| {
            let (namespace, name) = namespaced_name(change.object().as_ref());
            let key = SourceKey { kind, namespace, name };
            having(&releases, |release| chart::reference(release).as_ref() == Some(&key))
        })
        .boxed()
}

fn refers_to(release: &HelmRelease, change: &ReferenceChange) -> bool {
    let is_it = |kind, name: &str| kind == change.kind && name == change.name;
    let value = |reference: &ValuesReference| match reference.kind {
        ValuesReferenceKind::Secret => is_it(ReferenceKind::Secret, &reference.name),
        ValuesReferenceKind::ConfigMap => is_it(ReferenceKind::ConfigMap, &reference.name),
    };
    let access = |reference: &KubeConfigReference| {
        reference.secret_ref.as_ref().is_some_and(|secret| is_it(ReferenceKind::Secret, &secret.name))
            || reference.config_map_ref.as_ref().is_some_and(|map| is_it(ReferenceKind::ConfigMap, &map.name))
    };
    release.namespace().as_deref() == Some(change.namespace.as_str())
        && (release.spec.values_from.iter().any(value) || release.spec.kube_config.as_ref().is_some_and(access))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn release(spec: &serde_json::Value) -> HelmRelease {
        serde_json::from_value(json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "ui", "namespace": "apps"}, "spec": spec,
        }))
        .expect("a release")
    }

    #[test]
    fn a_release_lives_where_its_spec_says() {
        let lives = |spec: serde_json::Value| {
            let found = target(&release(&spec));
            format!("{}/{} in {}", found.namespace, found.name, found.storage)
        };
        assert_eq!(lives(json!({"interval": "1m"})), "apps/ui in apps");
        assert_eq!(lives(json!({"interval": "1m", "targetNamespace": "web"})), "web/web-ui in apps");
        assert_eq!(lives(json!({"interval": "1m", "targetNamespace": "web", "releaseName": "x"})), "web/x in apps");
    }

    #[test]
    fn records_are_found_by_their_own_namespace_in_their_own_cluster() {
        let kept = |spec: serde_json::Value, namespace: &str, name: &str| {
            is_kept_at(&release(&spec), &ReleaseKey { namespace: namespace.to_owned(), name: name.to_owned() })
        };
        assert!(kept(json!({"interval": "1m", "targetNamespace": "web"}), "apps", "web-ui"));
        assert!(!kept(json!({"interval": "1m", "targetNamespace": "web"}), "web", "web-ui"));
        let elsewhere = json!({"interval": "1m", "kubeConfig": {"secretRef": {"name": "prod"}}});
        assert!(!kept(elsewhere, "apps", "ui"));
        assert!(kept(json!({"interval": "1m", "storageNamespace": "records"}), "records", "ui"));
        assert!(!kept(json!({"interval": "1m", "storageNamespace": "records"}), "records", "other"));
    }

    #[test]
    fn a_reference_is_of_its_kind_name_and_namespace() {
        let release = release(&json!({"interval": "1m", "valuesFrom": [{"kind": "ConfigMap", "name": "account"}]}));
        let change = |kind, namespace: &str, name: &str| ReferenceChange {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        };
        assert!(refers_to(&release, &change(ReferenceKind::ConfigMap, "apps", "account")));
        assert!(!refers_to(&release, &change(ReferenceKind::Secret, "apps", "account")));
        assert!(!refers_to(&release, &change(ReferenceKind::ConfigMap, "web", "account")));
        assert!(!refers_to(&release, &change(ReferenceKind::ConfigMap, "apps", "other")));
        let elsewhere = self::release(&json!({"interval": "1m", "kubeConfig": {"secretRef": {"name": "prod"}}}));
        assert!(refers_to(&elsewhere, &change(ReferenceKind::Secret, "apps", "prod")));
        assert!(!refers_to(&elsewhere, &change(ReferenceKind::ConfigMap, "apps", "prod")));
        assert!(!refers_to(&elsewhere, &change(ReferenceKind::Secret, "web", "prod")));
    }
}
