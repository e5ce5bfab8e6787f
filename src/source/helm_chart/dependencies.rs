//! Gathers the dependencies of a chart in a tree: from the same tree, from Helm repositories, and from registries.
//!
//! This is done here and not by `helm dependency build`: that knows nothing of the cluster's
//! `HelmRepository` objects, would need their logins on disk, and reads every index as a whole.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::ResourceExt as _;
use url::Url;

use super::repository::check_digest;
use super::{HelmChartController, MAX_CHART, blocking, check_identity, registry};
use crate::api::source::v1::{HelmRepository, HelmRepositoryType};
use crate::source::chart::dependencies::{Dependency, Origin};
use crate::source::chart::{self, ChartError, ChartFault, Package, Packaging};
use crate::source::download::{Download, Downloader};
use crate::source::helm_repository::{self, MAX_INDEX};
use crate::source::index::{self, Chart};
use crate::source::lifecycle;
use crate::source::outcome::Failure;
use crate::source::version::{Range, Version};

/// Packaged charts by their path in the chart that needs them.
pub type Packages = BTreeMap<String, Vec<u8>>;

/// The work on one chart.
pub struct Gathering<'c> {
    controller: &'c HelmChartController,
    namespace: String,
    tree: PathBuf,
    scratch: tempfile::TempDir,
    /// Indexes that were fetched for this chart, by the repository's URL.
    indexes: HashMap<String, PathBuf>,
}

impl<'c> Gathering<'c> {
    /// For a chart of a `HelmChart` in this namespace, in this tree.
    pub fn new(controller: &'c HelmChartController, namespace: String, tree: PathBuf) -> Result<Self, Failure> {
        let scratch = controller.store.scratch().map_err(|error| lifecycle::storage_failure(&error))?;
        Ok(Self { controller, namespace, tree, scratch, indexes: HashMap::new() })
    }

