//! Why the API server refused an object, sorted by what a person can do about it.

use super::ownership::{self, Conflict};
use kube::core::Status;
use kube::core::response::StatusCause;

/// The kind of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The object breaks the rules of its kind.
    Invalid,
    /// A field that cannot change would change.
    Immutable,
    /// It is encrypted by sops, and its kind has no place for what sops notes.
    Encrypted,
    /// The object's namespace does not exist.
    NamespaceMissing,
    /// The object's namespace is being deleted.
    Terminating,
    /// The kind is not served.
    KindMissing,
    /// The operator's account may not write the object.
    Forbidden,
    /// A webhook or policy of the cluster said no.
    Denied,
    /// Somebody else wrote at the same time.
    Conflict,
    /// The API server could not answer; nothing is known against the object.
    Transient,
}

/// An object that was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApplyError {
    /// What kind of refusal it is.
    pub refusal: Refusal,
    /// The field at fault (`spec.interval`), where the API server names one.
    pub field: Option<String>,
    /// The API server's words.
    pub message: String,
    /// Fields that somebody else owns with another value.
    pub conflicts: Vec<Conflict>,
}

impl ApplyError {
    /// What a person can do, in a few words; empty when the message says it all.
    pub fn fix(&self) -> &'static str {
        match self.refusal {
            Refusal::Immutable => "this field cannot change: delete the object once, or give it a new name",
            Refusal::Encrypted => {
                "set spec.decryption of the Kustomization, and no annotation kustomize.toolkit.fluxcd.io/decrypt: disabled"
            }
            Refusal::NamespaceMissing => "add the Namespace to the folder, or create it",
            Refusal::Terminating => "it is applied again when the deletion is through",
            Refusal::KindMissing => "install the CRD of this kind",
            Refusal::Forbidden => "give that account this right",
            Refusal::Invalid | Refusal::Denied | Refusal::Conflict | Refusal::Transient => "",
        }
    }

    /// Classifies a failure status of the API server.
    pub fn from_status(status: &Status) -> Self {
        let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
        let field = causes
            .iter()
            .map(|cause| cause.field.as_str())
            .find(|field| !field.is_empty() && *field != "<nil>")
            .or_else(|| typed_field(&status.message))
            .map(str::to_owned);
        let conflicts = ownership::conflicts(status);
        Self { refusal: classify(status), field, message: shortened(&status.message), conflicts }
    }

    /// What a request ended with that was no apply.
    pub fn from_client(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from_status(status),
            error => Self::transient(error),
        }
    }

    /// The object is being deleted.
    pub fn terminating() -> Self {
        Self::new(Refusal::Terminating, "it is being deleted".to_owned())
    }

    /// What sops encrypted is no value of this object.
    pub(super) fn encrypted() -> Self {
        let message = "the object is encrypted by sops, and its kind cannot be applied encrypted";
        Self { field: Some("sops".to_owned()), ..Self::new(Refusal::Encrypted, message.to_owned()) }
    }

    /// Adds what else there is to say.
    #[must_use]
    pub fn because(mut self, why: &str) -> Self {
        if !why.is_empty() {
            self.message = format!("{}; {why}", self.message);
        }
        self
    }

    pub(super) fn transient(error: &kube::Error) -> Self {
        Self::new(Refusal::Transient, format!("the API server did not answer: {error}"))
    }

    pub(super) fn unsent(error: &kube::core::request::Error) -> Self {
        Self::new(Refusal::Invalid, error.to_string())
    }

    fn new(refusal: Refusal, message: String) -> Self {
        Self { refusal, field: None, message, conflicts: Vec::new() }
    }
}

fn classify(status: &Status) -> Refusal {
    let message = status.message.as_str();
    if message.contains("admission webhook") || message.contains("ValidatingAdmissionPolicy") {
        return Refusal::Denied;
    }
    if message.contains("because it is being terminated") {
        return Refusal::Terminating;
    }
    match status.code {
        403 => Refusal::Forbidden,
        404 if message.starts_with("namespaces ") => Refusal::NamespaceMissing,
        404 | 405 => Refusal::KindMissing,
        409 => Refusal::Conflict,
        422 if is_immutable(status) => Refusal::Immutable,
        400 | 422 => Refusal::Invalid,
        // Server-side apply answers 500 for a value of the wrong type.
        _ if message.contains("failed to create typed patch object") => Refusal::Invalid,
        _ => Refusal::Transient,
    }
}

