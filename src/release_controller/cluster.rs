//! What speaks to the cluster of a release, in the name that the release acts in.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kube::{Client, Config, ResourceExt as _};

use super::reach::Reach;
use super::storage::Storage;
use super::verify::Verifier;
use crate::api::helm::v2::HelmRelease;
use crate::controller::Context;
use crate::helm::ReleaseCache;
use crate::helm::endpoint::records::Records;
use crate::helm::endpoint::{Access, Admission, Endpoint};
use crate::kube_ext::discovery::Resolver;
use crate::kube_ext::remote::{self, RemoteError};
use crate::release::observed::Target;
use crate::source::digest::sha256;

/// Clusters that are kept besides the operator's own; each holds some connections.
const KEPT: usize = 64;

/// A cluster as one identity sees it. Everything that a release does to its cluster goes through
/// one of these: nothing of it may use the operator's own client instead.
pub struct Cluster {
    /// Speaks with that identity.
    pub client: Client,
    /// Knows its kinds.
    pub resolver: Resolver,
    /// Helm's records.
    pub storage: Storage,
    /// Looks at objects.
    pub verifier: Verifier,
    /// Who it is.
    pub identity: Identity,
    /// Whether it answers.
    pub reach: Reach,
    /// A name for it, letters and digits.
    label: String,
}

/// Who a release acts as, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The description of another cluster, and its version; none in the operator's own.
    pub elsewhere: Option<Elsewhere>,
    /// The user that is impersonated; none for whom the operator, or the kubeconfig, stands.
    pub user: Option<String>,
}

/// Where another cluster is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// As in [`Target::cluster`].
    pub key: String,
    /// Kind, namespace and name, for people.
    pub place: String,
    /// Another one for each version.
    pub version: String,
}

impl Identity {
    /// Whether it is the operator itself, in its own cluster.
    pub fn is_own(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a newer version of the same description may replace it.
    fn is_outdated_by(&self, newer: &Self) -> bool {
        let key = |identity: &Self| identity.elsewhere.as_ref().map(|elsewhere| elsewhere.key.clone());
        key(self).is_some() && key(self) == key(newer) && self.elsewhere != newer.elsewhere
    }
}

impl Cluster {
    /// The operator's own cluster and identity, whose records a shared watch knows.
    fn watched(client: Client, cache: ReleaseCache) -> Self {
        let storage = Storage::watched(client.clone(), cache);
        Self::over(client, storage, Identity::default(), OWN.to_owned())
    }

    fn direct(client: Client, identity: Identity, label: String) -> Self {
        let storage = Storage::direct(client.clone());
        Self::over(client, storage, identity, label)
    }

    fn over(client: Client, storage: Storage, identity: Identity, label: String) -> Self {
        let resolver = Resolver::new(client.clone());
        let verifier = Verifier::new(client.clone(), resolver.clone());
        // The operator's own answers, or nothing works.
        let reach = if identity.elsewhere.is_none() { Reach::certain() } else { Reach::default() };
        Self { client, resolver, storage, verifier, identity, reach, label }
    }

