//! `HelmChart`: the chart of a git tree, of a bucket, of a Helm repository's index or of a registry,
//! packaged as an artifact.

mod dependencies;
pub(super) mod registry;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use self::dependencies::Gathering;
use super::chart::{self, ChartError, ChartFault, Metadata, Package, Packaging};
use super::digest;
use super::download::{Download, DownloadError};
use super::helm_repository;
use super::index::{self, Chart, IndexError};
use super::lifecycle::{self, Stage, object_ref};
use super::oci::verify::Asked;
use super::outcome::{Failure, Stored, tell_verified};
use super::proofs::{Proof, Proofs};
use super::store::{ArtifactStore, StoreError};
use crate::api::condition::{self, reason};
use crate::api::meta::Artifact;
use crate::api::source::v1::{
    ChartSourceKind, HelmChart, HelmChartStatus, HelmRepository, HelmRepositoryType, ReconcileStrategy,
};
use crate::api::unsupported;
use crate::controller::wake::{by_secrets, stream_of};
use crate::controller::{Context, Reconciler, Requeue, conditions};
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
    name: String,
    version: String,
    packaged: bool,
    packaging: Packaging,
    source: PlannedSource,
    /// What was verified, where a signature is asked for.
    proof: Option<Proof>,
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
                && (keys_of(chart).any(|secret| secret == name)
                    || registry().is_some_and(|repository| helm_repository::names(&repository, name)))
        })
    }

    async fn work(&self, object: &HelmChart, status: &mut HelmChartStatus) -> Result<Stored, Failure> {
        let from = self.source(object)?;
        status.observed_source_artifact_revision = from.artifact().map(|artifact| artifact.revision.clone());
        let plan = match &from {
            From::Tree(artifact) => self.plan_local(object, artifact).await?,
            From::Repository(repository, artifact) => self.plan_remote(object, repository, artifact).await?,
            From::Registry(repository) => self.plan_registry(object, repository).await?,
        };
        let proof = plan.proof;
        note_verification(object, status, &plan);
        // A version whose tag leads to something else now is stored anew once that is verified.
        let is_proven = proof.is_none_or(|proof| self.proofs.has(object, proof));
        let current = status.artifact.as_ref().filter(|artifact| is_proven && artifact.revision == plan.version);
        let same_spec = status.observed_generation == object.metadata.generation;
        if current.is_some() && same_spec && status.observed_chart_name.as_ref() == Some(&plan.name) {
            let used = if status.observed_values_files.is_empty() {
                &object.spec.values_files
            } else {
                &status.observed_values_files
            };
            return Ok(stored(plan.packaged, chart::summary(&plan.name, &plan.version, plan.packaged, used)));
        }
        let package = self.package(object, plan, &from).await?;
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
        let without = || {
            let message = format!("no artifact available for {kind} source '{name}'");
            Failure::transient(condition::FETCH_FAILED, reason::NO_SOURCE_ARTIFACT, message)
        };
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
        let tree = self.store.directory(artifact).await.map_err(|error| source_failure(&error))?;
        let packaging = local_packaging(object, &artifact.revision);
        let chart = object.spec.chart.clone();
        blocking(move || {
            let path = chart::locate(&tree, &chart)?;
            let Metadata { name, version } = chart::metadata_at(&path)?;
            let metadata = Metadata { name: name.clone(), version };
            let version = metadata.version_with(packaging.version_metadata.as_deref())?;
            let packaged = path.is_dir() || packaging.version_metadata.is_some() || !packaging.values_files.is_empty();
            let source = PlannedSource::Local { tree, path };
            Ok(Plan { name, version, packaged, packaging, source, proof: None })
        })
        .await
    }

    async fn plan_remote(
        &self,
        object: &HelmChart,
        repository: &HelmRepository,
        artifact: &Artifact,
    ) -> Result<Plan, Failure> {
        refuse_verification(object)?;
        let range = object.spec.version.as_deref().unwrap_or("*");
        let wrong = |error: &IndexError| {
            let message = format!("failed to get chart version for remote reference: {error}");
            chart_failure(&ChartError::new(ChartFault::Reference, message))
        };
        let versions = self.versions(artifact, &object.spec.chart).await?.map_err(|error| wrong(&error))?;
        let entry = versions.find(range).map_err(|error| wrong(&error))?;
        let url = entry.url(&helm_repository::parse_url(&repository.spec)?).map_err(|error| wrong(&error))?;
        let source = PlannedSource::Remote { url, digest: entry.digest.clone() };
        planned(object, Metadata { name: entry.name.clone(), version: entry.version.clone() }, source)
    }

    async fn plan_registry(&self, object: &HelmChart, repository: &HelmRepository) -> Result<Plan, Failure> {
        let range = object.spec.version.as_deref().filter(|range| !range.is_empty()).unwrap_or("*");
        let mut found = registry::find(&self.context, repository, &object.spec.chart, range).await?;
        let proof = match &object.spec.verify {
            Some(verify) => Some(self.verify(object, verify, &mut found).await?),
            None => None,
        };
        let metadata = Metadata { name: found.name.clone(), version: found.version.clone() };
        let plan = planned(object, metadata, PlannedSource::Registry(Box::new(found)))?;
        Ok(Plan { proof, ..plan })
    }

    async fn package(&self, object: &HelmChart, plan: Plan, from: &From) -> Result<Package, Failure> {
        match (plan.source, from) {
            (PlannedSource::Remote { url, digest }, From::Repository(repository, _)) => {
                let downloader = helm_repository::downloader(&self.context, repository).await?;
                let bytes = match downloader.get(&url, MAX_CHART, None).await.map_err(|e| download_failure(&e))? {
                    Download::New(bytes, _) => bytes,
                    Download::Unchanged => Vec::new(),
                };
                let (name, version, packaging) = (plan.name, plan.version, plan.packaging);
                blocking(move || {
                    check_digest(&bytes, digest.as_deref())?;
                    let package = chart::package_remote(bytes, &packaging)?;
                    check_identity(&package, &name, &version, "the index")?;
                    // As the index spells it, or the next pass would take it for another one.
                    Ok(Package { version, ..package })
                })
                .await
            }
            (PlannedSource::Registry(found), _) => {
                let bytes = found.download().await?;
                let (name, version, packaging) = (plan.name, plan.version, plan.packaging);
                blocking(move || {
                    let package = chart::package_remote(bytes, &packaging)?;
                    check_identity(&package, &name, &version, "its tag")?;
                    Ok(Package { version, ..package })
                })
                .await
            }
            (PlannedSource::Local { tree, path }, _) => {
                let namespace = object.namespace().unwrap_or_default();
                let mut gathering = Gathering::new(self, namespace, tree.clone())?;
                let more = gathering.gather(path.clone(), Vec::new()).await?;
                let packaging = plan.packaging;
                blocking(move || chart::package_local(&tree, &path, &packaging, more)).await
            }
            (PlannedSource::Remote { .. }, From::Tree(_) | From::Registry(_)) => {
                unreachable!("a plan for a download is made from a repository")
            }
        }
    }

    /// The versions of a chart in the index behind an artifact.
    async fn versions(&self, artifact: &Artifact, chart: &str) -> Result<Result<Arc<Chart>, IndexError>, Failure> {
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, found)) =
                known.iter().find(|(digest, known)| *digest == artifact.digest && known.name == chart)
            {
                return Ok(Ok(Arc::clone(found)));
            }
        }
        let file = self.store.file(artifact).await.map_err(|error| source_failure(&error))?;
        let name = chart.to_owned();
        let found = match blocking(move || Ok(index::read(&file, &name))).await? {
            Ok(found) => Arc::new(found),
            Err(error) => return Ok(Err(error)),
        };
        if let Some(wrong) = found.told_wrong() {
            tracing::warn!(index = artifact.path, chart, "{wrong}; they are left out");
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.truncate(KNOWN_CHARTS - 1);
        known.push_front((artifact.digest.clone(), Arc::clone(&found)));
        Ok(Ok(found))
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
        let pass = lifecycle::work(&self.context, &self.store, object, async |mut status| {
            let outcome = self.work(object, &mut status).await;
            (status, outcome)
        })
        .await;
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

/// An unverified chart must not pass for a verified one.
fn refuse_verification(object: &HelmChart) -> Result<(), Failure> {
    if object.spec.verify.is_none() {
        return Ok(());
    }
    let message = "charts of a HelmRepository that is no registry are not signed in a way that can be checked: \
                   use one of the type 'oci', or remove 'spec.verify'";
    let failure = chart_failure(&ChartError::new(ChartFault::Verification, message));
    Err(Failure { terminal: true, ..failure })
}

/// Says that the signature is good, or nothing where none is asked for.
fn note_verification(object: &HelmChart, status: &mut HelmChartStatus, plan: &Plan) {
    if plan.proof.is_none() {
        conditions::remove(&mut status.conditions, condition::SOURCE_VERIFIED);
        return;
    }
    let message = format!("verified signature of version {}", plan.version);
    tell_verified(&mut status.conditions, &message, object.metadata.generation, Timestamp::now());
}

/// The Secrets with keys that a chart names.
fn keys_of(chart: &HelmChart) -> impl Iterator<Item = &str> {
    chart.spec.verify.iter().flat_map(|verify| Asked::from(verify).secrets())
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
    Ok(Plan { name: metadata.name, version, packaged, packaging, source, proof: None })
}

fn check_digest(bytes: &[u8], expected: Option<&str>) -> Result<(), ChartError> {
    let Some(expected) = expected.map(|digest| digest.trim_start_matches("sha256:")).filter(|d| !d.is_empty()) else {
        return Ok(());
    };
    let actual = digest::sha256(bytes);
    if actual.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    let message = format!("the digest of the downloaded package is sha256:{actual}, the index says sha256:{expected}");
    Err(ChartError::new(ChartFault::Pull, message))
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

fn source_failure(error: &StoreError) -> Failure {
    Failure::transient(condition::FETCH_FAILED, reason::NO_SOURCE_ARTIFACT, format!("cannot read the source: {error}"))
}

fn download_failure(error: &DownloadError) -> Failure {
    if error.is_authentication() {
        let message = format!("failed to authenticate with the Helm repository: {error}");
        return Failure::transient(condition::FETCH_FAILED, reason::AUTHENTICATION_FAILED, message);
    }
    let message = format!("failed to download chart for remote reference: {error}");
    chart_failure(&ChartError::new(ChartFault::Pull, message))
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
