//! `HelmChart`: the chart of a git tree, of a bucket, of a Helm repository's index or of a registry,
//! packaged as an artifact.

mod dependencies;
pub(super) mod registry;
mod repository;
mod verification;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use self::dependencies::Gathering;
use self::registry::package_registry;
use self::verification::Signatures;
use super::chart::provenance::Signed;
use super::chart::{self, ChartError, ChartFault, Metadata, Package, Packaging};
use super::digest::sha256;
use super::helm_repository;
use super::index::Chart;
use super::lifecycle::{self, Stage, object_ref};
use super::outcome::{Failure, Stored, is_made_for};
use super::proofs::Proofs;
use super::store::{ArtifactStore, StoreError};
use crate::api::condition::{self, reason};
use crate::api::meta::Artifact;
use crate::api::source::v1::{
    ChartSourceKind, HelmChart, HelmChartStatus, HelmRepository, HelmRepositoryType, ReconcileStrategy,
};
use crate::api::unsupported;
use crate::controller::wake::{by_secrets, stream_of};
use crate::controller::{Context, Reconciler, Requeue};
use crate::git::reference::commit_of_revision;

/// The most that a chart package may be, in bytes.
pub const MAX_CHART: usize = 20 * 1024 * 1024;

/// Charts whose versions are kept in memory: several objects ask for the same one.
const KNOWN_CHARTS: usize = 16;

/// Reconciles every `HelmChart`.
pub struct HelmChartController {
    context: Context,
    store: Arc<ArtifactStore>,
    /// What was found last: the index's digest, and the versions of a chart in it.
    known: Mutex<VecDeque<(String, Arc<Chart>)>>,
    /// What was stored last of charts whose signature is asked for.
    proofs: Proofs,
}

/// Where a chart comes from, its artifact at hand.
enum From {
    Tree(Artifact),
    Repository(Arc<HelmRepository>, Artifact),
    Registry(Arc<HelmRepository>),
}

impl From {
    fn artifact(&self) -> Option<&Artifact> {
        match self {
            Self::Tree(artifact) | Self::Repository(_, artifact) => Some(artifact),
            Self::Registry(_) => None,
        }
    }
}

/// What a chart is to become, before it is.
struct Plan {
    target: Target,
    packaged: bool,
    source: PlannedSource,
    /// Those that are asked for.
    signatures: Option<Signatures>,
}

/// A package as it will be stored.
struct Target {
    name: String,
    version: String,
    packaging: Packaging,
}

/// A package, and the key that signed its provenance file where that was asked for.
struct Made {
    package: Package,
    signer: Option<String>,
}

enum PlannedSource {
    Local { tree: PathBuf, path: PathBuf },
    Remote { url: url::Url, digest: Option<String> },
    Registry(Box<registry::Found>),
}

impl HelmChartController {
    /// A controller that stores charts in `store`.
    pub fn new(context: Context, store: Arc<ArtifactStore>) -> Self {
        Self { context, store, known: Mutex::default(), proofs: Proofs::default() }
    }

