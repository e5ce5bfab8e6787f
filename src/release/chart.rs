//! The object that holds a release's chart, whether it is ready, and what its revision says.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use kube::api::ObjectMeta;

use crate::api::annotation::PROVENANCE_KEYS;
use crate::api::condition::{READY, STALLED};
use crate::api::helm::v2::{ChartRefKind, HelmChartTemplate, HelmRelease};
use crate::api::meta::{Artifact, Condition};
use crate::api::source::v1::{
    ExternalArtifact, HelmChart, HelmChartSpec, HelmChartVerification, LocalHelmChartSourceReference, OCIRepository,
};
use crate::controller::conditions;
use crate::source::verified::tells_of_provenance;
use crate::source::version::Version;

/// Label with the name of the release that a `HelmChart` was made for.
pub const NAME_LABEL: &str = "helm.toolkit.fluxcd.io/name";
/// Label with the namespace of the release that a `HelmChart` was made for.
pub const NAMESPACE_LABEL: &str = "helm.toolkit.fluxcd.io/namespace";

/// The object that holds a release's chart: the `HelmChart` made from the template, or what
/// `spec.chartRef` names. `None` where neither is given.
pub fn reference(object: &HelmRelease) -> Option<SourceKey> {
    let own = object.namespace().unwrap_or_default();
    let or_own =
        |given: Option<&String>| given.filter(|given| !given.is_empty()).cloned().unwrap_or_else(|| own.clone());
    if let Some(template) = &object.spec.chart {
        let namespace = or_own(template.spec.source_ref.namespace.as_ref());
        return Some(SourceKey {
            kind: ChartRefKind::HelmChart,
            namespace,
            name: format!("{own}-{}", object.name_any()),
        });
    }
    let reference = object.spec.chart_ref.as_ref()?;
    let namespace = or_own(reference.namespace.as_ref());
    Some(SourceKey { kind: reference.kind, namespace, name: reference.name.clone() })
}

/// The `HelmChart` for a release's template, as Flux makes it.
pub fn from_template(object: &HelmRelease, template: &HelmChartTemplate) -> HelmChart {
    let own = object.namespace().unwrap_or_default();
    let given = &template.spec;
    let spec = HelmChartSpec {
        chart: given.chart.clone(),
        version: Some(given.version.clone().filter(|version| !version.is_empty()).unwrap_or_else(|| "*".to_owned())),
        source_ref: LocalHelmChartSourceReference {
            api_version: None,
            kind: given.source_ref.kind,
            name: given.source_ref.name.clone(),
        },
        interval: given.interval.unwrap_or(object.spec.interval),
        reconcile_strategy: given.reconcile_strategy,
        values_files: given.values_files.clone(),
        ignore_missing_values_files: given.ignore_missing_values_files,
        suspend: false,
        verify: given.verify.as_ref().map(|verify| HelmChartVerification {
            provider: verify.provider,
            secret_ref: verify.secret_ref.clone(),
            match_oidc_identity: Vec::new(),
        }),
    };
    let given_metadata = template.metadata.clone().unwrap_or_default();
    let mut labels = given_metadata.labels;
    labels.insert(NAME_LABEL.to_owned(), object.name_any());
    labels.insert(NAMESPACE_LABEL.to_owned(), own.clone());
    let metadata = ObjectMeta {
        name: Some(format!("{own}-{}", object.name_any())),
        namespace: Some(given.source_ref.namespace.clone().filter(|given| !given.is_empty()).unwrap_or(own)),
        labels: Some(labels),
        annotations: Some(given_metadata.annotations).filter(|annotations| !annotations.is_empty()),
        ..ObjectMeta::default()
    };
    HelmChart { metadata, spec, status: None }
}

/// Whether the existing object has to be applied to become the wanted one. Somebody else's labels
/// and annotations are left alone, but a spec that is `new` may have dropped some of its own.
pub fn needs_apply(existing: &HelmChart, wanted: &HelmChart, new: bool) -> bool {
    let contains = |all: &BTreeMap<String, String>, some: &BTreeMap<String, String>| {
        some.iter().all(|(key, value)| all.get(key) == Some(value))
    };
    let within = |one: &HelmChart, other: &HelmChart| {
        contains(one.labels(), other.labels()) && contains(one.annotations(), other.annotations())
    };
    existing.spec != wanted.spec || !within(existing, wanted) || (new && !within(wanted, existing))
}

