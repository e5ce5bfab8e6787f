//! From the object to what it asks for: refusals, dependencies, chart, values.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value};

use super::fault::Fault;
use super::package::Package;
use super::pass::Pass;
use super::steps::LONGEST_PAUSE;
use super::{sensitive, settings, triggers};
use crate::api::condition::reason;
use crate::api::helm::v2::{ChartNameChangeStrategy, ChartRefKind, HelmChartTemplate};
use crate::api::meta::Artifact;
use crate::api::source::v1::HelmChart;
use crate::controller::dependencies::TERMINAL;
use crate::controller::{Requeue, jittered};
use crate::health::expressions::Checks;
use crate::postrender;
use crate::redact::Redactor;
use crate::release::chart::{self, SourceKey, SourceState};
use crate::release::dependencies::{self, Dependencies};
use crate::release::observed::Desired;
use crate::values;

/// Field manager of the objects that a release is made of, the same as Flux's.
const FIELD_MANAGER: &str = "helm-controller";

/// Everything a release is made of.
pub struct Inputs {
    /// What decisions need.
    pub desired: Desired,
    /// The packaged chart.
    pub chart_file: PathBuf,
    /// What it holds.
    pub package: Arc<Package>,
    /// The merged values.
    pub values: Map<String, Value>,
    /// Knows what must not be shown.
    pub redactor: Redactor,
    /// How the health of some kinds is told.
    pub checks: Checks,
}

/// Goes on with a value, or ends the pass.
pub type Step<T> = Result<ControlFlow<Requeue, T>, Fault>;

