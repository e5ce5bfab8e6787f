//! What helm says when it fails, sorted by what can be done about it.

/// Cause of a failed helm call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The chart's templates do not render with these values.
    Render,
    /// The values do not fit the chart's schema.
    Schema,
    /// The chart cannot be read, or asks for another Kubernetes version.
    Chart,
    /// The API server rejected an object.
    Rejected,
    /// The operator may not do something.
    Forbidden,
    /// The namespace does not exist.
    NamespaceMissing,
    /// An object belongs to somebody else.
    Ownership,
    /// The name is taken by a release.
    NameInUse,
    /// Another operation on the release is under way, or died.
    Locked,
    /// A hook failed.
    Hook,
    /// The release with its history entry is larger than a Secret may be.
    TooLarge,
    /// The time limit passed.
    TimedOut,
    /// The API server does not answer.
    Unreachable,
    /// None of the above.
    Other,
}

impl Cause {
    /// Whether the same call may succeed later with nothing changed in the repository.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::Locked | Self::NamespaceMissing)
    }
}

/// Patterns in lower case, the more specific first.
const PATTERNS: &[(&str, Cause)] = &[
    ("kubernetes cluster unreachable", Cause::Unreachable),
    ("connection refused", Cause::Unreachable),
    ("tls handshake timeout", Cause::Unreachable),
    ("no such host", Cause::Unreachable),
    ("etcdserver:", Cause::Unreachable),
    ("the server is currently unable to handle", Cause::Unreachable),
    ("connection reset by peer", Cause::Unreachable),
    ("another operation (install/upgrade/rollback) is in progress", Cause::Locked),
    // Its record of the new revision was made by somebody else meanwhile.
    ("release: already exists", Cause::Locked),
    ("cannot reuse a name that is still in use", Cause::NameInUse),
    ("cannot re-use a name that is still in use", Cause::NameInUse),
    ("invalid ownership metadata", Cause::Ownership),
    ("cannot be imported into the current release", Cause::Ownership),
    ("values don't meet the specifications of the schema", Cause::Schema),
    ("chart requires kubeversion", Cause::Chart),
    ("chart.yaml file is missing", Cause::Chart),
    ("must have at most 1048576", Cause::TooLarge),
    // Kubernetes 1.36 words it anew.
    ("may not be more than 1048576", Cause::TooLarge),
    ("request entity too large", Cause::TooLarge),
    ("failed pre-", Cause::Hook),
    ("failed post-", Cause::Hook),
    ("hooks failed", Cause::Hook),
    ("execution error at (", Cause::Render),
    ("parse error at (", Cause::Render),
    ("error converting yaml to json", Cause::Render),
    ("yaml parse error on", Cause::Render),
    ("template: ", Cause::Render),
    // Helm 4 leaves that word out.
    ("executing \"", Cause::Render),
    ("is forbidden", Cause::Forbidden),
    ("namespaces \"", Cause::NamespaceMissing),
    ("admission webhook", Cause::Rejected),
    ("is invalid:", Cause::Rejected),
    ("no matches for kind", Cause::Rejected),
    ("unable to build kubernetes objects", Cause::Rejected),
    ("strict decoding error", Cause::Rejected),
    ("unknown field", Cause::Rejected),
    ("cannot patch \"", Cause::Rejected),
    ("timed out waiting for", Cause::TimedOut),
    ("context deadline exceeded", Cause::TimedOut),
    ("i/o timeout", Cause::Unreachable),
    ("failed to load chart", Cause::Chart),
    ("chart metadata", Cause::Chart),
    ("path \"", Cause::Chart),
];

/// A helm failure as far as its words tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Sorted by what can be done about it.
    pub cause: Cause,
    /// Helm's message without its frame; several lines where helm wrote several.
    pub message: String,
}

/// Reads the (redacted) standard error of a failed call.
pub fn failure(stderr: &str) -> Failure {
    let message = message_of(stderr);
    let lower = message.to_lowercase();
    let cause = PATTERNS.iter().find(|(pattern, _)| lower.contains(pattern)).map_or(Cause::Other, |(_, cause)| *cause);
    Failure { cause, message }
}

/// Everything from the last `Error:` on, without helm's `INSTALLATION FAILED:` and the like.
fn message_of(stderr: &str) -> String {
    let start = if stderr.starts_with("Error: ") { Some(0) } else { stderr.rfind("\nError: ").map(|at| at + 1) };
    let text = start.map_or(stderr, |at| &stderr[at + "Error: ".len()..]).trim();
    let text = text.split_once(" FAILED: ").filter(|(verb, _)| is_verb(verb)).map_or(text, |(_, rest)| rest);
    if text.is_empty() { "helm failed without a word".to_owned() } else { text.to_owned() }
}

fn is_verb(word: &str) -> bool {
    matches!(word, "INSTALLATION" | "UPGRADE" | "UNINSTALL" | "ROLLBACK")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_failures_are_told_apart() {
        let cases = [
            (
                "Error: INSTALLATION FAILED: template: nodejs/templates/deployment.yaml:12:20: executing \"nodejs/templates/deployment.yaml\" at <.Values.account.id>: nil pointer evaluating interface {}.id",
                Cause::Render,
            ),
            (
                "Error: UPGRADE FAILED: execution error at (x/templates/a.yaml:3:4): the image is required",
                Cause::Render,
            ),
            (
                "Error: INSTALLATION FAILED: values don't meet the specifications of the schema(s) in the following chart(s):\nx:\n- at '/port': got string, want integer",
                Cause::Schema,
            ),
            (
                "Error: INSTALLATION FAILED: Service \"x\" is invalid: spec.ports[0].port: Invalid value: 99999",
                Cause::Rejected,
            ),
            ("Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress", Cause::Locked),
            ("Error: INSTALLATION FAILED: release: already exists", Cause::Locked),
            (
                "Error: INSTALLATION FAILED: create: failed to create: namespaces \"nope\" not found",
                Cause::NamespaceMissing,
            ),
            (
                "Error: INSTALLATION FAILED: Unable to continue with install: Service \"x\" in namespace \"y\" exists and cannot be imported into the current release: invalid ownership metadata; label validation error",
                Cause::Ownership,
            ),
            (
                "Error: INSTALLATION FAILED: Kubernetes cluster unreachable: Get \"https://127.0.0.1:1/version\": dial tcp 127.0.0.1:1: connect: connection refused",
                Cause::Unreachable,
            ),
            ("Error: INSTALLATION FAILED: failed pre-install: 1 error occurred", Cause::Hook),
            ("Error: UPGRADE FAILED: services is forbidden: User \"x\" cannot list resource", Cause::Forbidden),
            ("Error: something new", Cause::Other),
            ("", Cause::Other),
        ];
        for (stderr, cause) in cases {
            assert_eq!(failure(stderr).cause, cause, "{stderr}");
        }
    }

    #[test]
    fn the_frame_goes_and_warnings_before_it_too() {
        let stderr = "WARNING: your kubeconfig is group-readable\nError: UPGRADE FAILED: a\nb\n";
        assert_eq!(failure(stderr).message, "a\nb");
        assert_eq!(failure("panic: x").message, "panic: x");
    }

    #[test]
    fn what_may_pass_by_itself() {
        assert!(Cause::Unreachable.is_transient() && Cause::Locked.is_transient());
        assert!(!Cause::Render.is_transient() && !Cause::Rejected.is_transient());
    }
}
