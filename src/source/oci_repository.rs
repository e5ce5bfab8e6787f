//! `OCIRepository`: asks a registry for a tag, the newest version or a digest, and stores a layer
//! of what it names as an artifact.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::BoxStream;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use super::archive::{self, ArchiveError};
use super::ignore::IgnoreRules;
use super::lifecycle::{self, Stage};
use super::oci::access::{Fields, RegistryAccess};
use super::oci::manifest::{Descriptor, HELM_CHART, Manifest};
use super::oci::tags::{TagError, Wanted};
use super::oci::verify::{Asked, Demand, Unverified};
use super::oci::{Digest, OciError, Reference, Registry, Repository};
use super::outcome::{Failure, Stored, tell_outdated, tell_verified};
use super::proofs::Proofs;
use super::store::{ArtifactStore, StoreError};
use crate::api::condition::{self, reason};
use crate::api::meta::{Artifact, LocalObjectReference};
use crate::api::source::v1::{OCIRepository, OCIRepositorySpec, OCIRepositoryStatus, OciLayerOperation};
use crate::api::unsupported;
use crate::controller::conditions;
use crate::controller::wake::by_secrets;
use crate::controller::{Context, Reconciler, Requeue, namespaced_name};

/// Limit for one pass of an object that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// The tag that is followed when none is named.
const DEFAULT_TAG: &str = "latest";

/// The most that a layer may be, in bytes.
const MAX_LAYER: u64 = 1024 * 1024 * 1024;

/// What an artifact says of where it was made from.
const ORIGIN: [&str; 2] = ["org.opencontainers.image.source", "org.opencontainers.image.revision"];

/// Reconciles every `OCIRepository`.
pub struct OciRepositoryController {
    context: Context,
    store: Arc<ArtifactStore>,
    /// The pull secrets of the service account that an object logs in with.
    pull_secrets: Arc<Mutex<PullSecrets>>,
    proofs: Proofs,
}

/// Names of Secrets by the namespace and name of the object that they are for.
type PullSecrets = HashMap<(String, String), BTreeSet<String>>;

impl OciRepositoryController {
    /// A controller that stores layers in `store`.
    pub fn new(context: Context, store: Arc<ArtifactStore>) -> Self {
        Self { context, store, pull_secrets: Arc::default(), proofs: Proofs::default() }
    }

