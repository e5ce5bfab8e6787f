//! Objects of a store that speaks the S3 protocol: listed and fetched, signed or anonymously.

use std::io;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::header::{ETAG, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use rusty_s3::actions::{GetObject, ListObjectsV2};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use tokio::io::AsyncWriteExt as _;
use url::Url;

use crate::answer::{self, Unread};
use crate::cause;

/// How long a signed address is good for: until it is used, and for a clock that is a little off.
const SIGNED_FOR: Duration = Duration::from_mins(15);
/// The most that one page of a listing may be, in bytes: a page has up to 1,000 keys.
const MAX_PAGE: usize = 8 * 1024 * 1024;
/// The most that is read of an error's text, in bytes.
const MAX_ERROR: usize = 64 * 1024;
/// The region of a store that names none.
const DEFAULT_REGION: &str = "us-east-1";
/// Stores that are addressed by `<bucket>.<endpoint>`; all others by `<endpoint>/<bucket>`.
const VIRTUAL_HOSTS: [&str; 4] = ["amazonaws.com", "amazonaws.com.cn", "storage.googleapis.com", "aliyuncs.com"];

/// Why objects cannot be listed or fetched.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// There is no such bucket.
    #[error("bucket '{0}' not found")]
    NoBucket(String),
    /// The store could not be reached, or the transfer broke.
    #[error("{what}: cannot reach '{host}': {reason}")]
    Transfer {
        /// What was tried.
        what: String,
        /// The store.
        host: String,
        /// What went wrong, innermost first.
        reason: String,
    },
    /// The store refused.
    #[error("{what}: the store answered {status}{told}")]
    Answer {
        /// What was tried.
        what: String,
        /// The status of the answer.
        status: u16,
        /// `Code` and `Message` of the answer, if any, in words.
        told: String,
    },
    /// The store's answer is not one of S3.
    #[error("{what}: the answer is not one of an S3 compatible store: {reason}")]
    Malformed {
        /// What was tried.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The object cannot be written.
    #[error("{what}: {source}")]
    Write {
        /// What was tried.
        what: String,
        /// What the operating system says.
        source: io::Error,
    },
}

impl S3Error {
    /// Whether other credentials may help.
    pub fn is_authentication(&self) -> bool {
        matches!(self, Self::Answer { status: 401 | 403, .. })
    }

    /// Whether no space was left.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Write { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// Where a bucket is.
#[derive(Clone, Debug)]
pub struct Place {
    endpoint: Url,
    bucket: String,
    region: Option<String>,
}

impl Place {
    /// Reads `spec.endpoint` (host, and port if need be), `spec.bucketName` and `spec.region`. The
    /// error says what is wrong with the endpoint or the name.
    pub fn new(endpoint: &str, insecure: bool, bucket: &str, region: Option<&str>) -> Result<Self, String> {
        // Where a login was put in front of the host, only the host is told.
        let shown = endpoint.rsplit('@').next().unwrap_or_default();
        let wrong = |why: &str| Err(format!("invalid endpoint '{shown}': {why}"));
        if endpoint.contains("://") {
            return wrong("it must be a host or host:port, without a scheme; 'insecure: true' asks for plain HTTP");
        }
        let scheme = if insecure { "http" } else { "https" };
        let Ok(url) = Url::parse(&format!("{scheme}://{endpoint}")) else {
            return wrong("it must be a host or host:port");
        };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || url.username() != "" {
            return wrong("it must be a host or host:port, with nothing behind it");
        }
        if bucket.is_empty() || bucket.contains(['/', '?', '#']) {
            return Err(format!("invalid bucket name '{bucket}'"));
        }
        let region = region.filter(|region| !region.is_empty()).map(str::to_owned);
        Ok(Self { endpoint: url, bucket: bucket.to_owned(), region })
    }

    fn host(&self) -> &str {
        self.endpoint.host_str().unwrap_or_default()
    }

    /// Amazon's own endpoints say which region they are of.
    fn presumed_region(&self) -> &str {
        let named = self.host().strip_prefix("s3.").and_then(|rest| rest.split_once(".amazonaws.com"));
        let named = named.map(|(region, _)| region.trim_start_matches("dualstack."));
        self.region.as_deref().or(named.filter(|region| !region.is_empty())).unwrap_or(DEFAULT_REGION)
    }

    fn style(&self) -> UrlStyle {
        let by_name = VIRTUAL_HOSTS.iter().any(|host| self.host().ends_with(host));
        // A certificate for `*.host` does not vouch for a name with a dot in it.
        let fits = !self.bucket.contains('.') || self.endpoint.scheme() == "http";
        if by_name && fits { UrlStyle::VirtualHost } else { UrlStyle::Path }
    }

    fn bucket(&self, region: &str) -> Result<Bucket, String> {
        Bucket::new(self.endpoint.clone(), self.style(), self.bucket.clone(), region.to_owned())
            .map_err(|error| format!("invalid endpoint or bucket name: {error}"))
    }
}

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A page of a listing.
pub struct Page {
    /// The objects on it.
    pub objects: Vec<Listed>,
    /// Where the next one begins; none on the last.
    pub next: Option<String>,
}

/// A bucket, with what it takes to look into it.
pub struct S3 {
    client: Client,
    place: Place,
    bucket: Bucket,
    credentials: Option<Credentials>,
}

impl S3 {
    /// For a bucket; anonymous without credentials.
    pub fn new(client: Client, place: Place, credentials: Option<Credentials>) -> Result<Self, String> {
        let bucket = place.bucket(place.presumed_region())?;
        Ok(Self { client, place, bucket, credentials })
    }

    /// A page of the listing of all keys that begin with `prefix`. Where the spec names no region,
    /// the one that the store tells is used from then on.
    pub async fn list(&mut self, prefix: Option<&str>, from: Option<&str>) -> Result<Page, S3Error> {
        let what = format!("indexation of objects from bucket '{}' failed", self.place.bucket);
        let mut response = self.send(&what, &self.list_url(prefix, from)).await?;
        if !response.status().is_success()
            && let Some(region) = self.other_region(&response)
        {
            self.bucket = self.place.bucket(&region).map_err(|reason| malformed(&what, reason))?;
            response = self.send(&what, &self.list_url(prefix, from)).await?;
        }
        if !response.status().is_success() {
            return Err(self.refusal(what, response).await);
        }
        let text = self.text(&what, response, MAX_PAGE).await?;
        let page = ListObjectsV2::parse_response(&text).map_err(|error| malformed(&what, error.to_string()))?;
        let objects = page.contents.into_iter().map(|object| Listed {
            key: object.key,
            etag: unquoted(object.etag.as_deref().unwrap_or_default()).to_owned(),
            size: object.size.unwrap_or(0),
        });
        Ok(Page { objects: objects.collect(), next: page.next_continuation_token })
    }

    /// Writes an object into a new file and gives its entity tag; none when there is no such object.
    pub async fn fetch(&self, key: &str, file: &Path, limit: u64) -> Result<Option<String>, S3Error> {
        let what = format!("failed to get '{key}' object");
        let url = GetObject::new(&self.bucket, self.credentials.as_ref(), key).sign(SIGNED_FOR);
        let response = self.send(&what, &url).await?;
        if !response.status().is_success() {
            return match self.refusal(what, response).await {
                S3Error::Answer { status: 404, .. } => Ok(None),
                refused => Err(refused),
            };
        }
        let etag =
            response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).map(|etag| unquoted(etag).to_owned());
        let failed = |source| S3Error::Write { what: what.clone(), source };
        let mut out = tokio::fs::File::create_new(file).await.map_err(failed)?;
        let mut chunks = response.bytes_stream();
        let mut size = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| self.broken(&what, &error))?;
            size += chunk.len() as u64;
            if size > limit {
                return Err(malformed(&what, format!("it is larger than {limit} bytes")));
            }
            out.write_all(&chunk).await.map_err(failed)?;
        }
        out.flush().await.map_err(failed)?;
        Ok(Some(etag.unwrap_or_default()))
    }

    fn list_url(&self, prefix: Option<&str>, from: Option<&str>) -> Url {
        let mut list = ListObjectsV2::new(&self.bucket, self.credentials.as_ref());
        if let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) {
            list.with_prefix(prefix);
        }
        if let Some(from) = from {
            list.with_continuation_token(from);
        }
        list.sign(SIGNED_FOR)
    }

    async fn send(&self, what: &str, url: &Url) -> Result<Response, S3Error> {
        self.client.get(url.clone()).send().await.map_err(|error| self.broken(what, &error))
    }

    fn broken(&self, what: &str, error: &reqwest::Error) -> S3Error {
        let host = self.place.endpoint.authority().to_owned();
        S3Error::Transfer { what: what.to_owned(), host, reason: cause::of_request(error) }
    }

    /// The region that the store names, where it is another one and the spec leaves that open.
    fn other_region(&self, response: &Response) -> Option<String> {
        let told = response.headers().get("x-amz-bucket-region").map(HeaderValue::to_str)?.ok()?;
        (self.place.region.is_none() && told != self.bucket.region()).then(|| told.to_owned())
    }

    async fn refusal(&self, what: String, response: Response) -> S3Error {
        let status = response.status();
        let text = self.text(&what, response, MAX_ERROR).await.unwrap_or_default();
        let code = element(&text, "Code");
        if status == StatusCode::NOT_FOUND && code == Some("NoSuchBucket") {
            return S3Error::NoBucket(self.place.bucket.clone());
        }
        let parts = [code, element(&text, "Message")].into_iter().flatten();
        let told = parts.fold(String::new(), |told, part| format!("{told}: {part}"));
        S3Error::Answer { what, status: status.as_u16(), told: crate::redact::redact(&told).into_owned() }
    }

    async fn text(&self, what: &str, response: Response, limit: usize) -> Result<String, S3Error> {
        let bytes = answer::read(response, limit).await.map_err(|unread| match unread {
            Unread::Broken(error) => self.broken(what, &error),
            Unread::TooLarge => malformed(what, format!("it is larger than {limit} bytes")),
        })?;
        String::from_utf8(bytes).map_err(|_| malformed(what, "it is not UTF-8 text".to_owned()))
    }
}

fn malformed(what: &str, reason: String) -> S3Error {
    S3Error::Malformed { what: what.to_owned(), reason }
}

fn unquoted(etag: &str) -> &str {
    let etag = etag.strip_prefix('"').unwrap_or(etag);
    etag.strip_suffix('"').unwrap_or(etag)
}

/// The text of the first element of this name. An error's words are shown, never acted on beyond
/// its code, so that no more of XML is needed, and an HTML page harms nothing.
fn element<'t>(xml: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once('<')?;
    Some(text.trim()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
