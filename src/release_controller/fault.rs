//! What ends a pass before its time.

use crate::helm::ReleasesError;

/// A fault that the pass cannot put on the status of the object by itself.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The API server refused or failed: the pass is repeated with backoff.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// A release in helm's storage cannot be read or written: the object says so.
    #[error("helm's storage: {0}")]
    Storage(String),
}

impl From<ReleasesError> for Fault {
    fn from(error: ReleasesError) -> Self {
        match error {
            ReleasesError::Api { source, .. } => Self::Api(*source),
            error @ ReleasesError::Storage { .. } => Self::Storage(error.to_string()),
        }
    }
}
