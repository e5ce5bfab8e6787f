//! `Bucket`: lists an S3 compatible store, and stores what it holds as an artifact.

pub mod index;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use reqwest::Client;
use reqwest::redirect::Policy;
use rusty_s3::Credentials;
use tempfile::TempDir;

use self::index::{Index, MAX_SIZE, path_of};
use super::archive::ignored::MAX_IGNORE_FILES;
use super::download::{DownloadError, SecretData, Tls};
use super::ignore::{IGNORE_FILE, IgnoreRules};
use super::lifecycle::{self, Stage};
use super::outcome::{Failure, Stored};
use super::s3::{Place, S3, S3Error};
use super::store::ArtifactStore;
use crate::api::condition::{self, reason};
use crate::api::meta::LocalObjectReference;
use crate::api::source::v1::{Bucket, BucketProvider, BucketSpec, BucketStatus};
use crate::api::unsupported;
use crate::controller::wake::by_secrets;
use crate::controller::{Context, Reconciler, Requeue};
use crate::proxy::{Kinds, Proxy};

/// Limit for the listing, and again for the fetching, of an object that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
/// Objects fetched at the same time: each holds a connection and a small buffer.
const FETCHES: usize = 8;

/// Reconciles every `Bucket`.
pub struct BucketController {
    context: Context,
    store: Arc<ArtifactStore>,
}

impl BucketController {
    /// A controller that stores artifacts in `store`.
    pub fn new(context: Context, store: Arc<ArtifactStore>) -> Self {
        Self { context, store }
    }

    /// Buckets one of whose Secrets changed.
    pub fn triggers(&self) -> BoxStream<'static, ObjectRef<Bucket>> {
        by_secrets(&self.context.references, &self.context.caches.buckets, |Bucket { spec, .. }, name| {
            let named = [&spec.secret_ref, &spec.cert_secret_ref, &spec.proxy_secret_ref];
            named.into_iter().flatten().any(|secret| secret.name == name)
        })
    }

    async fn work(&self, object: &Bucket, status: &mut BucketStatus) -> Result<Stored, Failure> {
        let (spec, asked) = (&object.spec, Timestamp::now());
        check_provider(spec)?;
        let place = Place::new(&spec.endpoint, spec.insecure, &spec.bucket_name, spec.region.as_deref())
            .map_err(|why| Failure::terminal(condition::FETCH_FAILED, reason::URL_INVALID, why))?;
        let mut bucket = self.open(object, place).await?;
        let timeout = spec.timeout.map_or(DEFAULT_TIMEOUT, crate::api::meta::Duration::to_std);
        let scratch = self.store.scratch().map_err(|error| lifecycle::storage_failure(&error))?;
        let mut index = within(timeout, list(&mut bucket, spec, scratch.path())).await?;
        let current = status.artifact.as_ref().map(|artifact| artifact.revision.as_str());
        if current != Some(revision(&index).as_str()) {
            within(timeout, fetch(&bucket, &mut index, scratch.path())).await?;
            let before = status.artifact.clone();
            self.put(object, status, &index, &scratch).await?;
            lifecycle::seen(&self.context, object, (before.as_ref(), &revision(&index)), None, asked);
        }
        status.observed_ignore.clone_from(&spec.ignore);
        Ok(stored(spec, &index))
    }

    async fn put(
        &self,
        object: &Bucket,
        status: &mut BucketStatus,
        index: &Index,
        scratch: &TempDir,
    ) -> Result<(), Failure> {
        let file = format!("{}.tar.gz", index.digest());
        let owner = lifecycle::owner_of(object);
        // What is to be left out was not even fetched.
        let rules = IgnoreRules::default();
        let put = self.store.put_directory(&owner, &revision(index), &file, scratch.path(), rules).await;
        let artifact = put.map_err(|error| lifecycle::storage_failure(&error))?;
        status.url = Some(self.store.latest_url(&artifact));
        status.artifact = Some(artifact);
        Ok(())
    }

    /// A client for the bucket, with what the Secrets hold.
    async fn open(&self, object: &Bucket, place: Place) -> Result<S3, Failure> {
        let spec = &object.spec;
        let credentials = match (&spec.secret_ref, self.secret(object, spec.secret_ref.as_ref()).await?) {
            (Some(reference), Some(data)) => credentials(&reference.name, &data).map_err(|error| refused(&error))?,
            _ => None,
        };
        let certificates = self.secret(object, spec.cert_secret_ref.as_ref()).await?;
        // An object is what the store holds, also one that is marked as compressed.
        let mut builder = Client::builder().redirect(Policy::none()).no_gzip();
        if let Some(data) = self.secret(object, spec.proxy_secret_ref.as_ref()).await? {
            builder = builder.proxy(proxy(&data).map_err(|error| refused(&error))?);
        }
        let tls = certificates.as_ref().map_or_else(|| Ok(Tls::default()), Tls::read);
        let client = tls.map_err(|error| refused(&error))?.secure(builder).build();
        let client = client.map_err(|error| refused(&DownloadError::Credentials(error.to_string())))?;
        S3::new(client, place, credentials)
            .map_err(|why| Failure::terminal(condition::FETCH_FAILED, reason::URL_INVALID, why))
    }

    async fn secret(
        &self,
        object: &Bucket,
        reference: Option<&LocalObjectReference>,
    ) -> Result<Option<SecretData>, Failure> {
        let Some(reference) = reference else { return Ok(None) };
        let namespace = object.namespace().unwrap_or_default();
        lifecycle::secret_data(&self.context, &namespace, &reference.name).await.map(Some)
    }
}