/// Identity of an object that holds a chart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceKey {
    /// Its kind.
    pub kind: ChartRefKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// `Kind 'namespace/name'`, as messages have it.
impl std::fmt::Display for SourceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} '{}/{}'", self.kind, self.namespace, self.name)
    }
}

/// What of an object that holds a chart tells whether it can be used.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceState<'s> {
    /// Generation of its spec.
    pub generation: Option<i64>,
    /// Generation that its status is about; `None` for a kind that does not tell.
    pub observed: Option<Option<i64>>,
    /// Its conditions.
    pub conditions: &'s [Condition],
    /// The packaged chart.
    pub artifact: Option<&'s Artifact>,
    /// Whether nobody has looked for the provenance that an annotation asks for: it makes no new generation.
    pub unverified: bool,
}

impl<'s> SourceState<'s> {
    /// The state of a `HelmChart`; `None` before anybody has looked at it.
    pub fn of_chart(chart: &'s HelmChart) -> Option<Self> {
        let status = chart.status.as_ref()?;
        let (conditions, artifact) = (status.conditions.as_slice(), status.artifact.as_ref());
        Some(Self {
            generation: chart.metadata.generation,
            observed: Some(status.observed_generation),
            conditions,
            artifact,
            unverified: chart.annotations().contains_key(PROVENANCE_KEYS) && !tells_of_provenance(conditions),
        })
    }

    /// The state of an `OCIRepository`; `None` before anybody has looked at it.
    pub fn of_registry(source: &'s OCIRepository) -> Option<Self> {
        let status = source.status.as_ref()?;
        let (conditions, artifact) = (status.conditions.as_slice(), status.artifact.as_ref());
        Some(Self {
            generation: source.metadata.generation,
            observed: Some(status.observed_generation),
            conditions,
            artifact,
            unverified: false,
        })
    }

    /// The state of an `ExternalArtifact`, of which only the artifact counts.
    pub fn of_external(source: &'s ExternalArtifact) -> Option<Self> {
        let artifact = source.status.as_ref()?.artifact.as_ref();
        Some(Self { artifact, ..Self::default() })
    }
}

/// The packaged chart that an object holds, or why it cannot be used, in words. As with Flux, a
/// chart that was fetched before stays usable while fetching a newer one fails.
pub fn ready<'s>(key: &SourceKey, state: Option<SourceState<'s>>) -> Result<&'s Artifact, String> {
    let not = |why: &str| Err(format!("{key} is not ready: {why}"));
    let state = match (state, key.kind) {
        (Some(state), _) => state,
        (None, ChartRefKind::ExternalArtifact) => SourceState::default(),
        (None, _) => return not("it has not been looked at yet"),
    };
    let message = |type_: &str, truth: &str| {
        let found = conditions::get(state.conditions, type_);
        found.filter(|condition| condition.status == truth).map(|condition| condition.message.as_str())
    };
    if let Some(stalled) = message(STALLED, "True") {
        return not(stalled);
    }
    if state.observed.is_some_and(|observed| observed != state.generation) {
        return not(message(READY, "False").unwrap_or("latest generation of object has not been reconciled"));
    }
    if state.unverified {
        return not(&format!("the provenance that '{PROVENANCE_KEYS}' asks for has not been verified"));
    }
    match state.artifact {
        None => not(message(READY, "False").unwrap_or("does not have an artifact")),
        Some(artifact) => Ok(artifact),
    }
}

/// What an artifact's revision says of the chart in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionDigest {
    /// The version that the chart has to have, where the revision begins with one.
    pub version: Option<Version>,
    /// What the chart's version gets as build metadata: the first twelve digits of the digest.
    pub build: String,
    /// The digest as the status tells it.
    pub digest: String,
}

