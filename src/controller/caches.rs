//! One watch of each kind that the operator knows.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::cache::CacheError;
use super::resources::{Census, Described};
use super::{Cache, Context};
use crate::api::helm::v2::HelmRelease;
use crate::api::kinds::Part;
use crate::api::kustomize::v1::Kustomization;
use crate::api::notification::v1::Receiver;
use crate::api::notification::v1beta3::{Alert, Provider};
use crate::api::source::v1::{Bucket, ExternalArtifact, GitRepository, HelmChart, HelmRepository, OCIRepository};
use crate::args::Config;

/// The caches of all kinds; those of parts that do not run stay empty.
#[derive(Clone, Default)]
#[allow(missing_docs, reason = "each field is the cache of the kind it is named after")]
pub struct Caches {
    pub helm_releases: Cache<HelmRelease>,
    pub kustomizations: Cache<Kustomization>,
    pub alerts: Cache<Alert>,
    pub providers: Cache<Provider>,
    pub receivers: Cache<Receiver>,
    pub buckets: Cache<Bucket>,
    pub external_artifacts: Cache<ExternalArtifact>,
    pub git_repositories: Cache<GitRepository>,
    pub helm_charts: Cache<HelmChart>,
    pub helm_repositories: Cache<HelmRepository>,
    pub oci_repositories: Cache<OCIRepository>,
}

/// A cache, whatever kind it is of.
pub trait AnyCache: Census {
    /// The part that the kind is for.
    fn part(&self) -> Part;
    /// Whether every object is known.
    fn is_ready(&self) -> bool;
    /// Follows the kind for ever.
    fn watch(&self, context: &Context) -> BoxFuture<'static, CacheError>;
}

impl<K: Described> AnyCache for Cache<K> {
    fn part(&self) -> Part {
        K::PART
    }

    fn is_ready(&self) -> bool {
        Self::is_ready(self)
    }

    fn watch(&self, context: &Context) -> BoxFuture<'static, CacheError> {
        let (cache, api) = (self.clone(), context.watched_api());
        async move { cache.drive(api).await }.boxed()
    }
}

impl Caches {
    /// In the order of the list of kinds.
    fn all(&self) -> [&dyn AnyCache; 11] {
        [
            &self.helm_releases,
            &self.kustomizations,
            &self.alerts,
            &self.providers,
            &self.receivers,
            &self.buckets,
            &self.external_artifacts,
            &self.git_repositories,
            &self.helm_charts,
            &self.helm_repositories,
            &self.oci_repositories,
        ]
    }

    /// Those of the kinds that are watched.
    pub fn watched(&self, config: &Config) -> impl Iterator<Item = &dyn AnyCache> {
        self.all().into_iter().filter(|cache| config.watches(cache.part()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds;

    #[test]
    fn every_kind_of_the_list_has_its_cache() {
        let caches = Caches::default();
        let followed: Vec<_> = caches.all().into_iter().map(Census::kind).collect();
        let listed: Vec<_> = kinds::all().into_iter().map(|kind| kind.resource.kind).collect();
        assert_eq!(followed, listed);
    }
}
