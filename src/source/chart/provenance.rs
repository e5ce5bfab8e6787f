//! Provenance files of packaged charts: a text that names the chart and the digest of its package,
//! signed by `OpenPGP`. `helm package --sign` writes them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde_json::Value;

use super::{Metadata, read_metadata};
use crate::openpgp::cleartext::{Cleartext, CleartextError};
use crate::openpgp::{KeyRing, Refused};
use crate::redact::bounded;
use crate::yaml;

/// The most that a provenance file may be, in bytes: a `Chart.yaml`, a few lines and a signature.
pub const MAX_PROVENANCE: usize = 1024 * 1024;

/// Suffix of the keys of a Secret that hold no `OpenPGP` keys: it may serve a `GitRepository` as well.
const SSH_SUFFIX: &str = ".sshpub";

/// What stands between the chart and the digests.
const SEPARATOR: &str = "...";

/// The most of a signed value in an error, in bytes.
const MAX_SAID: usize = 200;

/// Why a provenance file is no proof of a package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvenanceError {
    /// More than any chart needs.
    #[error("it is larger than {MAX_PROVENANCE} bytes")]
    Size,
    /// Not text at all.
    #[error("it is not UTF-8 text")]
    Text,
    /// Not a signed text.
    #[error("it is no signed text: {0}")]
    Unsigned(#[from] CleartextError),
    /// The signature cannot be read.
    #[error("its signature cannot be read: {0}")]
    Unreadable(String),
    /// There is nothing to verify it with.
    #[error("the secret has no OpenPGP public key{}", and(.0))]
    NoKeys(Vec<String>),
    /// No key accepts the signature.
    #[error("no key of the secret accepts its signature: {}", .0.join("; "))]
    NoMatch(Vec<String>),
    /// What was signed is no provenance.
    #[error("what was signed is not what `helm package --sign` writes: {0}")]
    Content(String),
    /// It was signed for another package.
    #[error("it was signed for {signed}, not for {expected}")]
    Other {
        /// What it is for.
        signed: String,
        /// What it should be for.
        expected: String,
    },
    /// The package was changed, or replaced, after it was signed.
    #[error("'{file}' was signed with the digest {signed}, and the package that was downloaded has sha256:{actual}")]
    Digest {
        /// Name of the package.
        file: String,
        /// As it was signed.
        signed: String,
        /// Of what there is.
        actual: String,
    },
}

fn and(problems: &[String]) -> String {
    if problems.is_empty() { String::new() } else { format!(" ({})", problems.join("; ")) }
}

/// Keys whose signatures count.
#[derive(Default)]
pub struct Keys {
    ring: KeyRing,
    problems: Vec<String>,
}

impl Keys {
    /// Reads a Secret: key rings, armoured or binary. What cannot be read is told when it is missed.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Self {
        let mut keys = Self::default();
        for (name, ByteString(file)) in data.iter().filter(|(name, _)| !name.ends_with(SSH_SUFFIX)) {
            if let Err(problem) = keys.ring.add(file) {
                keys.problems.push(format!("'{name}': {problem}"));
            }
        }
        keys
    }

    fn verify(&self, text: &Cleartext<'_>, now: Timestamp) -> Result<String, ProvenanceError> {
        if self.ring.is_empty() {
            return Err(ProvenanceError::NoKeys(self.problems.clone()));
        }
        self.ring.verify(text.signature, text.payload().as_bytes(), now).map_err(|refused| match refused {
            Refused::Unreadable(why) => ProvenanceError::Unreadable(why),
            Refused::Keys(mut reasons) => {
                reasons.extend(self.problems.iter().cloned());
                ProvenanceError::NoMatch(reasons)
            }
        })
    }
}

/// How `helm package` names the package of a chart.
fn file_of(chart: &Metadata) -> String {
    format!("{}-{}.tgz", chart.name, chart.version)
}

/// A provenance file whose signature is good.
#[derive(Debug)]
pub struct Signed {
    signer: String,
    file: String,
    digest: String,
}

impl Signed {
    /// Verifies that one of the keys signed this file, and for this chart.
    pub fn read(bytes: &[u8], chart: &Metadata, keys: &Keys, now: Timestamp) -> Result<Self, ProvenanceError> {
        if bytes.len() > MAX_PROVENANCE {
            return Err(ProvenanceError::Size);
        }
        let message = std::str::from_utf8(bytes).map_err(|_| ProvenanceError::Text)?;
        let text = Cleartext::read(message)?;
        let signer = keys.verify(&text, now)?;
        let digest = digest_of(text.lines(), chart)?;
        Ok(Self { signer, file: file_of(chart), digest })
    }

    /// Checks that this is the package that was signed, by its SHA-256 in hexadecimal; gives the id of the primary key
    /// that made the signature, itself or by a subkey.
    pub fn check(self, package: &str) -> Result<String, ProvenanceError> {
        if self.digest.strip_prefix("sha256:") == Some(package) {
            return Ok(self.signer);
        }
        let (signed, actual) = (bounded(&self.digest, MAX_SAID).into_owned(), package.to_owned());
        Err(ProvenanceError::Digest { file: self.file, signed, actual })
    }
}

/// The digest that a signed text gives for the package of a chart.
pub(crate) fn digest_of(lines: &[&str], chart: &Metadata) -> Result<String, ProvenanceError> {
    let content = |why: &str| ProvenanceError::Content(bounded(why, MAX_SAID).into_owned());
    let mut parts = lines.split(|line| *line == SEPARATOR);
    let (Some(head), Some(sums), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(content("it has to be a Chart.yaml, a line '...' and digests"));
    };
    let (metadata, _) = read_metadata(&head.join("\n")).map_err(|why| content(&why))?;
    if metadata != *chart {
        let told = |chart: &Metadata| bounded(&format!("'{}' {}", chart.name, chart.version), MAX_SAID).into_owned();
        return Err(ProvenanceError::Other { signed: told(&metadata), expected: told(chart) });
    }
    let sums = yaml::parse(&sums.join("\n")).map_err(|error| content(&format!("its digests: {error}")))?;
    let files = sums.get("files").and_then(Value::as_object).ok_or_else(|| content("it has no 'files'"))?;
    let Some(digest) = files.get(&file_of(chart)) else {
        let names: Vec<_> = files.keys().map(|name| format!("'{name}'")).collect();
        let signed =
            if names.is_empty() { "no file".to_owned() } else { bounded(&names.join(", "), MAX_SAID).into_owned() };
        return Err(ProvenanceError::Other { signed, expected: format!("'{}'", file_of(chart)) });
    };
    digest.as_str().map(str::to_owned).ok_or_else(|| content("a digest is not text"))
}

#[cfg(test)]
mod tests;
