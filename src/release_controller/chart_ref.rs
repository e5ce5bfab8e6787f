//! Charts that `spec.chartRef` refers to: the artifact of the object that holds one, as a package
//! in our own store.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::pass::Pass;
use super::steps::LONGEST_PAUSE;
use crate::api::condition::reason;
use crate::api::meta::Artifact;
use crate::controller::{Requeue, namespaced_name};
use crate::release::chart::{RevisionDigest, SourceKey, revision_digest};
use crate::source::chart::{Packaging, package_remote};
use crate::source::digest::Digest;
use crate::source::download::{Access, Download, DownloadError, Downloader};
use crate::source::helm_chart::MAX_CHART;
use crate::source::store::{ArtifactStore, Owner, StoreError};

/// How long a download may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why there is no chart.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The server does not have it (any more).
    #[error("Source not ready: artifact not found")]
    Gone,
    /// It cannot be had, or is not what it should be.
    #[error("Could not load chart: {0}")]
    Load(String),
    /// It is another chart than its source says.
    #[error("{0}")]
    Mismatch(String),
}

impl Trouble {
    fn reason(&self) -> &'static str {
        match self {
            Self::Gone | Self::Load(_) => reason::ARTIFACT_FAILED,
            Self::Mismatch(_) => reason::CHART_MUTATE_ERROR,
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Load(error.to_string())
    }
}

/// What was made of the artifact that each release's chart came from.
#[derive(Default)]
pub struct Referred(Mutex<HashMap<(String, String), Made>>);

#[derive(Clone)]
struct Made {
    digest: String,
    build: Option<String>,
    artifact: Artifact,
}

impl Referred {
    fn get(&self, release: &(String, String)) -> Option<Made> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(release).cloned()
    }

    fn put(&self, release: (String, String), made: Made) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(release, made);
    }

    fn forget(&self, release: &(String, String)) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(release).is_some()
    }
}

impl Pass<'_> {
    /// The chart of a referred object in our own store, with its digest in its version.
    pub(super) async fn referred(&mut self, key: &SourceKey, source: Artifact) -> ControlFlow<Requeue, Artifact> {
        let found = match revision_digest(key.kind, &source.revision) {
            Ok(digest) => self.stored_chart(source, digest).await,
            Err(why) => Err(Trouble::Mismatch(why)),
        };
        match found {
            Ok(artifact) => ControlFlow::Continue(artifact),
            Err(trouble) => {
                let message = trouble.to_string();
                self.editor().waits_for(trouble.reason(), &message);
                self.warn_if_new(trouble.reason(), &message);
                ControlFlow::Break(Requeue::Backoff { max: LONGEST_PAUSE })
            }
        }
    }

    async fn stored_chart(&mut self, source: Artifact, revision: Option<RevisionDigest>) -> Result<Artifact, Trouble> {
        let store = &self.controller.store;
        let tracked = !self.controller.context.config.disable_chart_digest_tracking;
        let build = revision.as_ref().filter(|_| tracked).map(|revision| revision.build.clone());
        self.oci_digest = revision.as_ref().map(|revision| revision.digest.clone());
        let release = namespaced_name(self.object.as_ref());
        let known = self.controller.referred.get(&release);
        if let Some(known) = known.filter(|known| known.digest == source.digest && known.build == build)
            && store.has(&known.artifact).await?
        {
            return Ok(known.artifact);
        }
        let bytes = bytes_of(store, &source).await?;
        let packaging = Packaging { version_metadata: build.clone(), ..Packaging::default() };
        let packed = tokio::task::spawn_blocking(move || package_remote(bytes, &packaging)).await;
        let package = packed.map_err(|error| Trouble::Load(error.to_string()))?;
        let package = package.map_err(|error| Trouble::Load(error.message))?;
        if let Some(revision) = &revision {
            revision.check(&package.version).map_err(Trouble::Mismatch)?;
        }
        let file = format!("{}-{}.tgz", package.name, package.version);
        let artifact = store.put_file(&owner(&release), &package.version, &file, package.bytes).await?;
        let made = Made { digest: source.digest, build, artifact: artifact.clone() };
        self.controller.referred.put(release, made);
        Ok(artifact)
    }

    /// Removes the package that was made of a referred chart, if this process made one.
    pub(super) async fn leave_referred(&self) {
        let release = namespaced_name(self.object.as_ref());
        if self.controller.referred.forget(&release) {
            self.remove_referred(&release).await;
        }
    }

    /// Removes the package that was made of a referred chart, by whatever process.
    pub(super) async fn delete_referred(&self) {
        let release = namespaced_name(self.object.as_ref());
        self.controller.referred.forget(&release);
        self.remove_referred(&release).await;
    }

    async fn remove_referred(&self, release: &(String, String)) {
        if let Err(error) = self.controller.store.remove(&owner(release)).await {
            let (namespace, name) = release;
            tracing::warn!(kind = "HelmRelease", namespace, name, %error, "the package of a referred chart stays behind");
        }
    }
}

fn owner(release: &(String, String)) -> Owner {
    Owner { kind: "HelmRelease".to_owned(), namespace: release.0.clone(), name: release.1.clone() }
}

/// The bytes of an artifact, ours or another operator's, verified against its digest.
async fn bytes_of(store: &Arc<ArtifactStore>, source: &Artifact) -> Result<Vec<u8>, Trouble> {
    let load = |why: String| Trouble::Load(why);
    match store.file(source).await {
        Ok(file) => return tokio::fs::read(file).await.map_err(|error| load(error.to_string())),
        Err(StoreError::Missing { .. } | StoreError::Corrupt { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let url = url::Url::parse(&source.url).map_err(|error| load(format!("'{}': {error}", source.url)))?;
    let downloader =
        Downloader::new(url.clone(), Access::default(), PATIENCE).map_err(|error| load(error.to_string()))?;
    let bytes = match downloader.get(&url, MAX_CHART, None).await {
        Ok(Download::New(bytes, _)) => bytes,
        Ok(Download::Unchanged) => return Err(load("the server sent nothing".to_owned())),
        Err(DownloadError::Status { status: 404, .. }) => return Err(Trouble::Gone),
        Err(error) => return Err(load(error.to_string())),
    };
    let expected = Digest::parse(&source.digest).ok_or_else(|| load(format!("'{}' is no digest", source.digest)))?;
    let found = expected.algorithm().digest(&bytes);
    if found == expected {
        Ok(bytes)
    } else {
        Err(load(format!("integrity failure: the digest of '{}' is {found}, not {expected}", source.url)))
    }
}