impl Reconciler for BucketController {
    type Object = Bucket;

    async fn reconcile(&self, object: Arc<Bucket>) -> Result<Requeue, kube::Error> {
        let object = match lifecycle::begin(&self.context, &self.store, object, |_| {}).await? {
            Stage::Done(requeue) => return Ok(requeue),
            Stage::Work(object) => object,
        };
        let object = object.as_ref();
        let work = async |status: &mut _| self.work(object, status).await;
        let pass = lifecycle::work(&self.context, &self.store, object, work).await;
        let fields = unsupported::bucket(&object.spec);
        let interval = object.spec.interval.to_std();
        lifecycle::end(&self.context, object, pass, &fields, interval).await
    }
}

/// Lists the bucket; its ignore file is fetched on the way and stays where the artifact is made of.
async fn list(bucket: &mut S3, spec: &BucketSpec, into: &Path) -> Result<Index, Failure> {
    let file = into.join(IGNORE_FILE);
    let mut page = bucket.list(spec.prefix.as_deref(), None).await.map_err(|error| failed(&error))?;
    // After the listing, which finds out the region.
    let ignored = bucket.fetch(IGNORE_FILE, &file, MAX_IGNORE_FILES).await.map_err(|error| failed(&error))?;
    let mut files = Vec::new();
    if ignored.is_some() {
        let text = tokio::fs::read(&file).await.map_err(|error| unreadable(&error))?;
        files.push((Vec::new(), String::from_utf8_lossy(&text).into_owned()));
    }
    let rules = IgnoreRules::for_source(&files, spec.ignore.as_deref());
    let mut index = Index::default();
    loop {
        for object in page.objects {
            index.add(object.key, object.etag, object.size, &rules).map_err(|error| operation(error.to_string()))?;
        }
        let Some(next) = page.next else { return Ok(index) };
        page = bucket.list(spec.prefix.as_deref(), Some(&next)).await.map_err(|error| failed(&error))?;
    }
}

/// Fetches every object of the index, and puts the index right where the bucket has changed since.
async fn fetch(bucket: &S3, index: &mut Index, into: &Path) -> Result<(), Failure> {
    let keys: Vec<String> = index.keys().cloned().collect();
    let mut fetches = stream::iter(keys)
        .map(|key| async move {
            let fetched = fetch_one(bucket, &key, into).await;
            fetched.map(|etag| (key, etag))
        })
        .buffer_unordered(FETCHES);
    while let Some(fetched) = fetches.next().await {
        let (key, etag) = fetched?;
        index.correct(&key, etag);
    }
    Ok(())
}

async fn fetch_one(bucket: &S3, key: &str, into: &Path) -> Result<String, Failure> {
    let path = into.join(path_of(key).map_err(|error| operation(error.to_string()))?);
    if let Some(parent) = path.parent() {
        let made = tokio::fs::create_dir_all(parent).await;
        made.map_err(|source| failed(&S3Error::Write { what: format!("failed to get '{key}' object"), source }))?;
    }
    let etag = bucket.fetch(key, &path, MAX_SIZE).await.map_err(|error| failed(&error))?;
    // An artifact without it would have its objects pruned, and nobody knows whether it went for good.
    etag.ok_or_else(|| operation(format!("failed to get '{key}' object: it is listed, and not there any more")))
}

fn revision(index: &Index) -> String {
    format!("sha256:{}", index.digest())
}

async fn within<T>(timeout: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(operation(format!("the bucket could not be read within spec.timeout ({timeout:?})"))),
    }
}

/// The store's own login services are not acted on: without a Secret nobody could log in.
fn check_provider(spec: &BucketSpec) -> Result<(), Failure> {
    let refused = |reason, message: String| Err(Failure::terminal(condition::FETCH_FAILED, reason, message));
    match spec.provider {
        BucketProvider::Gcp | BucketProvider::Azure => refused(
            reason::INVALID_PROVIDER_CONFIGURATION,
            format!(
                "the provider '{}' is not acted on yet; a store with an S3 compatible API works as 'generic'",
                spec.provider
            ),
        ),
        BucketProvider::Aws if spec.secret_ref.is_none() => refused(
            reason::INVALID_PROVIDER_CONFIGURATION,
            "the provider 'aws' is acted on with keys only: give 'accesskey' and 'secretkey' in spec.secretRef"
                .to_owned(),
        ),
        BucketProvider::Generic if spec.sts.is_some() && spec.secret_ref.is_none() => refused(
            reason::NOT_ACTED_ON,
            "spec.sts is not acted on yet: give 'accesskey' and 'secretkey' in spec.secretRef".to_owned(),
        ),
        _ => Ok(()),
    }
}

