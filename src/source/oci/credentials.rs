//! Logins to registries, as image pull secrets keep them. Pure.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use k8s_openapi::ByteString;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::error::OciError;
use super::reference::Repository;

/// Key of a docker configuration in a Secret.
const DOCKER_CONFIG: &str = ".dockerconfigjson";
/// Key of one of the older form, which has no `auths` around its entries.
const OLD_DOCKER_CONFIG: &str = ".dockercfg";

/// How a registry is logged in to.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// By name and password.
    Password(Zeroizing<String>, Zeroizing<String>),
    /// By a token that the registry's token server takes for others.
    Identity(Zeroizing<String>),
    /// By a token that the registry itself takes.
    Bearer(Zeroizing<String>),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// Logins by what they are for, the most special first.
#[derive(Clone, Debug, Default)]
pub struct Keychain {
    entries: Vec<(String, Login)>,
    /// For whatever registry is asked: what a Secret with a name and a password means.
    any: Option<Login>,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    username: Option<Zeroizing<String>>,
    password: Option<Zeroizing<String>>,
    auth: Option<Zeroizing<String>>,
    identitytoken: Option<Zeroizing<String>>,
    registrytoken: Option<Zeroizing<String>>,
}

type SecretData = BTreeMap<String, ByteString>;

impl Keychain {
    /// Adds what a Secret holds: a docker configuration, or `username` and `password`.
    pub fn add(&mut self, secret: &str, data: &SecretData) -> Result<(), OciError> {
        let bad = |what: &str| OciError::Credentials(format!("invalid secret '{secret}': {what}"));
        let value = |key: &str| data.get(key).map(|value| value.0.as_slice());
        // A parser's own words would quote what it read.
        let unreadable = |key: &str| bad(&format!("'{key}' is not a docker configuration in JSON"));
        let auths = if let Some(config) = value(DOCKER_CONFIG) {
            serde_json::from_slice::<DockerConfig>(config).map_err(|_| unreadable(DOCKER_CONFIG))?.auths
        } else if let Some(config) = value(OLD_DOCKER_CONFIG) {
            serde_json::from_slice(config).map_err(|_| unreadable(OLD_DOCKER_CONFIG))?
        } else {
            self.any = match (text(value("username")), text(value("password"))) {
                (Some(username), Some(password)) => Some(Login::Password(username, password)),
                (None, None) if data.contains_key("ca.crt") || data.contains_key("caFile") => None,
                (None, None) => return Err(bad("it has neither '.dockerconfigjson' nor 'username' and 'password'")),
                _ => return Err(bad("required fields 'username' and 'password'")),
            };
            return Ok(());
        };
        for (key, entry) in auths {
            let login = entry.login().map_err(|why| bad(&format!("the entry for '{key}' {why}")))?;
            self.entries.extend(login.map(|login| (plain_key(&key), login)));
        }
        self.entries.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        Ok(())
    }

    /// The login for a repository.
    pub fn login(&self, repository: &Repository) -> Option<&Login> {
        let found = self.entries.iter().find(|(key, _)| matches(key, repository));
        found.map(|(_, login)| login).or(self.any.as_ref())
    }
}

fn text(value: Option<&[u8]>) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(value?).ok()?;
    (!text.is_empty()).then(|| Zeroizing::new(text.to_owned()))
}

impl Entry {
    fn login(self) -> Result<Option<Login>, &'static str> {
        let given = |token: Option<Zeroizing<String>>| token.filter(|token| !token.is_empty());
        if let Some(token) = given(self.registrytoken) {
            return Ok(Some(Login::Bearer(token)));
        }
        if let Some(token) = given(self.identitytoken) {
            return Ok(Some(Login::Identity(token)));
        }
        if let (Some(username), Some(password)) = (given(self.username), given(self.password)) {
            return Ok(Some(Login::Password(username, password)));
        }
        let Some(auth) = given(self.auth) else { return Ok(None) };
        let decoded = STANDARD.decode(auth.as_bytes()).or_else(|_| STANDARD_NO_PAD.decode(auth.as_bytes()));
        let decoded = Zeroizing::new(decoded.map_err(|_| "has an 'auth' that is not base64")?);
        let pair = std::str::from_utf8(&decoded).ok().and_then(|text| text.split_once(':'));
        let (username, password) = pair.ok_or("has an 'auth' that is not of the form 'user:password'")?;
        let password = password.trim_end_matches('\0');
        Ok(Some(Login::Password(Zeroizing::new(username.to_owned()), Zeroizing::new(password.to_owned()))))
    }
}

