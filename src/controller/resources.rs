//! One series for each object that the operator looks after, as Flux's dashboards read them:
//! `gotk_resource_info`, which Flux leaves to kube-state-metrics.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use kube::ResourceExt as _;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Cache, Caches, Watched, conditions, namespaced_name};
use crate::api::condition::READY;
use crate::api::helm::v2::HelmRelease;
use crate::api::kinds::Known;
use crate::api::kustomize::v1::Kustomization;
use crate::api::meta::{Artifact, Condition};
use crate::api::notification::v1::Receiver;
use crate::api::notification::v1beta3::{Alert, Provider};
use crate::api::source::v1::{Bucket, ExternalArtifact, GitRepository, HelmChart, HelmRepository, OCIRepository};
use crate::args::Config;
use crate::redact;
use crate::selector::LabelSelector;

/// Bytes of one label at the most: an object may hold much longer texts.
const LABEL_LIMIT: usize = 256;

/// A label and its value.
type Label<'o> = (&'static str, Cow<'o, str>);

/// What a dashboard says about an object besides its name.
pub trait Described: Watched + Known {
    /// `spec.suspend`.
    fn is_suspended(&self) -> bool;
    /// `status.conditions`, if the kind has any.
    fn conditions(&self) -> &[Condition] {
        &[]
    }
    /// Labels that the kind has, if any: those of Flux' configuration for kube-state-metrics.
    fn facts(&self) -> Vec<(&'static str, Option<&str>)> {
        Vec::new()
    }
}

/// What is counted of the objects of a kind.
pub trait Census: Send + Sync {
    /// The kind.
    fn kind(&self) -> Cow<'static, str>;
    /// How many there are.
    fn count(&self) -> usize;
    /// Tells the labels of each object of a shard.
    fn each(&self, shard: Option<&LabelSelector>, tell: &mut dyn FnMut(&[Label<'_>]) -> fmt::Result) -> fmt::Result;
}

impl<K: Described> Census for Cache<K> {
    fn kind(&self) -> Cow<'static, str> {
        K::kind(&())
    }

    fn count(&self) -> usize {
        self.all().len()
    }

    fn each(&self, shard: Option<&LabelSelector>, tell: &mut dyn FnMut(&[Label<'_>]) -> fmt::Result) -> fmt::Result {
        let all = self.all();
        let mut own = all.iter().filter(|object| shard.is_none_or(|shard| shard.chooses(object.labels())));
        own.try_for_each(|object| tell(&labels(object.as_ref())))
    }
}

/// Shows the objects of the caches; reads them at each scrape and keeps nothing. Objects of other
/// shards are shown by those who look after them.
pub struct Resources {
    caches: Caches,
    config: Arc<Config>,
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resources")
    }
}

impl Resources {
    /// For the kinds and the objects that are looked after.
    pub fn new(caches: Caches, config: Arc<Config>) -> Self {
        Self { caches, config }
    }
}

impl Collector for Resources {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let help = "Objects in the watch caches.";
        let mut counts = encoder.encode_descriptor("fairlead_objects", help, None, MetricType::Gauge)?;
        for cache in self.caches.watched(&self.config) {
            let kind = cache.kind();
            ConstGauge::new(cache.count()).encode(counts.encode_family(&[("kind", kind.as_ref())])?)?;
        }
        let help = "The current state of an object; always 1.";
        let mut info = encoder.encode_descriptor("gotk_resource_info", help, None, MetricType::Gauge)?;
        let shard = self.config.shard.as_ref();
        for cache in self.caches.watched(&self.config) {
            cache.each(shard, &mut |labels| ConstGauge::new(1_i64).encode(info.encode_family(&labels)?))?;
        }
        Ok(())
    }
}

fn labels<K: Described>(object: &K) -> Vec<Label<'_>> {
    let (namespace, name) = namespaced_name(object);
    let ready = conditions::get(object.conditions(), READY).map_or("", |ready| ready.status.as_str());
    let mut labels: Vec<Label<'_>> = vec![
        ("customresource_group", K::group(&())),
        ("customresource_version", K::version(&())),
        ("customresource_kind", K::kind(&())),
        ("name", name.into()),
        ("exported_namespace", namespace.into()),
        ("ready", ready.into()),
        ("suspended", object.is_suspended().to_string().into()),
    ];
    let facts = object.facts().into_iter().filter_map(|(label, value)| Some((label, bounded(value?))));
    labels.extend(facts);
    labels
}

fn bounded(value: &str) -> Cow<'_, str> {
    if value.contains("://") {
        return redact::bounded(&redact::place(value), LABEL_LIMIT).into_owned().into();
    }
    redact::bounded(value, LABEL_LIMIT)
}

fn revision(artifact: Option<&Artifact>) -> (&'static str, Option<&str>) {
    ("revision", artifact.map(|artifact| artifact.revision.as_str()))
}