    /// Objects of which a Secret changed.
    pub fn triggers(&self) -> BoxStream<'static, ObjectRef<OCIRepository>> {
        let pull_secrets = Arc::clone(&self.pull_secrets);
        by_secrets(&self.context.references, &self.context.caches.oci_repositories, move |object, name| {
            let pulled = pull_secrets.lock().unwrap_or_else(PoisonError::into_inner);
            secrets_of(&object.spec).any(|secret| secret == name)
                || pulled.get(&namespaced_name(object)).is_some_and(|secrets| secrets.contains(name))
        })
    }

    async fn work(&self, object: &OCIRepository, status: &mut OCIRepositoryStatus) -> Result<Stored, Failure> {
        let timeout = timeout(&object.spec);
        tokio::time::timeout(timeout, self.follow(object, status)).await.unwrap_or_else(|_| {
            let message = format!("failed to pull artifact from '{}': not done within {timeout:?}", object.spec.url);
            Err(Failure::transient(condition::FETCH_FAILED, reason::OCI_PULL_FAILED, message))
        })
    }

    async fn follow(&self, object: &OCIRepository, status: &mut OCIRepositoryStatus) -> Result<Stored, Failure> {
        let (spec, asked) = (&object.spec, Timestamp::now());
        let repository = Repository::parse(&spec.url).map_err(|error| {
            let message = format!("URL validation failed for '{}': {error}", crate::redact::redact(&spec.url));
            Failure::terminal(condition::FETCH_FAILED, reason::URL_INVALID, message)
        })?;
        let namespace = object.namespace().unwrap_or_default();
        let demand = self.demand(&namespace, spec, status).await?;
        let wanted = Followed::read(spec)?;
        if let Followed::Fixed(Reference::Digest(digest)) = &wanted
            && is_current(spec, status, digest.as_str())
            && demand.as_ref().is_none_or(|demand| self.proofs.has(object, demand.proof(&spec.url, digest)))
        {
            if demand.is_some() {
                note_verification(object, status, digest.as_str());
            }
            return Ok(stored(spec, status));
        }
        let access = RegistryAccess::read(&self.context, &namespace, repository, fields(spec)).await?;
        self.remember(object, &access.pull_secrets);
        let registry = access.connect()?;
        let reference = wanted.resolve(&registry, &spec.url).await?;
        let digest = registry.digest(&reference).await.map_err(|error| {
            oci_failure(&error, reason::OCI_PULL_FAILED, &format!("failed to pull artifact from '{}'", spec.url))
        })?;
        let revision = reference.revision(&digest);
        let is_current = is_current(spec, status, &revision);
        if !is_current {
            let message = format!("new revision '{revision}' for '{}'", object.spec.url);
            tell_outdated(status, &message, object.metadata.generation, Timestamp::now());
        }
        if let Some(demand) = &demand {
            self.verify(object, status, demand, (&access, &digest, &revision)).await?;
        }
        if is_current {
            return Ok(stored(spec, status));
        }
        let manifest = registry.manifest(&digest).await.map_err(|error| {
            oci_failure(&error, reason::OCI_PULL_FAILED, &format!("failed to pull artifact from '{}'", spec.url))
        })?;
        let mut artifact = self.pull(object, &registry, &manifest, &revision, &digest).await?;
        artifact.metadata = manifest.annotations;
        let alias = self.store.put_alias(&artifact, "latest.tar.gz").await;
        status.url = Some(alias.map_err(|error| lifecycle::storage_failure(&error))?);
        let before = status.artifact.replace(artifact);
        lifecycle::seen(&self.context, object, (before.as_ref(), &revision), None, asked);
        status.observed_ignore.clone_from(&spec.ignore);
        status.observed_layer_selector.clone_from(&spec.layer_selector);
        Ok(stored(spec, status))
    }

    /// The signature to ask for, with what the Secrets hold.
    async fn demand<'o>(
        &self,
        namespace: &str,
        spec: &'o OCIRepositorySpec,
        status: &mut OCIRepositoryStatus,
    ) -> Result<Option<Demand<'o>>, Failure> {
        let Some(verify) = &spec.verify else {
            conditions::remove(&mut status.conditions, condition::SOURCE_VERIFIED);
            return Ok(None);
        };
        let demand = Demand::read(&self.context, namespace, Asked::from(verify)).await;
        demand.map(Some).map_err(verification_failure)
    }

    /// Has the signature checked, unless the same keys have verified just this before.
    async fn verify(
        &self,
        object: &OCIRepository,
        status: &mut OCIRepositoryStatus,
        demand: &Demand<'_>,
        (access, digest, revision): (&RegistryAccess, &Digest, &str),
    ) -> Result<(), Failure> {
        let proof = demand.proof(&object.spec.url, digest);
        if !self.proofs.has(object, proof) {
            let place = self.store.scratch().map_err(|error| lifecycle::storage_failure(&error))?;
            let verified = demand.verify(&self.context, place, (access, digest), timeout(&object.spec)).await;
            verified.map_err(verification_failure)?;
            self.proofs.keep(object, proof);
        }
        note_verification(object, status, revision);
        Ok(())
    }

    /// Fetches the layer and stores what it holds.
    async fn pull(
        &self,
        object: &OCIRepository,
        registry: &Registry,
        manifest: &Manifest,
        revision: &str,
        digest: &Digest,
    ) -> Result<Artifact, Failure> {
        let spec = &object.spec;
        let selector = spec.layer_selector.as_ref();
        let layer =
            manifest.layer(selector.and_then(|selector| selector.media_type.as_deref())).map_err(layer_failure)?;
        let scratch = self.store.scratch().map_err(|error| lifecycle::storage_failure(&error))?;
        let package = scratch.path().join("layer");
        fetch(registry, layer, &package, &spec.url).await?;
        let owner = lifecycle::owner_of(object);
        let file = format!("{}.tar.gz", digest.hex());
        let put = if operation(spec) == OciLayerOperation::Copy {
            self.store.put_copy(&owner, revision, &file, &package).await
        } else {
            let tree = scratch.path().join("tree");
            let rules = unpack(&package, &tree, spec.ignore.as_deref()).await?;
            self.store.put_directory(&owner, revision, &file, &tree, rules).await
        };
        put.map_err(|error| lifecycle::storage_failure(&error))
    }

    fn remember(&self, object: &OCIRepository, pull_secrets: &BTreeSet<String>) {
        let mut known = self.pull_secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if pull_secrets.is_empty() {
            known.remove(&namespaced_name(object));
        } else {
            known.insert(namespaced_name(object), pull_secrets.clone());
        }
    }
}

