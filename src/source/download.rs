//! Downloads from a Helm repository over HTTP(S): with its credentials, bounded in size, and
//! without a second transfer of what has not changed.

mod inflate;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::ByteString;
use reqwest::header::{
    ACCEPT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use url::Url;
use zeroize::Zeroizing;

use self::inflate::Inflate;
use super::digest::hex;
use super::proofs::Proof;
use crate::answer::{self, Unread};
use crate::cause;
use crate::redact::redact;

/// Why a download failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    /// The Secret gives no usable credentials.
    #[error("{0}")]
    Credentials(String),
    /// The server wants other credentials.
    #[error("'{url}' answered {status}: the credentials are missing or wrong")]
    Unauthorized {
        /// What was asked for, without credentials.
        url: String,
        /// The status of the answer.
        status: u16,
    },
    /// The server answered with another status than 200.
    #[error("'{url}' answered {status}")]
    Status {
        /// What was asked for, without credentials.
        url: String,
        /// The status of the answer.
        status: u16,
    },
    /// The server could not be reached, or the transfer broke.
    #[error("cannot download '{url}': {reason}")]
    Transfer {
        /// What was asked for, without credentials.
        url: String,
        /// What went wrong, innermost first.
        reason: String,
    },
    /// The answer is larger than allowed.
    #[error("'{url}' is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for, without credentials.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// What was sent cannot be written to disk.
    #[error("the download cannot be written: {0}")]
    Write(io::ErrorKind),
}

impl DownloadError {
    /// Whether no space was left.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Write(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Whether other credentials may help.
    pub fn is_authentication(&self) -> bool {
        matches!(self, Self::Credentials(_) | Self::Unauthorized { .. })
    }
}

/// The parts of Secrets that a repository's downloads need.
#[derive(Default)]
pub struct Access {
    login: Option<(Zeroizing<String>, Zeroizing<String>)>,
    tls: Tls,
    pass_credentials: bool,
    /// Stands for what the Secrets hold.
    proof: Proof,
}

/// The data of a Secret.
pub type SecretData = BTreeMap<String, ByteString>;

/// A value of a Secret; an empty one counts as none.
pub fn value<'d>(data: &'d SecretData, key: &str) -> Option<&'d [u8]> {
    data.get(key).map(|value| value.0.as_slice()).filter(|value| !value.is_empty())
}

/// Whom to trust, and who to be.
#[derive(Default)]
pub struct Tls {
    /// Authorities that are trusted besides the system's.
    pub authority: Vec<Certificate>,
    /// The certificate to show.
    pub identity: Option<Identity>,
}

/// The texts in PEM that a Secret with certificates holds, under their names or under older ones.
#[derive(Clone, Copy, Default)]
pub struct TlsTexts<'d> {
    /// Authorities to trust.
    pub authority: Option<&'d [u8]>,
    /// The certificate to show.
    pub certificate: Option<&'d [u8]>,
    /// Its key.
    pub key: Option<&'d [u8]>,
}

impl<'d> TlsTexts<'d> {
    /// Of a Secret.
    pub fn of(data: &'d SecretData) -> Self {
        let either = |name: &str, older: &str| value(data, name).or_else(|| value(data, older));
        Self {
            authority: either("ca.crt", "caFile"),
            certificate: either("tls.crt", "certFile"),
            key: either("tls.key", "keyFile"),
        }
    }
}

impl Tls {
    /// Reads `ca.crt`, `tls.crt` and `tls.key`.
    pub fn read(data: &SecretData) -> Result<Self, DownloadError> {
        let bad = |message: &str| DownloadError::Credentials(message.to_owned());
        let mut tls = Self::default();
        let texts = TlsTexts::of(data);
        if let Some(authority) = texts.authority {
            tls.authority =
                Certificate::from_pem_bundle(authority).map_err(|_| bad("'ca.crt' holds no PEM certificates"))?;
        }
        tls.identity = match (texts.certificate, texts.key) {
            (Some(certificate), Some(key)) => {
                let pem = Zeroizing::new([certificate, b"\n", key].concat());
                Some(Identity::from_pem(&pem).map_err(|_| bad("'tls.crt' and 'tls.key' are no PEM key pair"))?)
            }
            (None, None) => None,
            _ => return Err(bad("'tls.crt' and 'tls.key' must be given together")),
        };
        Ok(tls)
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.authority.is_empty() && self.identity.is_none()
    }

