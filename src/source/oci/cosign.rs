//! Calls of `cosign verify`: what they are given, and what they say. Pure.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::credentials::Login;
use super::reference::{Digest, Repository};
use crate::proxy::Proxy;
use crate::redact::bounded;

/// The name under which Docker Hub's login is kept.
const DOCKER_HUB_LOGIN: &str = "https://index.docker.io/v1/";
/// Where Go looks for authorities besides the system's one file.
const AUTHORITY_DIRECTORIES: &str = "/etc/ssl/certs:/etc/pki/tls/certs";
/// No proxy listens there, so that what is sent to it reaches nobody.
const NOWHERE: &str = "http://127.0.0.1:0";
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
fn registry(repository: &Repository, insecure: bool) -> String {
    let own = repository.registry();
    if repository.is_docker_hub() {
        "index.docker.io".to_owned()
    } else if own.contains(['.', ':']) || own == "localhost" {
        own.to_owned()
    } else {
        format!("{own}:{}", if insecure { 80 } else { 443 })
    }
}

/// A docker configuration with the one login, for cosign to read.
pub fn docker_config(repository: &Repository, insecure: bool, login: Option<&Login>) -> Zeroizing<String> {
    let key = if repository.is_docker_hub() { DOCKER_HUB_LOGIN.to_owned() } else { registry(repository, insecure) };
    let entry = login.map(|login| match login {
        Login::Password(username, password) => json!({"username": username.as_str(), "password": password.as_str()}),
        Login::Identity(token) => json!({"identitytoken": token.as_str()}),
        Login::Bearer(token) => json!({"registrytoken": token.as_str()}),
    });
    let auths: Map<String, Value> = entry.into_iter().map(|entry| (key.clone(), entry)).collect();
    Zeroizing::new(json!({"auths": auths}).to_string())
}

/// Variables for the way to the registry. Cosign would try plain HTTP at private addresses without being told to:
/// unless the object allows that, it is sent nowhere, but for addresses that no proxy is asked for (loopback, and what
/// the operator's `NO_PROXY` lists).
pub fn proxies(proxy: Option<&Proxy>, insecure: bool) -> Vec<(&'static str, Zeroizing<String>)> {
    let nowhere = || Zeroizing::new(NOWHERE.to_owned());
    let mut variables = Vec::new();
    let mut set = |names: [&'static str; 2], value: Zeroizing<String>| {
        variables.extend(names.map(|name| (name, value.clone())));
    };
    if let Some(proxy) = proxy {
        set(["HTTPS_PROXY", "https_proxy"], proxy.url());
        // The object's own proxy goes before whatever the operator's environment says.
        set(["NO_PROXY", "no_proxy"], Zeroizing::default());
    }
    match proxy {
        _ if !insecure => set(["HTTP_PROXY", "http_proxy"], nowhere()),
        Some(proxy) => set(["HTTP_PROXY", "http_proxy"], proxy.url()),
        None => {}
    }
    variables
}

/// The directories with authorities to trust: one's own and the system's.
pub fn authority_directories(own: &Path, inherited: Option<&OsStr>) -> OsString {
    let mut directories = own.as_os_str().to_owned();
    directories.push(":");
    directories.push(inherited.filter(|text| !text.is_empty()).unwrap_or(OsStr::new(AUTHORITY_DIRECTORIES)));
    directories
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
