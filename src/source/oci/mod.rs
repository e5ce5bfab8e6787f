//! Registries that speak the OCI distribution API: which artifact an object means, how the
//! registry is logged in to, and how tags, manifests and layers are fetched from it.
//!
//! A client of its own on the HTTP client that is here anyway: the crates that do this know no
//! client certificates, and read manifests and lists of tags without a limit.

pub mod access;
mod authorization;
pub mod client;
mod cosign;
pub mod credentials;
pub mod error;
mod handover;
pub mod manifest;
mod notation;
pub mod reference;
pub mod tags;
pub mod verify;

pub use client::Registry;
pub use error::OciError;
pub use reference::{Digest, Reference, Repository};