impl Reconciler for OciRepositoryController {
    type Object = OCIRepository;

    async fn reconcile(&self, object: Arc<OCIRepository>) -> Result<Requeue, kube::Error> {
        let forget = |gone: &OCIRepository| {
            self.remember(gone, &BTreeSet::new());
            self.proofs.forget(gone);
        };
        let object = match lifecycle::begin(&self.context, &self.store, object, forget).await? {
            Stage::Done(requeue) => return Ok(requeue),
            Stage::Work(object) => object,
        };
        let object = object.as_ref();
        let work = async |status: &mut _| self.work(object, status).await;
        let pass = lifecycle::work(&self.context, &self.store, object, work).await;
        let not_acted_on = unsupported::oci_repository(&object.spec);
        let interval = object.spec.interval.to_std();
        lifecycle::end(&self.context, object, pass, &not_acted_on, interval).await
    }
}

/// What an object follows.
enum Followed {
    Fixed(Reference),
    Newest(Wanted),
}

impl Followed {
    /// Of digest, range and tag the first that is set.
    fn read(spec: &OCIRepositorySpec) -> Result<Self, Failure> {
        let fields = spec.r#ref.clone().unwrap_or_default();
        let given = |field: Option<String>| field.filter(|text| !text.is_empty());
        let fixed = |read: Result<Reference, super::oci::reference::NameError>| {
            read.map(Self::Fixed).map_err(|error| tag_failure(&spec.url, true, &error))
        };
        if let Some(digest) = given(fields.digest) {
            return fixed(Digest::parse(&digest).map(Reference::Digest));
        }
        if let Some(range) = given(fields.semver) {
            let charts =
                spec.layer_selector.as_ref().and_then(|selector| selector.media_type.as_deref()) == Some(HELM_CHART);
            let wanted = Wanted::new(&range, fields.semver_filter.as_deref(), charts);
            return wanted.map(Self::Newest).map_err(|error| tag_failure(&spec.url, true, &error));
        }
        fixed(Reference::tag(given(fields.tag).as_deref().unwrap_or(DEFAULT_TAG)))
    }

    /// The reference to fetch; only a range needs a look at the registry for that.
    async fn resolve(self, registry: &Registry, url: &str) -> Result<Reference, Failure> {
        let wanted = match self {
            Self::Fixed(reference) => return Ok(reference),
            Self::Newest(wanted) => wanted,
        };
        let listed = registry.tags().await.map_err(|error| {
            oci_failure(
                &error,
                reason::READ_OPERATION_FAILED,
                &format!("failed to determine the artifact tag for '{url}'"),
            )
        })?;
        let newest = wanted.newest(&listed).map_err(|error: TagError| tag_failure(url, error.is_terminal(), &error))?;
        Reference::tag(newest).map_err(|error| tag_failure(url, false, &error))
    }
}

fn timeout(spec: &OCIRepositorySpec) -> Duration {
    spec.timeout.map_or(DEFAULT_TIMEOUT, crate::api::meta::Duration::to_std)
}

fn verification_failure(Unverified { message, terminal }: Unverified) -> Failure {
    Failure { condition: condition::SOURCE_VERIFIED, reason: reason::VERIFICATION_ERROR, message, terminal }
}

fn tag_failure(url: &str, terminal: bool, error: &dyn std::fmt::Display) -> Failure {
    let message = format!("failed to determine the artifact tag for '{url}': {error}");
    let (condition, reason) = (condition::FETCH_FAILED, reason::READ_OPERATION_FAILED);
    if terminal {
        Failure::terminal(condition, reason, message)
    } else {
        Failure::transient(condition, reason, message)
    }
}

fn oci_failure(error: &OciError, otherwise: &'static str, doing: &str) -> Failure {
    let message = format!("{doing}: {error}");
    if let OciError::Disk(_) = error {
        return Failure::transient(condition::STORAGE_OPERATION_FAILED, reason::ARCHIVE_OPERATION_FAILED, message);
    }
    let reason = if error.is_authentication() { reason::AUTHENTICATION_FAILED } else { otherwise };
    Failure::transient(condition::FETCH_FAILED, reason, message)
}

