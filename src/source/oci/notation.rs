//! Calls of `notation verify`: whom they trust, what they are given, and what they say. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::download::{SecretData, value};
use super::reference::{Digest, Repository};
use crate::redact::bounded;

/// Name of the trust policy, in a Secret and for notation.
pub const TRUST_POLICY: &str = "trustpolicy.json";
/// How the name of a certificate in a Secret ends.
const CERTIFICATE_ENDINGS: [&str; 2] = [".crt", ".pem"];
/// What a trust store can be for.
const STORE_TYPES: [&str; 3] = ["ca", "signingAuthority", "tsa"];
/// Stands for all repositories.
const ANY_SCOPE: &str = "*";
/// Every certificate is written into every store: a Secret must not fill the disk.
const MAX_CERTIFICATES: usize = 100;
const MAX_STORES: usize = 16;
/// The most of notation's own words in an error, in bytes.
const MAX_SAID: usize = 500;

/// Why a Secret says of nobody that he is trusted. No text holds a value of it but names in the policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// No policy.
    #[error("'{TRUST_POLICY}' not found in secret '{0}'")]
    NoPolicy(String),
    /// A policy that cannot be read. A parser's own words could quote it.
    #[error("error occurred while parsing {TRUST_POLICY}: not a trust policy in JSON: line {line}, column {column}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// No certificates.
    #[error("no certificates found in secret '{0}': no key ends in '.crt' or '.pem'")]
    NoCertificates(String),
    /// More certificates than anybody needs.
    #[error("secret '{0}' has more than {MAX_CERTIFICATES} certificates")]
    ManyCertificates(String),
    /// No statement is about the repository.
    #[error("no statement of {TRUST_POLICY} is about '{0}': name it in 'registryScopes', or use '{ANY_SCOPE}'")]
    NoStatement(String),
    /// A statement that lets everything pass.
    #[error(
        "statement '{statement}' of {TRUST_POLICY} has level '{level}', by which artifacts pass whoever signed them: \
         use 'strict' or 'permissive', and do not override 'authenticity'"
    )]
    Lax {
        /// Name of the statement.
        statement: String,
        /// Its level.
        level: String,
    },
    /// A level that there is not.
    #[error("statement '{statement}' of {TRUST_POLICY} has level '{level}': use 'strict' or 'permissive'")]
    Level {
        /// Name of the statement.
        statement: String,
        /// What it calls a level.
        level: String,
    },
    /// A trust store that cannot be one.
    #[error(
        "statement '{statement}' of {TRUST_POLICY} has trust store '{store}': write '<type>:<name>' with a type of \
         'ca', 'signingAuthority' or 'tsa', and a name of letters, digits, '_', '.' and '-'"
    )]
    Store {
        /// Name of the statement.
        statement: String,
        /// What it calls a trust store.
        store: String,
    },
    /// More trust stores than anybody needs.
    #[error("statement '{0}' of {TRUST_POLICY} has more than {MAX_STORES} trust stores")]
    ManyStores(String),
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Policy {
    version: String,
    trust_policies: Vec<Statement>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Statement {
    name: String,
    registry_scopes: Vec<String>,
    signature_verification: SignatureVerification,
    trust_stores: Vec<String>,
    trusted_identities: Vec<String>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct SignatureVerification {
    level: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    r#override: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    verify_timestamp: String,
}

impl Statement {
    /// Whether a signature of a stranger makes it fail.
    fn enforces(&self) -> Result<(), TrustError> {
        let SignatureVerification { level, r#override, .. } = &self.signature_verification;
        let (statement, own_level) = (self.name.clone(), level.clone());
        let by_level = match level.as_str() {
            "strict" | "permissive" => "enforce",
            "audit" | "skip" => "log",
            _ => return Err(TrustError::Level { statement, level: own_level }),
        };
        let action = r#override.get("authenticity").map_or(by_level, String::as_str);
        let is_enforced = action == "enforce" && level != "skip";
        if is_enforced { Ok(()) } else { Err(TrustError::Lax { statement, level: own_level }) }
    }

    /// The folders of its trust stores, below notation's own.
    fn stores(&self) -> Result<BTreeSet<PathBuf>, TrustError> {
        let folder = |store: &String| {
            let known = store.split_once(':').filter(|(kind, name)| STORE_TYPES.contains(kind) && is_file_name(name));
            let (kind, name) =
                known.ok_or_else(|| TrustError::Store { statement: self.name.clone(), store: store.clone() })?;
            Ok(["truststore", "x509", kind, name].iter().collect())
        };
        let folders = self.trust_stores.iter().map(folder).collect::<Result<BTreeSet<_>, _>>()?;
        if folders.len() > MAX_STORES { Err(TrustError::ManyStores(self.name.clone())) } else { Ok(folders) }
    }
}

/// Whether it names a file or folder of this place, and no other place. Notation itself takes `..` for a name.
fn is_file_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    !text.is_empty() && text.chars().all(allowed) && !matches!(text, "." | "..")
}

/// Who is trusted for what: the contents of a Secret.
pub struct Trust {
    policy: Policy,
    document: Vec<u8>,
    /// By their names.
    certificates: Vec<(String, Vec<u8>)>,
}

impl Trust {
    /// Reads the Secret of this name.
    pub fn read(secret: &str, data: &SecretData) -> Result<Self, TrustError> {
        let text = value(data, TRUST_POLICY).ok_or_else(|| TrustError::NoPolicy(secret.to_owned()))?;
        let malformed =
            |error: &serde_json::Error| TrustError::Malformed { line: error.line(), column: error.column() };
        let mut policy: Policy = serde_json::from_slice(text).map_err(|error| malformed(&error))?;
        // As in Flux; notation would refuse the whole policy.
        for statement in &mut policy.trust_policies {
            if statement.signature_verification.level == "skip" {
                statement.trust_stores.clear();
                statement.trusted_identities.clear();
            }
        }
        // What notation reads is what was understood here, and nothing that only notation understands.
        let document = serde_json::to_vec(&policy).map_err(|error| malformed(&error))?;
        let is_certificate =
            |name: &String| is_file_name(name) && CERTIFICATE_ENDINGS.iter().any(|ending| name.ends_with(ending));
        let found = data.iter().filter(|(name, _)| is_certificate(name));
        let certificates: Vec<_> = found.map(|(name, bytes)| (name.clone(), bytes.0.clone())).collect();
        match certificates.len() {
            0 => Err(TrustError::NoCertificates(secret.to_owned())),
            1..=MAX_CERTIFICATES => Ok(Self { policy, document, certificates }),
            _ => Err(TrustError::ManyCertificates(secret.to_owned())),
        }
    }

    /// Everything that a verdict depends on.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let certificates = self.certificates.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes.as_slice()]);
        std::iter::once(self.document.as_slice()).chain(certificates)
    }

    /// The files that notation reads about this repository, below its own folder, with their folders.
    pub fn files(&self, scope: &str) -> Result<Vec<(PathBuf, &[u8])>, TrustError> {
        let statement = self.statement(scope).ok_or_else(|| TrustError::NoStatement(scope.to_owned()))?;
        statement.enforces()?;
        let mut files = vec![(PathBuf::from(TRUST_POLICY), self.document.as_slice())];
        for store in statement.stores()? {
            // As in Flux, each certificate is in whatever store the policy names.
            files.extend(self.certificates.iter().map(|(name, bytes)| (store.join(name), bytes.as_slice())));
        }
        Ok(files)
    }

    /// The statement about this repository, as notation chooses it: one that names it goes before one for all.
    fn statement(&self, scope: &str) -> Option<&Statement> {
        let naming = |scope: &str| {
            let names = |statement: &&Statement| statement.registry_scopes.iter().any(|named| named == scope);
            self.policy.trust_policies.iter().rev().find(names)
        };
        naming(scope).or_else(|| naming(ANY_SCOPE))
    }
}

/// The repository as policies name it.
pub fn scope(repository: &Repository) -> String {
    format!("{}/{}", repository.client_name(), repository.path())
}

/// The artifact. It is named by its digest: what is verified is what will be fetched.
pub fn artifact(repository: &Repository, digest: &Digest) -> String {
    format!("{}@{digest}", scope(repository))
}

/// The arguments.
pub fn argv(artifact: &str, insecure: bool) -> Vec<OsString> {
    // Only so it tells why a signature does not count.
    let mut argv: Vec<OsString> = vec!["verify".into(), "--verbose".into()];
    if insecure {
        argv.push("--insecure-registry".into());
    }
    argv.push(artifact.into());
    argv
}

/// Why notation cannot reach the repository in the way that the object asks for.
pub fn hindrance(repository: &Repository, insecure: bool, client_certificate: bool) -> Option<String> {
    if client_certificate {
        return Some(
            "notation cannot show a client certificate to a registry: leave 'tls.crt' and 'tls.key' out of the Secret \
             with certificates, or sign with cosign"
                .to_owned(),
        );
    }
    let host = repository.registry();
    (!insecure && host.starts_with("localhost:")).then(|| {
        format!("notation speaks plain HTTP with '{host}': set 'insecure: true', or call the registry otherwise")
    })
}

/// Why the artifact does not count as signed, from what a call left behind that did not succeed.
pub fn verdict(artifact: &str, stderr: &str) -> String {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let error = stderr.rsplit_once("Error: ").map(|(_, error)| words(error));
    let error = error.unwrap_or_else(|| words(stderr.lines().last().unwrap_or("notation says nothing")));
    let error = if error.starts_with("signature verification failed for all ") {
        let mut reasons: Vec<&str> = Vec::new();
        for (_, reason) in stderr.lines().filter_map(|line| line.split_once(" failed verification with error: ")) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        format!("no matching signatures were found for '{artifact}': {}", reasons.join("; "))
    } else {
        error.strip_prefix("signature verification failed: ").unwrap_or(&error).to_owned()
    };
    bounded(&error, MAX_SAID).into_owned()
}

#[cfg(test)]
mod tests;
