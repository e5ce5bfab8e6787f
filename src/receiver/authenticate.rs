//! Whether a request is genuine, and what it is about, by the rules of its sender. Pure.

use http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::form_urlencoded;

use super::signature::{is_same, is_signed, is_signed_by_sha1};
use crate::api::notification::v1::ReceiverType;

/// Why a request is not acted on. No message holds anything of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not prove that it is genuine.
    #[error("{0}")]
    NotGenuine(&'static str),
    /// It is not what its sender would send.
    #[error("{0}")]
    Malformed(String),
}

/// A genuine request.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The kind of event, where the sender names it.
    pub event: Option<String>,
    /// The payload, where it is JSON; an empty object otherwise.
    pub payload: Result<Value, String>,
}

impl Call {
    /// Whether a receiver that lists these events acts on the call.
    pub fn is_among(&self, events: &[String]) -> bool {
        let Some(event) = &self.event else { return true };
        events.is_empty() || events.iter().any(|wanted| wanted.eq_ignore_ascii_case(event))
    }
}

/// The types that requests can be checked for.
pub fn is_supported(kind: ReceiverType) -> bool {
    !matches!(kind, ReceiverType::Gcr | ReceiverType::GenericOidc)
}

/// Checks a request.
pub fn check(kind: ReceiverType, token: &[u8], headers: &HeaderMap, body: &[u8]) -> Result<Call, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let secret = |name: &str| headers.get(name).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let genuine = |holds: bool, why| if holds { Ok(()) } else { Err(Refusal::NotGenuine(why)) };
    let event = match kind {
        ReceiverType::Generic => None,
        ReceiverType::GenericHmac => {
            genuine(is_signed(header("x-signature"), token, body), "X-Signature is not that of the body and token")?;
            None
        }
        ReceiverType::Github => {
            genuine(
                is_signed(hub_signature(headers), token, body),
                "X-Hub-Signature is not that of the body and token",
            )?;
            Some(header("x-github-event"))
        }
        ReceiverType::Bitbucket => {
            genuine(
                is_signed(hub_signature(headers), token, body),
                "X-Hub-Signature is not that of the body and token",
            )?;
            Some(header("x-event-key"))
        }
        ReceiverType::Gitlab => {
            genuine(is_same(secret("x-gitlab-token"), token), "X-Gitlab-Token is not the token")?;
            Some(header("x-gitlab-event"))
        }
        ReceiverType::Harbor => {
            genuine(is_same(secret("authorization"), token), "Authorization is not the token")?;
            None
        }
        ReceiverType::Nexus => {
            let signature = header("x-nexus-webhook-signature");
            let why = "X-Nexus-Webhook-Signature is not that of the body and token";
            genuine(is_signed_by_sha1(signature, token, body), why)?;
            decoded::<Nexus>(body)?;
            None
        }
        ReceiverType::Dockerhub => {
            decoded::<DockerHub>(body)?;
            None
        }
        ReceiverType::Quay => {
            decoded::<Quay>(body)?;
            None
        }
        ReceiverType::Acr => {
            decoded::<Acr>(body)?;
            None
        }
        ReceiverType::Cdevents => {
            cd_event(body)?;
            Some(header("ce-type"))
        }
        ReceiverType::Gcr | ReceiverType::GenericOidc => {
            return Err(Refusal::NotGenuine("identity tokens are not checked by this version"));
        }
    };
    Ok(Call { event: event.map(str::to_owned), payload: payload(headers, body) })
}

/// The better signature, where there are two.
fn hub_signature(headers: &HeaderMap) -> &str {
    let named = |name| headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty());
    named("x-hub-signature-256").or_else(|| named("x-hub-signature")).unwrap_or_default()
}

/// The payload as an object. GitHub may send it as a field of a form.
fn payload(headers: &HeaderMap, body: &[u8]) -> Result<Value, String> {
    let is = |kind: &str| {
        let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        given.split(',').any(|one| one.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind))
    };
    let parsed = if is("application/json") {
        serde_json::from_slice(body)
    } else if is("application/x-www-form-urlencoded") {
        match form_urlencoded::parse(body).find(|(name, _)| name == "payload") {
            Some((_, text)) => serde_json::from_str(&text),
            None => return Ok(Value::Object(serde_json::Map::new())),
        }
    } else {
        return Ok(Value::Object(serde_json::Map::new()));
    };
    match parsed {
        Ok(object @ Value::Object(_)) => Ok(object),
        Ok(_) => Err("the body is JSON, but no object".to_owned()),
        Err(error) => Err(format!("the body is no JSON: {error}")),
    }
}

fn decoded<P: DeserializeOwned>(body: &[u8]) -> Result<P, Refusal> {
    let malformed = |error| Refusal::Malformed(format!("the body is not what this type of receiver takes: {error}"));
    serde_json::from_slice(body).map_err(malformed)
}

/// What a `CDEvent` of any kind has.
fn cd_event(body: &[u8]) -> Result<(), Refusal> {
    let event: CdEvent = decoded(body)?;
    let context = &event.context;
    let named = [
        ("context.id", &context.id),
        ("context.source", &context.source),
        ("context.type", &context.r#type),
        ("context.timestamp", &context.timestamp),
        ("subject.id", &event.subject.id),
    ];
    let malformed = |message: String| Err(Refusal::Malformed(message));
    if let Some((missing, _)) = named.into_iter().find(|(_, value)| value.is_empty()) {
        return malformed(format!("the CDEvent has an empty {missing}"));
    }
    if context.version.is_empty() && context.specversion.is_empty() {
        return malformed("the CDEvent names no version of its specification".to_owned());
    }
    if !context.r#type.starts_with("dev.cdevents") {
        return malformed("context.type is not that of a CDEvent".to_owned());
    }
    if context.timestamp.parse::<jiff::Timestamp>().is_err() {
        return malformed("context.timestamp is no time".to_owned());
    }
    Ok(())
}

/// Fields that have to be of their type where they are there; nothing else is looked at.
macro_rules! payloads {
    ($(struct $name:ident { $($field:ident: $type:ty,)* })+) => {$(
        #[derive(Default, Deserialize)]
        #[serde(default)]
        #[allow(dead_code, non_snake_case, reason = "reading it is the check; the names are the senders'")]
        struct $name { $($field: $type,)* }
    )+};
}

payloads! {
    struct Nexus { action: Option<String>, repositoryName: Option<String>, }
    struct DockerHub { push_data: Option<DockerPush>, repository: Option<DockerRepository>, }
    struct DockerPush { tag: Option<String>, }
    struct DockerRepository { repo_url: Option<String>, }
    struct Quay { docker_url: Option<String>, updated_tags: Option<Vec<String>>, }
    struct Acr { action: Option<String>, target: Option<AcrTarget>, }
    struct AcrTarget { repository: Option<String>, tag: Option<String>, }
    struct CdEvent { context: CdContext, subject: CdSubject, }
    struct CdContext { version: String, specversion: String, id: String, source: String, r#type: String, timestamp: String, }
    struct CdSubject { id: String, }
}

#[cfg(test)]
mod tests;