/// The digest in a revision such as `6.7.1@sha256:…`, `latest@sha256:…` or `sha256:…`. `None` for
/// kinds whose revision has none.
pub fn revision_digest(kind: ChartRefKind, revision: &str) -> Result<Option<RevisionDigest>, String> {
    let has_one = match kind {
        ChartRefKind::OciRepository => true,
        ChartRefKind::ExternalArtifact => revision.contains(':'),
        ChartRefKind::HelmChart => false,
    };
    if !has_one {
        return Ok(None);
    }
    // A tag has no room for a plus sign.
    let tagged = revision.split_once('@').and_then(|(tag, digest)| {
        let version = Version::parse(&tag.replace('_', "+")).ok()?;
        Some((version, digest))
    });
    let (version, digest) = tagged.map_or((None, revision), |(version, digest)| (Some(version), digest));
    let hex = match digest.split(':').collect::<Vec<_>>().as_slice() {
        [_, hex] => hex.get(..12),
        _ => None,
    };
    let build = hex.ok_or_else(|| format!("invalid artifact revision {revision}"))?.to_owned();
    Ok(Some(RevisionDigest { version, build, digest: digest.to_owned() }))
}

impl RevisionDigest {
    /// Checks that the chart has the version that the revision names.
    pub fn check(&self, chart: &str) -> Result<(), String> {
        let Some(wanted) = &self.version else { return Ok(()) };
        let found = Version::parse(chart).map_err(|_| format!("invalid chart version {chart}"))?;
        if found.cmp_precedence(wanted).is_eq() {
            return Ok(());
        }
        Err(format!("artifact revision {} does not match chart version {chart}", wanted.original()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn release(spec: &Value) -> HelmRelease {
        serde_json::from_value(json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "ui", "namespace": "apps"}, "spec": spec,
        }))
        .expect("a release")
    }

    fn templated() -> HelmRelease {
        release(&json!({"interval": "2m", "chart": {
            "metadata": {"labels": {"team": "web"}, "annotations": {"note": "x"}},
            "spec": {"chart": "charts/nodejs", "reconcileStrategy": "Revision", "valuesFiles": ["a.yaml"],
                "sourceRef": {"kind": "GitRepository", "name": "charts", "namespace": "flux-system"}},
        }}))
    }

    fn wanted() -> HelmChart {
        let object = templated();
        from_template(&object, object.spec.chart.as_ref().expect("set"))
    }