    /// Charts whose source changed.
    pub fn triggers(&self) -> BoxStream<'static, ObjectRef<HelmChart>> {
        let caches = &self.context.caches;
        let git = stream_of(caches.git_repositories.changes())
            .map(|change| (ChartSourceKind::GitRepository, change.object().namespace(), change.object().name_any()));
        let helm = stream_of(caches.helm_repositories.changes())
            .map(|change| (ChartSourceKind::HelmRepository, change.object().namespace(), change.object().name_any()));
        let buckets = stream_of(caches.buckets.changes())
            .map(|change| (ChartSourceKind::Bucket, change.object().namespace(), change.object().name_any()));
        let charts = caches.helm_charts.clone();
        let changed = stream::select(stream::select(git, helm), buckets).flat_map(move |(kind, namespace, name)| {
            let affected = charts.all().into_iter().filter(|chart| {
                let source = &chart.spec.source_ref;
                chart.namespace() == namespace && source.name == name && source.kind == kind
            });
            stream::iter(affected.map(|chart| object_ref(chart.as_ref())).collect::<Vec<_>>())
        });
        stream::select(changed, self.secrets()).boxed()
    }

    /// Charts of registries whose keys, login or certificates changed: their source has nothing of its
    /// own to do about that.
    fn secrets(&self) -> BoxStream<'static, ObjectRef<HelmChart>> {
        let repositories = self.context.caches.helm_repositories.clone();
        by_secrets(&self.context.references, &self.context.caches.helm_charts, move |chart, name| {
            let source = &chart.spec.source_ref;
            let registry = || {
                let repository = repositories.get(&chart.namespace().unwrap_or_default(), &source.name);
                repository.filter(|repository| repository.spec.r#type == Some(HelmRepositoryType::Oci))
            };
            source.kind == ChartSourceKind::HelmRepository
                && (verification::keys_of(chart).any(|secret| secret == name)
                    || registry().is_some_and(|repository| helm_repository::names(&repository, name)))
        })
    }

    async fn work(&self, object: &HelmChart, status: &mut HelmChartStatus) -> Result<Stored, Failure> {
        let keys = verification::keys(&self.context, object, status).await?;
        let from = self.source(object)?;
        status.observed_source_artifact_revision = from.artifact().map(|artifact| artifact.revision.clone());
        let plan = match &from {
            From::Tree(artifact) => self.plan_local(object, artifact).await?,
            From::Repository(repository, artifact) => self.plan_repository(object, repository, artifact, keys).await?,
            From::Registry(repository) => self.plan_registry(object, repository, keys).await?,
        };
        let (name, version, signatures) = (&plan.target.name, &plan.target.version, plan.signatures.as_ref());
        verification::tell_artifact(signatures, object, status, version);
        let proof = signatures.map(|signatures| signatures.proof);
        // A version whose tag leads to something else now is stored anew once that is verified.
        let is_proven = signatures
            .is_none_or(|signatures| self.proofs.has(object, signatures.proof) && signatures.are_told(status));
        let same_spec = is_made_for(status, object.metadata.generation);
        let current = status.artifact.as_ref().filter(|artifact| is_proven && artifact.revision == *version);
        if current.is_some() && same_spec && status.observed_chart_name.as_ref() == Some(name) {
            let used = if status.observed_values_files.is_empty() {
                &object.spec.values_files
            } else {
                &status.observed_values_files
            };
            return Ok(stored(plan.packaged, chart::summary(name, version, plan.packaged, used)));
        }
        let Made { package, signer } = self.package(object, plan, &from).await?;
        if let Some(signer) = signer {
            verification::tell_signer(object, status, &package.version, &signer);
        }
        let told = stored(package.packaged, package.summary());
        let owner = lifecycle::owner_of(object);
        let file = format!("{}-{}.tgz", package.name, package.version);
        let put = self.store.put_file(&owner, &package.version, &file, package.bytes).await;
        let artifact = put.map_err(|error| lifecycle::storage_failure(&error))?;
        let alias = self.store.put_alias(&artifact, "latest.tar.gz").await;
        status.url = Some(alias.map_err(|error| lifecycle::storage_failure(&error))?);
        if let Some(proof) = proof {
            self.proofs.keep(object, proof);
        }
        status.artifact = Some(artifact);
        status.observed_chart_name = Some(package.name);
        status.observed_values_files =
            if object.spec.ignore_missing_values_files { package.values_files } else { Vec::new() };
        Ok(told)
    }

    /// The source and its artifact.
    fn source(&self, object: &HelmChart) -> Result<From, Failure> {
        let reference = &object.spec.source_ref;
        let namespace = object.namespace().unwrap_or_default();
        let (kind, name) = (reference.kind, &reference.name);
        let missing = || {
            let message = format!("failed to get source: {kind} '{namespace}/{name}' not found");
            Failure::transient(condition::FETCH_FAILED, reason::SOURCE_UNAVAILABLE, message)
        };
        let without = || without_artifact(kind, name);
        let elsewhere = || {
            let message = format!(
                "{kind} '{namespace}/{name}' belongs to another shard; give it the labels of this HelmChart, or this \
                 HelmChart the labels of the source (spec.chart.metadata.labels of a HelmRelease)"
            );
            Failure::transient(condition::FETCH_FAILED, reason::SOURCE_UNAVAILABLE, message)
        };
        match reference.kind {
            ChartSourceKind::GitRepository => {
                let source = self.context.caches.git_repositories.get(&namespace, name).ok_or_else(missing)?;
                self.context.is_own(source.as_ref()).then_some(()).ok_or_else(elsewhere)?;
                let artifact = source.status.as_ref().and_then(|status| status.artifact.clone());
                artifact.map(From::Tree).ok_or_else(without)
            }
            ChartSourceKind::HelmRepository => {
                let source = self.context.caches.helm_repositories.get(&namespace, name).ok_or_else(missing)?;
                if source.spec.r#type == Some(HelmRepositoryType::Oci) {
                    return Ok(From::Registry(source));
                }
                self.context.is_own(source.as_ref()).then_some(()).ok_or_else(elsewhere)?;
                let artifact = source.status.as_ref().and_then(|status| status.artifact.clone()).ok_or_else(without)?;
                Ok(From::Repository(source, artifact))
            }
            ChartSourceKind::Bucket => {
                let source = self.context.caches.buckets.get(&namespace, name).ok_or_else(missing)?;
                self.context.is_own(source.as_ref()).then_some(()).ok_or_else(elsewhere)?;
                let artifact = source.status.as_ref().and_then(|status| status.artifact.clone());
                artifact.map(From::Tree).ok_or_else(without)
            }
        }
    }

    async fn plan_local(&self, object: &HelmChart, artifact: &Artifact) -> Result<Plan, Failure> {
        let failed =
            |error: StoreError| source_failure(object.spec.source_ref.kind, &object.spec.source_ref.name, &error);
        let tree = self.store.directory(artifact).await.map_err(failed)?;
        let packaging = local_packaging(object, &artifact.revision);
        let chart = object.spec.chart.clone();
        blocking(move || {
            let path = chart::locate(&tree, &chart)?;
            let Metadata { name, version } = chart::metadata_at(&path)?;
            let metadata = Metadata { name: name.clone(), version };
            let version = metadata.version_with(packaging.version_metadata.as_deref())?;
            let packaged = path.is_dir() || packaging.version_metadata.is_some() || !packaging.values_files.is_empty();
            let source = PlannedSource::Local { tree, path };
            Ok(Plan { target: Target { name, version, packaging }, packaged, source, signatures: None })
        })
        .await
    }

    async fn package(&self, object: &HelmChart, plan: Plan, from: &From) -> Result<Made, Failure> {
        let Plan { target, source, signatures, .. } = plan;
        let provenance = signatures.and_then(|signatures| signatures.provenance);
        match (source, from) {
            (PlannedSource::Remote { url, digest }, From::Repository(repository, _)) => {
                self.package_repository(repository, (url, digest), target, provenance).await
            }
            (PlannedSource::Registry(found), _) => package_registry(&found, target, provenance).await,
            (PlannedSource::Local { tree, path }, _) => {
                let namespace = object.namespace().unwrap_or_default();
                let mut gathering = Gathering::new(self, namespace, tree.clone())?;
                let more = gathering.gather(path.clone(), Vec::new()).await?;
                let packaging = target.packaging;
                let made = blocking(move || chart::package_local(&tree, &path, &packaging, more)).await?;
                Ok(Made { package: made, signer: None })
            }
            (PlannedSource::Remote { .. }, From::Tree(_) | From::Registry(_)) => {
                unreachable!("a plan for a download is made from a repository")
            }
        }
    }
}

