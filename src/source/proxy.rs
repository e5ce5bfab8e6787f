//! The proxy that a `proxySecretRef` names. Pure.

use reqwest::Proxy;
use url::Url;

use super::download::{DownloadError, SecretData, value};

/// Reads `address`, and `username` and `password` where the proxy asks for them.
pub fn from_secret(data: &SecretData) -> Result<Proxy, DownloadError> {
    let bad = |message: &str| DownloadError::Credentials(format!("invalid proxy secret: {message}"));
    let text = |key: &str| match value(data, key).map(std::str::from_utf8) {
        Some(Err(_)) => Err(bad(&format!("the value of '{key}' is not UTF-8 text"))),
        Some(Ok(text)) => Ok(Some(text)),
        None => Ok(None),
    };
    let address = text("address")?.ok_or_else(|| bad("the key 'address' is missing"))?;
    // The address itself may hold a password.
    let url =
        Url::parse(address.trim()).map_err(|_| bad("the value of 'address' is not a URL such as http://proxy:3128"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(bad("the value of 'address' must begin with http:// or https://"));
    }
    let proxy = Proxy::all(url).map_err(|_| bad("the value of 'address' cannot be used"))?;
    Ok(match (text("username")?, text("password")?) {
        (Some(username), password) => proxy.basic_auth(username, password.unwrap_or_default()),
        (None, _) => proxy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn what_is_wrong_with_a_proxy_is_said_without_its_password() {
        for (pairs, needle) in [
            (vec![("username", "u")], "'address' is missing"),
            (vec![("address", "proxy:3128")], "must begin with"),
            (vec![("address", "hunter2 is no url")], "not a URL"),
            (vec![("address", "socks5://user:hunter2@proxy")], "must begin with"),
        ] {
            let data = pairs.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect();
            let error = from_secret(&data).unwrap_err().to_string();
            assert!(error.contains(needle) && !error.contains("hunter2"), "{error}");
        }
    }
}
