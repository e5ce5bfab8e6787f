//! Access to another cluster, as an object describes it: by a kubeconfig in a Secret, or by a
//! `ConfigMap` that says where the cluster is and whose token it trusts.

mod kubeconfig;
mod workload;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ObjectMeta;
use kube::{Api, Client, Config};

use crate::api::meta::KubeConfigReference;

/// How long another cluster may take to answer a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long another cluster may be silent: one that hangs must not hold the operator's work.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Keys that a kubeconfig is looked for under, when none is given.
const DEFAULT_KEYS: [&str; 2] = ["value", "value.yaml"];

/// Why another cluster cannot be reached. Names places, never contents.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The object that describes the access does not exist.
    #[error("KubeConfig {0} does not exist")]
    Missing(String),
    /// The description cannot be used as it is.
    #[error("KubeConfig {place} cannot be used: {why}")]
    Unusable {
        /// Kind, namespace and name.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The description asks for what this operator cannot do.
    #[error("KubeConfig {place} {what}: not supported by this version, nothing was done")]
    Unsupported {
        /// Kind, namespace and name.
        place: String,
        /// What it asks for.
        what: String,
    },
    /// The API server of the operator's own cluster refused or failed.
    #[error("KubeConfig {place} cannot be read: {source}")]
    Api {
        /// Kind, namespace and name.
        place: String,
        /// What the client says.
        source: Box<kube::Error>,
    },
}

/// A description of an access, as stored.
pub struct Description {
    /// Kind, namespace and name, for people.
    pub place: String,
    /// Another one for each version of the object.
    pub version: String,
    namespace: String,
    data: BTreeMap<String, Vec<u8>>,
    kind: Kind,
}

enum Kind {
    /// A kubeconfig, under the given key if there is one.
    Kubeconfig { key: Option<String> },
    /// An address and whose token to use.
    Workload,
}

/// A way into another cluster.
pub struct Entry {
    /// For a client.
    pub config: Config,
    /// When it has to be made anew; none for as long as its description stays.
    pub until: Option<Instant>,
}

/// What tells one description from another, whatever its content: it names the cluster in keys.
pub fn key(namespace: &str, reference: &KubeConfigReference) -> String {
    match (&reference.secret_ref, &reference.config_map_ref) {
        (Some(secret), _) => {
            format!("{namespace}/Secret/{}/{}", secret.name, secret.key.as_deref().unwrap_or_default())
        }
        (None, Some(config_map)) => format!("{namespace}/ConfigMap/{}", config_map.name),
        (None, None) => format!("{namespace}/none"),
    }
}

/// Reads the description that a reference names, from the operator's own cluster.
pub async fn read(
    client: &Client,
    namespace: &str,
    reference: &KubeConfigReference,
) -> Result<Description, RemoteError> {
    let (kind, place) = match (&reference.secret_ref, &reference.config_map_ref) {
        (Some(secret), None) => {
            let key = secret.key.clone().filter(|key| !key.is_empty());
            (Kind::Kubeconfig { key }, format!("Secret {namespace}/{}", secret.name))
        }
        (None, Some(config_map)) => (Kind::Workload, format!("ConfigMap {namespace}/{}", config_map.name)),
        _ => {
            let why = "exactly one of spec.kubeConfig.secretRef and spec.kubeConfig.configMapRef has to be set";
            return Err(RemoteError::Unusable { place: "reference".to_owned(), why: why.to_owned() });
        }
    };
    let name = place.rsplit('/').next().unwrap_or_default();
    let found = match kind {
        Kind::Kubeconfig { .. } => {
            let found = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await;
            found.map(|found| found.map(|secret| (secret.metadata, bytes(secret.data, |value| value.0))))
        }
        Kind::Workload => {
            let found = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await;
            found.map(|found| found.map(|map| (map.metadata, bytes(map.data, String::into_bytes))))
        }
    };
    let found = found.map_err(|source| RemoteError::Api { place: place.clone(), source: Box::new(source) })?;
    let Some((metadata, data)) = found else {
        return Err(RemoteError::Missing(place));
    };
    Ok(Description { place, version: version(metadata), namespace: namespace.to_owned(), data, kind })
}