/// Describes kinds of sources: their labels besides the revision of their artifact.
macro_rules! described_source {
    ($($kind:ty: $suspended:expr, $facts:expr;)+) => {$(
        impl Described for $kind {
            fn is_suspended(&self) -> bool {
                let suspended: fn(&$kind) -> bool = $suspended;
                suspended(self)
            }

            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }

            fn facts(&self) -> Vec<(&'static str, Option<&str>)> {
                let facts: fn(&$kind) -> Vec<(&'static str, Option<&str>)> = $facts;
                let mut all = facts(self);
                all.push(revision(self.status.as_ref().and_then(|status| status.artifact.as_ref())));
                all
            }
        }
    )+};
}

described_source! {
    GitRepository: |o| o.spec.suspend, |o| vec![("url", Some(&o.spec.url))];
    HelmRepository: |o| o.spec.suspend, |o| vec![("url", Some(&o.spec.url))];
    OCIRepository: |o| o.spec.suspend, |o| vec![("url", Some(&o.spec.url))];
    Bucket: |o| o.spec.suspend,
        |o| vec![("endpoint", Some(&o.spec.endpoint)), ("bucket_name", Some(&o.spec.bucket_name))];
    HelmChart: |o| o.spec.suspend, |o| vec![("chart_name", Some(&o.spec.chart)), ("chart_version", o.spec.version.as_deref())];
    ExternalArtifact: |_| false, |_| Vec::new();
}

impl Described for Kustomization {
    fn is_suspended(&self) -> bool {
        self.spec.suspend
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn facts(&self) -> Vec<(&'static str, Option<&str>)> {
        let status = self.status.as_ref();
        vec![
            ("revision", status.and_then(|status| status.last_applied_revision.as_deref())),
            ("source_name", Some(&self.spec.source_ref.name)),
        ]
    }
}

impl Described for HelmRelease {
    fn is_suspended(&self) -> bool {
        self.spec.suspend
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn facts(&self) -> Vec<(&'static str, Option<&str>)> {
        let newest = self.status.as_ref().and_then(|status| status.history.first());
        let (chart, reference) = (self.spec.chart.as_ref(), self.spec.chart_ref.as_ref());
        vec![
            ("revision", newest.map(|snapshot| snapshot.chart_version.as_str())),
            ("chart_name", newest.map(|snapshot| snapshot.chart_name.as_str())),
            ("chart_app_version", newest.and_then(|snapshot| snapshot.app_version.as_deref())),
            ("chart_ref_name", reference.map(|reference| reference.name.as_str())),
            ("chart_source_name", chart.map(|chart| chart.spec.source_ref.name.as_str())),
        ]
    }
}

/// The path of its webhook is no label: it is all that some senders have to know.
impl Described for Receiver {
    fn is_suspended(&self) -> bool {
        self.spec.suspend
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }
}

impl Described for Alert {
    fn is_suspended(&self) -> bool {
        self.spec.suspend
    }
}

/// Its address is no label: the path is often all that a sender has to know.
impl Described for Provider {
    fn is_suspended(&self) -> bool {
        self.spec.suspend
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown<K: Described>(object: serde_json::Value) -> Vec<(&'static str, String)> {
        let object: K = serde_json::from_value(object).unwrap();
        labels(&object).into_iter().map(|(label, value)| (label, value.into_owned())).collect()
    }

    fn value<'l>(labels: &'l [(&'static str, String)], label: &str) -> Option<&'l str> {
        labels.iter().find(|(known, _)| *known == label).map(|(_, value)| value.as_str())
    }

    #[test]
    fn credentials_in_a_url_do_not_show_and_long_texts_are_cut() {
        let shown = |rest: &str| {
            shown::<GitRepository>(json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
                "metadata": {"name": "releases", "namespace": "flux-system"},
                "spec": {"url": format!("https://robot:hunter2@example.com/{rest}"), "interval": "1m"},
            }))
        };
        let labels = shown(&"x".repeat(1000));
        let url = value(&labels, "url").unwrap();
        assert!(url.starts_with("https://*****@example.com/x") && url.len() < 300, "{url}");
        assert_eq!(value(&shown("x?key=hunter2"), "url"), Some("https://*****@example.com/x"));
        assert_eq!(value(&labels, "ready"), Some(""));
        assert_eq!(value(&labels, "revision"), None);
    }

    #[test]
    fn a_kustomization_shows_what_it_applied_last() {
        let labels = shown::<Kustomization>(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "production", "namespace": "flux-system"},
            "spec": {"interval": "1m", "prune": true, "suspend": true,
                "sourceRef": {"kind": "GitRepository", "name": "releases"}},
            "status": {"lastAppliedRevision": "main@sha1:1", "conditions": [{"type": "Ready", "status": "False",
                "reason": "x", "message": "y", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }));
        for (label, expected) in [
            ("customresource_kind", "Kustomization"),
            ("customresource_group", "kustomize.toolkit.fluxcd.io"),
            ("exported_namespace", "flux-system"),
            ("name", "production"),
            ("ready", "False"),
            ("suspended", "true"),
            ("revision", "main@sha1:1"),
            ("source_name", "releases"),
        ] {
            assert_eq!(value(&labels, label), Some(expected), "{label}");
        }
    }
}