impl Pass<'_> {
    /// Gathers the inputs. Where one is missing, the status says which, and the pass ends.
    pub async fn resolve(&mut self) -> Step<Inputs> {
        let checks = match Checks::read(&self.object.spec.health_check_exprs) {
            Ok(checks) => checks,
            Err(why) => return Ok(self.refuse(reason::INVALID_CEL_EXPRESSION, &format!("{TERMINAL}: {why}"))),
        };
        if let ControlFlow::Break(end) = self.dependencies() {
            return Ok(ControlFlow::Break(end));
        }
        let artifact = match self.chart().await? {
            ControlFlow::Continue(artifact) => artifact,
            ControlFlow::Break(end) => return Ok(ControlFlow::Break(end)),
        };
        let (values, redactor) = match self.values().await? {
            ControlFlow::Continue(values) => values,
            ControlFlow::Break(end) => return Ok(ControlFlow::Break(end)),
        };
        let (chart_file, package) = match self.package(&artifact).await {
            Ok(found) => found,
            Err(why) => {
                let _: ControlFlow<Requeue> = self.wait_for(reason::ARTIFACT_FAILED, &why);
                // It may be in another operator's hands, of which nothing is heard.
                return Ok(ControlFlow::Break(Requeue::Backoff { max: LONGEST_PAUSE }));
            }
        };
        let desired = self.desired(&package, &values);
        Ok(ControlFlow::Continue(Inputs { desired, chart_file, package, values, redactor, checks }))
    }

    pub(super) fn refuse<T>(&mut self, why: &str, message: &str) -> ControlFlow<Requeue, T> {
        self.editor().refused(why, message);
        self.warn_if_new(why, message);
        ControlFlow::Break(Requeue::OnChange)
    }

    /// Not there yet: not a failure. The thing itself wakes the release, the pause is a safety net.
    pub(super) fn wait_for<T>(&mut self, why: &str, message: &str) -> ControlFlow<Requeue, T> {
        self.editor().waits_for(why, message);
        self.tell_if_new(why, message);
        ControlFlow::Break(Requeue::After(jittered(self.interval())))
    }

    fn dependencies(&mut self) -> ControlFlow<Requeue> {
        let releases = &self.controller.context.caches.helm_releases;
        match dependencies::check(&self.object, |namespace, name| releases.get(namespace, name)) {
            Dependencies::Ready => ControlFlow::Continue(()),
            Dependencies::NotReady(why) => self.wait_for(reason::DEPENDENCY_NOT_READY, &why),
            Dependencies::Cycle(names) => {
                let message = format!("the dependencies form a circle: {}; remove one of them", names.join(" → "));
                self.refuse(reason::DEPENDENCY_CYCLE, &message)
            }
            Dependencies::Invalid(why) => self.refuse(reason::INVALID_CEL_EXPRESSION, &why),
        }
    }

    async fn chart(&mut self) -> Step<Artifact> {
        let Some(key) = chart::reference(&self.object) else {
            return Ok(self.refuse(reason::UNSUPPORTED, "one of spec.chart and spec.chartRef has to be set"));
        };
        let own = self.object.namespace().unwrap_or_default();
        let kind = key.kind.to_string();
        if let Some(message) = self.controller.context.denied(&own, &kind, &key.namespace, &key.name) {
            return Ok(self.refuse(reason::ACCESS_DENIED, &message));
        }
        self.leave_chart(&format!("{}/{}", key.namespace, key.name)).await?;
        if key.kind == ChartRefKind::HelmChart {
            self.leave_referred().await;
        }
        let caches = &self.controller.context.caches;
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        let ready = match (&self.object.spec.chart, key.kind) {
            (Some(template), _) => {
                let chart = self.templated(&key, template).await?;
                self.status.helm_chart = Some(format!("{namespace}/{name}"));
                Some(chart::ready(&key, SourceState::of_chart(&chart)).cloned())
            }
            (None, ChartRefKind::HelmChart) => {
                let found = caches.helm_charts.get(namespace, name);
                found.map(|found| chart::ready(&key, SourceState::of_chart(&found)).cloned())
            }
            (None, ChartRefKind::OciRepository) => {
                let found = caches.oci_repositories.get(namespace, name);
                found.map(|found| chart::ready(&key, SourceState::of_registry(&found)).cloned())
            }
            (None, ChartRefKind::ExternalArtifact) => {
                let found = caches.external_artifacts.get(namespace, name);
                found.map(|found| chart::ready(&key, SourceState::of_external(&found)).cloned())
            }
        };
        Ok(match ready {
            Some(Ok(artifact)) if key.kind == ChartRefKind::HelmChart => ControlFlow::Continue(artifact),
            Some(Ok(artifact)) => self.referred(&key, artifact).await,
            Some(Err(why)) => self.wait_for(reason::SOURCE_NOT_READY, &why),
            None => self.wait_for(reason::ARTIFACT_FAILED, &format!("could not get Source object: {key} not found")),
        })
    }

    /// The `HelmChart` of the template, as it is or as it was just applied.
    async fn templated(&self, key: &SourceKey, template: &HelmChartTemplate) -> Result<HelmChart, kube::Error> {
        let wanted = chart::from_template(&self.object, template);
        let new = self.status.observed_generation != self.object.metadata.generation;
        let existing = self.controller.context.caches.helm_charts.get(&key.namespace, &key.name);
        match existing.filter(|existing| !chart::needs_apply(existing, &wanted, new)) {
            Some(current) => Ok((*current).clone()),
            None => self.apply_chart(&key.namespace, &wanted).await,
        }
    }

    async fn apply_chart(&self, namespace: &str, wanted: &HelmChart) -> Result<HelmChart, kube::Error> {
        let api = self.controller.context.api::<HelmChart>(namespace);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(&wanted.name_any(), &params, &Patch::Apply(wanted)).await
    }

    /// Deletes the `HelmChart` that was made for an earlier template in another place.
    async fn leave_chart(&mut self, path: &str) -> Result<(), Fault> {
        let keeps = self.object.spec.chart.is_some().then_some(path);
        if self.status.helm_chart.is_none() || self.status.helm_chart.as_deref() == keeps {
            return Ok(());
        }
        self.delete_chart().await
    }

    async fn values(&mut self) -> Step<(Map<String, Value>, Redactor)> {
        let namespace = self.object.namespace().unwrap_or_default();
        let client = &self.controller.context.client;
        let fetched = match values::fetch(client, &namespace, &self.object.spec.values_from).await {
            Ok(fetched) => fetched,
            Err(error) if error.is_missing() => return Ok(self.wait_for(reason::VALUES_ERROR, &error.to_string())),
            Err(values::FetchError::Api { source, .. }) => return Err(source.into()),
            Err(error) => return Ok(self.wait_for_another(reason::VALUES_ERROR, &error.to_string())),
        };
        let redactor = sensitive::redactor(&fetched);
        match values::compose(self.object.spec.values.as_ref(), fetched) {
            Ok(values) => Ok(ControlFlow::Continue((values, redactor))),
            Err(error) => Ok(self.wait_for_another(reason::VALUES_ERROR, &redactor.text(&error.to_string()))),
        }
    }

    /// Only a change of the object or of what it refers to can help.
    pub(super) fn wait_for_another<T>(&mut self, why: &str, message: &str) -> ControlFlow<Requeue, T> {
        self.editor().waits_for(why, message);
        self.warn_if_new(why, message);
        ControlFlow::Break(Requeue::After(jittered(self.interval())))
    }

    fn desired(&self, chart: &Package, values: &Map<String, Value>) -> Desired {
        let spec = &self.object.spec;
        let strategy = spec.upgrade.as_ref().and_then(|upgrade| upgrade.chart_name_change_strategy);
        Desired {
            target: triggers::target(&self.object),
            chart_name: chart.name.clone(),
            chart_version: chart.version.clone(),
            config_digest: values::config_digest(values),
            generation: self.object.metadata.generation.unwrap_or_default(),
            install: settings::install(spec),
            upgrade: settings::upgrade(spec),
            rollback: settings::rollback(spec),
            uninstall: settings::uninstall(spec),
            on_install_failure: settings::on_install_failure(spec),
            on_upgrade_failure: settings::on_upgrade_failure(spec),
            tests: settings::tests(spec),
            reinstall_renamed_chart: strategy != Some(ChartNameChangeStrategy::InPlaceUpdate),
            rendering: postrender::rendering(spec),
            forced: self.is_forced(),
            reset: self.is_reset(),
        }
    }
}
