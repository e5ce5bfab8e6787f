//! The `HelmChart` object that a release's chart template becomes, and whether it is ready.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use kube::api::ObjectMeta;

use crate::api::condition::{READY, STALLED};
use crate::api::helm::v2::{ChartRefKind, HelmChartTemplate, HelmRelease};
use crate::api::meta::Artifact;
use crate::api::source::v1::{HelmChart, HelmChartSpec, HelmChartVerification, LocalHelmChartSourceReference};
use crate::controller::conditions;

/// Label with the name of the release that a `HelmChart` was made for.
pub const NAME_LABEL: &str = "helm.toolkit.fluxcd.io/name";
/// Label with the namespace of the release that a `HelmChart` was made for.
pub const NAMESPACE_LABEL: &str = "helm.toolkit.fluxcd.io/namespace";

/// Namespace and name of the `HelmChart` that holds a release's chart: made from the template, or
/// referred to. `None` for a reference to another kind, or where neither is given.
pub fn reference(object: &HelmRelease) -> Option<(String, String)> {
    let own = object.namespace().unwrap_or_default();
    if let Some(template) = &object.spec.chart {
        let namespace = template.spec.source_ref.namespace.clone().unwrap_or_else(|| own.clone());
        return Some((namespace, format!("{own}-{}", object.name_any())));
    }
    let reference = object.spec.chart_ref.as_ref().filter(|found| found.kind == ChartRefKind::HelmChart)?;
    Some((reference.namespace.clone().unwrap_or(own), reference.name.clone()))
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
        namespace: Some(given.source_ref.namespace.clone().unwrap_or(own)),
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

/// The packaged chart of a `HelmChart`, or why it cannot be used, in words. As with Flux, a chart that was
/// fetched before stays usable while fetching a newer one fails.
pub fn ready(chart: &HelmChart) -> Result<&Artifact, String> {
    let not = |why: &str| {
        let (namespace, name) = (chart.namespace().unwrap_or_default(), chart.name_any());
        Err(format!("HelmChart '{namespace}/{name}' is not ready: {why}"))
    };
    let Some(status) = &chart.status else {
        return not("it has not been looked at yet");
    };
    let message = |type_: &str, truth: &str| {
        let found = conditions::get(&status.conditions, type_);
        found.filter(|condition| condition.status == truth).map(|condition| condition.message.as_str())
    };
    if let Some(stalled) = message(STALLED, "True") {
        return not(stalled);
    }
    if status.observed_generation != chart.metadata.generation {
        return not(message(READY, "False").unwrap_or("latest generation of object has not been reconciled"));
    }
    match &status.artifact {
        None => not(message(READY, "False").unwrap_or("does not have an artifact")),
        Some(artifact) => Ok(artifact),
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
    fn references_lead_to_a_helm_chart() {
        let found = |spec: Value| reference(&release(&spec));
        let pair = |namespace: &str, name: &str| Some((namespace.to_owned(), name.to_owned()));
        assert_eq!(reference(&templated()), pair("flux-system", "apps-ui"));
        let chart_ref = |kind: &str| json!({"interval": "1m", "chartRef": {"kind": kind, "name": "c"}});
        assert_eq!(found(chart_ref("HelmChart")), pair("apps", "c"));
        assert_eq!(found(chart_ref("OCIRepository")), None);
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
        let artifact = json!({"path": "p", "url": "u", "revision": "1.0.0+abc", "digest": format!("sha256:{}", "0".repeat(64)), "lastUpdateTime": "2026-01-01T00:00:00Z"});
        let condition = |type_: &str, status: &str| json!({"type": type_, "status": status, "reason": "R", "message": "no such chart", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let chart = |generation: i64, status: Value| {
            let mut chart = wanted();
            chart.metadata.generation = Some(generation);
            chart.status = serde_json::from_value(status).expect("a status");
            ready(&chart).cloned()
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
        assert_eq!(ready(&wanted()), Err(not("it has not been looked at yet")));
    }
}
