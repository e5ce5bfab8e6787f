//! Merges the contents of values references and `spec.values`.

use std::fmt;

use serde_json::{Map, Value};

use super::node::{self, SharedMap};
use super::path::{self, PathError, Reading};
use crate::yaml::{self, YamlError};

/// Where a piece of values comes from, as messages name it: `ConfigMap dev/account key values.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `ConfigMap` or `Secret`.
    pub kind: &'static str,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Key in its data.
    pub key: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{} key {}", self.kind, self.namespace, self.name, self.key)
    }
}

/// A values reference with what it points at. Not printable: it may hold secrets.
#[derive(Clone)]
pub struct FetchedReference {
    /// Where the content was found.
    pub origin: Origin,
    /// The content.
    pub content: Content,
}

/// What a reference contributes.
#[derive(Clone)]
pub enum Content {
    /// A YAML mapping, merged at the root.
    Mapping(String),
    /// One value, set at a path.
    AtPath {
        /// The path, in the syntax of `helm --set`.
        path: String,
        /// The value as it stands in the object.
        value: String,
        /// How the value is read.
        reading: Reading,
    },
}

/// Why values cannot be composed. Names places, never contents.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValuesError {
    /// The content is not YAML.
    #[error("{origin} is not YAML: line {line}, column {column}; correct the object")]
    NotYaml {
        /// The content's place.
        origin: Origin,
        /// Line of the first error, from 1.
        line: usize,
        /// Column of the first error, from 1.
        column: usize,
    },
    /// The content is YAML, but a list or a scalar.
    #[error("{origin} holds a {found} where a mapping of values is expected; correct it or set `targetPath`")]
    NotAMapping {
        /// The content's place.
        origin: Origin,
        /// What stands there.
        found: &'static str,
    },
    /// The content cannot be set at `targetPath`.
    #[error("{origin} cannot be set at `targetPath` {path}: {source}")]
    Path {
        /// The content's place.
        origin: Origin,
        /// The path as written.
        path: String,
        /// What is wrong with path or value.
        source: PathError,
    },
}

/// The values of a release: each reference in order, then `spec.values` (null counts as none).
///
/// As in Flux a value at a `targetPath` is set over `spec.values`, but `spec.values` is merged
/// over all in the end: its own scalars at the same path win once another layer holds the same
/// map.
pub fn compose(
    spec_values: Option<&Value>,
    references: Vec<FetchedReference>,
) -> Result<Map<String, Value>, ValuesError> {
    let own = match spec_values {
        Some(Value::Object(values)) => node::from_values(values.clone()),
        _ => SharedMap::default(),
    };
    let mut merged = SharedMap::default();
    for FetchedReference { origin, content } in references {
        merged = match content {
            Content::Mapping(text) => node::merge(&merged, &node::from_values(mapping(origin, &text)?)),
            Content::AtPath { path, value, reading } => {
                let target = node::merge(&merged, &own);
                path::set(&target, &path, &value, reading).map_err(|source| ValuesError::Path {
                    origin,
                    path,
                    source,
                })?;
                target
            }
        };
    }
    let all = node::merge(&merged, &own);
    Ok(node::to_values(&all))
}

fn mapping(origin: Origin, text: &str) -> Result<Map<String, Value>, ValuesError> {
    let found = match yaml::parse(text) {
        Ok(Value::Object(values)) => return Ok(values),
        Ok(Value::Null) => return Ok(Map::new()),
        Ok(Value::Array(_)) => "list",
        Ok(_) => "scalar",
        // The parser's message may quote the text.
        Err(YamlError { line, column, .. }) => return Err(ValuesError::NotYaml { origin, line, column }),
    };
    Err(ValuesError::NotAMapping { origin, found })
}

#[cfg(test)]
#[path = "merge/tests.rs"]
mod tests;
