//! What the operator needs of the Kubernetes API beyond typed clients.

pub mod apply;
pub mod client;
pub mod cluster;
pub mod discovery;
pub mod field_set;
pub mod lease;
pub mod recorder;
pub mod remote;
