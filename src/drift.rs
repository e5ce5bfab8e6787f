//! Are the objects of a release still as the release made them?
//!
//! ```text
//! helm's storage ─► objects ─┐
//!                            ├─► body ─► dry run ─► compare ─► findings ─► report (text)
//! live object ─► ignore ─────┘                                    └─► correct (the same body)
//! ```
//!
//! The answer is the API server's own: each object is applied server-side in a dry run, and drift
//! is what that would change. So defaults, conversions and webhooks are no drift, and neither is
//! what others add to an object (a field that the chart leaves open), unless a release asks for that
//! too. A correction sends what the dry run sent. Only `observer` does I/O.

pub mod additions;
pub mod compare;
pub mod ignore;
pub mod objects;
pub mod observer;
mod overlay;
pub mod report;

/// Field manager of corrections: helm's own. The object then looks as if helm had just applied it,
/// so that the next `helm upgrade` meets no second owner that would keep a field alive that the
/// chart has dropped.
pub const FIELD_MANAGER: &str = "helm";