/// The keys; two empty ones mean anonymous access.
fn credentials(secret: &str, data: &SecretData) -> Result<Option<Credentials>, DownloadError> {
    let text = |key: &str| {
        let bytes = &data.get(key)?.0;
        std::str::from_utf8(bytes).ok().map(str::trim)
    };
    match (text("accesskey"), text("secretkey")) {
        (Some(""), _) | (_, Some("")) => Ok(None),
        (Some(key), Some(secret)) => Ok(Some(Credentials::new(key, secret))),
        _ => Err(DownloadError::Credentials(format!(
            "invalid '{secret}' secret data: required fields 'accesskey' and 'secretkey'"
        ))),
    }
}

fn stored(spec: &BucketSpec, index: &Index) -> Stored {
    Stored {
        reason: reason::SUCCEEDED,
        message: format!("stored artifact: revision '{}'", revision(index)),
        event_reason: reason::NEW_ARTIFACT,
        event: format!("stored artifact with {} fetched files from '{}' bucket", index.len(), spec.bucket_name),
    }
}

fn refused(error: &DownloadError) -> Failure {
    Failure::transient(condition::FETCH_FAILED, reason::AUTHENTICATION_FAILED, error.to_string())
}

fn proxy(data: &SecretData) -> Result<reqwest::Proxy, DownloadError> {
    let wrong = |why: String| DownloadError::Credentials(format!("invalid proxy secret: {why}"));
    let proxy = Proxy::from_secret(data, Kinds::HttpAndSocks).map_err(|error| wrong(error.to_string()))?;
    proxy.for_client().map_err(|_| wrong("the value of 'address' cannot be used".to_owned()))
}

fn operation(message: String) -> Failure {
    Failure::transient(condition::FETCH_FAILED, reason::BUCKET_OPERATION_FAILED, message)
}

fn unreadable(error: &std::io::Error) -> Failure {
    let message = format!("failed to load source ignore patterns from the bucket: {error}");
    Failure::transient(condition::STORAGE_OPERATION_FAILED, reason::SOURCE_IGNORE_ERROR, message)
}

fn failed(error: &S3Error) -> Failure {
    if error.is_disk_full() {
        let message = format!("no space left for the bucket's objects: {error}");
        return Failure::transient(condition::STORAGE_OPERATION_FAILED, reason::DIR_CREATION_FAILED, message);
    }
    if error.is_authentication() {
        return Failure::transient(condition::FETCH_FAILED, reason::AUTHENTICATION_FAILED, error.to_string());
    }
    operation(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::source::v1::BucketStsSpec;
    use k8s_openapi::ByteString;

    #[test]
    fn providers_that_cannot_log_in_say_what_to_do() {
        let secret = Some(LocalObjectReference { name: "keys".to_owned() });
        let spec = |provider, secret_ref: &Option<LocalObjectReference>, sts: bool| BucketSpec {
            provider,
            secret_ref: secret_ref.clone(),
            sts: sts.then(BucketStsSpec::default),
            ..BucketSpec::default()
        };
        for (spec, needle) in [
            (spec(BucketProvider::Gcp, &secret, false), "'gcp' is not acted on"),
            (spec(BucketProvider::Azure, &secret, false), "'azure' is not acted on"),
            (spec(BucketProvider::Aws, &None, false), "spec.secretRef"),
            (spec(BucketProvider::Generic, &None, true), "spec.sts is not acted on"),
        ] {
            let failure = check_provider(&spec).unwrap_err();
            assert!(failure.terminal && failure.message.contains(needle), "{}", failure.message);
        }
        for spec in [
            spec(BucketProvider::Aws, &secret, false),
            spec(BucketProvider::Generic, &None, false),
            spec(BucketProvider::Generic, &secret, true),
        ] {
            check_provider(&spec).unwrap();
        }
    }

    #[test]
    fn keys_come_in_pairs() {
        let data = |pairs: &[(&str, &str)]| -> SecretData {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect()
        };
        let read = |pairs: &[(&str, &str)]| credentials("keys", &data(pairs));
        let found = read(&[("accesskey", "robot"), ("secretkey", "hunter2\n")]).unwrap().unwrap();
        assert_eq!((found.key(), found.secret()), ("robot", "hunter2"));
        assert!(read(&[("accesskey", ""), ("secretkey", "")]).unwrap().is_none());
        let error = read(&[("accesskey", "robot")]).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("'keys'"), "{error}");
    }
}