/// Whether nothing else is wrong than that fields cannot change: the object would be accepted if it
/// were new.
fn is_immutable(status: &Status) -> bool {
    let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
    if causes.is_empty() {
        return says_immutable(&status.message);
    }
    causes.iter().all(|cause: &StatusCause| says_immutable(&cause.message))
}

fn says_immutable(message: &str) -> bool {
    let message = message.to_lowercase();
    let words =
        ["immutable", "may not change", "may not be changed", "cannot change", "cannot be changed", "updates to "];
    words.iter().any(|words| message.contains(words))
}

/// The path in `…: .spec.replicas: expected numeric …`.
fn typed_field(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("failed to create typed patch object")?;
    let rest = &rest[rest.find(": .")? + 3..];
    rest.find(": ").map(|end| &rest[..end])
}

/// The message without the part that only repeats which object it was.
fn shortened(message: &str) -> String {
    let typed = message.strip_prefix("failed to create typed patch object (").and_then(|rest| rest.split_once("): "));
    let invalid = message.split_once("\" is invalid: ").filter(|(object, _)| object.split(' ').count() == 2);
    typed.or(invalid).map_or(message, |(_, reason)| reason).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refusals_are_sorted_by_what_can_be_done() {
        let table = [
            (422, "Deployment \"a\" is invalid: spec.selector: field is immutable", Refusal::Immutable),
            (422, "RoleBinding \"a\" is invalid: roleRef: Invalid value: x: cannot change roleRef", Refusal::Immutable),
            (422, "HelmRelease \"ui-X\" is invalid: metadata.name: Invalid value", Refusal::Invalid),
            (404, "namespaces \"api-default\" not found", Refusal::NamespaceMissing),
            (404, "the server could not find the requested resource", Refusal::KindMissing),
            (403, "User \"x\" cannot patch", Refusal::Forbidden),
            (403, "unable to create new content in namespace a because it is being terminated", Refusal::Terminating),
            (403, "admission webhook \"x\" denied the request: no", Refusal::Denied),
            (500, "Internal error occurred: failed calling webhook \"x\": timeout", Refusal::Transient),
            (409, "Apply failed with 1 conflict", Refusal::Conflict),
            (500, "failed to create typed patch object (a/b; v1, Kind=X): .spec.a: expected numeric", Refusal::Invalid),
            (500, "etcdserver: request timed out", Refusal::Transient),
            (429, "too many requests", Refusal::Transient),
        ];
        for (code, message, expected) in table {
            let error = ApplyError::from_status(&Status::failure(message, "").with_code(code));
            assert_eq!(error.refusal, expected, "{message}");
        }
    }

    #[test]
    fn an_object_is_immutable_only_if_nothing_else_is_wrong_with_it() {
        let refusal = |causes: &[(&str, &str)]| {
            let causes: Vec<_> =
                causes.iter().map(|(field, message)| json!({"field": field, "message": message})).collect();
            let status = json!({"status": "Failure", "code": 422, "message": "x is invalid: field is immutable",
                                "details": {"causes": causes}});
            let error = ApplyError::from_status(&serde_json::from_value(status).unwrap());
            (error.refusal, error.field.unwrap_or_default())
        };
        let fixed = ("spec.selector", "Invalid value: x: field is immutable");
        let wrong = ("spec.replicas", "Invalid value: -1: must be greater than or equal to 0");
        assert_eq!(refusal(&[fixed]), (Refusal::Immutable, "spec.selector".to_owned()));
        assert_eq!(refusal(&[fixed, wrong]).0, Refusal::Invalid);
        let pod = ("spec", "Forbidden: pod updates may not change fields other than `spec.containers[*].image`");
        assert_eq!(refusal(&[pod]).0, Refusal::Immutable);
    }

    #[test]
    fn the_field_is_taken_out_of_the_message() {
        let message = "failed to create typed patch object (ns/a; apps/v1, Kind=Deployment): \
                       .spec.replicas: expected numeric (int or float), got string";
        let error = ApplyError::from_status(&Status::failure(message, "").with_code(500));
        assert_eq!(error.field.as_deref(), Some("spec.replicas"));
        assert_eq!(error.message, ".spec.replicas: expected numeric (int or float), got string");
        let message = "HelmRelease.helm.toolkit.fluxcd.io \"api\" is invalid: spec.interval: Invalid value: \"soon\"";
        let error = ApplyError::from_status(&Status::failure(message, "Invalid").with_code(422));
        assert_eq!(error.message, "spec.interval: Invalid value: \"soon\"");
    }
}