    /// The access that helm needs for a release; none when the operator's own will do.
    fn access(&self, target: &Target) -> Option<Access> {
        let elsewhere = target.storage != target.namespace;
        if self.identity.is_own() && !elsewhere {
            return None;
        }
        let records = elsewhere.then(|| Records {
            release: target.name.clone(),
            namespace: target.namespace.clone(),
            storage: target.storage.clone(),
        });
        Some(Access { client: self.client.clone(), cluster: self.label.clone(), records })
    }
}

/// Label of the operator's own cluster.
const OWN: &str = "own";

/// The clusters of all releases.
pub struct Clusters {
    own: Arc<Cluster>,
    endpoint: Endpoint,
    /// The one used last is the last.
    others: Mutex<Vec<Other>>,
}

struct Other {
    cluster: Arc<Cluster>,
    until: Option<Instant>,
}

/// Why a release cannot act as it asks to.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The other cluster cannot be reached.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The account cannot be one.
    #[error("spec.serviceAccountName '{0}' is no name of a service account")]
    Account(String),
    /// No client can be made.
    #[error("cannot speak to {place}: {source}")]
    Client {
        /// Whose cluster it is.
        place: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Clusters {
    /// Knows the operator's own cluster.
    pub fn new(client: Client, cache: ReleaseCache, endpoint: Endpoint) -> Self {
        Self { own: Arc::new(Cluster::watched(client, cache)), endpoint, others: Mutex::default() }
    }

    /// The operator's own.
    pub fn own(&self) -> &Arc<Cluster> {
        &self.own
    }

    /// The cluster that a release is for, in the name that it acts in.
    pub async fn of(&self, context: &Context, object: &HelmRelease) -> Result<Arc<Cluster>, IdentityError> {
        let namespace = object.namespace().unwrap_or_default();
        let user = account(object, context.config.default_service_account.as_deref())?;
        let user = user.map(|name| format!("system:serviceaccount:{namespace}:{name}"));
        let Some(reference) = &object.spec.kube_config else {
            let identity = Identity { elsewhere: None, user };
            if identity.is_own() {
                return Ok(self.own.clone());
            }
            if let Some(known) = self.known(&identity) {
                return Ok(known);
            }
            let config = Config::infer().await.map_err(|source| client_error("the cluster", source))?;
            return self.enter(config, None, identity, OWN.to_owned());
        };
        let described = remote::read(&context.client, &namespace, reference).await?;
        let elsewhere = Elsewhere {
            key: remote::key(&namespace, reference),
            place: described.place.clone(),
            version: described.version.clone(),
        };
        let identity = Identity { elsewhere: Some(elsewhere), user };
        if let Some(known) = self.known(&identity) {
            return Ok(known);
        }
        let entry = remote::enter(&context.client, &described, &context.config.remote).await?;
        let certificates = entry.config.root_cert.iter().flatten().flatten().copied().collect();
        let label = sha256(&[entry.config.cluster_url.to_string().into_bytes(), certificates].concat());
        self.enter(entry.config, entry.until, identity, label[..16].to_owned())
    }

    fn enter(
        &self,
        mut config: Config,
        until: Option<Instant>,
        identity: Identity,
        label: String,
    ) -> Result<Arc<Cluster>, IdentityError> {
        if let Some(user) = &identity.user {
            let auth = &mut config.auth_info;
            auth.impersonate = Some(user.clone());
            (auth.impersonate_groups, auth.impersonate_uid, auth.impersonate_user_extra) = (None, None, None);
        }
        let place = identity.elsewhere.as_ref().map_or("the cluster", |elsewhere| &elsewhere.place).to_owned();
        let client = Client::try_from(config).map_err(|source| client_error(&place, source))?;
        let cluster = Arc::new(Cluster::direct(client, identity, label));
        let mut others = self.others();
        // Another pass may have made the same in the meantime.
        let replaced = |known: &Identity| *known == cluster.identity || known.is_outdated_by(&cluster.identity);
        others.retain(|other| !replaced(&other.cluster.identity));
        if others.len() >= KEPT {
            others.remove(0);
        }
        others.push(Other { cluster: cluster.clone(), until });
        Ok(cluster)
    }

    fn known(&self, identity: &Identity) -> Option<Arc<Cluster>> {
        let mut others = self.others();
        let now = Instant::now();
        others.retain(|other| other.until.is_none_or(|until| now < until));
        let found = others.iter().position(|other| other.cluster.identity == *identity)?;
        let found = others.remove(found);
        let cluster = found.cluster.clone();
        others.push(found);
        Some(cluster)
    }

    fn others(&self) -> MutexGuard<'_, Vec<Other>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a helm action on a release in; none when helm needs no more than the operator's own
    /// kubeconfig.
    pub fn admit(&self, cluster: &Cluster, target: &Target) -> io::Result<Option<Admission>> {
        cluster.access(target).map(|access| self.endpoint.admit(access)).transpose()
    }
}

fn client_error(place: &str, source: impl std::error::Error + Send + Sync + 'static) -> IdentityError {
    IdentityError::Client { place: place.to_owned(), source: Box::new(source) }
}

/// The service account that a release names, or the default one. Its name must not be able to
/// change the meaning of the user name that it becomes a part of.
pub fn account<'o>(object: &'o HelmRelease, default: Option<&'o str>) -> Result<Option<&'o str>, IdentityError> {
    let named = object.spec.service_account_name.as_deref().filter(|name| !name.is_empty()).or(default);
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    match named {
        Some(name) if !name.bytes().all(allowed) => Err(IdentityError::Account(name.to_owned())),
        named => Ok(named),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[allow(clippy::needless_pass_by_value)] // literals read better unborrowed
    fn release(spec: Value) -> HelmRelease {
        let mut object = json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "ui", "namespace": "apps"}, "spec": {"interval": "1m"},
        });
        object["spec"].as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
        serde_json::from_value(object).expect("a release")
    }

    #[test]
    fn the_named_account_comes_before_the_default_one() {
        let named = |spec: Value, default| {
            let object = release(spec);
            account(&object, default).map(|found| found.map(str::to_owned)).map_err(|error| error.to_string())
        };
        assert_eq!(named(json!({}), None), Ok(None));
        assert_eq!(named(json!({}), Some("tenant")), Ok(Some("tenant".to_owned())));
        assert_eq!(named(json!({"serviceAccountName": "me.too"}), Some("tenant")), Ok(Some("me.too".to_owned())));
        for wrong in ["kube-system:admin", "Me", "a b", "a\nb"] {
            assert!(named(json!({"serviceAccountName": wrong}), None).is_err_and(|error| error.contains(wrong)));
        }
    }

    #[test]
    fn a_new_version_takes_the_place_of_the_old_one_only() {
        let identity = |key: &str, version: &str, user: Option<&str>| Identity {
            elsewhere: Some(Elsewhere { key: key.to_owned(), place: String::new(), version: version.to_owned() }),
            user: user.map(str::to_owned),
        };
        let newer = identity("a", "2", None);
        assert!(identity("a", "1", None).is_outdated_by(&newer));
        assert!(identity("a", "1", Some("me")).is_outdated_by(&newer));
        assert!(!identity("a", "2", Some("me")).is_outdated_by(&newer));
        assert!(!identity("b", "1", None).is_outdated_by(&newer));
        let impersonating = Identity { elsewhere: None, user: Some("me".to_owned()) };
        assert!(!impersonating.is_outdated_by(&newer) && !impersonating.is_outdated_by(&Identity::default()));
    }
}
