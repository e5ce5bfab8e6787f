//! What speaks to a cluster, in the name that an object acts in.

mod reach;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client, Config};

use super::discovery::Resolver;
use super::remote::{self, RemoteError, RemoteOptions};
use crate::api::meta::KubeConfigReference;
use crate::source::digest::sha256;
pub use reach::Reach;

/// Clusters that are kept besides the operator's own; each holds some connections.
const KEPT: usize = 64;

/// A cluster as one identity sees it, with what a controller keeps along with it. Everything that
/// an object does to its cluster goes through one of these: nothing of it may use the operator's
/// own client instead.
pub struct Cluster<T = ()> {
    /// Speaks with that identity.
    pub client: Client,
    /// Knows its kinds.
    pub resolver: Resolver,
    /// Who it is.
    pub identity: Identity,
    /// Whether it answers.
    pub reach: Reach,
    /// A name for it, letters and digits.
    pub label: String,
    /// What a controller keeps along with it.
    pub tools: T,
}

/// Who acts, and where, as the spec of an object asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'o> {
    /// Namespace of the object.
    pub namespace: &'o str,
    /// `spec.serviceAccountName`.
    pub account: Option<&'o str>,
    /// `spec.kubeConfig`.
    pub kube_config: Option<&'o KubeConfigReference>,
}

/// Who an object acts as, and where.
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
    /// As of [`remote::key`].
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

impl<T> Cluster<T> {
    fn over(client: Client, identity: Identity, label: String, tools: impl FnOnce(&Client, &Resolver) -> T) -> Self {
        let resolver = Resolver::new(client.clone());
        let tools = tools(&client, &resolver);
        // The operator's own answers, or nothing works.
        let reach = if identity.elsewhere.is_none() { Reach::certain() } else { Reach::default() };
        Self { client, resolver, identity, reach, label, tools }
    }

    /// The words of an API server, or about it, with its name where there are several.
    pub fn says(&self, words: &str) -> String {
        match &self.identity.elsewhere {
            Some(elsewhere) => format!("the cluster of {}: {words}", elsewhere.place),
            None => words.to_owned(),
        }
    }

    /// What to do when the cluster never answers again, added to why something is not done; `what`
    /// is let go then.
    pub fn with_a_way_out(&self, why: String, what: &str) -> String {
        match &self.identity.elsewhere {
            Some(elsewhere) => {
                format!("{why}; if that cluster is gone for good, delete {} to let {what} go", elsewhere.place)
            }
            None => why,
        }
    }
}

/// Label of the operator's own cluster.
const OWN: &str = "own";

/// What the operator's flags say.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The service account that an object acts as when it names none.
    pub default_account: Option<String>,
    /// How other clusters are reached.
    pub remote: RemoteOptions,
}

/// The clusters of all objects of a controller.
pub struct Clusters<T = ()> {
    own: Arc<Cluster<T>>,
    settings: Settings,
    tools: fn(&Client, &Resolver) -> T,
    /// The one used last is the last.
    others: Mutex<Vec<Other<T>>>,
}

struct Other<T> {
    cluster: Arc<Cluster<T>>,
    until: Option<Instant>,
}

/// Why an object cannot act as it asks to.
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

impl<T> Clusters<T> {
    /// Knows the operator's own cluster; `tools` are made for each of the others.
    pub fn new(
        client: Client,
        settings: Settings,
        own: impl FnOnce(&Client, &Resolver) -> T,
        tools: fn(&Client, &Resolver) -> T,
    ) -> Self {
        let own = Arc::new(Cluster::over(client, Identity::default(), OWN.to_owned(), own));
        Self { own, settings, tools, others: Mutex::default() }
    }

    /// The operator's own.
    pub fn own(&self) -> &Arc<Cluster<T>> {
        &self.own
    }