fn bytes<V>(data: Option<BTreeMap<String, V>>, convert: impl Fn(V) -> Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    data.into_iter().flatten().map(|(key, value)| (key, convert(value))).collect()
}

fn version(metadata: ObjectMeta) -> String {
    format!("{}@{}", metadata.uid.unwrap_or_default(), metadata.resource_version.unwrap_or_default())
}

/// What the operator's flags say about ways into other clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteOptions {
    /// A kubeconfig may leave the server unverified.
    pub insecure_tls: bool,
    /// The service account whose token is used when a `ConfigMap` names none, instead of the
    /// operator's own.
    pub default_account: Option<String>,
}

/// The way into the described cluster; tokens come from the operator's own.
pub async fn enter(client: &Client, description: &Description, options: &RemoteOptions) -> Result<Entry, RemoteError> {
    let mut entry = match &description.kind {
        Kind::Workload => workload::enter(client, description, options.default_account.as_deref()).await?,
        Kind::Kubeconfig { key } => {
            let text = description.kubeconfig(key.as_deref())?;
            let config = kubeconfig::config(text, options.insecure_tls).map_err(|why| description.unusable(&why))?;
            Entry { config, until: None }
        }
    };
    entry.config.connect_timeout = Some(CONNECT_TIMEOUT);
    entry.config.read_timeout = Some(READ_TIMEOUT);
    entry.config.reset_reader_on_write = true;
    Ok(entry)
}

impl Description {
    fn unusable(&self, why: &str) -> RemoteError {
        RemoteError::Unusable { place: self.place.clone(), why: why.to_owned() }
    }

    fn kubeconfig(&self, key: Option<&str>) -> Result<&str, RemoteError> {
        let found = match key {
            Some(key) => self.data.get(key).ok_or_else(|| self.unusable(&format!("it has no key '{key}'")))?,
            None => DEFAULT_KEYS
                .iter()
                .find_map(|key| self.data.get(*key))
                .ok_or_else(|| self.unusable("it has neither a key 'value' nor a key 'value.yaml'"))?,
        };
        std::str::from_utf8(found).map_err(|_| self.unusable("it is not UTF-8 text"))
    }

    /// A key of a `ConfigMap`, without surrounding space; none when empty.
    fn text(&self, key: &str) -> Option<&str> {
        let text = std::str::from_utf8(self.data.get(key)?).ok()?.trim();
        Some(text).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn description(kind: Kind, data: &[(&str, &str)]) -> Description {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
        let (place, version) = ("Secret apps/prod".to_owned(), "1".to_owned());
        Description { place, version, namespace: "apps".to_owned(), data, kind }
    }

    #[test]
    fn a_kubeconfig_is_found_under_its_key_or_a_usual_one() {
        let read = |key: Option<&str>, data: &[(&str, &str)]| {
            let description = description(Kind::Kubeconfig { key: None }, data);
            description.kubeconfig(key).map(str::to_owned).map_err(|error| error.to_string())
        };
        assert_eq!(read(None, &[("value.yaml", "b")]), Ok("b".to_owned()));
        assert_eq!(read(None, &[("value.yaml", "b"), ("value", "a")]), Ok("a".to_owned()));
        assert_eq!(read(Some("c"), &[("c", "x"), ("value", "a")]), Ok("x".to_owned()));
        let missing = "KubeConfig Secret apps/prod cannot be used: it has no key 'c'".to_owned();
        assert_eq!(read(Some("c"), &[("value", "a")]), Err(missing));
        assert!(read(None, &[("c", "a")]).is_err_and(|message| message.contains("'value.yaml'")));
    }

    #[test]
    fn descriptions_are_told_apart() {
        let reference = |text: &str| serde_json::from_str::<KubeConfigReference>(text).expect("a reference");
        let secret = key("apps", &reference(r#"{"secretRef": {"name": "prod"}}"#));
        assert_eq!(secret, "apps/Secret/prod/");
        assert_ne!(secret, key("apps", &reference(r#"{"secretRef": {"name": "prod", "key": "other"}}"#)));
        assert_ne!(secret, key("web", &reference(r#"{"secretRef": {"name": "prod"}}"#)));
        assert_ne!(secret, key("apps", &reference(r#"{"configMapRef": {"name": "prod"}}"#)));
    }
}
