//! The values of a release: fetched, merged, and hashed as Flux does it.
//!
//! References are merged in their order, `spec.values` last. Merging, paths and the digest are
//! pure; [`fetch`] alone talks to the API server.

pub mod digest;
pub mod fetch;
pub mod go_number;
pub mod go_yaml;
pub mod merge;
mod node;
pub mod path;

pub use digest::config_digest;
pub use fetch::{FetchError, fetch};
pub use merge::{Content, FetchedReference, ValuesError, compose};
