//! Why a registry gives nothing.

use super::reference::{Digest, NameError};

/// Why a registry gives nothing. No text holds a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OciError {
    /// A name that cannot be one.
    #[error("{0}")]
    Name(#[from] NameError),
    /// A Secret gives no usable credentials.
    #[error("{0}")]
    Credentials(String),
    /// The registry wants other credentials.
    #[error("'{what}' answered {status}: the credentials are missing, wrong or without the right to read{said}")]
    Unauthorized {
        /// What was asked for.
        what: String,
        /// The status of the answer.
        status: u16,
        /// The registry's own words, after `: `, or nothing.
        said: String,
    },
    /// The registry has no such thing.
    #[error("'{what}' not found{said}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// The registry's own words, after `: `, or nothing.
        said: String,
    },
    /// The registry answered with another status than 200.
    #[error("'{what}' answered {status}{said}")]
    Status {
        /// What was asked for.
        what: String,
        /// The status of the answer.
        status: u16,
        /// The registry's own words, after `: `, or nothing.
        said: String,
    },
    /// The registry could not be reached, or the transfer broke.
    #[error("cannot reach '{what}': {reason}")]
    Transfer {
        /// What was asked for.
        what: String,
        /// What went wrong.
        reason: String,
    },
    /// An answer is larger than allowed.
    #[error("'{what}' is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// What came does not have the digest that was asked for.
    #[error("'{what}' came with the digest {actual} instead of {expected}")]
    Mismatch {
        /// What was asked for.
        what: String,
        /// What its bytes hash to.
        actual: String,
        /// What they should.
        expected: Digest,
    },
    /// An answer that cannot be read.
    #[error("'{what}' cannot be read: {reason}")]
    Malformed {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system refused to keep a layer.
    #[error("cannot keep a layer: {0}")]
    Disk(String),
}

impl OciError {
    /// Whether other credentials may help.
    pub fn is_authentication(&self) -> bool {
        matches!(self, Self::Credentials(_) | Self::Unauthorized { .. })
    }

    /// Whether nothing but another spec can help.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Name(_))
    }
}
