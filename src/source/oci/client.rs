//! One repository of a registry, over HTTP: bounded in memory, and nothing taken that does not
//! have the digest it was asked for by.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, LINK};
use reqwest::{Client, Method, Response, StatusCode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Mutex, OnceCell};
use url::Url;
use zeroize::Zeroizing;

use super::super::digest::hex;
use super::super::download::Tls;
use super::authorization::{self, Challenge};
use super::credentials::Login;
use super::error::OciError;
use super::manifest::{ACCEPTED, Descriptor, Document, Manifest};
use super::reference::{Digest, Reference, Repository};
use crate::answer::{self, Unread};
use crate::cause;
use crate::proxy::Proxy;
use crate::redact::{bounded, redact};

/// The most that a manifest, a page of tags or a token may be, in bytes.
const MAX_DOCUMENT: usize = 4 * 1024 * 1024;
/// The most tags that are looked at.
const MAX_TAGS: usize = 100_000;
/// Tags asked for at a time.
const PAGE: &str = "n=1000";
/// How long a registry may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most of a registry's own words in an error, in bytes.
const MAX_SAID: usize = 300;
/// Header that names the digest of a manifest.
const DIGEST_HEADER: &str = "docker-content-digest";

/// How a registry is reached.
#[derive(Default)]
pub struct Transport {
    /// Whom to trust and who to be; the system's certificates are trusted as well.
    pub tls: Tls,
    /// The proxy to use; the environment's when there is none.
    pub proxy: Option<Proxy>,
    /// Whether plain HTTP will do, and, unless `tls` says whom to trust, any certificate.
    pub insecure: bool,
}

/// A repository of a registry, with a login.
pub struct Registry {
    client: Client,
    repository: Repository,
    login: Option<Login>,
    insecure: bool,
    base: OnceCell<Url>,
    authorization: Mutex<Option<HeaderValue>>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Registry {
    /// Connects to nothing yet.
    pub fn new(repository: Repository, login: Option<Login>, transport: Transport) -> Result<Self, OciError> {
        let Transport { tls, proxy, insecure } = transport;
        let any_certificate = insecure && tls.authority.is_empty();
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .no_gzip()
            .https_only(!insecure)
            .tls_danger_accept_invalid_certs(any_certificate)
            .tls_certs_merge(tls.authority);
        if let Some(identity) = tls.identity {
            builder = builder.identity(identity);
        }
        let unusable = |error: reqwest::Error| OciError::Credentials(cause::of_request(&error));
        if let Some(proxy) = proxy {
            builder = builder.proxy(proxy.for_client().map_err(unusable)?);
        }
        let client = builder.build().map_err(unusable)?;
        let (base, authorization) = (OnceCell::new(), Mutex::new(None));
        Ok(Self { client, repository, login, insecure, base, authorization })
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The digest of what a reference names at the moment.
    pub async fn digest(&self, reference: &Reference) -> Result<Digest, OciError> {
        let tag = match reference {
            Reference::Digest(digest) => return Ok(digest.clone()),
            Reference::Tag(tag) => tag,
        };
        let path = format!("manifests/{tag}");
        if let Ok(head) = self.send(Method::HEAD, &path).await
            && head.status() == StatusCode::OK
            && let Some(digest) = digest_header(head.headers())
        {
            return Ok(digest);
        }
        // A registry that does not answer HEAD, or not with a digest; or it says why now.
        let what = format!("{}:{tag}", self.repository);
        let response = self.send(Method::GET, &path).await?;
        let bytes = read(checked(response, &what).await?, MAX_DOCUMENT, &what).await?;
        Ok(Digest::of(&bytes))
    }

    /// The manifest with this digest; of an index, the one for this platform.
    pub async fn manifest(&self, digest: &Digest) -> Result<Manifest, OciError> {
        let malformed = |reason: String| OciError::Malformed { what: format!("{}@{digest}", self.repository), reason };
        match self.document(digest).await?.map_err(malformed)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(chosen) => match self.document(&chosen).await?.map_err(malformed)? {
                Document::Manifest(manifest) => Ok(manifest),
                Document::Index(_) => Err(malformed("an index in an index".to_owned())),
            },
        }
    }

    async fn document(&self, digest: &Digest) -> Result<Result<Document, String>, OciError> {
        let what = format!("{}@{digest}", self.repository);
        let response = self.send(Method::GET, &format!("manifests/{digest}")).await?;
        let bytes = read(checked(response, &what).await?, MAX_DOCUMENT, &what).await?;
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(OciError::Mismatch { what, actual: actual.to_string(), expected: digest.clone() });
        }
        Ok(Document::parse(&bytes))
    }

