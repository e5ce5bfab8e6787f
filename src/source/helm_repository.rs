//! `HelmRepository`: fetches the index and stores it as an artifact. One of the type `oci` has none:
//! it only tells charts where their registry is.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::BoxStream;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use url::Url;

use super::download::{Access, Download, DownloadError, Downloader, Validators};
use super::helm_chart::registry;
use super::index;
use super::lifecycle::{self, Stage};
use super::outcome::{Failure, Stored, is_known, record};
use super::proofs::Proof;
use super::store::ArtifactStore;
use crate::api::condition::{self, reason};
use crate::api::source::v1::{HelmRepository, HelmRepositorySpec, HelmRepositoryStatus, HelmRepositoryType};
use crate::api::unsupported;
use crate::controller::wake::by_secrets;
use crate::controller::{Context, Reconciler, Requeue, namespaced_name};

/// Limit for one download of a repository that names none.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// How often a repository that names no interval is looked at.
const DEFAULT_INTERVAL: Duration = Duration::from_mins(1);

/// The most that an index may be, in bytes.
pub(super) const MAX_INDEX: usize = 50 * 1024 * 1024;

/// Reconciles every `HelmRepository`.
pub struct HelmRepositoryController {
    context: Context,
    store: Arc<ArtifactStore>,
    /// What the servers said of the indexes that are stored, by object.
    validators: Mutex<HashMap<(String, String), Known>>,
}

/// What a server said of an index: it tells nothing of another revision, server or login.
struct Known {
    revision: String,
    origin: Proof,
    validators: Validators,
}

/// Whether a repository names this Secret.
pub(super) fn names(repository: &HelmRepository, secret: &str) -> bool {
    let named = [&repository.spec.secret_ref, &repository.spec.cert_secret_ref];
    named.into_iter().flatten().any(|reference| reference.name == secret)
}

/// How charts and the index of a repository are downloaded: with its credentials.
pub(super) async fn downloader(context: &Context, repository: &HelmRepository) -> Result<Downloader, Failure> {
    let spec = &repository.spec;
    let namespace = repository.namespace().unwrap_or_default();
    let url = parse_url(spec)?;
    let mut secrets = Vec::new();
    for reference in [&spec.secret_ref, &spec.cert_secret_ref] {
        secrets.push(match reference {
            Some(secret) => Some(lifecycle::secret_data(context, &namespace, &secret.name).await?),
            None => None,
        });
    }
    let timeout = spec.timeout.map_or(DEFAULT_TIMEOUT, crate::api::meta::Duration::to_std);
    let access = Access::read(secrets[0].as_ref(), secrets[1].as_ref(), spec.pass_credentials);
    access
        .and_then(|access| Downloader::new(url, access, timeout))
        .map_err(|error| Failure::transient(condition::FETCH_FAILED, reason::AUTHENTICATION_FAILED, error.to_string()))
}

/// The URL of a repository.
pub(super) fn parse_url(spec: &HelmRepositorySpec) -> Result<Url, Failure> {
    let invalid = |reason: String| {
        let shown = crate::redact::place(&spec.url);
        let message = format!("invalid Helm repository URL '{shown}': {reason}");
        Failure::terminal(condition::FETCH_FAILED, reason::URL_INVALID, message)
    };
    let url = Url::parse(&spec.url).map_err(|error| invalid(error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(invalid(format!("the scheme '{other}' cannot be used with the type 'default'"))),
    }
}

impl HelmRepositoryController {
    /// A controller that stores indexes in `store`.
    pub fn new(context: Context, store: Arc<ArtifactStore>) -> Self {
        Self { context, store, validators: Mutex::default() }
    }

    /// Repositories whose Secret changed.
    pub fn triggers(&self) -> BoxStream<'static, ObjectRef<HelmRepository>> {
        by_secrets(&self.context.references, &self.context.caches.helm_repositories, names)
    }

    async fn work(&self, object: &HelmRepository, status: &mut HelmRepositoryStatus) -> Result<Stored, Failure> {
        let url = parse_url(&object.spec)?;
        let downloader = downloader(&self.context, object).await?;
        let name = namespaced_name(object);
        let current = status.artifact.as_ref().map(|artifact| artifact.revision.clone());
        let origin = downloader.origin();
        let known = current.as_ref().and_then(|revision| self.validators_of(&name, revision, origin));
        let scratch = self.store.scratch().map_err(|error| lifecycle::storage_failure(&error))?;
        let file = scratch.path().join("index.yaml");
        let fetched = downloader.save_text(&index::index_url(&url), &file, MAX_INDEX, known.as_ref()).await;
        let (hash, validators) = match fetched.map_err(|error| fetch_failure(&error))? {
            Download::Unchanged => return Ok(stored(object, status)),
            Download::New(hash, validators) => (hash, validators),
        };
        let revision = format!("sha256:{hash}");
        if current.as_ref() != Some(&revision) {
            check(file.clone()).await?;
            let owner = lifecycle::owner_of(object);
            let put = self.store.put_copy(&owner, &revision, &format!("index-{hash}.yaml"), &file).await;
            let artifact = put.map_err(|error| lifecycle::storage_failure(&error))?;
            let alias = self.store.put_alias(&artifact, "index.yaml").await;
            status.url = Some(alias.map_err(|error| lifecycle::storage_failure(&error))?);
            status.artifact = Some(artifact);
        }
        self.remember(name, Known { revision, origin, validators });
        Ok(stored(object, status))
    }

    /// Leaves nothing on a repository that is a registry, as Flux does, but what is wrong with it.
    async fn settle(&self, object: Arc<HelmRepository>) -> Result<Requeue, kube::Error> {
        let deleted = object.metadata.deletion_timestamp.is_some();
        if object.spec.suspend && !deleted {
            return Ok(Requeue::OnChange);
        }
        self.forget(&object);
        if !object.finalizers().is_empty() {
            let owner = lifecycle::owner_of(object.as_ref());
            if let Err(error) = self.store.remove(&owner).await {
                tracing::warn!(kind = owner.kind, namespace = owner.namespace, name = owner.name, %error, "cannot remove artifacts");
                return Ok(Requeue::Backoff { max: DEFAULT_INTERVAL });
            }
            self.context.remove_finalizer(object.as_ref()).await?;
        }
        if deleted {
            return Ok(Requeue::OnChange);
        }
        let mut status = HelmRepositoryStatus::default();
        if let Err(failure) = registry::parse_url(&object) {
            let before = object.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            status.conditions.clone_from(&before);
            if !is_known(&before, &failure) {
                self.context.reporter.warning(object.as_ref(), failure.reason, &failure.message, &[]);
            }
            record(&mut status, &Err(failure), object.metadata.generation, Timestamp::now());
        }
        self.context.put_status(object.as_ref(), status).await?;
        Ok(Requeue::OnChange)
    }

    fn validators_of(&self, name: &(String, String), revision: &str, origin: Proof) -> Option<Validators> {
        let all = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(name).filter(|known| known.revision == revision && known.origin == origin)?;
        Some(known.validators.clone())
    }

    fn remember(&self, name: (String, String), known: Known) {
        self.validators.lock().unwrap_or_else(PoisonError::into_inner).insert(name, known);
    }

    fn forget(&self, object: &HelmRepository) {
        self.validators.lock().unwrap_or_else(PoisonError::into_inner).remove(&namespaced_name(object));
    }
}

