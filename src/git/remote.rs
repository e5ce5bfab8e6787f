//! A remote: its URL as it may be shown, and the credentials to talk to it.

use std::fmt;

use sha2::{Digest as _, Sha256};
use url::Url;

use super::auth::Credential;
use crate::proxy::Proxy;
use crate::redact::redact;

/// Why a URL cannot be a git remote; only another spec helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// Not a URL. The short form of SSH, `git@host:path`, is not one.
    #[error("failed to parse url '{url}': {reason}")]
    Invalid {
        /// As given, without credentials.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A scheme other than http, https and ssh.
    #[error("url '{url}' has the scheme '{scheme}'; use http, https or ssh")]
    Scheme {
        /// As given, without credentials.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// A submodule at an SSH address, and no key to log in with.
    #[error("'{0}' needs an SSH key, and the repository's credentials have none; use an https url in .gitmodules")]
    NoKey(String),
}

/// How a remote is talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `http://` or `https://`.
    Http,
    /// `ssh://`.
    Ssh,
}

/// A remote and the credentials to use with it. `Display` shows the URL without any.
#[derive(Clone)]
pub struct Remote {
    url: Url,
    credential: Credential,
    proxy: Option<Proxy>,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({self})")
    }
}

/// Checks the URL of a spec, and how it is to be talked to.
pub fn parse_url(text: &str) -> Result<(Url, Transport), RemoteError> {
    let shown = || redact(text).into_owned();
    let url = Url::parse(text).map_err(|error| RemoteError::Invalid { url: shown(), reason: error.to_string() })?;
    let transport = match url.scheme() {
        "http" | "https" => Transport::Http,
        "ssh" => Transport::Ssh,
        other => return Err(RemoteError::Scheme { url: shown(), scheme: other.to_owned() }),
    };
    if url.host_str().is_none_or(str::is_empty) {
        return Err(RemoteError::Invalid { url: shown(), reason: "it names no host".to_owned() });
    }
    Ok((url, transport))
}

impl Remote {
    /// A remote of this URL. Credentials in an HTTP URL are taken out of it and used where the
    /// Secret names none, so that no argument list and no message ever holds them.
    pub fn new(text: &str, credential: Credential) -> Result<Self, RemoteError> {
        let (mut url, transport) = parse_url(text)?;
        let mut credential = credential;
        if transport == Transport::Http {
            credential.or_of(&url);
            // Neither can fail: the URL has a host.
            let _ = url.set_username("");
            let _ = url.set_password(None);
        } else {
            let _ = url.set_password(None);
            if url.username().is_empty() {
                let _ = url.set_username("git");
            }
        }
        Ok(Self { url, credential, proxy: None })
    }

    /// The remote of a submodule of this one. An SSH key is offered to any host that
    /// `known_hosts` vouches for; everything else goes to the same scheme, host and port only, or
    /// whoever may edit `.gitmodules` could have it sent to a host of their own.
    pub fn submodule(&self, url: &str) -> Result<Self, RemoteError> {
        let (_, transport) = parse_url(url)?;
        let other = Self::new(url, Credential::default())?;
        let credential = match transport {
            Transport::Ssh if self.credential.has_key() => self.credential.clone(),
            Transport::Ssh => return Err(RemoteError::NoKey(other.to_string())),
            Transport::Http if other.origin() == self.origin() => self.credential.clone(),
            Transport::Http => self.credential.for_strangers(),
        };
        Ok(Self::new(url, credential)?.behind(self.proxy.clone()))
    }

    /// The same remote, reached through a proxy.
    #[must_use]
    pub fn behind(self, proxy: Option<Proxy>) -> Self {
        Self { proxy, ..self }
    }

    /// The proxy to go through.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// The URL, without a password.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The part of the URL that credentials are bound to: scheme, host and port.
    pub fn origin(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port().map_or_else(String::new, |port| format!(":{port}"));
        format!("{}://{host}{port}/", self.url.scheme())
    }

