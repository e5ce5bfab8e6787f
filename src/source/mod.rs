//! From a source reference to an artifact: git repositories,
//! buckets, Helm repositories and charts, and the store that keeps and serves what they give.

pub mod archive;
pub mod bucket;
pub mod chart;
pub mod digest;
pub mod download;
pub mod foreign;
mod git_access;
pub mod git_repository;
mod git_verify;
mod glob;
pub mod helm_chart;
pub mod helm_ignore;
pub mod helm_repository;
pub mod ignore;
mod include;
pub mod index;
pub mod lifecycle;
pub mod oci;
pub mod oci_repository;
pub mod outcome;
mod proofs;
pub mod s3;
pub mod serve;
mod start;
pub mod store;
pub mod verified;
pub mod version;

pub use start::{open_store, start};