/// The key of an entry without scheme, API version and trailing slash.
fn plain_key(key: &str) -> String {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    key.to_owned()
}

/// Whether an entry is for the repository: the same host (`*` stands for any part of a name), and
/// a path that the repository's starts with.
fn matches(key: &str, repository: &Repository) -> bool {
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let own = repository.registry();
    let hub = |host: &str| matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    let host_matches = host == own || (hub(host) && hub(own)) || {
        let (parts, own): (Vec<&str>, Vec<&str>) = (host.split('.').collect(), own.split('.').collect());
        parts.len() == own.len() && parts.iter().zip(own).all(|(part, own)| super::super::glob::matches(part, own))
    };
    let whole = repository.path();
    host_matches && (path.is_empty() || whole == path || whole.starts_with(&format!("{path}/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> SecretData {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect()
    }

    fn keychain(config: &str) -> Keychain {
        let mut keychain = Keychain::default();
        keychain.add("pull", &data(&[(DOCKER_CONFIG, config)])).unwrap();
        keychain
    }

    fn user(keychain: &Keychain, url: &str) -> Option<String> {
        match keychain.login(&Repository::parse(url).unwrap())? {
            Login::Password(username, _) => Some(username.to_string()),
            Login::Identity(_) => Some("identity".to_owned()),
            Login::Bearer(_) => Some("bearer".to_owned()),
        }
    }

    #[test]
    fn the_most_special_entry_counts() {
        let auth = STANDARD.encode("encoded:pw:with:colons");
        let keychain = keychain(&format!(
            r#"{{"auths":{{
                "ghcr.io": {{"auth": "{auth}"}},
                "https://ghcr.io/org": {{"username": "org", "password": "p"}},
                "*.example.com": {{"username": "star", "password": "p"}},
                "https://index.docker.io/v1/": {{"username": "hub", "password": "p"}},
                "azure.io": {{"auth": "{auth}", "identitytoken": "t"}},
                "bearer.io": {{"registrytoken": "t"}},
                "empty.io": {{}}
            }}}}"#
        ));
        for (url, expected) in [
            ("oci://ghcr.io/other/x", Some("encoded")),
            ("oci://ghcr.io/org/x", Some("org")),
            ("oci://ghcr.io/organisation/x", Some("encoded")),
            ("oci://eu.example.com/x", Some("star")),
            ("oci://a.eu.example.com/x", None),
            ("oci://docker.io/org/x", Some("hub")),
            ("oci://azure.io/x", Some("identity")),
            ("oci://bearer.io/x", Some("bearer")),
            ("oci://empty.io/x", None),
            ("oci://ghcr.io:5000/x", None),
        ] {
            assert_eq!(user(&keychain, url).as_deref(), expected, "{url}");
        }
        let login = keychain.login(&Repository::parse("oci://ghcr.io/x").unwrap()).unwrap();
        assert!(matches!(login, Login::Password(_, password) if password.as_str() == "pw:with:colons"));
    }

    #[test]
    fn other_forms_are_read() {
        let mut old = Keychain::default();
        old.add("old", &data(&[(OLD_DOCKER_CONFIG, r#"{"ghcr.io":{"username":"u","password":"p"}}"#)])).unwrap();
        assert_eq!(user(&old, "oci://ghcr.io/x").as_deref(), Some("u"));
        let mut plain = Keychain::default();
        plain.add("plain", &data(&[("username", "u"), ("password", "p")])).unwrap();
        assert_eq!(user(&plain, "oci://anywhere.io/x").as_deref(), Some("u"));
    }

    #[test]
    fn what_is_no_login_says_so_without_quoting_it() {
        for (pairs, needle) in [
            (vec![(DOCKER_CONFIG, "hunter2")], "not a docker configuration"),
            (vec![(DOCKER_CONFIG, r#"{"auths":{"a.io":{"auth":"hunter2!"}}}"#)], "'a.io' has an 'auth'"),
            (vec![("username", "hunter2")], "required fields"),
            (vec![("token", "hunter2")], "neither '.dockerconfigjson'"),
        ] {
            let error = Keychain::default().add("pull", &data(&pairs)).unwrap_err();
            assert!(error.is_authentication(), "{error}");
            let error = error.to_string();
            assert!(error.contains(needle) && error.contains("'pull'") && !error.contains("hunter2"), "{error}");
        }
    }
}