    /// All tags of the repository.
    pub async fn tags(&self) -> Result<Vec<String>, OciError> {
        let what = format!("{}: tags", self.repository);
        let malformed = |reason: String| OciError::Malformed { what: what.clone(), reason };
        let mut tags = Vec::new();
        let mut next = Some(self.url(&format!("tags/list?{PAGE}")).await?);
        while let Some(url) = next {
            let response = checked(self.send_to(Method::GET, url.clone()).await?, &what).await?;
            next = next_page(&url, response.headers()).map_err(malformed)?;
            let bytes = read(response, MAX_DOCUMENT, &what).await?;
            let page: Tags = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
            let page = page.tags.unwrap_or_default();
            if page.is_empty() {
                break;
            }
            tags.extend(page);
            if tags.len() > MAX_TAGS {
                return Err(malformed(format!("more than {MAX_TAGS} tags: name one by 'tag' or 'digest'")));
            }
        }
        Ok(tags)
    }

    /// Writes a layer of at most `limit` bytes to `out`.
    pub async fn layer(
        &self,
        layer: &Descriptor,
        limit: u64,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), OciError> {
        let what = format!("{}@{}", self.repository, layer.digest);
        let expected = Digest::parse(&layer.digest)?;
        let too_large = || OciError::TooLarge { what: what.clone(), limit };
        if layer.size > limit {
            return Err(too_large());
        }
        let response = checked(self.send(Method::GET, &format!("blobs/{expected}")).await?, &what).await?;
        let (mut hasher, mut size) = (Sha256::new(), 0);
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| broken(&what, &error))?;
            size += chunk.len() as u64;
            if size > limit {
                return Err(too_large());
            }
            hasher.update(&chunk);
            out.write_all(&chunk).await.map_err(|error| OciError::Disk(error.to_string()))?;
        }
        out.flush().await.map_err(|error| OciError::Disk(error.to_string()))?;
        let actual = format!("sha256:{}", hex(&hasher.finalize()));
        if actual == expected.as_str() { Ok(()) } else { Err(OciError::Mismatch { what, actual, expected }) }
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response, OciError> {
        let url = self.url(path).await?;
        self.send_to(method, url).await
    }

    /// Sends a request, and, when the registry asks who is there, once more with an answer to that.
    async fn send_to(&self, method: Method, url: Url) -> Result<Response, OciError> {
        let what = shown(&url);
        for first in [true, false] {
            let mut request = self.client.request(method.clone(), url.clone()).header(ACCEPT, ACCEPTED);
            if let Some(header) = self.authorization.lock().await.clone() {
                request = request.header("authorization", header);
            }
            let response = request.send().await.map_err(|error| broken(&what, &error))?;
            if response.status() == StatusCode::UNAUTHORIZED && first {
                let header = self.authorize(response.headers(), &what).await?;
                *self.authorization.lock().await = header;
                continue;
            }
            return Ok(response);
        }
        unreachable!("the second answer is returned whatever it is")
    }

    /// What to send along after a challenge.
    async fn authorize(&self, headers: &HeaderMap, what: &str) -> Result<Option<HeaderValue>, OciError> {
        let refused =
            |said: String| OciError::Unauthorized { what: what.to_owned(), status: 401, said: format!(": {said}") };
        if let Some(Login::Bearer(token)) = &self.login {
            return Ok(authorization::bearer(token));
        }
        match Challenge::read(headers).map_err(refused)? {
            Challenge::Basic => match &self.login {
                Some(Login::Password(username, password)) => Ok(authorization::basic(username, password)),
                _ => Err(refused("it asks for a user name and a password, and there are none for it".to_owned())),
            },
            Challenge::Bearer { realm, service } => {
                let scope = format!("repository:{}:pull", self.repository.path());
                let login = self.login.as_ref();
                let request = authorization::token_request(&self.client, &realm, service.as_deref(), &scope, login);
                let what = shown(&realm);
                let response = self.client.execute(request.map_err(|error| broken(&what, &error))?).await;
                let response = checked(response.map_err(|error| broken(&what, &error))?, &what).await?;
                let answer = Zeroizing::new(read(response, MAX_DOCUMENT, &what).await?);
                let token = authorization::token_of(&answer);
                let token =
                    token.ok_or_else(|| OciError::Malformed { what, reason: "it holds no token".to_owned() })?;
                Ok(authorization::bearer(&token))
            }
        }
    }

    async fn url(&self, path: &str) -> Result<Url, OciError> {
        let base = self.base.get_or_init(|| self.base()).await;
        let whole = format!("v2/{}/{path}", self.repository.path());
        base.join(&whole).map_err(|error| OciError::Malformed { what: whole, reason: error.to_string() })
    }

    /// HTTPS; where plain HTTP will do as well, whichever the registry speaks.
    async fn base(&self) -> Url {
        let at = |scheme: &str| Url::parse(&format!("{scheme}://{}/", self.repository.host()));
        let https = at("https").expect("the host was read as part of a URL");
        if !self.insecure {
            return https;
        }
        let ping = https.join("v2/").expect("a constant path");
        match self.client.get(ping).send().await {
            Err(error) if error.is_connect() => at("http").unwrap_or(https),
            _ => https,
        }
    }
}