impl Reconciler for HelmChartController {
    type Object = HelmChart;

    async fn reconcile(&self, object: Arc<HelmChart>) -> Result<Requeue, kube::Error> {
        let forget = |gone: &HelmChart| self.proofs.forget(gone);
        let object = match lifecycle::begin(&self.context, &self.store, object, forget).await? {
            Stage::Done(requeue) => return Ok(requeue),
            Stage::Work(object) => object,
        };
        let object = object.as_ref();
        let work = async |status: &mut _| self.work(object, status).await;
        let pass = lifecycle::work(&self.context, &self.store, object, work).await;
        let fields = unsupported::helm_chart(&object.spec);
        let interval = object.spec.interval.to_std();
        let ended = lifecycle::end(&self.context, object, pass, &fields, interval).await;
        if ended.is_err() {
            // The status does not have what was proven and stored: it must not pass for the artifact that it has.
            self.proofs.forget(object);
        }
        ended
    }
}

fn stored(packaged: bool, summary: String) -> Stored {
    let reason = if packaged { reason::CHART_PACKAGE_SUCCEEDED } else { reason::CHART_PULL_SUCCEEDED };
    Stored { reason, message: summary.clone(), event_reason: reason, event: summary }
}

fn packaging_of(object: &HelmChart) -> Packaging {
    Packaging {
        version_metadata: None,
        values_files: object.spec.values_files.clone(),
        ignore_missing_values_files: object.spec.ignore_missing_values_files,
    }
}