impl Reconciler for HelmRepositoryController {
    type Object = HelmRepository;

    async fn reconcile(&self, object: Arc<HelmRepository>) -> Result<Requeue, kube::Error> {
        if object.spec.r#type == Some(HelmRepositoryType::Oci) {
            return self.settle(object).await;
        }
        let object = match lifecycle::begin(&self.context, &self.store, object, |gone| self.forget(gone)).await? {
            Stage::Done(requeue) => return Ok(requeue),
            Stage::Work(object) => object,
        };
        let object = object.as_ref();
        let work = async |status: &mut _| self.work(object, status).await;
        let pass = lifecycle::work(&self.context, &self.store, object, work).await;
        let fields = unsupported::helm_repository(&object.spec);
        let interval = object.spec.interval.map_or(DEFAULT_INTERVAL, crate::api::meta::Duration::to_std);
        lifecycle::end(&self.context, object, pass, &fields, interval).await
    }
}

fn stored(object: &HelmRepository, status: &HelmRepositoryStatus) -> Stored {
    let (revision, size) =
        status.artifact.as_ref().map_or(("", 0), |artifact| (artifact.revision.as_str(), artifact.size.unwrap_or(0)));
    let url = crate::redact::place(&object.spec.url);
    Stored {
        reason: reason::SUCCEEDED,
        message: format!("stored artifact: revision '{revision}'"),
        event_reason: reason::NEW_ARTIFACT,
        event: format!("stored fetched index of size {} from '{url}'", human_size(size)),
    }
}

/// Decimal units, as Flux tells sizes.
#[allow(clippy::cast_precision_loss, reason = "told with four digits")]
fn human_size(bytes: i64) -> String {
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB"] {
        if size < 1000.0 {
            break;
        }
        size /= 1000.0;
        unit = larger;
    }
    let digits = if unit == "B" { 0 } else { 2 };
    format!("{size:.digits$}{unit}")
}

fn fetch_failure(error: &DownloadError) -> Failure {
    if error.is_disk_full() {
        let message = format!("no space left for the Helm repository's index: {error}");
        return Failure::transient(condition::STORAGE_OPERATION_FAILED, reason::DIR_CREATION_FAILED, message);
    }
    let reason = if error.is_authentication() { reason::AUTHENTICATION_FAILED } else { reason::FAILED };
    let message = format!("failed to fetch Helm repository index: {error}");
    Failure::transient(condition::FETCH_FAILED, reason, message)
}

/// Whether what was fetched is an index at all; its entries are looked at when they are wanted.
async fn check(file: PathBuf) -> Result<(), Failure> {
    let failed = |error: String| {
        let message = format!("failed to load Helm repository from index YAML: {error}");
        Failure::transient(condition::FETCH_FAILED, reason::INDEXATION_FAILED, message)
    };
    match tokio::task::spawn_blocking(move || index::check(&file)).await {
        Ok(checked) => checked.map_err(|error| failed(error.to_string())),
        Err(died) => Err(failed(died.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_as_flux_tells_them() {
        for (bytes, told) in [(0, "0B"), (999, "999B"), (14_166, "14.17kB"), (2_500_000, "2.50MB")] {
            assert_eq!(human_size(bytes), told);
        }
    }
}