    /// Lets a client trust the authority and show the certificate.
    pub fn secure(self, builder: ClientBuilder) -> ClientBuilder {
        let builder = builder.tls_certs_merge(self.authority);
        match self.identity {
            Some(identity) => builder.identity(identity),
            None => builder,
        }
    }
}

impl Access {
    /// Reads `secretRef` (`username`, `password`, and TLS keys as long as `certSecretRef` has
    /// none) and `certSecretRef` (`ca.crt`, `tls.crt`, `tls.key`).
    pub fn read(
        secret: Option<&SecretData>,
        certificates: Option<&SecretData>,
        pass_credentials: bool,
    ) -> Result<Self, DownloadError> {
        let bad = |message: &str| DownloadError::Credentials(message.to_owned());
        let text = |key: &str, bytes: &[u8]| {
            let text =
                std::str::from_utf8(bytes).map_err(|_| bad(&format!("the value of '{key}' is not UTF-8 text")))?;
            Ok::<_, DownloadError>(Zeroizing::new(text.to_owned()))
        };
        let mut access = Self { pass_credentials, proof: proof_of([secret, certificates]), ..Self::default() };
        if let Some(secret) = secret {
            access.login = match (value(secret, "username"), value(secret, "password")) {
                (Some(username), Some(password)) => Some((text("username", username)?, text("password", password)?)),
                // Both keys make a Secret whole, whatever they hold; half a login is sent by nobody.
                _ if secret.contains_key("username") == secret.contains_key("password") => None,
                _ => return Err(bad("'username' and 'password' must be given together")),
            };
        }
        if let Some(tls) = certificates.or(secret) {
            access.tls = Tls::read(tls)?;
        }
        Ok(access)
    }
}

/// Stands for what Secrets hold.
fn proof_of(secrets: [Option<&SecretData>; 2]) -> Proof {
    let proof = |secret: &SecretData| {
        Proof::of(secret.iter().flat_map(|(key, ByteString(value))| [key.as_bytes(), value.as_slice()]))
    };
    let [login, certificates] = secrets.map(|secret| secret.map_or_else(|| Proof::of([]), proof));
    Proof::of([login.as_bytes(), certificates.as_bytes()])
}

/// What a server said about the age of what it sent; sent back, it saves a transfer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        let header = |name: HeaderName| headers.get(name).cloned();
        Self { etag: header(ETAG), last_modified: header(LAST_MODIFIED) }
    }
}

/// An answer.
#[derive(Debug)]
pub enum Download<T = Vec<u8>> {
    /// Nothing changed since the validators.
    Unchanged,
    /// The bytes, or what is said of them, and the validators for the next time.
    New(T, Validators),
}

/// Downloads from one repository.
pub struct Downloader {
    client: Client,
    access: Access,
    repository: Url,
}

impl Downloader {
    /// For the repository at this URL; each download may take up to `timeout`.
    pub fn new(repository: Url, mut access: Access, timeout: Duration) -> Result<Self, DownloadError> {
        let tls = std::mem::take(&mut access.tls);
        // A package has to stay what its digest says, also where a server takes its own compression
        // for one of the transfer.
        let client = tls.secure(Client::builder().timeout(timeout).no_gzip()).build();
        let client = client.map_err(|error| DownloadError::Credentials(error.to_string()))?;
        Ok(Self { client, access, repository })
    }

    /// Stands for the repository and for who asks it: another may send another index.
    pub fn origin(&self) -> Proof {
        Proof::of([self.access.proof.as_bytes(), self.repository.as_str().as_bytes()])
    }

