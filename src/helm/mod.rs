//! Helm: its actions run as child processes, its releases read and written natively.
//!
//! [`argv`], [`output`], [`record_size`], [`version`], [`storage`], [`summary`], [`digest`] and [`chart_crds`] are pure;
//! [`client`] starts the helm binary, [`endpoint`] is the API server that it sees; [`release_cache`], [`releases`] and [`crds`] talk to the API
//! server.

pub mod argv;
pub mod chart_crds;
pub mod client;
pub mod crds;
pub mod digest;
pub mod endpoint;
pub(crate) mod go_json;
pub mod output;
pub mod record_size;
pub mod release_cache;
pub mod releases;
pub mod storage;
pub mod summary;
pub mod version;

pub use digest::observation_digest;
pub use release_cache::ReleaseCache;
pub use releases::{Releases, ReleasesError};
pub use storage::{StorageError, StoredRelease};
pub use summary::{ReleaseKey, ReleaseStatus, ReleaseSummary};
