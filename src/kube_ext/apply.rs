//! Server-side apply of one object, with every refusal put into words.

mod ownership;
mod refusal;
mod unknown_field;

pub use ownership::{Conflict, adopt, adopt_texts, owns_texts};
pub use refusal::{ApplyError, Refusal};

use super::discovery::Resolved;
use super::field_set::is_of_object;
use jiff::{Timestamp, Unit};
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams, Resource};
use kube::core::{Request, Status};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Flux's own field manager, so that objects change hands without a conflict.
pub const FIELD_MANAGER: &str = "kustomize-controller";

/// What sops notes on an object that it has encrypted.
const SOPS: &str = "sops";

/// What an apply did to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The object did not exist.
    Created,
    /// A field that we manage changed.
    Configured,
    /// The object was already as wanted.
    Unchanged,
    /// The object was deleted and made anew, because a field of it cannot change.
    Recreated,
}

/// Who applies, and whether for good.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'m> {
    /// The field manager.
    pub manager: &'m str,
    /// Only try: nothing is stored, and the answer tells what would be.
    pub dry_run: bool,
}

/// An object that is now as wanted.
#[derive(Debug, Clone)]
pub struct Applied {
    /// What it took.
    pub change: Change,
    /// The object as the API server has it.
    pub object: Value,
    /// Fields of the manifest that its kind does not have (`spec.releasename`); they were left out.
    pub unknown_fields: Vec<String>,
    /// What the API server warned about, word for word.
    pub warnings: Vec<String>,
    /// Fields that somebody else owned with another value, and that are ours now.
    pub taken: Vec<Conflict>,
}

/// Applies a manifest (with `apiVersion`, `kind` and `metadata.name`), taking over fields that
/// others manage.
///
/// Fields that the kind does not have are left out and named, so that a typing error in one field
/// does not hold back the rest of the object.
pub async fn apply(
    client: &Client,
    resolved: &Resolved,
    namespace: Option<&str>,
    manifest: Value,
) -> Result<Applied, ApplyError> {
    let manner = Manner { manager: FIELD_MANAGER, dry_run: false };
    apply_as(manner, client, resolved, namespace, manifest).await
}

/// Like [`apply`], in this manner.
pub async fn apply_as(
    manner: Manner<'_>,
    client: &Client,
    resolved: &Resolved,
    namespace: Option<&str>,
    manifest: Value,
) -> Result<Applied, ApplyError> {
    let mut manifest = manifest;
    let mut unknown_fields = Vec::new();
    let mut taken = Vec::new();
    // Asked for what it would take from others only where that can be told.
    let mut force = manner.dry_run;
    loop {
        match attempt(manner, force, client, resolved, namespace, &manifest).await {
            Err(error) if !force && !error.conflicts.is_empty() => {
                force = true;
                taken = error.conflicts;
            }
            // Without it nobody could tell any more that the rest is encrypted, or decrypt it.
            Err(error) if manifest.get(SOPS).is_some() && unknown_field::names(&error.message, SOPS) => {
                return Err(ApplyError::encrypted());
            }
            Err(error) => {
                let removed = unknown_field::remove(&mut manifest, &error.message);
                if removed.is_empty() {
                    return Err(error);
                }
                unknown_fields.extend(removed);
            }
            Ok(applied) => {
                return Ok(Applied { unknown_fields, taken, ..applied });
            }
        }
    }
}