    /// The bytes at a URL, `limit` of them at the most. Credentials go to the repository's own
    /// host only, unless `passCredentials` says otherwise.
    pub async fn get(&self, url: &Url, limit: usize, known: Option<&Validators>) -> Result<Download, DownloadError> {
        let Some(response) = self.ask(url, known, false).await? else { return Ok(Download::Unchanged) };
        let validators = Validators::of(response.headers());
        let bytes = answer::read(response, limit).await.map_err(|unread| match unread {
            Unread::Broken(error) => broken(url, &error),
            Unread::TooLarge => DownloadError::TooLarge { url: shown(url), limit },
        })?;
        Ok(Download::New(bytes, validators))
    }

    /// As [`Downloader::get`], into a new file, never whole in memory; gives the bytes' SHA-256 in
    /// hexadecimal.
    pub async fn save(
        &self,
        url: &Url,
        file: &Path,
        limit: usize,
        known: Option<&Validators>,
    ) -> Result<Download<String>, DownloadError> {
        let Some(response) = self.ask(url, known, false).await? else { return Ok(Download::Unchanged) };
        write(url, response, Inflate::nothing(), file, limit).await
    }

    /// As [`Downloader::save`], of a text that may be compressed for the way.
    pub async fn save_text(
        &self,
        url: &Url,
        file: &Path,
        limit: usize,
        known: Option<&Validators>,
    ) -> Result<Download<String>, DownloadError> {
        let Some(response) = self.ask(url, known, true).await? else { return Ok(Download::Unchanged) };
        let inflate = Inflate::of(response.headers());
        write(url, response, inflate, file, limit).await
    }

    /// The answer, unless nothing has changed.
    async fn ask(
        &self,
        url: &Url,
        known: Option<&Validators>,
        compressed: bool,
    ) -> Result<Option<Response>, DownloadError> {
        let mut request = self.client.get(url.clone());
        if compressed {
            request = request.header(ACCEPT_ENCODING, "gzip");
        }
        let same_host = url.scheme() == self.repository.scheme()
            && url.host_str() == self.repository.host_str()
            && url.port_or_known_default() == self.repository.port_or_known_default();
        if let Some((username, password)) =
            self.access.login.as_ref().filter(|_| same_host || self.access.pass_credentials)
        {
            request = request.basic_auth(username.as_str(), Some(password.as_str()));
        }
        if let Some(Validators { etag, last_modified }) = known {
            let fields = [(IF_NONE_MATCH, etag), (IF_MODIFIED_SINCE, last_modified)];
            for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))) {
                request = request.header(name, value);
            }
        }
        let response = request.send().await.map_err(|error| broken(url, &error))?;
        match response.status() {
            StatusCode::NOT_MODIFIED if known.is_some() => Ok(None),
            StatusCode::OK => Ok(Some(response)),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(DownloadError::Unauthorized { url: shown(url), status: status.as_u16() })
            }
            status => Err(DownloadError::Status { url: shown(url), status: status.as_u16() }),
        }
    }
}

/// Writes the plain bytes of an answer into a new file.
async fn write(
    url: &Url,
    response: Response,
    mut inflate: Inflate,
    file: &Path,
    limit: usize,
) -> Result<Download<String>, DownloadError> {
    let validators = Validators::of(response.headers());
    let failed = |error: io::Error| DownloadError::Write(error.kind());
    let damaged = |error: io::Error| {
        let reason = format!("what was sent compressed is damaged: {error}");
        DownloadError::Transfer { url: shown(url), reason }
    };
    let mut out = File::create_new(file).await.map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut admit = |plain: &[u8]| {
        size += plain.len();
        hasher.update(plain);
        if size > limit { Err(DownloadError::TooLarge { url: shown(url), limit }) } else { Ok(()) }
    };
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| broken(url, &error))?;
        for piece in chunk.chunks(inflate.piece()) {
            let plain = inflate.plain(piece).map_err(damaged)?;
            admit(&plain)?;
            out.write_all(&plain).await.map_err(failed)?;
        }
    }
    let rest = inflate.rest().map_err(damaged)?;
    admit(&rest)?;
    out.write_all(&rest).await.map_err(failed)?;
    out.flush().await.map_err(failed)?;
    Ok(Download::New(hex(&hasher.finalize()), validators))
}

fn broken(url: &Url, error: &reqwest::Error) -> DownloadError {
    DownloadError::Transfer { url: shown(url), reason: cause::of_request(error) }
}

