//! Calls of `cosign verify`: what they are given, and what they say. Pure.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::reference::{Digest, Repository};
use crate::redact::bounded;

/// Exit codes for: no signature, no such tag, no signature that matches, no certificate.
const UNSIGNED: std::ops::RangeInclusive<i32> = 10..=13;
/// How cosign begins to say that no signature matches, where it has no exit code for that.
const UNMATCHED: [&str; 2] = ["no matching ", "no signatures found"];
/// How cosign begins to say the same once more.
const REPETITION: &str = "error during command execution:";
/// The most of cosign's own words in an error, in bytes.
const MAX_SAID: usize = 500;

/// Whose signature is asked for.
pub enum Signer<'s> {
    /// Whoever has the private half of the key in this file.
    Key(PathBuf),
    /// Whoever could log in as this subject at this issuer, both regular expressions.
    Identity {
        /// The issuer.
        issuer: &'s str,
        /// The subject.
        subject: &'s str,
        /// The file with the trusted root; the public one of Sigstore when there is none.
        trusted_root: Option<PathBuf>,
    },
}

/// The connection to the registry, as far as arguments tell of it.
#[derive(Clone, Copy, Default)]
pub struct Connection<'s> {
    /// Files with the certificate to show and its key.
    pub identity: Option<(&'s Path, &'s Path)>,
    /// Whether plain HTTP will do.
    pub insecure: bool,
    /// Whether any certificate will do.
    pub any_certificate: bool,
}

/// The arguments. The artifact is named by its digest: what is verified is what will be fetched.
pub fn argv(artifact: &str, signer: &Signer<'_>, connection: Connection<'_>) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec!["verify".into()];
    let mut flag = |name: &str, value: &OsStr| {
        let mut whole = OsString::from(format!("--{name}="));
        whole.push(value);
        argv.push(whole);
    };
    match signer {
        Signer::Key(file) => {
            flag("key", file.as_os_str());
            // A key of one's own needs no public log to vouch for the time of the signature, as with Flux.
            flag("insecure-ignore-tlog", "true".as_ref());
        }
        Signer::Identity { issuer, subject, trusted_root } => {
            flag("certificate-oidc-issuer-regexp", issuer.as_ref());
            flag("certificate-identity-regexp", subject.as_ref());
            if let Some(root) = trusted_root {
                flag("trusted-root", root.as_os_str());
            }
        }
    }
    if let Some((certificate, key)) = connection.identity {
        flag("registry-client-cert", certificate.as_os_str());
        flag("registry-client-key", key.as_os_str());
    }
    if connection.insecure {
        flag("allow-http-registry", "true".as_ref());
    }
    if connection.any_certificate {
        flag("allow-insecure-registry", "true".as_ref());
    }
    argv.push(artifact.into());
    argv
}

/// The artifact as cosign has to be told of it.
pub fn artifact(repository: &Repository, digest: &Digest, insecure: bool) -> String {
    format!("{}/{}@{digest}", registry(repository, insecure), repository.path())
}

/// The registry so that cosign takes it for one: a host without dot and port would be a folder of Docker Hub.
pub fn registry(repository: &Repository, insecure: bool) -> String {
    let own = repository.client_name();
    if own.contains(['.', ':']) || own == "localhost" {
        own.to_owned()
    } else {
        format!("{own}:{}", if insecure { 80 } else { 443 })
    }
}

/// Why one signer's signature was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is none that matches.
    Unsigned(String),
    /// It could not be looked for.
    Broken(String),
}

impl Answer {
    /// Reads what a call left behind that did not succeed.
    pub fn read(code: i32, stderr: &str) -> Self {
        let said = said(stderr);
        if UNSIGNED.contains(&code) || UNMATCHED.iter().any(|start| said.starts_with(start)) {
            Self::Unsigned(said)
        } else {
            Self::Broken(said)
        }
    }
}

/// Of what cosign says, the error without the warnings before it and its repetition after it, in one line.
fn said(stderr: &str) -> String {
    let error = stderr.split_once("Error: ").map(|(_, after)| after.split(REPETITION).next().unwrap_or(after));
    let told = error.or_else(|| stderr.lines().rfind(|line| !line.trim().is_empty()));
    let line = told.unwrap_or("cosign says nothing").split_whitespace().collect::<Vec<_>>().join(" ");
    bounded(&line, MAX_SAID).into_owned()
}

/// Why an artifact does not count as signed, from the answers about all signers, each with its name.
pub fn verdict(artifact: &str, answers: &[(&str, Answer)]) -> String {
    let mut told: Vec<(String, &str)> = Vec::new();
    for (signer, Answer::Unsigned(why) | Answer::Broken(why)) in answers {
        match told.iter_mut().find(|(_, known)| known == why) {
            Some((signers, _)) => *signers = format!("{signers}, {signer}"),
            None => told.push(((*signer).to_owned(), why)),
        }
    }
    let reasons = match told.as_slice() {
        [(_, why)] => (*why).to_owned(),
        several => several.iter().map(|(signers, why)| format!("{signers}: {why}")).collect::<Vec<_>>().join("; "),
    };
    if answers.iter().any(|(_, answer)| matches!(answer, Answer::Unsigned(_))) {
        format!("no matching signatures were found for '{artifact}': {reasons}")
    } else {
        format!("cannot look for signatures of '{artifact}': {reasons}")
    }
}

#[cfg(test)]
mod tests;
