//! Charts of a `HelmRepository` of the type `oci`: their versions are the tags of a registry.

use std::time::Duration;

use kube::ResourceExt as _;

use super::{MAX_CHART, chart_failure};
use crate::api::condition::{self, reason};
use crate::api::source::v1::HelmRepository;
use crate::controller::Context;
use crate::source::chart::{ChartError, ChartFault};
use crate::source::helm_repository::DEFAULT_TIMEOUT;
use crate::source::oci::access::{Fields, RegistryAccess};
use crate::source::oci::tags::{TagError, Wanted, tag_of_version, version_of_tag};
use crate::source::oci::{Digest, OciError, Reference, Registry, Repository};
use crate::source::outcome::Failure;
use crate::source::version::Version;

/// A version of a chart in a registry.
pub(super) struct Found {
    registry: Registry,
    timeout: Duration,
    /// The chart's name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: String,
}

/// The address of a repository.
pub(in crate::source) fn parse_url(repository: &HelmRepository) -> Result<Repository, Failure> {
    Repository::parse(&repository.spec.url).map_err(|error| {
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
    let registry = RegistryAccess::read(context, &namespace, place, fields).await?.connect()?;
    let timeout = spec.timeout.map_or(DEFAULT_TIMEOUT, crate::api::meta::Duration::to_std);
    // A version that is named needs no list, which may be long.
    if Version::parse_full(range).is_ok() {
        return Ok(Found { registry, timeout, name, version: range.to_owned() });
    }
    let wanted = Wanted::new(range, None, true).map_err(|error| invalid(true, &error))?;
    let tags = limited(timeout, registry.tags()).await?;
    let newest = wanted.newest(&tags).map_err(|error: TagError| invalid(false, &error))?;
    let version = version_of_tag(newest);
    Ok(Found { registry, timeout, name, version })
}

impl Found {
    /// The package.
    pub(super) async fn download(&self) -> Result<Vec<u8>, Failure> {
        let reference = Reference::tag(&tag_of_version(&self.version)).map_err(|error| invalid(true, &error))?;
        let digest = limited(self.timeout, self.registry.digest(&reference)).await?;
        limited(self.timeout, self.package(&digest)).await
    }

    async fn package(&self, digest: &Digest) -> Result<Vec<u8>, OciError> {
        let manifest = self.registry.manifest(digest).await?;
        let what = format!("{}@{digest}", self.registry.repository());
        let layer = manifest.chart_layer().map_err(|reason| OciError::Malformed { what, reason })?;
        let mut bytes = Vec::new();
        self.registry.layer(layer, MAX_CHART as u64, &mut bytes).await?;
        Ok(bytes)
    }
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
