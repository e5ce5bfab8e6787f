//! The environment folder: a folder of a source's artifact becomes objects of the cluster.
//!
//! `scan` (and `build`, where a folder has a `kustomization.yaml`) reads manifests, `decrypt` and
//! `post_build` make them readable and fill in variables (with what `material` fetches), `validate`
//! sorts out what cannot work, `referrals` follow what moves, `order`, `policy`, `ignored`, `hold`, `prune` and `ceiling`
//! decide, `stages`, `write` and `garbage` act, `wait` looks at what came of it, `status` and `history` report; `pass`
//! puts them together and `reconciler` runs it. One rule goes through it all: what is wrong with one
//! object or file is named with its place, and never stops the others.

pub mod build;
pub mod ceiling;
mod course;
pub mod decrypt;
pub mod desired;
pub mod finalize;
pub mod garbage;
pub mod history;
pub mod hold;
mod identity;
mod ignored;
pub mod inventory;
pub mod keys;
pub mod manifest;
pub mod material;
pub mod memory;
pub mod order;
mod origins;
pub mod pass;
pub mod policy;
pub mod post_build;
pub mod problem;
pub mod prune;
pub mod reconciler;
mod referrals;
pub mod scan;
pub mod source;
pub mod stages;
mod start;
pub mod status;
pub mod substitute;
pub mod triggers;
pub mod validate;
pub mod wait;
pub mod write;

pub use reconciler::KustomizationController;
pub use start::start;
