//! Charts of a `HelmRepository` of the type `oci`: their versions are the tags of a registry.

use std::time::Duration;

use kube::ResourceExt as _;

use super::verification::{KeysOfSecret, Provenance, Signatures, unproven, unsigned, without_provenance};
use super::{HelmChartController, MAX_CHART, Made, Plan, PlannedSource, Target, chart_failure, planned};
use crate::api::condition::{self, reason};
use crate::api::source::v1::{HelmChart, HelmChartVerification, HelmRepository};
use crate::controller::Context;
use crate::source::chart::provenance::MAX_PROVENANCE;
use crate::source::chart::{ChartError, ChartFault, Metadata};
use crate::source::helm_repository::DEFAULT_TIMEOUT;
use crate::source::lifecycle;
use crate::source::oci::access::{Fields, RegistryAccess};
use crate::source::oci::manifest::{Descriptor, Manifest};
use crate::source::oci::tags::{TagError, Wanted, tag_of_version, version_of_tag};
use crate::source::oci::verify::{Asked, Demand, Unverified};
use crate::source::oci::{Digest, OciError, Reference, Registry, Repository};
use crate::source::outcome::Failure;
use crate::source::version::Version;

/// A version of a chart in a registry.
pub(super) struct Found {
    access: RegistryAccess,
    registry: Registry,
    reference: Reference,
    timeout: Duration,
    /// The chart's name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: String,
}

/// The address of a repository.
pub(in crate::source) fn parse_url(repository: &HelmRepository) -> Result<Repository, Failure> {
    Repository::parse_parent(&repository.spec.url).map_err(|error| {
        let shown = crate::redact::redact(&repository.spec.url);
        let message = format!("invalid OCI registry URL '{shown}': {error}");
        Failure::terminal(condition::FETCH_FAILED, reason::URL_INVALID, message)
    })
}

/// The version of a chart to use: the one that is named, or the newest tag in the range.
pub(super) async fn find(
    context: &Context,
    repository: &HelmRepository,
    chart: &str,
    range: &str,
) -> Result<Found, Failure> {
    let place = parse_url(repository)?.below(chart).map_err(|error| invalid(true, &error))?;
    let name = chart.rsplit('/').next().unwrap_or(chart).to_owned();
    let spec = &repository.spec;
    let namespace = repository.namespace().unwrap_or_default();
    let secret = spec.secret_ref.as_ref().map(|secret| secret.name.as_str());
    let fields = Fields {
        provider: spec.provider,
        secret,
        // Certificates in the Secret of the login are an older way that Flux still reads.
        certificates: spec.cert_secret_ref.as_ref().map(|secret| secret.name.as_str()).or(secret),
        insecure: spec.insecure,
        ..Fields::default()
    };
    let access = RegistryAccess::read(context, &namespace, place, fields).await?;
    let registry = access.connect()?;
    let timeout = spec.timeout.map_or(DEFAULT_TIMEOUT, crate::api::meta::Duration::to_std);
    // A version that is named needs no list, which may be long.
    let version = if Version::parse_full(range).is_ok() {
        range.to_owned()
    } else {
        let wanted = Wanted::new(range, None, true).map_err(|error| invalid(true, &error))?;
        let tags = limited(timeout, registry.tags()).await?;
        version_of_tag(wanted.named_or_newest(&tags).map_err(|error: TagError| invalid(false, &error))?)
    };
    let reference = Reference::tag(&tag_of_version(&version)).map_err(|error| invalid(true, &error))?;
    Ok(Found { access, registry, reference, timeout, name, version })
}

impl Found {
    /// The package.
    pub(super) async fn download(&self) -> Result<Vec<u8>, Failure> {
        let manifest = self.manifest().await?;
        self.package(&manifest).await
    }

    async fn digest(&self) -> Result<Digest, Failure> {
        limited(self.timeout, self.registry.digest(&self.reference)).await
    }

    async fn manifest(&self) -> Result<Manifest, Failure> {
        let digest = self.digest().await?;
        limited(self.timeout, self.registry.manifest(&digest)).await
    }

    async fn package(&self, manifest: &Manifest) -> Result<Vec<u8>, Failure> {
        let what = self.registry.repository().to_string();
        let layer = manifest.chart_layer().map_err(|reason| OciError::Malformed { what, reason });
        limited(self.timeout, async { self.layer(layer?, MAX_CHART).await }).await
    }

    async fn provenance(&self, manifest: &Manifest) -> Result<Vec<u8>, Failure> {
        let Some(layer) = manifest.provenance_layer() else {
            let why = format!(
                "'{}' has none: use `helm push` where the '.prov' file of `helm package --sign` lies beside \
                 the package",
                self.registry.repository()
            );
            return Err(without_provenance(&why));
        };
        limited(self.timeout, self.layer(layer, MAX_PROVENANCE)).await
    }