fn digest_header(headers: &HeaderMap) -> Option<Digest> {
    Digest::parse(headers.get(DIGEST_HEADER)?.to_str().ok()?).ok()
}

/// The next page of a list, on the same server.
fn next_page(page: &Url, headers: &HeaderMap) -> Result<Option<Url>, String> {
    let Some(link) = headers.get(LINK).and_then(|link| link.to_str().ok()) else { return Ok(None) };
    let Some((target, parameters)) = link.trim_start_matches('<').split_once('>') else { return Ok(None) };
    if !parameters.contains("next") {
        return Ok(None);
    }
    let next = page.join(target).map_err(|error| format!("its next page '{target}' is no URL: {error}"))?;
    if next.origin() != page.origin() {
        return Err(format!("its next page is on another server: '{}'", shown(&next)));
    }
    // One that leads to itself would be read for ever.
    Ok(Some(next).filter(|next| next != page))
}

/// The URL without credentials and without its query, which may hold a token.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    redact(url.as_str()).into_owned()
}

fn broken(what: &str, error: &reqwest::Error) -> OciError {
    OciError::Transfer { what: what.to_owned(), reason: cause::of_request(error) }
}

/// The answer, if it is one.
async fn checked(response: Response, what: &str) -> Result<Response, OciError> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let (what, code) = (what.to_owned(), status.as_u16());
    let said = said(response).await;
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => OciError::Unauthorized { what, status: code, said },
        StatusCode::NOT_FOUND => OciError::NotFound { what, said },
        _ => OciError::Status { what, status: code, said },
    })
}

/// The registry's own words in an answer, after `: `, or nothing.
async fn said(response: Response) -> String {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<Problem>,
    }
    #[derive(Deserialize)]
    struct Problem {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(bytes) = read(response, MAX_DOCUMENT, "").await else { return String::new() };
    let Ok(Answer { errors }) = serde_json::from_slice(&bytes) else { return String::new() };
    let words = errors.first().map(|Problem { code, message }| format!(": {code}: {message}")).unwrap_or_default();
    bounded(&redact(&words), MAX_SAID).into_owned()
}

async fn read(response: Response, limit: usize, what: &str) -> Result<Vec<u8>, OciError> {
    answer::read(response, limit).await.map_err(|unread| match unread {
        Unread::Broken(error) => broken(what, &error),
        Unread::TooLarge => OciError::TooLarge { what: what.to_owned(), limit: limit as u64 },
    })
}

#[cfg(test)]
mod tests;
