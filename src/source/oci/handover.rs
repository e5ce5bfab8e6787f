//! What programs that ask registries are handed: a login, authorities, proxies. Pure.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::credentials::Login;
use super::reference::Repository;
use crate::proxy::Proxy;

/// The name under which Docker Hub's login is kept.
const DOCKER_HUB_LOGIN: &str = "https://index.docker.io/v1/";
/// Where Go looks for authorities besides the system's one file.
const AUTHORITY_DIRECTORIES: &str = "/etc/ssl/certs:/etc/pki/tls/certs";
/// No proxy listens there, so that what is sent to it reaches nobody.
const NOWHERE: &str = "http://127.0.0.1:0";

/// A docker configuration with the one login for a registry, called as in the artifact's name. It has an entry even
/// without a login: a program that finds none would ask the machine's keychain.
pub fn docker_config(repository: &Repository, registry: &str, login: Option<&Login>) -> Zeroizing<String> {
    let key = if repository.is_docker_hub() { DOCKER_HUB_LOGIN } else { registry };
    let entry = match login {
        Some(Login::Password(username, password)) => {
            json!({"username": username.as_str(), "password": password.as_str()})
        }
        Some(Login::Identity(token)) => json!({"identitytoken": token.as_str()}),
        Some(Login::Bearer(token)) => json!({"registrytoken": token.as_str()}),
        None => json!({}),
    };
    let auths: Map<String, Value> = [(key.to_owned(), entry)].into_iter().collect();
    Zeroizing::new(json!({"auths": auths}).to_string())
}

/// Variables for the way to the registry. Unless plain HTTP is allowed, it is sent nowhere, but for addresses that no
/// proxy is asked for (loopback, and what the operator's `NO_PROXY` lists).
pub fn proxies(proxy: Option<&Proxy>, plain_http: bool) -> Vec<(&'static str, Zeroizing<String>)> {
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
        _ if !plain_http => set(["HTTP_PROXY", "http_proxy"], nowhere()),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;
    use crate::proxy::Kinds;

    #[test]
    fn logins_are_handed_over_in_a_file() {
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        let login = Login::Password(secret("u"), secret("p"));
        let at = |url: &str, login| {
            let repository = Repository::parse(url).unwrap();
            docker_config(&repository, repository.registry(), login).to_string()
        };
        assert_eq!(at("oci://a.io/x", Some(&login)), r#"{"auths":{"a.io":{"password":"p","username":"u"}}}"#);
        assert!(at("oci://docker.io/x", Some(&login)).contains(DOCKER_HUB_LOGIN));
        let token = Login::Identity(secret("t"));
        assert_eq!(at("oci://a.io/x", Some(&token)), r#"{"auths":{"a.io":{"identitytoken":"t"}}}"#);
        let token = Login::Bearer(secret("t"));
        assert_eq!(at("oci://a.io/x", Some(&token)), r#"{"auths":{"a.io":{"registrytoken":"t"}}}"#);
        assert_eq!(at("oci://a.io/x", None), r#"{"auths":{"a.io":{}}}"#);
    }

    #[test]
    fn plain_http_is_for_those_who_ask_for_it() {
        let data: BTreeMap<_, _> = [("address".to_owned(), ByteString(b"http://proxy:3128".to_vec()))].into();
        let proxy = Proxy::from_secret(&data, Kinds::HttpAndSocks).unwrap();
        let given = |proxy, plain_http| -> BTreeMap<&str, String> {
            proxies(proxy, plain_http).into_iter().map(|(name, value)| (name, value.to_string())).collect()
        };
        let secure = given(None, false);
        assert_eq!(secure.len(), 2, "the environment's proxy for HTTPS stays: {secure:?}");
        assert_eq!((secure["HTTP_PROXY"].as_str(), secure["http_proxy"].as_str()), (NOWHERE, NOWHERE));
        assert!(given(None, true).is_empty());
        for (plain_http, plain) in [(false, NOWHERE), (true, "http://proxy:3128/")] {
            let given = given(Some(&proxy), plain_http);
            assert_eq!((given["HTTP_PROXY"].as_str(), given["HTTPS_PROXY"].as_str()), (plain, "http://proxy:3128/"));
            assert_eq!((given["NO_PROXY"].as_str(), given["no_proxy"].as_str()), ("", ""));
        }
    }

    #[test]
    fn the_systems_authorities_are_trusted_as_well() {
        let own = Path::new("/own");
        assert_eq!(authority_directories(own, None), "/own:/etc/ssl/certs:/etc/pki/tls/certs");
        assert_eq!(authority_directories(own, Some(OsStr::new("/a:/b"))), "/own:/a:/b");
    }
}