    async fn layer(&self, layer: &Descriptor, limit: usize) -> Result<Vec<u8>, OciError> {
        let mut bytes = Vec::new();
        self.registry.layer(layer, limit as u64, &mut bytes).await?;
        Ok(bytes)
    }
}

impl HelmChartController {
    pub(super) async fn plan_registry(
        &self,
        object: &HelmChart,
        repository: &HelmRepository,
        keys: Option<KeysOfSecret>,
    ) -> Result<Plan, Failure> {
        let range = object.spec.version.as_deref().filter(|range| !range.is_empty()).unwrap_or("*");
        let mut found = find(&self.context, repository, &object.spec.chart, range).await?;
        let metadata = Metadata { name: found.name.clone(), version: found.version.clone() };
        let signatures = self.signatures(object, &mut found, &metadata, keys).await?;
        let plan = planned(object, metadata, PlannedSource::Registry(Box::new(found)))?;
        Ok(Plan { signatures, ..plan })
    }

    /// What a chart has to be signed with. What `spec.verify` asks for is verified, unless the same keys have verified
    /// the same package. That very package is downloaded from then on, whatever becomes of its tag.
    async fn signatures(
        &self,
        object: &HelmChart,
        found: &mut Found,
        metadata: &Metadata,
        keys: Option<KeysOfSecret>,
    ) -> Result<Option<Signatures>, Failure> {
        let namespace = object.namespace().unwrap_or_default();
        let with_provenance = keys.is_some();
        let demand = match &object.spec.verify {
            Some(verify) => Some(
                demand(&self.context, &namespace, verify)
                    .await
                    .map_err(|failure| Failure { message: unsigned(failure.message, with_provenance), ..failure })?,
            ),
            None => None,
        };
        if demand.is_none() && keys.is_none() {
            return Ok(None);
        }
        let digest = found.digest().await?;
        let place = found.access.repository.to_string();
        let by_cosign = demand.as_ref().map(|demand| demand.proof(&place, &digest));
        let subject = [place.as_bytes(), digest.as_str().as_bytes()];
        let signatures = Signatures::new(by_cosign, keys, &subject, metadata);
        if let Some(demand) = demand.filter(|_| !self.proofs.has(object, signatures.proof)) {
            let place = self.store.scratch().map_err(|error| lifecycle::storage_failure(&error))?;
            let verified = demand.verify(&self.context, place, (&found.access, &digest), found.timeout).await;
            verified.map_err(|error| unproven(&unsigned(error.message, with_provenance)))?;
        }
        found.reference = Reference::Digest(digest);
        Ok(Some(signatures))
    }
}

/// The package, and who signed its provenance file where one is asked for.
pub(super) async fn package_registry(
    found: &Found,
    target: Target,
    provenance: Option<Provenance>,
) -> Result<Made, Failure> {
    let manifest = found.manifest().await?;
    let signed = match provenance {
        Some(provenance) => Some(provenance.verify(found.provenance(&manifest).await?).await?),
        None => None,
    };
    let bytes = found.package(&manifest).await?;
    target.package(bytes, "its tag", signed).await
}

/// What `spec.verify` asks for, with what its Secrets hold.
async fn demand<'o>(
    context: &Context,
    namespace: &str,
    verify: &'o HelmChartVerification,
) -> Result<Demand<'o>, Failure> {
    let demand = Demand::read(context, namespace, Asked::from(verify)).await;
    demand.map_err(|Unverified { message, terminal }| Failure {
        condition: condition::SOURCE_VERIFIED,
        reason: reason::VERIFICATION_ERROR,
        message,
        terminal,
    })
}

/// One step, which may take up to `timeout`.
async fn limited<T>(timeout: Duration, step: impl Future<Output = Result<T, OciError>>) -> Result<T, Failure> {
    let pull = |why: String| {
        chart_failure(&ChartError::new(ChartFault::Pull, format!("failed to get chart from the registry: {why}")))
    };
    match tokio::time::timeout(timeout, step).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) if error.is_authentication() => {
            let message = format!("failed to authenticate with the Helm repository: {error}");
            Err(Failure::transient(condition::FETCH_FAILED, reason::AUTHENTICATION_FAILED, message))
        }
        Ok(Err(error)) => Err(pull(error.to_string())),
        Err(_) => Err(pull(format!("not done within {timeout:?}"))),
    }
}

/// The chart or version is not there. Nothing tells of new tags, so that only what can never be
/// there is given up.
fn invalid(terminal: bool, error: &dyn std::fmt::Display) -> Failure {
    let message = format!("failed to get chart version for remote reference: {error}");
    let failure = chart_failure(&ChartError::new(ChartFault::Reference, message));
    Failure { terminal, ..failure }
}
