//! The proxy that `spec.proxySecretRef` names.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use sha2::{Digest as _, Sha256};
use url::Url;
use zeroize::Zeroizing;

use super::auth::{AuthError, Data, Secret};

/// Why a Secret describes no proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// No address.
    #[error("the key 'address' is required")]
    NoAddress,
    /// An address that is not one.
    #[error("'address' is not the URL of a proxy: use http://host:port, https://host:port or socks5://host:port")]
    BadAddress,
    /// A value is not text, or the like.
    #[error("{0}")]
    Value(AuthError),
}

/// A proxy and the login to it. `Debug` tells neither.
#[derive(Clone)]
pub struct Proxy {
    url: Url,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.url.scheme())
    }
}

impl Proxy {
    /// Reads `address`, and `username` and `password` if the proxy asks for them.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Result<Self, ProxyError> {
        let data = Data(data);
        let get = |key| data.get(key).map_err(ProxyError::Value);
        let address = get("address")?.ok_or(ProxyError::NoAddress)?;
        let mut url = Url::parse(address.trim()).map_err(|_| ProxyError::BadAddress)?;
        let known = matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h");
        if !known || url.host_str().is_none_or(str::is_empty) {
            return Err(ProxyError::BadAddress);
        }
        if let Some(username) = get("username")? {
            let password = get("password")?;
            // Neither can fail: the URL has a host. Both are percent-encoded.
            let _ = url.set_username(&username);
            let _ = url.set_password(password.as_deref().map(String::as_str));
        }
        Ok(Self { url })
    }

    /// The proxy's URL with the login.
    pub fn address(&self) -> Secret {
        Zeroizing::new(self.url.to_string())
    }

    /// The password as it stands in the address, if there is one.
    pub fn password(&self) -> Option<Secret> {
        self.url.password().map(|password| Zeroizing::new(password.to_owned()))
    }

    pub(super) fn feed(&self, hasher: &mut Sha256) {
        hasher.update(self.url.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Proxy, ProxyError> {
        Proxy::from_secret(&pairs.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect())
    }

    #[test]
    fn a_login_becomes_part_of_the_address_and_never_shows() {
        let proxy = read(&[("address", "http://proxy:3128"), ("username", "me"), ("password", "p@ss/word")]).unwrap();
        assert_eq!(proxy.address().as_str(), "http://me:p%40ss%2Fword@proxy:3128/");
        assert_eq!(proxy.password().unwrap().as_str(), "p%40ss%2Fword");
        assert_eq!(format!("{proxy:?}"), "Proxy(http)");
        assert_eq!(read(&[("address", "socks5://proxy")]).unwrap().address().as_str(), "socks5://proxy");
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_telling_it() {
        assert_eq!(read(&[("username", "me")]).unwrap_err(), ProxyError::NoAddress);
        for address in ["proxy:3128", "ftp://u:hunter2@h", "hunter2"] {
            let error = read(&[("address", address)]).unwrap_err();
            assert_eq!(error, ProxyError::BadAddress, "{address}");
        }
    }
}
