//! What service accounts have asked the API server for.

use std::path::Path;

use serde_json::Value;

/// Requests of service accounts, without their bodies; the bench's own users are of no interest.
pub const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, userGroups: [system:serviceaccounts]}
- {level: None}
";

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asked.
    pub user: String,
    /// In whose name.
    pub impersonated: Option<String>,
    /// What for: `get`, `list`, …
    pub verb: String,
    /// The API group, empty for the core.
    pub group: String,
    /// The plural, with `/` and the subresource if there is one; empty for a path that is no resource.
    pub resource: String,
    /// Where, if it was for one namespace.
    pub namespace: String,
    /// Of what, if it was for one object.
    pub name: String,
    /// The path.
    pub uri: String,
    /// The HTTP status.
    pub code: u64,
}

/// The requests in an audit log.
///
/// # Panics
/// When there is no such log.
pub fn read(log: &Path) -> Vec<Request> {
    let text = std::fs::read_to_string(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    // The last line may be half written.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).map(|event| request(&event)).collect()
}

fn request(event: &Value) -> Request {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (resource, subresource) = (text("/objectRef/resource"), text("/objectRef/subresource"));
    Request {
        user: text("/user/username"),
        impersonated: event.pointer("/impersonatedUser/username").and_then(Value::as_str).map(str::to_owned),
        verb: text("/verb"),
        group: text("/objectRef/apiGroup"),
        resource: if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") },
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        uri: text("/requestURI"),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
    }
}