/// The version of a chart in a tree tells the commit, or the bucket's digest, if the strategy asks
/// for it, and the object's generation if it has values files of its own.
fn local_packaging(object: &HelmChart, revision: &str) -> Packaging {
    let mut packaging = packaging_of(object);
    let mut parts = Vec::new();
    if object.spec.reconcile_strategy == ReconcileStrategy::Revision {
        parts.push(commit_of_revision(revision).chars().take(12).collect());
    }
    if !packaging.values_files.is_empty() {
        parts.push(object.metadata.generation.unwrap_or_default().to_string());
    }
    packaging.version_metadata = (!parts.is_empty()).then(|| parts.join("."));
    packaging
}

/// A chart that is to be downloaded. With values files of its own, its version tells the object's
/// generation.
fn planned(object: &HelmChart, metadata: Metadata, source: PlannedSource) -> Result<Plan, Failure> {
    let mut packaging = packaging_of(object);
    if !packaging.values_files.is_empty() {
        packaging.version_metadata = object.metadata.generation.map(|generation| generation.to_string());
    }
    let version =
        metadata.version_with(packaging.version_metadata.as_deref()).map_err(|error| chart_failure(&error))?;
    let packaged = !packaging.values_files.is_empty();
    let target = Target { name: metadata.name, version, packaging };
    Ok(Plan { target, packaged, source, signatures: None })
}

impl Target {
    /// Makes the package out of what was downloaded, if that is what was signed and what `promised_by` promises.
    async fn package(
        self,
        bytes: Vec<u8>,
        promised_by: &'static str,
        provenance: Option<Signed>,
    ) -> Result<Made, Failure> {
        let Self { name, version, packaging } = self;
        blocking(move || {
            let signer = provenance.map(|signed| signed.check(&sha256(&bytes))).transpose();
            let signer = signer.map_err(|error| verification::bad(&error))?;
            let package = chart::package_remote(bytes, &packaging)?;
            check_identity(&package, &name, &version, promised_by)?;
            // As the index or the tag spells it, or the next pass would take it for another one.
            Ok(Made { package: Package { version, ..package }, signer })
        })
        .await
    }
}

fn check_identity(package: &Package, name: &str, version: &str, promised_by: &str) -> Result<(), ChartError> {
    let without_v = |version: &str| version.trim_start_matches('v').to_owned();
    if package.name == name && without_v(&package.version) == without_v(version) {
        return Ok(());
    }
    let Package { name: actual_name, version: actual_version, .. } = package;
    let message = format!(
        "the downloaded package is '{actual_name}' {actual_version}, {promised_by} promises '{name}' {version}"
    );
    Err(ChartError::new(ChartFault::Pull, message))
}

fn source_failure(kind: ChartSourceKind, name: &str, error: &StoreError) -> Failure {
    if matches!(error, StoreError::Missing { .. }) {
        // The source is about to say so itself, and the same is told once.
        return without_artifact(kind, name);
    }
    Failure::transient(condition::FETCH_FAILED, reason::NO_SOURCE_ARTIFACT, format!("cannot read the source: {error}"))
}

fn without_artifact(kind: ChartSourceKind, name: &str) -> Failure {
    let message = format!("no artifact available for {kind} source '{name}'");
    Failure::transient(condition::FETCH_FAILED, reason::NO_SOURCE_ARTIFACT, message)
}

fn chart_failure(error: &ChartError) -> Failure {
    let type_ = if error.fault.is_build_failure() { condition::BUILD_FAILED } else { condition::FETCH_FAILED };
    Failure {
        condition: type_,
        reason: error.fault.reason(),
        message: error.to_string(),
        terminal: error.fault.is_terminal(),
    }
}

/// Runs file system work where it does not hold up other tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChartError> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| chart_failure(&error)),
        Err(died) => Err(Failure::transient(condition::BUILD_FAILED, reason::CHART_PACKAGE_ERROR, died.to_string())),
    }
}

#[cfg(test)]
mod tests;
