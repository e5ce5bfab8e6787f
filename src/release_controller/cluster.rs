//! What speaks to the cluster of a release, in the name that the release acts in.

use kube::Client;

use super::storage::Storage;
use super::verify::Verifier;
use crate::helm::ReleaseCache;
use crate::kube_ext::discovery::Resolver;

/// A cluster as one identity sees it. Everything that a release does to its cluster goes through
/// one of these: nothing of it may use the operator's own client instead.
pub struct Cluster {
    /// Speaks with that identity.
    pub client: Client,
    /// Helm's records.
    pub storage: Storage,
    /// Looks at objects.
    pub verifier: Verifier,
}

impl Cluster {
    /// The operator's own cluster and identity, whose records a shared watch knows.
    pub fn watched(client: Client, cache: ReleaseCache) -> Self {
        let storage = Storage::watched(client.clone(), cache);
        let verifier = Verifier::new(client.clone(), Resolver::new(client.clone()));
        Self { client, storage, verifier }
    }
}
