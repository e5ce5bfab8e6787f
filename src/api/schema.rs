//! What the wire types need to describe themselves as Kubernetes schemas, and to read leniently.

use schemars::{Schema, SchemaGenerator, json_schema};

pub(super) const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
pub(super) const SHORT_DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$";
pub(super) const DATA_KEY: &str = r"^[\-._a-zA-Z0-9]+$";
pub(super) const TARGET_PATH: &str = r"^([a-zA-Z0-9_\-.\\\/]|\[[0-9]{1,5}\])+$";
pub(super) const DIGEST: &str = r"^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$";
pub(super) const HTTP_URL: &str = "^(http|https)://.*$";
pub(super) const GIT_URL: &str = "^(http|https|ssh)://.*$";
pub(super) const HELM_URL: &str = "^(http|https|oci)://.*$";
pub(super) const ISSUER_URL: &str = "^https?://";
pub(super) const OCI_URL: &str = "^oci://.*$";

const CONDITION_REASON: &str = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";
const CONDITION_TYPE: &str = concat!(
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?",
    "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
);

/// An integer of any size: Go's `int` has no format.
pub(super) fn integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer"})
}

/// Anything, kept as it is.
pub(super) fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

/// A list of conditions with the bounds that Kubernetes sets; `k8s-openapi` leaves them out.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "description": "One aspect of the object's state.",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When `status` last changed.",
                },
                "message": {
                    "type": "string",
                    "maxLength": 32768,
                    "description": "What a person should know about it.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "Generation of the spec that the condition is about.",
                },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": CONDITION_REASON,
                    "description": "Why, in one word.",
                },
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                    "description": "Whether the aspect holds.",
                },
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "pattern": CONDITION_TYPE,
                    "description": "Which aspect it is.",
                },
            },
        },
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
pub(super) fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Reads the parts of a status: what does not parse counts as absent.
pub(super) mod lenient {
    use serde::de::{Deserialize, DeserializeOwned, Deserializer};
    use serde_json::Value;

    pub(in crate::api) fn option<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: DeserializeOwned,
    {
        let value = Option::<Value>::deserialize(deserializer)?;
        Ok(value.and_then(|value| serde_json::from_value(value).ok()))
    }

    /// Text that is set; empty text is none, as it is for clients whose text cannot be absent.
    pub(in crate::api) fn text<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
    where
        D: Deserializer<'de>,
    {
        Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
    }

    pub(in crate::api) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: DeserializeOwned,
    {
        let Some(Value::Array(items)) = Option::<Value>::deserialize(deserializer)? else {
            return Ok(Vec::new());
        };
        let items = items.into_iter().map(serde_json::from_value);
        Ok(items.filter_map(Result::ok).collect())
    }
}

/// Defines an enum whose variants are strings on the wire, with `as_str` and `Display`.
macro_rules! string_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident => $wire:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $wire)] $variant,)+
        }

        impl $name {
            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $wire,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "enum": [$($wire),+]})
            }
        }
    };
}
pub(super) use string_enum;

#[cfg(test)]
mod tests {
    use crate::api::helm::v2::HelmReleaseStatus;
    use crate::api::source::v1::GitRepositoryStatus;

    #[test]
    fn parts_of_a_status_that_do_not_parse_read_as_absent() {
        let status: HelmReleaseStatus = serde_json::from_value(serde_json::json!({
            "observedGeneration": 3,
            "lastAttemptedReleaseAction": "somersault",
            "history": [{"name": "half of a snapshot"}],
            "inventory": "none",
            "conditions": null,
            "aFieldOfTomorrow": true,
        }))
        .unwrap();
        let expected = HelmReleaseStatus { observed_generation: Some(3), ..Default::default() };
        assert_eq!(status, expected);
    }

    #[test]
    fn an_artifact_without_a_digest_counts_as_absent() {
        let status: GitRepositoryStatus = serde_json::from_value(serde_json::json!({
            "artifact": {
                "path": "gitrepository/a/b/c.tar.gz",
                "url": "http://source/c.tar.gz",
                "revision": "main/0123",
                "checksum": "0123",
                "lastUpdateTime": "2022-01-01T00:00:00Z",
            },
        }))
        .unwrap();
        assert_eq!(status.artifact, None);
    }
}
