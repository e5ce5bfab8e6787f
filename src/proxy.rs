//! The proxy that `spec.proxySecretRef` names. Pure.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use url::Url;
use zeroize::Zeroizing;

/// Text that is wiped from memory after use.
type Secret = Zeroizing<String>;

/// Which proxies a protocol can go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// SOCKS5 proxies.
    Socks,
    /// HTTP and SOCKS5 proxies.
    HttpAndSocks,
}

impl Kinds {
    fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Socks => &["socks5", "socks5h"],
            Self::HttpAndSocks => &["http", "https", "socks5", "socks5h"],
        }
    }

    fn examples(self) -> &'static str {
        match self {
            Self::Socks => "socks5://host:port",
            Self::HttpAndSocks => "http://host:port, https://host:port or socks5://host:port",
        }
    }
}

/// Why a Secret describes no proxy. No text holds a value of the Secret: an address may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// No address.
    #[error("the key 'address' is required")]
    NoAddress,
    /// An address that is not one.
    #[error("'address' is not the URL of a proxy: use {}", .0.examples())]
    BadAddress(Kinds),
    /// A value is not text.
    #[error("the value of '{0}' is not UTF-8 text")]
    NotText(&'static str),
    /// A password without a user name.
    #[error("'password' is given without 'username'")]
    NoUsername,
}

/// A proxy and the login to it. `Debug` tells neither.
#[derive(Clone)]
pub struct Proxy {
    address: Url,
    login: Option<(Secret, Secret)>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.address.scheme())
    }
}

impl Proxy {
    /// Reads `address`, and `username` and `password` if the proxy asks for them.
    pub fn from_secret(data: &BTreeMap<String, ByteString>, kinds: Kinds) -> Result<Self, ProxyError> {
        let get = |key: &'static str| match data.get(key).map(|value| value.0.as_slice()) {
            None | Some([]) => Ok(None),
            Some(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| ProxyError::NotText(key)),
        };
        let address = get("address")?.ok_or(ProxyError::NoAddress)?;
        let mut address = Url::parse(address.trim()).map_err(|_| ProxyError::BadAddress(kinds))?;
        if !kinds.schemes().contains(&address.scheme()) || address.host_str().is_none_or(str::is_empty) {
            return Err(ProxyError::BadAddress(kinds));
        }
        if address.scheme() == "socks5" {
            // The proxy is to look names up, since it may know hosts that we do not: for curl and the
            // HTTP client, that takes another scheme.
            address.set_scheme("socks5h").map_err(|()| ProxyError::BadAddress(kinds))?;
        }
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        let login = match (get("username")?, get("password")?) {
            (Some(username), password) => Some((secret(username), secret(password.unwrap_or_default()))),
            (None, None) => None,
            (None, Some(_)) => return Err(ProxyError::NoUsername),
        };
        Ok(Self { address, login })
    }

    /// The proxy's URL with the login.
    pub fn url(&self) -> Secret {
        Zeroizing::new(self.with_login().to_string())
    }

    /// The password as it stands in the URL, if there is one.
    pub fn password(&self) -> Option<Secret> {
        self.with_login().password().map(|password| Zeroizing::new(password.to_owned()))
    }

    /// For an HTTP client.
    pub fn for_client(&self) -> Result<reqwest::Proxy, reqwest::Error> {
        let proxy = reqwest::Proxy::all(self.address.as_str())?;
        Ok(match &self.login {
            Some((username, password)) => proxy.basic_auth(username, password),
            None => proxy,
        })
    }

    fn with_login(&self) -> Url {
        let mut url = self.address.clone();
        if let Some((username, password)) = &self.login {
            // Neither can fail: the URL has a host. Both are percent-encoded.
            let _ = url.set_username(username);
            let _ = url.set_password(Some(password.as_str()).filter(|password| !password.is_empty()));
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], kinds: Kinds) -> Result<Proxy, ProxyError> {
        let data = pairs.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect();
        Proxy::from_secret(&data, kinds)
    }

    #[test]
    fn a_login_becomes_part_of_the_url_and_never_shows() {
        let pairs = [("address", "http://proxy:3128\n"), ("username", "me"), ("password", "p@ss/word")];
        let proxy = read(&pairs, Kinds::HttpAndSocks).unwrap();
        assert_eq!(proxy.url().as_str(), "http://me:p%40ss%2Fword@proxy:3128/");
        assert_eq!(proxy.password().unwrap().as_str(), "p%40ss%2Fword");
        assert_eq!(format!("{proxy:?}"), "Proxy(http)");
        let proxy = read(&[("address", "socks5://proxy"), ("password", "")], Kinds::HttpAndSocks).unwrap();
        assert_eq!((proxy.url().as_str(), proxy.password()), ("socks5h://proxy", None));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_telling_it() {
        let bad = ProxyError::BadAddress;
        for (pairs, kinds, expected) in [
            (vec![("username", "hunter2")], Kinds::HttpAndSocks, ProxyError::NoAddress),
            (vec![("address", "")], Kinds::HttpAndSocks, ProxyError::NoAddress),
            (vec![("address", "proxy:3128")], Kinds::HttpAndSocks, bad(Kinds::HttpAndSocks)),
            (vec![("address", "hunter2")], Kinds::HttpAndSocks, bad(Kinds::HttpAndSocks)),
            (vec![("address", "ftp://u:hunter2@h")], Kinds::HttpAndSocks, bad(Kinds::HttpAndSocks)),
            (vec![("address", "http://u:hunter2@h")], Kinds::Socks, bad(Kinds::Socks)),
            (vec![("address", "http://h"), ("password", "hunter2")], Kinds::HttpAndSocks, ProxyError::NoUsername),
        ] {
            let error = read(&pairs, kinds).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert_eq!(error, expected, "{pairs:?}");
        }
        let data = [("address".to_owned(), ByteString(vec![0xff]))].into();
        assert_eq!(Proxy::from_secret(&data, Kinds::HttpAndSocks).unwrap_err(), ProxyError::NotText("address"));
    }
}
