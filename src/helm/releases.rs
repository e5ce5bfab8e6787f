//! Reads one stored revision, and writes back what only storage can say: failed, or unlocked.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};

use super::storage::{self, StorageError, StoredRelease};

/// Why a revision cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReleasesError {
    /// The Secret is not a release.
    #[error("{namespace}/{secret}: {source}")]
    Storage {
        /// Namespace of the Secret.
        namespace: String,
        /// Name of the Secret.
        secret: String,
        /// What is wrong with it.
        source: StorageError,
    },
    /// The API server refused, or somebody else wrote the Secret in between (409).
    #[error("{namespace}/{secret}: {source}")]
    Api {
        /// Namespace of the Secret.
        namespace: String,
        /// Name of the Secret.
        secret: String,
        /// What the client says.
        source: Box<kube::Error>,
    },
}

/// The revisions in helm's storage. Cheap to clone.
#[derive(Clone)]
pub struct Releases {
    client: Client,
}

impl Releases {
    /// The storage of a cluster.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The whole of one revision, if it is there.
    pub async fn read(
        &self,
        namespace: &str,
        release: &str,
        version: i64,
    ) -> Result<Option<StoredRelease>, ReleasesError> {
        let place = Place { namespace, secret: storage::secret_name(release, version) };
        let found = self.api(namespace).get_opt(&place.secret).await.map_err(|source| place.api(source))?;
        found.map(|secret| storage::decode(&secret).map_err(|source| place.storage(source))).transpose()
    }

    /// Removes one revision from the history; one that is gone is what was wanted.
    pub async fn delete(&self, namespace: &str, release: &str, version: i64) -> Result<(), ReleasesError> {
        let place = Place { namespace, secret: storage::secret_name(release, version) };
        match self.api(namespace).delete(&place.secret, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(place.api(source)),
        }
    }

    /// Marks a revision failed, with a description for `helm history`. Returns the release as it
    /// is stored now; none when it has gone.
    pub async fn mark_failed(
        &self,
        namespace: &str,
        release: &str,
        version: i64,
        description: &str,
    ) -> Result<Option<StoredRelease>, ReleasesError> {
        self.rewrite(namespace, release, version, |secret, now| storage::mark_failed(secret, description, now)).await
    }

    /// Marks a pending revision failed, so that helm works on the release again. Only for one
    /// whose helm process is known to be gone.
    pub async fn break_lock(
        &self,
        namespace: &str,
        release: &str,
        version: i64,
        description: &str,
    ) -> Result<Option<StoredRelease>, ReleasesError> {
        self.rewrite(namespace, release, version, |secret, now| storage::break_lock(secret, description, now)).await
    }

    async fn rewrite(
        &self,
        namespace: &str,
        release: &str,
        version: i64,
        change: impl Fn(&Secret, Timestamp) -> Result<Secret, StorageError>,
    ) -> Result<Option<StoredRelease>, ReleasesError> {
        let place = Place { namespace, secret: storage::secret_name(release, version) };
        let api = self.api(namespace);
        let Some(secret) = api.get_opt(&place.secret).await.map_err(|source| place.api(source))? else {
            return Ok(None);
        };
        let changed = change(&secret, Timestamp::now()).map_err(|source| place.storage(source))?;
        let stored = api.replace(&place.secret, &PostParams::default(), &changed).await;
        let stored = stored.map_err(|source| place.api(source))?;
        storage::decode(&stored).map(Some).map_err(|source| place.storage(source))
    }

    fn api(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

struct Place<'n> {
    namespace: &'n str,
    secret: String,
}

impl Place<'_> {
    fn storage(&self, source: StorageError) -> ReleasesError {
        ReleasesError::Storage { namespace: self.namespace.to_owned(), secret: self.secret.clone(), source }
    }

    fn api(&self, source: kube::Error) -> ReleasesError {
        let source = Box::new(source);
        ReleasesError::Api { namespace: self.namespace.to_owned(), secret: self.secret.clone(), source }
    }
}
