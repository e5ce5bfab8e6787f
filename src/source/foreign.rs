//! Artifacts of other operators' source controllers: fetched once, verified, and kept in our own
//! store for as long as their user follows them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::digest::Algorithm;
use super::download::{Access, Download, DownloadError, Downloader};
use super::store::{ArtifactStore, Owner, StoreError, digest_of};
use crate::api::meta::Artifact;

/// How long a download may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// The most that an artifact may be, in bytes.
const MAX_ARTIFACT: usize = 1024 * 1024 * 1024;

/// Why an artifact cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// The store cannot give or take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server does not have it (any more).
    #[error("artifact not found at '{0}'; a newer one is waited for")]
    Gone(String),
    /// Its address is none.
    #[error("the artifact's address '{url}' cannot be used: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be had.
    #[error("cannot fetch the artifact: {0}")]
    Download(DownloadError),
    /// It is not what its digest says.
    #[error("integrity failure: the digest of '{url}' is {found}, not {expected}")]
    Digest {
        /// Its address.
        url: String,
        /// What was found.
        found: String,
        /// What the status says.
        expected: String,
    },
}

/// The artifact's archive, verified; fetched on behalf of `user` where it is somebody else's.
pub async fn file(store: &Arc<ArtifactStore>, user: &Owner, artifact: &Artifact) -> Result<PathBuf, ForeignError> {
    match store.file(artifact).await {
        Ok(file) => {
            // It was replaced once and is back: without a name of its own it would be collected.
            let name = file_name(artifact);
            if !store.serves(&artifact.url) && !store.is_named(user, &name, artifact) {
                store.put_foreign(user, artifact, &name, &file).await?;
            }
            return Ok(file);
        }
        Err(StoreError::Missing { .. } | StoreError::Corrupt { .. }) if !store.serves(&artifact.url) => {}
        Err(error) => return Err(error.into()),
    }
    fetch(store, user, artifact).await?;
    Ok(store.file(artifact).await?)
}

/// The artifact unpacked, see [`file`].
pub async fn directory(store: &Arc<ArtifactStore>, user: &Owner, artifact: &Artifact) -> Result<PathBuf, ForeignError> {
    file(store, user, artifact).await?;
    Ok(store.directory(artifact).await?)
}

async fn fetch(store: &Arc<ArtifactStore>, user: &Owner, artifact: &Artifact) -> Result<(), ForeignError> {
    let shown = || crate::redact::redact(&artifact.url).into_owned();
    let url =
        Url::parse(&artifact.url).map_err(|error| ForeignError::Address { url: shown(), reason: error.to_string() })?;
    let downloader = Downloader::new(url.clone(), Access::default(), PATIENCE).map_err(ForeignError::Download)?;
    let scratch = store.scratch()?;
    let file = scratch.path().join("artifact");
    let sha256 = match downloader.save(&url, &file, MAX_ARTIFACT, None).await {
        Ok(Download::New(digest, _)) => digest,
        Ok(Download::Unchanged) => String::new(),
        Err(DownloadError::Status { status: 404, .. }) => return Err(ForeignError::Gone(shown())),
        Err(error) => return Err(ForeignError::Download(error)),
    };
    let found = match digest_of(artifact)?.algorithm() {
        Algorithm::Sha256 => format!("sha256:{sha256}"),
        other => store.digest(&file, other).await?.to_string(),
    };
    if found != artifact.digest {
        return Err(ForeignError::Digest { url: shown(), found, expected: artifact.digest.clone() });
    }
    store.put_foreign(user, artifact, &file_name(artifact), &file).await?;
    Ok(())
}

fn file_name(artifact: &Artifact) -> String {
    let name = Path::new(&artifact.path).file_name().unwrap_or_default().to_string_lossy();
    if name.is_empty() { "artifact".to_owned() } else { name.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::serve::router;

    fn owner(kind: &str) -> Owner {
        Owner { kind: kind.into(), namespace: "a".into(), name: "b".into() }
    }

    #[tokio::test]
    async fn another_s_artifact_is_fetched_once_and_verified() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (theirs_at, ours_at) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let theirs = Arc::new(ArtifactStore::open(theirs_at.path(), base.clone()).unwrap());
        let server = tokio::spawn(axum::serve(listener, router(Arc::new(Arc::clone(&theirs).into()))).into_future());
        let artifact =
            theirs.put_file(&owner("GitRepository"), "main@sha1:1", "1.tgz", b"tree".to_vec()).await.unwrap();

        let ours = Arc::new(ArtifactStore::open(ours_at.path(), "http://ours".into()).unwrap());
        let wrong = Artifact { digest: format!("sha256:{}", "0".repeat(64)), ..artifact.clone() };
        let error = file(&ours, &owner("Kustomization"), &wrong).await.unwrap_err();
        assert!(error.to_string().starts_with("integrity failure"), "{error}");
        let gone = Artifact { url: format!("{base}/gitrepository/a/b/2.tgz"), ..artifact.clone() };
        let error = file(&ours, &owner("Kustomization"), &gone).await.unwrap_err();
        assert!(error.to_string().contains("2.tgz"), "{error}");
        for algorithm in [Algorithm::Sha512, Algorithm::Blake3] {
            let other = Artifact { digest: algorithm.digest(b"tree").to_string(), ..artifact.clone() };
            let found = file(&ours, &owner("HelmChart"), &other).await.unwrap();
            assert_eq!(std::fs::read(found).unwrap(), b"tree");
            assert!(ours.has(&Artifact { path: "helmchart/a/b/1.tgz".into(), ..other }).await.unwrap());
            let wrong = Artifact { digest: algorithm.digest(b"").to_string(), ..artifact.clone() };
            let error = file(&ours, &owner("HelmChart"), &wrong).await.unwrap_err();
            assert!(error.to_string().starts_with("integrity failure"), "{error}");
        }
        let unknown = Artifact { digest: format!("md5:{}", "0".repeat(32)), ..artifact.clone() };
        let error = file(&ours, &owner("Kustomization"), &unknown).await.unwrap_err();
        assert!(error.to_string().contains("no digest by sha256"), "{error}");
        let own = Artifact { url: "http://ours/gitrepository/a/b/1.tgz".into(), ..artifact.clone() };
        let error = file(&ours, &owner("Kustomization"), &own).await.unwrap_err();
        assert!(matches!(error, ForeignError::Store(StoreError::Missing { .. })), "our own is made anew: {error}");
        let found = file(&ours, &owner("Kustomization"), &artifact).await.unwrap();
        assert_eq!(std::fs::read(found).unwrap(), b"tree");
        server.abort();
        let _ = server.await;
        file(&ours, &owner("Kustomization"), &artifact).await.unwrap();
        ours.remove(&owner("Kustomization")).await.unwrap();
    }
}