fn layer_failure(message: String) -> Failure {
    Failure::transient(condition::FETCH_FAILED, reason::OCI_LAYER_OPERATION_FAILED, message)
}

fn fields(spec: &OCIRepositorySpec) -> Fields<'_> {
    Fields {
        provider: spec.provider,
        secret: name(spec.secret_ref.as_ref()),
        service_account: spec.service_account_name.as_deref().filter(|name| !name.is_empty()),
        certificates: name(spec.cert_secret_ref.as_ref()),
        proxy: name(spec.proxy_secret_ref.as_ref()),
        insecure: spec.insecure,
    }
}

fn name(reference: Option<&LocalObjectReference>) -> Option<&str> {
    reference.map(|reference| reference.name.as_str()).filter(|name| !name.is_empty())
}

/// The Secrets that an object names itself.
fn secrets_of(spec: &OCIRepositorySpec) -> impl Iterator<Item = &str> {
    let references = [&spec.secret_ref, &spec.cert_secret_ref, &spec.proxy_secret_ref];
    let verify = spec.verify.iter().flat_map(|verify| Asked::from(verify).secrets());
    references.into_iter().filter_map(|reference| name(reference.as_ref())).chain(verify)
}

fn operation(spec: &OCIRepositorySpec) -> OciLayerOperation {
    spec.layer_selector.as_ref().and_then(|selector| selector.operation).unwrap_or_default()
}

/// Whether the artifact is of this revision, and made as the object asks.
fn is_current(spec: &OCIRepositorySpec, status: &OCIRepositoryStatus, revision: &str) -> bool {
    status.artifact.as_ref().is_some_and(|artifact| artifact.revision == revision)
        && status.observed_ignore == spec.ignore
        && status.observed_layer_selector == spec.layer_selector
}

fn stored(spec: &OCIRepositorySpec, status: &OCIRepositoryStatus) -> Stored {
    let artifact = status.artifact.as_ref();
    let revision = artifact.map_or("", |artifact| artifact.revision.as_str());
    let origin = artifact.and_then(|artifact| {
        let [source, revision] = ORIGIN.map(|key| artifact.metadata.get(key));
        Some(format!(", origin source '{}', origin revision '{}'", source?, revision?))
    });
    Stored {
        reason: reason::SUCCEEDED,
        message: format!("stored artifact for digest '{revision}'"),
        event_reason: reason::NEW_ARTIFACT,
        event: format!("stored artifact with revision '{revision}' from '{}'{}", spec.url, origin.unwrap_or_default()),
    }
}

fn note_verification(object: &OCIRepository, status: &mut OCIRepositoryStatus, revision: &str) {
    let message = format!("verified signature of revision {revision}");
    tell_verified(&mut status.conditions, &message, object.metadata.generation, Timestamp::now());
}

async fn fetch(registry: &Registry, layer: &Descriptor, into: &Path, url: &str) -> Result<(), Failure> {
    let mut file = tokio::fs::File::create(into)
        .await
        .map_err(|source| lifecycle::storage_failure(&StoreError::Io { path: into.to_owned(), source }))?;
    registry.layer(layer, MAX_LAYER, &mut file).await.map_err(|error| {
        oci_failure(&error, reason::OCI_LAYER_OPERATION_FAILED, &format!("failed to pull a layer from '{url}'"))
    })
}

/// Unpacks a layer; gives the rules of what of it to leave out.
async fn unpack(package: &Path, tree: &Path, ignore: Option<&str>) -> Result<IgnoreRules, Failure> {
    let (package, tree, ignore) = (package.to_owned(), tree.to_owned(), ignore.map(str::to_owned));
    let work = move || {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| ArchiveError::Io { path, source }
        };
        std::fs::create_dir(&tree).map_err(at(&tree))?;
        let stream = std::fs::File::open(&package).map_err(at(&package))?;
        archive::unpack_gzip(std::io::BufReader::new(stream), &tree)?;
        let files = archive::ignore_files(&tree)?;
        Ok::<_, ArchiveError>(IgnoreRules::for_source(&files, ignore.as_deref()))
    };
    let failed = |why: String| layer_failure(format!("failed to extract layer contents from artifact: {why}"));
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(rules)) => Ok(rules),
        Ok(Err(error)) if error.is_disk_full() => Err(lifecycle::storage_failure(&StoreError::Archive(error))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(died) => Err(failed(died.to_string())),
    }
}

#[cfg(test)]
mod tests;
