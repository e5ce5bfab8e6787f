//! What a build needs from the cluster besides the folder: the variables of `spec.postBuild` and the
//! keys of `spec.decryption`. Read anew for every pass, with the operator's own rights, from the Kustomization's namespace.

use super::keys::Keys;
use super::substitute::{Variable, Variables, is_name};
use crate::api::kustomize::v1::{Decryption, Kustomization, PostBuild, SubstituteStrategy};
use crate::api::meta::ValuesReferenceKind;
use crate::controller::namespaced_name;
use crate::values::fetch::{self, FetchError};
use kube::Client;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Why a build cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// An object is missing or cannot be read.
    #[error("spec.{field}: {source}")]
    Object {
        /// The field that names it.
        field: String,
        /// What is wrong.
        #[source]
        source: FetchError,
    },
    /// A key for decryption that is wrong.
    #[error("spec.decryption.secretRef: Secret {secret}: {reason}")]
    Key {
        /// Namespace and name of the Secret.
        secret: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that no variable can have as its name.
    #[error(
        "{origin}: `{name}` is no name of a variable: only letters, digits and underscores, and no digit first; \
         move it to another object or rename it"
    )]
    Name {
        /// The field or object.
        origin: String,
        /// The name.
        name: String,
    },
    /// A value that is no text.
    #[error("{origin}: the value of `{name}` is not UTF-8 text")]
    NotText {
        /// The object.
        origin: String,
        /// Its key.
        name: String,
    },
}

/// What a build needs besides the folder.
#[derive(Clone, Default)]
pub struct Material {
    /// Variables, if any are to be substituted.
    pub variables: Option<Variables>,
    /// Keys, if anything is to be decrypted; there may be none, where the operator itself has some.
    pub keys: Option<Keys>,
}

impl Material {
    /// Reads everything that a Kustomization refers to; `strict` is what missing variables are.
    pub async fn gather(client: &Client, object: &Kustomization, strict: bool) -> Result<Self, MaterialError> {
        let (namespace, _) = namespaced_name(object);
        let variables = match &object.spec.post_build {
            Some(post_build) => variables(client, &namespace, post_build, strict).await?,
            None => None,
        };
        let keys = match &object.spec.decryption {
            Some(decryption) => Some(keys(client, &namespace, decryption).await?),
            None => None,
        };
        Ok(Self { variables, keys })
    }

    /// Differs when anything in it does, within one run of the operator.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        if let Some(Variables { values, strict }) = &self.variables {
            strict.hash(&mut hasher);
            for (name, variable) in values {
                (name, &variable.text).hash(&mut hasher);
            }
        }
        self.keys.hash(&mut hasher);
        hasher.finish()
    }
}

async fn keys(client: &Client, namespace: &str, decryption: &Decryption) -> Result<Keys, MaterialError> {
    let Some(reference) = &decryption.secret_ref else { return Ok(Keys::default()) };
    let kind = ValuesReferenceKind::Secret;
    let field = || "decryption.secretRef".to_owned();
    let found = fetch::object(client, kind, namespace, &reference.name).await;
    let data = found
        .and_then(|data| data.ok_or_else(|| fetch::missing(kind, namespace, &reference.name)))
        .map_err(|source| MaterialError::Object { field: field(), source })?;
    let secret = || format!("{namespace}/{}", reference.name);
    Keys::read(&data).map_err(|reason| MaterialError::Key { secret: secret(), reason })
}

/// The variables, unless there are none and nothing else asks for a substitution.
async fn variables(
    client: &Client,
    namespace: &str,
    post_build: &PostBuild,
    strict: bool,
) -> Result<Option<Variables>, MaterialError> {
    let mut values = BTreeMap::new();
    for (index, reference) in post_build.substitute_from.iter().enumerate() {
        let field = || format!("postBuild.substituteFrom[{index}]");
        let found = fetch::object(client, reference.kind, namespace, &reference.name).await;
        match found.map_err(|source| MaterialError::Object { field: field(), source })? {
            Some(data) => {
                let secret = reference.kind == ValuesReferenceKind::Secret;
                let origin = format!("{} {namespace}/{}", reference.kind.as_str(), reference.name);
                add(&mut values, &origin, data, secret)?;
            }
            None if reference.optional => {}
            None => {
                let source = fetch::missing(reference.kind, namespace, &reference.name);
                return Err(MaterialError::Object { field: field(), source });
            }
        }
    }
    let inline = post_build.substitute.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes()));
    add(&mut values, "spec.postBuild.substitute", inline, false)?;
    let always = post_build.substitute_strategy == Some(SubstituteStrategy::Always);
    Ok((always || !values.is_empty()).then_some(Variables { values, strict }))
}

/// Adds variables; the last one of a name counts. Line breaks are left out.
fn add(
    values: &mut BTreeMap<String, Variable>,
    origin: &str,
    data: impl IntoIterator<Item = (String, Vec<u8>)>,
    secret: bool,
) -> Result<(), MaterialError> {
    for (name, bytes) in data {
        let origin = || origin.to_owned();
        if !is_name(&name) {
            return Err(MaterialError::Name { origin: origin(), name });
        }
        let Ok(text) = String::from_utf8(bytes) else {
            return Err(MaterialError::NotText { origin: origin(), name });
        };
        values.insert(name, Variable { text: text.replace('\n', ""), secret });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(entries: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
        entries.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect()
    }

    #[test]
    fn later_variables_win_and_line_breaks_go() {
        let mut values = BTreeMap::new();
        add(&mut values, "x", data(&[("a", b"1\n"), ("b", b"one\ntwo")]), true).unwrap();
        add(&mut values, "y", data(&[("a", b"2")]), false).unwrap();
        assert_eq!((values["a"].text.as_str(), values["a"].secret), ("2", false));
        assert_eq!((values["b"].text.as_str(), values["b"].secret), ("onetwo", true));
    }

    #[test]
    fn bad_entries_are_named_and_not_shown() {
        let error = |entry: (&str, &[u8])| {
            add(&mut BTreeMap::new(), "Secret a/b", data(&[entry]), true).unwrap_err().to_string()
        };
        let name = error(("values.yaml", b"hunter2"));
        assert!(name.starts_with("Secret a/b: `values.yaml` is no name") && !name.contains("hunter2"), "{name}");
        assert_eq!(error(("raw", b"\xff")), "Secret a/b: the value of `raw` is not UTF-8 text");
    }

    #[test]
    fn the_digest_tells_variables_apart() {
        let of = |name: &str, text: &str, strict| {
            let values = [(name.to_owned(), Variable { text: text.to_owned(), secret: false })].into();
            Material { variables: Some(Variables { values, strict }), keys: None }.digest()
        };
        let all = [of("a", "b", false), of("a", "c", false), of("b", "b", false), of("a", "b", true)];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(of("a", "b", false), all[0]);
        assert_ne!(Material::default().digest(), all[0]);
    }
}