async fn attempt(
    manner: Manner<'_>,
    force: bool,
    client: &Client,
    resolved: &Resolved,
    namespace: Option<&str>,
    manifest: &Value,
) -> Result<Applied, ApplyError> {
    let name = manifest.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let namespace = namespace.filter(|_| resolved.namespaced);
    let path = DynamicObject::url_path(&resolved.resource, namespace);
    let parameters = PatchParams::apply(manner.manager).validation_warn();
    let parameters = PatchParams { dry_run: manner.dry_run, force, ..parameters };
    let request = Request::new(path)
        .patch(name, &parameters, &Patch::Apply(manifest))
        .map_err(|error| ApplyError::unsent(&error))?;
    let started = Instant::now();
    let response =
        client.send(request.map(kube::client::Body::from)).await.map_err(|error| ApplyError::transient(&error))?;
    let (parts, body) = response.into_parts();
    let body = body.collect_bytes().await.map_err(|error| ApplyError::transient(&error))?;
    if !parts.status.is_success() {
        return Err(refused(parts.status, &body));
    }
    let object: Value =
        serde_json::from_slice(&body).map_err(|error| ApplyError::transient(&kube::Error::SerdeError(error)))?;
    let date = header_text(&parts.headers, http::header::DATE).and_then(|text| date(&text));
    let change = match parts.status {
        http::StatusCode::CREATED => Change::Created,
        _ if written_since(manner.manager, &object, date, started.elapsed()) => Change::Configured,
        _ => Change::Unchanged,
    };
    Ok(Applied { change, object, unknown_fields: Vec::new(), warnings: warnings(&parts.headers), taken: Vec::new() })
}

fn refused(code: http::StatusCode, body: &[u8]) -> ApplyError {
    let status = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(body);
        Status::failure(text.trim(), "").with_code(code.as_u16())
    });
    ApplyError::from_status(&status.with_code(code.as_u16()))
}

/// Whether our entry in the managed fields was written by the request that has just ended: the
/// API server leaves an object alone, its time stamps too, when nothing would change. Seconds are
/// all there is, so a write of the second before counts as well.
fn written_since(manager: &str, object: &Value, answered: Option<Timestamp>, took: Duration) -> bool {
    let ours = |entry: &&Value| {
        entry["manager"] == manager && entry["operation"] == "Apply" && is_of_object(entry["subresource"].as_str())
    };
    let written = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .and_then(|entries| entries.iter().find(ours))
        .and_then(|entry| entry["time"].as_str())
        .and_then(|time| time.parse::<Timestamp>().ok());
    match (written, answered) {
        (Some(written), Some(answered)) => {
            let took = i64::try_from(took.as_secs()).unwrap_or(i64::MAX);
            written.as_second() >= answered.as_second().saturating_sub(took)
        }
        _ => true,
    }
}

fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().and_then(|zoned| zoned.timestamp().round(Unit::Second).ok())
}

fn header_text(headers: &http::HeaderMap, name: http::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The texts of `Warning: 299 - "…"` headers.
fn warnings(headers: &http::HeaderMap) -> Vec<String> {
    headers
        .get_all(http::header::WARNING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter_map(|value| value.strip_prefix("299 - \"")?.strip_suffix('"'))
        .map(|text| text.replace("\\\"", "\"").replace("\\\\", "\\"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_write_shows_in_our_managed_fields_entry() {
        let object = |manager: &str, time: &str| {
            json!({"metadata": {"managedFields": [
                {"manager": "helm-controller", "operation": "Update", "subresource": "status",
                 "time": "2026-01-02T03:04:09Z"},
                {"manager": manager, "operation": "Apply", "time": time},
            ]}})
        };
        let answered = date("Fri, 02 Jan 2026 03:04:05 GMT");
        assert!(answered.is_some());
        let table = [
            (FIELD_MANAGER, "2026-01-02T03:04:05Z", 0, true),
            (FIELD_MANAGER, "2026-01-02T03:04:04Z", 0, false),
            (FIELD_MANAGER, "2026-01-02T03:04:04Z", 1, true),
            (FIELD_MANAGER, "2026-01-01T00:00:00Z", 3, false),
            ("someone", "2026-01-01T00:00:00Z", 0, true),
        ];
        for (manager, time, took, expected) in table {
            let written = written_since(FIELD_MANAGER, &object(manager, time), answered, Duration::from_secs(took));
            assert_eq!(written, expected, "{manager} {time} {took}");
        }
    }

    #[test]
    fn warnings_are_read_off_the_headers() {
        let mut headers = http::HeaderMap::new();
        let value = http::HeaderValue::from_static("299 - \"unknown field \\\"spec.x\\\"\"");
        headers.append(http::header::WARNING, value);
        assert_eq!(warnings(&headers), ["unknown field \"spec.x\""]);
    }
}
