//! From `apiVersion` and `kind` to a resource of the API server.

use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a list that lacks a kind is believed before the server is asked again.
const MISS_LIFETIME: Duration = Duration::from_millis(500);

/// A kind as the API server serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Group, version, kind and plural.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

/// Why a kind cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The API server serves no such kind.
    #[error("the cluster has no kind {kind} in {api_version}: is its CRD installed?")]
    UnknownKind {
        /// The `apiVersion` asked for.
        api_version: String,
        /// The `kind` asked for.
        kind: String,
    },
    /// `apiVersion` is not `version` or `group/version`.
    #[error("`{0}` is no apiVersion: write `v1` or `group/version`")]
    Malformed(String),
    /// The API server could not be asked.
    #[error("the API server did not list the kinds of {api_version}")]
    Unreachable {
        /// The `apiVersion` asked for.
        api_version: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
}

/// Kinds by `apiVersion`, asked for once and again when one is missing. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    client: Client,
    lists: Arc<Mutex<HashMap<String, List>>>,
}

struct List {
    kinds: HashMap<String, Resolved>,
    fetched: Instant,
}

impl Resolver {
    /// An empty cache on this client.
    pub fn new(client: Client) -> Self {
        Self { client, lists: Arc::default() }
    }

    /// The resource of a kind; asks the API server only when the kind is not known yet.
    pub async fn resolve(&self, api_version: &str, kind: &str) -> Result<Resolved, ResolveError> {
        if let Some(answer) = self.cached(api_version, kind) {
            return answer;
        }
        let kinds = self.fetch(api_version).await?;
        let found = kinds.get(kind).cloned();
        let fetched = Instant::now();
        self.locked().insert(api_version.to_owned(), List { kinds, fetched });
        found.ok_or_else(|| unknown(api_version, kind))
    }

    /// An API for the objects of a kind: in `namespace` when the kind is namespaced and one is
    /// given, across the cluster otherwise.
    pub async fn api(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Result<Api<DynamicObject>, ResolveError> {
        let resolved = self.resolve(api_version, kind).await?;
        let client = self.client.clone();
        Ok(match namespace.filter(|_| resolved.namespaced) {
            Some(namespace) => Api::namespaced_with(client, namespace, &resolved.resource),
            None => Api::all_with(client, &resolved.resource),
        })
    }

    /// Like [`Self::api`], in whichever version of the group the kind is served.
    pub async fn api_of_any_version(
        &self,
        group: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Result<Api<DynamicObject>, ResolveError> {
        let unreachable = |source| ResolveError::Unreachable { api_version: group.to_owned(), source };
        let groups = self.client.list_api_groups().await.map_err(unreachable)?.groups;
        let versions = groups.into_iter().filter(|served| served.name == group).flat_map(|served| served.versions);
        for version in versions {
            match self.api(&version.group_version, kind, namespace).await {
                Err(ResolveError::UnknownKind { .. }) => {}
                answer => return answer,
            }
        }
        Err(unknown(group, kind))
    }

    /// Forgets what is known of an `apiVersion`, because its kinds have just changed.
    pub fn forget(&self, api_version: &str) {
        self.locked().remove(api_version);
    }

    fn cached(&self, api_version: &str, kind: &str) -> Option<Result<Resolved, ResolveError>> {
        let lists = self.locked();
        let list = lists.get(api_version)?;
        match list.kinds.get(kind) {
            Some(resolved) => Some(Ok(resolved.clone())),
            None if list.fetched.elapsed() < MISS_LIFETIME => Some(Err(unknown(api_version, kind))),
            None => None,
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<String, List>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, api_version: &str) -> Result<HashMap<String, Resolved>, ResolveError> {
        let (group, version) = split(api_version)?;
        let listed = if group.is_empty() {
            self.client.list_core_api_resources(version).await
        } else {
            self.client.list_api_group_resources(api_version).await
        };
        let list = match listed {
            Ok(list) => list,
            // A group without any kind is not served at all.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(HashMap::new()),
            Err(source) => {
                return Err(ResolveError::Unreachable { api_version: api_version.to_owned(), source });
            }
        };
        let kinds = list.resources.into_iter();
        Ok(kinds
            .filter(|resource| !resource.name.contains('/'))
            .map(|resource| {
                let gvk = GroupVersionKind::gvk(group, version, &resource.kind);
                let resolved = Resolved {
                    resource: ApiResource::from_gvk_with_plural(&gvk, &resource.name),
                    namespaced: resource.namespaced,
                };
                (resource.kind, resolved)
            })
            .collect())
    }
}

fn unknown(api_version: &str, kind: &str) -> ResolveError {
    ResolveError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() }
}

/// Group and version; the core group is empty. The parts are safe to put into a URL path.
fn split(api_version: &str) -> Result<(&str, &str), ResolveError> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let word = |text: &str, extra: &[u8]| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || extra.contains(&byte);
        text.bytes().all(allowed) && !text.starts_with('.')
    };
    let valid = !version.is_empty()
        && word(version, b"")
        && word(group, b"-.")
        && (group.is_empty() != api_version.contains('/'));
    if valid { Ok((group, version)) } else { Err(ResolveError::Malformed(api_version.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_are_split_and_checked() {
        let table = [
            ("v1", Some(("", "v1"))),
            ("apps/v1", Some(("apps", "v1"))),
            ("helm.toolkit.fluxcd.io/v2beta1", Some(("helm.toolkit.fluxcd.io", "v2beta1"))),
            ("", None),
            ("/v1", None),
            ("apps/", None),
            ("a/b/c", None),
            ("../v1", None),
            ("v1?x", None),
            ("FILLED_IN_BY_CI", None),
        ];
        for (text, expected) in table {
            assert_eq!(split(text).ok(), expected, "{text}");
        }
    }
}
