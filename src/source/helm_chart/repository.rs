//! Charts of a `HelmRepository` over HTTP(S): their versions stand in its index.

use std::sync::{Arc, PoisonError};

use kube::ResourceExt as _;
use url::Url;

use super::verification::{KeysOfSecret, Provenance, Signatures, refuse_cosign, without_provenance};
use super::{
    HelmChartController, KNOWN_CHARTS, MAX_CHART, Made, Plan, PlannedSource, Target, blocking, chart_failure, planned,
    source_failure,
};
use crate::api::condition::{self, reason};
use crate::api::meta::Artifact;
use crate::api::source::v1::{ChartSourceKind, HelmChart, HelmRepository};
use crate::source::chart::provenance::MAX_PROVENANCE;
use crate::source::chart::{ChartError, ChartFault, Metadata};
use crate::source::digest;
use crate::source::download::{Download, DownloadError, Downloader};
use crate::source::helm_repository;
use crate::source::index::{self, Chart, IndexError};
use crate::source::outcome::Failure;
use crate::source::store::StoreError;

/// What is added to the URL of a package for that of its provenance file.
const PROVENANCE_SUFFIX: &str = ".prov";

impl HelmChartController {
    pub(super) async fn plan_repository(
        &self,
        object: &HelmChart,
        repository: &HelmRepository,
        artifact: &Artifact,
        keys: Option<KeysOfSecret>,
    ) -> Result<Plan, Failure> {
        refuse_cosign(object)?;
        let range = object.spec.version.as_deref().unwrap_or("*");
        let wrong = |error: &IndexError| {
            let message = format!("failed to get chart version for remote reference: {error}");
            chart_failure(&ChartError::new(ChartFault::Reference, message))
        };
        let versions = self
            .versions((&repository.name_any(), artifact), &object.spec.chart)
            .await?
            .map_err(|error| wrong(&error))?;
        let entry = versions.find(range).map_err(|error| wrong(&error))?;
        let url = entry.url(&helm_repository::parse_url(&repository.spec)?).map_err(|error| wrong(&error))?;
        let metadata = Metadata { name: entry.name.clone(), version: entry.version.clone() };
        let digest = entry.digest.clone();
        let signatures = keys.map(|keys| {
            let subject = [url.as_str().as_bytes(), digest.as_deref().unwrap_or_default().as_bytes()];
            Signatures::new(None, Some(keys), &subject, &metadata)
        });
        let plan = planned(object, metadata, PlannedSource::Remote { url, digest })?;
        Ok(Plan { signatures, ..plan })
    }

    /// The package, and who signed its provenance file where one is asked for.
    pub(super) async fn package_repository(
        &self,
        repository: &HelmRepository,
        (url, digest): (Url, Option<String>),
        target: Target,
        provenance: Option<Provenance>,
    ) -> Result<Made, Failure> {
        let downloader = helm_repository::downloader(&self.context, repository).await?;
        let signed = match provenance {
            Some(provenance) => Some(provenance.verify(fetch_provenance(&downloader, &url).await?).await?),
            None => None,
        };
        let bytes = fetch(&downloader, &url, MAX_CHART).await.map_err(|error| download_failure(&error))?;
        check_digest(&bytes, digest.as_deref()).map_err(|error| chart_failure(&error))?;
        target.package(bytes, "the index", signed).await
    }

    /// The versions of a chart in the index behind an artifact.
    pub(super) async fn versions(
        &self,
        (repository, artifact): (&str, &Artifact),
        chart: &str,
    ) -> Result<Result<Arc<Chart>, IndexError>, Failure> {
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, found)) =
                known.iter().find(|(digest, known)| *digest == artifact.digest && known.name == chart)
            {
                return Ok(Ok(Arc::clone(found)));
            }
        }
        let failed = |error: StoreError| source_failure(ChartSourceKind::HelmRepository, repository, &error);
        let file = self.store.file(artifact).await.map_err(failed)?;
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

async fn fetch(downloader: &Downloader, url: &Url, limit: usize) -> Result<Vec<u8>, DownloadError> {
    Ok(match downloader.get(url, limit, None).await? {
        Download::New(bytes, _) => bytes,
        Download::Unchanged => Vec::new(),
    })
}

async fn fetch_provenance(downloader: &Downloader, package: &Url) -> Result<Vec<u8>, Failure> {
    let fetched = fetch(downloader, &provenance_url(package), MAX_PROVENANCE).await;
    fetched.map_err(|error| match error {
        DownloadError::Status { status: 404 | 410, .. } => without_provenance(&format!(
            "there is none: {error}; publish the '.prov' file that `helm package --sign` makes beside the package"
        )),
        error => download_failure(&error),
    })
}

/// Beside the package. A query stays as it is, since it may be a token, unless it is what names the package.
fn provenance_url(package: &Url) -> Url {
    let mut url = package.clone();
    match package.query().filter(|query| query.to_ascii_lowercase().ends_with(".tgz")) {
        Some(query) => url.set_query(Some(&format!("{query}{PROVENANCE_SUFFIX}"))),
        None => url.set_path(&format!("{}{PROVENANCE_SUFFIX}", package.path())),
    }
    url
}

pub(super) fn check_digest(bytes: &[u8], expected: Option<&str>) -> Result<(), ChartError> {
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

fn download_failure(error: &DownloadError) -> Failure {
    if error.is_authentication() {
        let message = format!("failed to authenticate with the Helm repository: {error}");
        return Failure::transient(condition::FETCH_FAILED, reason::AUTHENTICATION_FAILED, message);
    }
    let message = format!("failed to download chart for remote reference: {error}");
    chart_failure(&ChartError::new(ChartFault::Pull, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provenance_file_is_beside_its_package() {
        for (package, expected) in [
            ("https://a.host/charts/a-1.0.0.tgz", "https://a.host/charts/a-1.0.0.tgz.prov"),
            ("https://a.host/a-1.0.0%2B1.tgz?token=x", "https://a.host/a-1.0.0%2B1.tgz.prov?token=x"),
            ("https://a.host/get?token=x&file=a-1.0.0.tgz", "https://a.host/get?token=x&file=a-1.0.0.tgz.prov"),
        ] {
            assert_eq!(provenance_url(&Url::parse(package).unwrap()).as_str(), expected);
        }
    }

    #[test]
    fn a_wrong_digest_is_refused() {
        let digest = digest::sha256(b"chart");
        for expected in [None, Some(""), Some(digest.as_str()), Some(&format!("sha256:{digest}"))] {
            check_digest(b"chart", expected).unwrap();
        }
        let error = check_digest(b"other", Some(&digest)).unwrap_err();
        assert!(error.to_string().contains("the index says"), "{error}");
    }
}