    /// The credentials.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// A name for what this URL and these credentials give; tells neither.
    pub fn key(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.url.as_str());
        self.credential.feed(&mut hasher);
        if let Some(proxy) = &self.proxy {
            hasher.update(proxy.url().as_bytes());
        }
        crate::source::digest::hex(&hasher.finalize()[..16])
    }

    /// Stands for the login itself: for one key there may be one after the other.
    pub(super) fn login(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        self.credential.feed_login(&mut hasher);
        hasher.finalize().into()
    }

    /// What to look at when the remote says "not found": an empty element in the path is most
    /// often a name that was never filled in.
    pub fn hint(&self) -> Option<String> {
        let path = self.url.path().trim_end_matches('/');
        let empty = self.url.scheme() != "ssh" && (path.contains("//") || path.is_empty());
        empty.then(|| format!("the path of '{self}' has an empty element: is a name missing?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str) -> Result<Remote, RemoteError> {
        Remote::new(url, Credential::default())
    }

    #[test]
    fn credentials_never_show() {
        let remote = remote("https://user:hunter2@example.com/x.git").unwrap();
        assert_eq!(remote.to_string(), "https://example.com/x.git");
        assert!(!format!("{remote:?} {:?}", remote.credential()).contains("hunter2"));
        assert_eq!(remote.origin(), "https://example.com/");
    }

    #[test]
    fn bad_urls_are_named_without_secrets() {
        for url in ["git@github.com:a/b.git", "ftp://u:hunter2@x/y", "https://", "", "file:///srv/x", "/srv/x"] {
            let error = remote(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_empty_path_element_is_hinted_at() {
        assert!(remote("https://github.com//worker").unwrap().hint().is_some());
        assert!(remote("https://github.com/").unwrap().hint().is_some());
        assert!(remote("https://github.com/a/worker").unwrap().hint().is_none());
        assert!(remote("ssh://git@host//srv/x.git").unwrap().hint().is_none());
    }

    #[test]
    fn keys_differ_by_url_and_credential() {
        let basic = |password| Credential::basic("u", password);
        let keys: std::collections::BTreeSet<String> = [
            remote("https://a/x").unwrap().key(),
            remote("https://a/y").unwrap().key(),
            Remote::new("https://a/x", basic("one")).unwrap().key(),
            Remote::new("https://a/x", basic("two")).unwrap().key(),
        ]
        .into();
        assert_eq!(keys.len(), 4);
        let token = |token| Remote::new("https://a/x", Credential::default().with_token([7; 32], "u", token)).unwrap();
        assert_eq!(token("one").key(), token("two").key(), "the issuer counts");
        assert_ne!(token("one").login(), token("two").login());
    }

    #[test]
    fn credentials_follow_submodules_to_their_own_host_only() {
        let shown = |parent: &Remote, url| format!("{:?}", parent.submodule(url).map(|remote| remote.credential));
        let http = Remote::new("https://h/x", Credential::basic("u", "p")).unwrap();
        assert_eq!(shown(&http, "https://h/y"), "Ok(Credential(basic))");
        assert_eq!(shown(&http, "https://h:8443/y"), "Ok(Credential(none))");
        assert_eq!(shown(&http, "http://h/y"), "Ok(Credential(none))");
        assert!(shown(&http, "ssh://git@h/y").contains("NoKey"));
        let data = [("identity", "K"), ("known_hosts", "h k")]
            .map(|(key, value)| (key.to_owned(), k8s_openapi::ByteString(value.into())));
        let url = Url::parse("ssh://git@h/x").unwrap();
        let key = Credential::from_secret((&url, Transport::Ssh), &data.into()).unwrap();
        let ssh = Remote::new("ssh://git@h/x", key).unwrap();
        assert_eq!(shown(&ssh, "ssh://git@other/y"), "Ok(Credential(ssh))");
        assert_eq!(shown(&ssh, "https://h/y"), "Ok(Credential(none))");
    }

    #[test]
    fn ssh_defaults_to_the_user_git() {
        assert_eq!(remote("ssh://host:2222/x.git").unwrap().url(), "ssh://git@host:2222/x.git");
    }
}