    /// The cluster that an object is for, in the name that it acts in.
    pub async fn of(&self, asked: Asked<'_>) -> Result<Arc<Cluster<T>>, IdentityError> {
        let Asked { namespace, kube_config, .. } = asked;
        let user = account(asked, self.settings.default_account.as_deref())?;
        let user = user.map(|name| format!("system:serviceaccount:{namespace}:{name}"));
        let Some(reference) = kube_config else {
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
        let client = &self.own.client;
        let described = remote::read(client, namespace, reference).await?;
        let elsewhere = Elsewhere {
            key: remote::key(namespace, reference),
            place: described.place.clone(),
            version: described.version.clone(),
        };
        let identity = Identity { elsewhere: Some(elsewhere), user };
        if let Some(known) = self.known(&identity) {
            return Ok(known);
        }
        let entry = remote::enter(client, &described, &self.settings.remote).await?;
        let certificates = entry.config.root_cert.iter().flatten().flatten().copied().collect();
        let label = sha256(&[entry.config.cluster_url.to_string().into_bytes(), certificates].concat());
        self.enter(entry.config, entry.until, identity, label[..16].to_owned())
    }

    /// The service account that an object acts as, if this cluster should have it and has not.
    pub async fn missing_account(&self, asked: Asked<'_>) -> Result<Option<String>, kube::Error> {
        let (None, Ok(Some(name))) = (asked.kube_config, account(asked, self.settings.default_account.as_deref()))
        else {
            return Ok(None);
        };
        let accounts = Api::<ServiceAccount>::namespaced(self.own.client.clone(), asked.namespace);
        let found = accounts.get_metadata_opt(name).await?;
        Ok(found.is_none().then(|| format!("{}/{name}", asked.namespace)))
    }

    fn enter(
        &self,
        mut config: Config,
        until: Option<Instant>,
        identity: Identity,
        label: String,
    ) -> Result<Arc<Cluster<T>>, IdentityError> {
        if let Some(user) = &identity.user {
            let auth = &mut config.auth_info;
            auth.impersonate = Some(user.clone());
            (auth.impersonate_groups, auth.impersonate_uid, auth.impersonate_user_extra) = (None, None, None);
        }
        let place = identity.elsewhere.as_ref().map_or("the cluster", |elsewhere| &elsewhere.place).to_owned();
        let client = super::client::client(config).map_err(|source| client_error(&place, source))?;
        let cluster = Arc::new(Cluster::over(client, identity, label, self.tools));
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

    fn known(&self, identity: &Identity) -> Option<Arc<Cluster<T>>> {
        let mut others = self.others();
        let now = Instant::now();
        others.retain(|other| other.until.is_none_or(|until| now < until));
        let found = others.iter().position(|other| other.cluster.identity == *identity)?;
        let found = others.remove(found);
        let cluster = found.cluster.clone();
        others.push(found);
        Some(cluster)
    }

    fn others(&self) -> MutexGuard<'_, Vec<Other<T>>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client_error(place: &str, source: impl std::error::Error + Send + Sync + 'static) -> IdentityError {
    IdentityError::Client { place: place.to_owned(), source: Box::new(source) }
}

/// The service account that an object names, or the default one. Its name must not be able to
/// change the meaning of the user name that it becomes a part of.
fn account<'o>(asked: Asked<'o>, default: Option<&'o str>) -> Result<Option<&'o str>, IdentityError> {
    let named = asked.account.filter(|name| !name.is_empty()).or(default);
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    match named {
        Some(name) if !name.bytes().all(allowed) => Err(IdentityError::Account(name.to_owned())),
        named => Ok(named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_account_comes_before_the_default_one() {
        let named = |account_: Option<&str>, default| {
            let asked = Asked { namespace: "apps", account: account_, kube_config: None };
            account(asked, default).map(|found| found.map(str::to_owned)).map_err(|error| error.to_string())
        };
        assert_eq!(named(None, None), Ok(None));
        assert_eq!(named(None, Some("tenant")), Ok(Some("tenant".to_owned())));
        assert_eq!(named(Some(""), Some("tenant")), Ok(Some("tenant".to_owned())));
        assert_eq!(named(Some("me.too"), Some("tenant")), Ok(Some("me.too".to_owned())));
        for wrong in ["kube-system:admin", "Me", "a b", "a\nb"] {
            assert!(named(Some(wrong), None).is_err_and(|error| error.contains(wrong)));
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
