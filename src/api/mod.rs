//! The wire types: Flux's kinds field by field, with Flux's names; no behaviour beyond defaults.
//!
//! Reading is lenient: unknown fields are ignored, and a part of a status that does not parse
//! (an older controller wrote it) reads as absent instead of making the whole object unreadable.

#![expect(clippy::duplicated_attributes, reason = "each printer column has its own attributes")]
#![expect(clippy::struct_excessive_bools, reason = "the kinds are as Flux made them")]

pub mod annotation;
pub mod condition;
mod duration;
pub mod event;
pub mod helm;
pub mod kinds;
pub mod kustomize;
pub mod meta;
pub mod notification;
mod schema;
pub mod source;
pub mod unsupported;

/// Finalizer on every object that has to be cleaned up after.
pub const FINALIZER: &str = "finalizers.fluxcd.io";
