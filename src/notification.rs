//! Notifications that go out: events that match an alert are sent to its provider, and all of them
//! to `--events-addr`.
//!
//! ```text
//! reporter ─► dispatcher ─ choose ─► recent ─► metadata ─► a queue per provider ─► format ─► post
//!     │         ▲  (pure)  (pure)    (pure)     (pure)                              (pure)
//!     │         └── Alert, Provider
//!     └─► forward ─► post ─► --events-addr
//! ```

pub mod choose;
pub mod commit_status;
mod deliver;
mod dispatch;
pub mod format;
mod forward;
mod lanes;
pub mod metadata;
mod post;
pub mod recent;
mod requests;
pub mod retry;
pub mod settings;
mod start;

pub use forward::Forwarder;
pub use start::{Notifier, NotifierError};
