//! The codec of helm's release Secrets: base64 of gzip of JSON, under the key `release`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Map, Value};

use super::summary::ReleaseStatus;

/// Type of the Secrets that helm keeps its releases in.
pub const SECRET_TYPE: &str = "helm.sh/release.v1";

/// Key in the Secret's data.
const DATA_KEY: &str = "release";

/// Most bytes that a release may have when unpacked. A Secret holds 1 MiB; text packs about ten
/// to one, so no real release comes near.
const UNPACKED_LIMIT: u64 = 64 * 1024 * 1024;

const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];

/// Why a Secret is not a release that we can read or write.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The Secret has no key `release`.
    #[error("the Secret has no key {DATA_KEY}")]
    NoData,
    /// The content is not base64.
    #[error("the release is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The content cannot be unpacked.
    #[error("the release cannot be unpacked: {0}")]
    Gzip(std::io::Error),
    /// The content is larger than any real release.
    #[error("the release is larger than {UNPACKED_LIMIT} bytes when unpacked")]
    TooLarge,
    /// The content is not the JSON of a release.
    #[error("the release is not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The lock to break is not there.
    #[error("the release is {found}, no action holds it")]
    NotPending {
        /// Its status.
        found: ReleaseStatus,
    },
}

/// A release as helm stored it. Fields that we do not know are kept.
#[derive(Clone, PartialEq)]
pub struct StoredRelease {
    document: Map<String, Value>,
}

impl std::fmt::Debug for StoredRelease {
    /// Name and revision only: values and manifest may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredRelease({}/{}.v{})", self.namespace(), self.name(), self.version())
    }
}

impl StoredRelease {
    /// A release from its JSON document.
    pub fn from_document(document: Map<String, Value>) -> Self {
        Self { document }
    }

    /// The whole document.
    pub fn document(&self) -> &Map<String, Value> {
        &self.document
    }

    /// Name of the release.
    pub fn name(&self) -> &str {
        text(self.document.get("name"))
    }

    /// Namespace of the release.
    pub fn namespace(&self) -> &str {
        text(self.document.get("namespace"))
    }

    /// Revision, from 1.
    pub fn version(&self) -> i64 {
        self.document.get("version").and_then(Value::as_i64).unwrap_or_default()
    }

    /// Its status.
    pub fn status(&self) -> ReleaseStatus {
        ReleaseStatus::from_helm(text(self.info("status")))
    }

    /// Helm's words about it.
    pub fn description(&self) -> &str {
        text(self.info("description"))
    }

    /// The rendered chart, without hooks, as a YAML stream.
    pub fn manifest(&self) -> &str {
        text(self.document.get("manifest"))
    }

    /// The values that the chart was given.
    pub fn config(&self) -> Option<&Map<String, Value>> {
        self.document.get("config").and_then(Value::as_object)
    }

    /// The chart's `Chart.yaml`.
    pub fn chart_metadata(&self) -> Option<&Map<String, Value>> {
        self.document.get("chart")?.get("metadata")?.as_object()
    }

    /// Its hooks.
    pub fn hooks(&self) -> &[Value] {
        self.document.get("hooks").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Whether helm let the API server apply the objects.
    pub fn is_server_side(&self) -> bool {
        text(self.document.get("apply_method")) == super::summary::SERVER_SIDE
    }

    /// A field of `info`.
    pub fn info(&self, field: &str) -> Option<&Value> {
        self.document.get("info")?.get(field)
    }

    fn set_info(&mut self, field: &str, value: &str) {
        let info = self.document.entry("info").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(info) = info {
            info.insert(field.to_owned(), Value::from(value));
        }
    }
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

/// The release in a Secret.
pub fn decode(secret: &Secret) -> Result<StoredRelease, StorageError> {
    let document = serde_json::from_slice(&unpack(secret)?)?;
    Ok(StoredRelease { document })
}

/// The JSON in a Secret. Very old releases are stored without gzip.
pub(super) fn unpack(secret: &Secret) -> Result<Vec<u8>, StorageError> {
    let data = secret.data.as_ref().and_then(|data| data.get(DATA_KEY)).ok_or(StorageError::NoData)?;
    let bytes = STANDARD.decode(&data.0)?;
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Ok(bytes);
    }
    let mut json = Vec::new();
    let mut bounded = GzDecoder::new(bytes.as_slice()).take(UNPACKED_LIMIT + 1);
    bounded.read_to_end(&mut json).map_err(StorageError::Gzip)?;
    if json.len() as u64 > UNPACKED_LIMIT { Err(StorageError::TooLarge) } else { Ok(json) }
}

/// What a Secret's data holds for a release.
pub fn encode(release: &StoredRelease) -> Result<BTreeMap<String, ByteString>, StorageError> {
    let json = serde_json::to_vec(&release.document)?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let bytes = packed.write_all(&json).and_then(|()| packed.finish()).map_err(StorageError::Gzip)?;
    let text = STANDARD.encode(bytes);
    Ok(BTreeMap::from([(DATA_KEY.to_owned(), ByteString(text.into_bytes()))]))
}

/// The name of the Secret that helm keeps a revision in.
pub fn secret_name(release: &str, version: i64) -> String {
    format!("sh.helm.release.v1.{release}.v{version}")
}

/// The Secret with its release failed, to be written back as a whole: it keeps its resource
/// version, so that the API server refuses it when somebody else wrote in between.
pub fn mark_failed(secret: &Secret, description: &str, now: Timestamp) -> Result<Secret, StorageError> {
    let mut release = decode(secret)?;
    release.set_info("status", ReleaseStatus::Failed.as_str());
    release.set_info("description", description);
    let mut failed = secret.clone();
    failed.data = Some(encode(&release)?);
    failed.metadata.managed_fields = None;
    let labels = failed.metadata.labels.get_or_insert_default();
    labels.insert("status".to_owned(), ReleaseStatus::Failed.as_str().to_owned());
    labels.insert("modifiedAt".to_owned(), now.as_second().to_string());
    Ok(failed)
}

/// Like [`mark_failed`], for a release that an action died holding. Whether the owner is really
/// gone is the caller's to know.
pub fn break_lock(secret: &Secret, description: &str, now: Timestamp) -> Result<Secret, StorageError> {
    let found = decode(secret)?.status();
    if found.is_pending() { mark_failed(secret, description, now) } else { Err(StorageError::NotPending { found }) }
}

#[cfg(test)]
#[path = "storage/tests.rs"]
mod tests;