/// The URL without credentials and without its query, which may hold a token.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    redact(url.as_str()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> SecretData {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect()
    }

    #[test]
    fn incomplete_secrets_say_what_is_missing() {
        for (pairs, needle) in [
            (vec![("username", "u")], "'password'"),
            (vec![("tls.crt", "x")], "'tls.key'"),
            (vec![("tls.crt", "x"), ("tls.key", "y")], "no PEM key pair"),
        ] {
            let error = Access::read(Some(&data(&pairs)), None, false).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(needle) && error.is_authentication(), "{error}");
        }
        assert!(Access::read(None, None, false).is_ok());
        for pairs in [[("username", "token"), ("password", "")], [("username", ""), ("password", "")]] {
            assert!(Access::read(Some(&data(&pairs)), None, false).unwrap().login.is_none());
        }
    }

    #[test]
    fn another_url_or_login_is_another_origin() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let origin = |url: &str, secret: &[(&str, &str)], certificates: Option<&SecretData>| {
            let access = Access::read(Some(&data(secret)), certificates, false).unwrap();
            Downloader::new(Url::parse(url).unwrap(), access, Duration::from_secs(5)).unwrap().origin()
        };
        let (login, other) = ([("username", "a"), ("password", "b")], [("username", "a"), ("password", "c")]);
        let none = data(&[]);
        let all = [
            origin("http://a/", &login, None),
            origin("http://b/", &login, None),
            origin("http://a/", &other, None),
            origin("http://a/", &[], None),
            origin("http://a/", &login, Some(&data(&[("ignored", "x")]))),
        ];
        assert_eq!(all.iter().map(Proof::as_bytes).collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert_eq!(origin("http://a/", &login, Some(&none)), origin("http://a/", &login, None));
    }

    #[tokio::test]
    async fn credentials_stay_with_their_host_and_unchanged_costs_nothing() {
        use axum::routing::get;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answer = |headers: HeaderMap| async move {
            if headers.contains_key(IF_NONE_MATCH) {
                return (StatusCode::NOT_MODIFIED, [(ETAG, "\"1\"")], String::new());
            }
            let login = headers.get("authorization").is_some();
            (StatusCode::OK, [(ETAG, "\"1\"")], format!("login: {login}"))
        };
        let serve = async || {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = Url::parse(&format!("http://{}/index.yaml", listener.local_addr().unwrap())).unwrap();
            let routes = axum::Router::new().route("/index.yaml", get(answer));
            tokio::spawn(async move { axum::serve(listener, routes).await });
            url
        };
        let (own, other) = (serve().await, serve().await);
        let secret = data(&[("username", "u"), ("password", "hunter2")]);
        let downloader = |pass| {
            let access = Access::read(Some(&secret), None, pass).unwrap();
            Downloader::new(own.clone(), access, Duration::from_secs(5)).unwrap()
        };
        for (url, pass, expected) in [(&own, false, true), (&other, false, false), (&other, true, true)] {
            let Download::New(bytes, validators) = downloader(pass).get(url, 100, None).await.unwrap() else {
                panic!()
            };
            assert_eq!(String::from_utf8(bytes).unwrap(), format!("login: {expected}"));
            let again = downloader(pass).get(url, 100, Some(&validators)).await.unwrap();
            assert!(matches!(again, Download::Unchanged));
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("index.yaml");
        let Download::New(digest, _) = downloader(false).save(&own, &file, 100, None).await.unwrap() else { panic!() };
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "login: true");
        assert_eq!(digest, crate::source::digest::sha256(b"login: true"));
        let error = downloader(false).save(&own, &dir.path().join("other"), 3, None).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, DownloadError::TooLarge { .. }));
        let error = downloader(false).save(&own, &dir.path().join("none/x"), 100, None).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, DownloadError::Write(_)));
        let error = downloader(false).get(&own, 3, None).await.unwrap_err();
        assert!(matches!(error, DownloadError::TooLarge { .. }));
        let missing = own.join("/nothing").unwrap();
        let error = downloader(false).get(&missing, 3, None).await.unwrap_err();
        assert!(error.to_string().ends_with("answered 404"), "{error}");
    }
}