    #[test]
    fn a_template_becomes_flux_s_object() {
        assert_eq!(
            serde_json::to_value(wanted()).expect("json"),
            json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart",
                "metadata": {
                    "name": "apps-ui", "namespace": "flux-system", "annotations": {"note": "x"},
                    "labels": {"team": "web", NAME_LABEL: "ui", NAMESPACE_LABEL: "apps"},
                },
                "spec": {
                    "chart": "charts/nodejs", "version": "*", "interval": "2m0s", "reconcileStrategy": "Revision",
                    "sourceRef": {"kind": "GitRepository", "name": "charts"}, "valuesFiles": ["a.yaml"],
                },
            })
        );
    }

    #[test]
    fn a_bucket_s_chart_is_a_helm_chart_too() {
        let object = release(&json!({"interval": "2m", "chart": {"spec": {"chart": "ui-1.0.0.tgz",
            "sourceRef": {"kind": "Bucket", "name": "charts"}}}}));
        let chart = from_template(&object, object.spec.chart.as_ref().expect("set"));
        assert_eq!(
            serde_json::to_value(chart.spec.source_ref).expect("json"),
            json!({"kind": "Bucket", "name": "charts"})
        );
        assert_eq!(chart.metadata.namespace.as_deref(), Some("apps"));
    }

    #[test]
    fn references_lead_to_the_object_that_holds_the_chart() {
        let found = |spec: Value| reference(&release(&spec));
        let key = |kind, namespace: &str, name: &str| {
            Some(SourceKey { kind, namespace: namespace.to_owned(), name: name.to_owned() })
        };
        let pair = |namespace: &str, name: &str| key(ChartRefKind::HelmChart, namespace, name);
        assert_eq!(reference(&templated()), pair("flux-system", "apps-ui"));
        let chart_ref = |kind: &str| json!({"interval": "1m", "chartRef": {"kind": kind, "name": "c"}});
        assert_eq!(found(chart_ref("HelmChart")), pair("apps", "c"));
        assert_eq!(found(chart_ref("OCIRepository")), key(ChartRefKind::OciRepository, "apps", "c"));
        let far = json!({"interval": "1m", "chartRef": {"kind": "ExternalArtifact", "name": "c", "namespace": "far"}});
        assert_eq!(found(far), key(ChartRefKind::ExternalArtifact, "far", "c"));
        assert_eq!(found(json!({"interval": "1m"})), None);
    }

    #[test]
    fn an_object_as_wanted_is_not_applied() {
        let mut existing = wanted();
        assert!(!needs_apply(&existing, &wanted(), true));
        existing.labels_mut().insert("theirs".to_owned(), "1".to_owned());
        assert!(!needs_apply(&existing, &wanted(), false));
        assert!(needs_apply(&existing, &wanted(), true));
        existing.labels_mut().remove(NAME_LABEL);
        assert!(needs_apply(&existing, &wanted(), false));
        existing = wanted();
        existing.spec.chart = "other".to_owned();
        assert!(needs_apply(&existing, &wanted(), false));
    }

    #[test]
    fn a_chart_is_usable_when_its_latest_spec_has_an_artifact() {
        let key = reference(&templated()).expect("a HelmChart");
        let artifact = json!({"path": "p", "url": "u", "revision": "1.0.0+abc", "digest": format!("sha256:{}", "0".repeat(64)), "lastUpdateTime": "2026-01-01T00:00:00Z"});
        let condition = |type_: &str, status: &str| json!({"type": type_, "status": status, "reason": "R", "message": "no such chart", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let chart = |generation: i64, status: Value| {
            let mut chart = wanted();
            chart.metadata.generation = Some(generation);
            chart.status = serde_json::from_value(status).expect("a status");
            ready(&key, SourceState::of_chart(&chart)).cloned()
        };
        let with = |generation: i64, conditions: Value| {
            chart(generation, json!({"observedGeneration": 1, "artifact": artifact, "conditions": conditions}))
        };
        let good = with(1, json!([condition("Ready", "False")])).expect("an older artifact stays usable");
        assert_eq!(good.revision, "1.0.0+abc");
        let why = |given: Result<Artifact, String>| given.expect_err("not ready");
        let not = |text: &str| format!("HelmChart 'flux-system/apps-ui' is not ready: {text}");
        assert_eq!(why(with(2, json!([]))), not("latest generation of object has not been reconciled"));
        assert_eq!(why(with(2, json!([condition("Ready", "False")]))), not("no such chart"));
        assert_eq!(why(with(1, json!([condition("Stalled", "True")]))), not("no such chart"));
        assert_eq!(why(chart(1, json!({"observedGeneration": 1}))), not("does not have an artifact"));
        assert_eq!(ready(&key, SourceState::of_chart(&wanted())), Err(not("it has not been looked at yet")));
    }

    #[test]
    fn a_chart_that_was_stored_before_its_provenance_was_asked_for_is_not_usable() {
        let key = reference(&templated()).expect("a HelmChart");
        let is_ready = |annotation: &str, message: &str| {
            let mut chart = wanted();
            chart.annotations_mut().insert(annotation.to_owned(), "keys".to_owned());
            let artifact = json!({"path": "p", "url": "u", "revision": "1.0.0", "digest": "sha256:0", "lastUpdateTime": "2026-01-01T00:00:00Z"});
            let condition = json!({"type": "SourceVerified", "status": "True", "reason": "R", "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"});
            chart.status =
                serde_json::from_value(json!({"artifact": artifact, "conditions": [condition]})).expect("a status");
            ready(&key, SourceState::of_chart(&chart)).map(|_| ())
        };
        let by_cosign = "verified signature of version 1.0.0";
        assert_eq!(is_ready("note", by_cosign), Ok(()));
        assert_eq!(is_ready(PROVENANCE_KEYS, "verified provenance of version 1.0.0 with key 'A'"), Ok(()));
        let why = is_ready(PROVENANCE_KEYS, by_cosign).expect_err("nobody has looked at it");
        assert!(
            why.ends_with("the provenance that 'fairlead.dev/provenance-keys' asks for has not been verified"),
            "{why}"
        );
    }

    #[test]
    fn a_registry_s_artifact_is_usable_when_its_latest_spec_was_looked_at() {
        let key = SourceKey { kind: ChartRefKind::OciRepository, namespace: "a".to_owned(), name: "b".to_owned() };
        let state = |status: Value| {
            let object: OCIRepository = serde_json::from_value(json!({"apiVersion": "source.toolkit.fluxcd.io/v1",
                "kind": "OCIRepository", "metadata": {"name": "b", "generation": 3},
                "spec": {"url": "oci://x/y", "interval": "1m"}, "status": status}))
            .expect("an object");
            ready(&key, SourceState::of_registry(&object)).map(|artifact| artifact.revision.clone())
        };
        let artifact = json!({"path": "p", "url": "u", "revision": "1", "digest": "sha256:0", "lastUpdateTime": "2026-01-01T00:00:00Z"});
        assert_eq!(state(json!({"observedGeneration": 3, "artifact": artifact})), Ok("1".to_owned()));
        let not = |why: &str| Err(format!("OCIRepository 'a/b' is not ready: {why}"));
        let unseen = "latest generation of object has not been reconciled";
        assert_eq!(state(json!({"observedGeneration": 2, "artifact": artifact})), not(unseen));
        assert_eq!(state(json!({"observedGeneration": 3})), not("does not have an artifact"));
        assert_eq!(state(Value::Null), not("it has not been looked at yet"));
    }

    #[test]
    fn a_template_s_version_is_kept_and_none_is_any() {
        let version = |given: &str| {
            let mut object = templated();
            let template = object.spec.chart.as_mut().expect("set");
            template.spec.version = Some(given.to_owned());
            from_template(&object, object.spec.chart.as_ref().expect("set")).spec.version
        };
        assert_eq!(version("1.x").as_deref(), Some("1.x"));
        assert_eq!(version("").as_deref(), Some("*"));
    }

    #[test]
    fn of_an_external_artifact_only_the_artifact_counts() {
        let key = SourceKey { kind: ChartRefKind::ExternalArtifact, namespace: "a".to_owned(), name: "b".to_owned() };
        let state = |status: Value| {
            let object: ExternalArtifact = serde_json::from_value(json!({"apiVersion": "source.toolkit.fluxcd.io/v1",
                "kind": "ExternalArtifact", "metadata": {"name": "b", "generation": 3}, "spec": {}, "status": status}))
            .expect("an object");
            ready(&key, SourceState::of_external(&object)).map(|artifact| artifact.revision.clone())
        };
        let artifact = json!({"path": "p", "url": "u", "revision": "1", "digest": "sha256:0", "lastUpdateTime": "2026-01-01T00:00:00Z"});
        assert_eq!(state(json!({"artifact": artifact})), Ok("1".to_owned()));
        let not = "ExternalArtifact 'a/b' is not ready: does not have an artifact";
        assert_eq!(state(json!({})), Err(not.to_owned()));
        assert_eq!(state(Value::Null), Err(not.to_owned()));
    }

    #[test]
    fn a_revision_s_digest_goes_into_the_version() {
        let hex = "0123456789abcdef";
        let found = |kind, revision: &str| revision_digest(kind, revision);
        let (oci, external) = (ChartRefKind::OciRepository, ChartRefKind::ExternalArtifact);
        for (revision, version, digest) in [
            (format!("6.7.1@sha256:{hex}"), Some("6.7.1"), format!("sha256:{hex}")),
            (format!("v6.7.1_build@sha256:{hex}"), Some("v6.7.1+build"), format!("sha256:{hex}")),
            (format!("latest@sha256:{hex}"), None, format!("latest@sha256:{hex}")),
            (format!("sha256:{hex}"), None, format!("sha256:{hex}")),
        ] {
            for kind in [oci, external] {
                let one = found(kind, &revision).expect("a digest").expect("a digest");
                assert_eq!(
                    (one.version.as_ref().map(Version::original), &one.digest),
                    (version, &digest),
                    "{revision}"
                );
                assert_eq!(one.build, "0123456789ab");
            }
        }
        assert_eq!(found(external, "1.0.0"), Ok(None));
        assert_eq!(found(ChartRefKind::HelmChart, &format!("1.0.0@sha256:{hex}")), Ok(None));
        assert_eq!(found(oci, "1.0.0"), Err("invalid artifact revision 1.0.0".to_owned()));
        assert_eq!(found(oci, "a:b:c"), Err("invalid artifact revision a:b:c".to_owned()));
        let tagged = found(oci, &format!("1.2.0@sha256:{hex}")).expect("one").expect("one");
        assert_eq!(tagged.check("1.2"), Ok(()));
        assert_eq!(tagged.check("1.2.0+other"), Ok(()));
        assert_eq!(tagged.check("1.3.0"), Err("artifact revision 1.2.0 does not match chart version 1.3.0".to_owned()));
        assert_eq!(tagged.check("x"), Err("invalid chart version x".to_owned()));
    }
}