    /// Everything that the chart at `path` needs and does not have. `above` are the charts that
    /// this one is gathered for.
    pub fn gather(&mut self, path: PathBuf, above: Vec<PathBuf>) -> BoxFuture<'_, Result<Packages, Failure>> {
        async move {
            let chart = path.clone();
            let missing = blocking(move || chart::missing_dependencies(&chart)).await?;
            let mut found = Packages::new();
            for dependency in missing {
                let (place, package) = match dependency.origin() {
                    Ok(Origin::Local(folder)) => ("local", self.local(&path, &folder, &dependency, &above).await),
                    Ok(Origin::Repository(url)) => ("remote", self.remote(&url, &dependency).await),
                    Ok(Origin::Registry(url)) => ("remote", self.pulled(&url, &dependency).await),
                    Err(why) => ("the", Err(why)),
                };
                let name = &dependency.name;
                let package =
                    package.map_err(|why| failure(format!("failed to add {place} dependency '{name}': {why}")))?;
                found.insert(format!("charts/{}-{}.tgz", package.name, package.version), package.bytes);
            }
            Ok(found)
        }
        .boxed()
    }

    /// A chart in the same tree.
    async fn local(
        &mut self,
        chart: &Path,
        folder: &str,
        dependency: &Dependency,
        above: &[PathBuf],
    ) -> Result<Package, String> {
        let below = chart.strip_prefix(&self.tree).unwrap_or(Path::new("")).join(folder);
        let path = chart::locate(&self.tree, &below.to_string_lossy()).map_err(|error| error.message)?;
        let above: Vec<PathBuf> = above.iter().cloned().chain([chart.to_owned()]).collect();
        if above.contains(&path) {
            return Err(format!("'{folder}' leads back to a chart that needs it"));
        }
        let packages = self.gather(path.clone(), above).await.map_err(|failure| failure.message)?;
        let tree = self.tree.clone();
        let package = blocking(move || chart::package_local(&tree, &path, &Packaging::default(), packages)).await;
        let package = package.map_err(|failure| failure.message)?;
        let range = Range::parse(&dependency.version).map_err(|error| error.to_string())?;
        let version = Version::parse(&package.version).map_err(|error| error.to_string())?;
        if !range.contains(&version) {
            return Err(format!(
                "the chart in '{folder}' has the version {}, not '{}'",
                package.version, dependency.version
            ));
        }
        Ok(package)
    }

    /// A chart in a Helm repository.
    async fn remote(&mut self, url: &Url, dependency: &Dependency) -> Result<Package, String> {
        let context = &self.controller.context;
        let repository = self.repository(url, HelmRepositoryType::Default);
        let downloader = helm_repository::downloader(context, &repository).await.map_err(|failure| failure.message)?;
        let versions = self.versions(&repository, &downloader, url, &dependency.name).await?;
        let entry = versions.find(&dependency.version).map_err(|error| error.to_string())?.clone();
        let package = entry.url(url).map_err(|error| error.to_string())?;
        let bytes = match downloader.get(&package, MAX_CHART, None).await.map_err(|error| error.to_string())? {
            Download::New(bytes, _) => bytes,
            Download::Unchanged => Vec::new(),
        };
        let made = blocking(move || {
            check_digest(&bytes, entry.digest.as_deref())?;
            let package = chart::package_remote(bytes, &Packaging::default())?;
            check_identity(&package, &entry.name, &entry.version, "the index")?;
            Ok(package)
        });
        made.await.map_err(|failure| failure.message)
    }

    /// A chart in a registry.
    async fn pulled(&mut self, url: &Url, dependency: &Dependency) -> Result<Package, String> {
        let repository = self.repository(url, HelmRepositoryType::Oci);
        let range = Some(dependency.version.as_str()).filter(|range| !range.is_empty()).unwrap_or("*");
        let found = registry::find(&self.controller.context, &repository, &dependency.name, range).await;
        let found = found.map_err(|failure| failure.message)?;
        let bytes = found.download().await.map_err(|failure| failure.message)?;
        let made = blocking(move || {
            let package = chart::package_remote(bytes, &Packaging::default())?;
            check_identity(&package, &found.name, &found.version, "its tag")?;
            Ok(package)
        });
        made.await.map_err(|failure| failure.message)
    }

    /// The namespace's object for a repository, for its login; else one that is open to all.
    fn repository(&self, url: &Url, type_: HelmRepositoryType) -> Arc<HelmRepository> {
        let wanted = normalized(url);
        let known = self.controller.context.caches.helm_repositories.all().into_iter().find(|repository| {
            let url = Url::parse(&repository.spec.url);
            repository.namespace().as_ref() == Some(&self.namespace)
                && repository.spec.r#type.unwrap_or_default() == type_
                && url.is_ok_and(|url| normalized(&url) == wanted)
        });
        known.unwrap_or_else(|| {
            let mut open = HelmRepository::default();
            open.spec.url = url.to_string();
            open.spec.r#type = Some(type_);
            Arc::new(open)
        })
    }

    /// The versions of a chart, from the stored index of the object, or from a fetched one.
    async fn versions(
        &mut self,
        repository: &HelmRepository,
        downloader: &Downloader,
        url: &Url,
        name: &str,
    ) -> Result<Arc<Chart>, String> {
        if let Some(artifact) = repository.status.as_ref().and_then(|status| status.artifact.as_ref())
            && let Ok(found) = self.controller.versions((&repository.name_any(), artifact), name).await
        {
            return found.map_err(|error| error.to_string());
        }
        let number = self.indexes.len();
        let file = match self.indexes.entry(normalized(url)) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let file = self.scratch.path().join(number.to_string());
                let saved = downloader.save_text(&index::index_url(url), &file, MAX_INDEX, None).await;
                saved.map_err(|error| error.to_string())?;
                place.insert(file).clone()
            }
        };
        let name = name.to_owned();
        let found = tokio::task::spawn_blocking(move || index::read(&file, &name)).await;
        let found = found.map_err(|died| died.to_string())?;
        found.map(Arc::new).map_err(|error| error.to_string())
    }
}

/// As Flux compares them: with one slash at the end.
fn normalized(url: &Url) -> String {
    let mut url = url.clone();
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.to_string()
}

fn failure(message: String) -> Failure {
    super::chart_failure(&ChartError::new(ChartFault::Dependency, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_at_the_end_do_not_matter() {
        let same =
            |one: &str, other: &str| normalized(&Url::parse(one).unwrap()) == normalized(&Url::parse(other).unwrap());
        assert!(same("https://example.com/charts", "https://example.com/charts//"));
        assert!(same("https://example.com", "https://example.com/"));
        assert!(!same("https://example.com/charts", "https://example.com/other"));
    }
}
