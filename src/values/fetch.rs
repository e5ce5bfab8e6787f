//! Reads the objects that values references name.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use super::merge::{Content, FetchedReference, Origin};
use super::path::Reading;
use crate::api::meta::{ValuesReference, ValuesReferenceKind};

/// The key that is read when a reference names none.
const DEFAULT_KEY: &str = "values.yaml";

/// Why references cannot be read. Names places, never contents.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The object does not exist (yet).
    #[error("{kind} {namespace}/{name} does not exist; waiting for it")]
    ObjectMissing {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Namespace of the release.
        namespace: String,
        /// Name in the reference.
        name: String,
    },
    /// The object exists without the key.
    #[error("{kind} {namespace}/{name} has no key {key}; it has {present}", kind = .origin.kind, namespace = .origin.namespace, name = .origin.name, key = .origin.key)]
    KeyMissing {
        /// The place that was looked up.
        origin: Origin,
        /// The keys that are there, comma separated, or `none`.
        present: String,
    },
    /// A Secret's value is not text.
    #[error("{0} is not UTF-8 text")]
    NotText(Origin),
    /// The API server refused or could not be reached.
    #[error("cannot read {object}: {source}")]
    Api {
        /// Kind, namespace and name: `Secret dev/account`.
        object: String,
        /// What the client says.
        source: kube::Error,
    },
}

impl FetchError {
    /// Whether the object or its key is expected to appear: something to wait for, not a failure.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::ObjectMissing { .. } | Self::KeyMissing { .. })
    }
}

/// The data of an object by key.
pub type Data = BTreeMap<String, Vec<u8>>;

/// The contents of all references, in their order, without optional ones that are missing. Each
/// object is read once, so that two references to it see the same version.
pub async fn fetch(
    client: &Client,
    namespace: &str,
    references: &[ValuesReference],
) -> Result<Vec<FetchedReference>, FetchError> {
    let mut objects: BTreeMap<(&'static str, &str), Option<Data>> = BTreeMap::new();
    let mut fetched = Vec::with_capacity(references.len());
    for reference in references {
        let kind = reference.kind.as_str();
        let seen = (kind, reference.name.as_str());
        let data = match objects.entry(seen) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(object(client, reference.kind, namespace, &reference.name).await?),
        };
        match content(kind, namespace, reference, data.as_ref()) {
            Ok(found) => fetched.push(found),
            Err(error) if error.is_missing() && reference.optional => {}
            Err(error) => return Err(error),
        }
    }
    Ok(fetched)
}

/// The data of an object; none when it does not exist.
pub async fn object(
    client: &Client,
    kind: ValuesReferenceKind,
    namespace: &str,
    name: &str,
) -> Result<Option<Data>, FetchError> {
    let found = match kind {
        ValuesReferenceKind::Secret => {
            let secret = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await;
            secret.map(|found| found.map(secret_data))
        }
        ValuesReferenceKind::ConfigMap => {
            let config_map = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await;
            config_map.map(|found| found.map(config_map_data))
        }
    };
    found.map_err(|source| FetchError::Api { object: format!("{} {namespace}/{name}", kind.as_str()), source })
}

/// Says that an object has to exist.
pub fn missing(kind: ValuesReferenceKind, namespace: &str, name: &str) -> FetchError {
    FetchError::ObjectMissing { kind: kind.as_str(), namespace: namespace.to_owned(), name: name.to_owned() }
}

fn secret_data(secret: Secret) -> Data {
    secret.data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0)).collect()
}

fn config_map_data(config_map: ConfigMap) -> Data {
    config_map.data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes())).collect()
}

fn content(
    kind: &'static str,
    namespace: &str,
    reference: &ValuesReference,
    data: Option<&Data>,
) -> Result<FetchedReference, FetchError> {
    let (namespace, name) = (namespace.to_owned(), reference.name.clone());
    let Some(data) = data else {
        return Err(FetchError::ObjectMissing { kind, namespace, name });
    };
    let key = reference.values_key.as_deref().filter(|key| !key.is_empty()).unwrap_or(DEFAULT_KEY).to_owned();
    let origin = Origin { kind, namespace, name, key };
    let Some(bytes) = data.get(&origin.key) else {
        let keys: Vec<&str> = data.keys().map(String::as_str).collect();
        let present = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
        return Err(FetchError::KeyMissing { origin, present });
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(FetchError::NotText(origin));
    };
    let content = match reference.target_path.as_deref().filter(|path| !path.is_empty()) {
        None => Content::Mapping(text.to_owned()),
        Some(path) => Content::AtPath {
            path: path.to_owned(),
            value: text.to_owned(),
            reading: if reference.literal { Reading::Literal } else { Reading::Typed },
        },
    };
    Ok(FetchedReference { origin, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(key: Option<&str>, path: Option<&str>) -> ValuesReference {
        ValuesReference {
            name: "account".to_owned(),
            values_key: key.map(str::to_owned),
            target_path: path.map(str::to_owned),
            ..ValuesReference::default()
        }
    }

    #[test]
    fn what_is_missing_is_told_apart_and_shows_no_content() {
        let data = Data::from([("other.yaml".to_owned(), b"hunter2".to_vec()), ("raw".to_owned(), vec![0xff])]);
        let error = |reference: &ValuesReference, data| {
            content("Secret", "dev", reference, data).err().map(|error| error.to_string())
        };
        let cases = [
            (reference(None, None), None, "Secret dev/account does not exist; waiting for it"),
            (reference(None, None), Some(&data), "Secret dev/account has no key values.yaml; it has other.yaml, raw"),
            (reference(Some("raw"), None), Some(&data), "Secret dev/account key raw is not UTF-8 text"),
        ];
        for (reference, data, message) in cases {
            assert_eq!(error(&reference, data).as_deref(), Some(message));
        }
    }

    #[test]
    fn an_empty_key_or_path_counts_as_absent() {
        let data = Data::from([("values.yaml".to_owned(), b"a: 1".to_vec())]);
        let found = content("ConfigMap", "dev", &reference(Some(""), Some("")), Some(&data)).ok();
        assert!(matches!(found.map(|found| found.content), Some(Content::Mapping(text)) if text == "a: 1"));
    }
}
