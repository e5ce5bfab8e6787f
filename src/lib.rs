//! Fairlead: GitOps for Helm in one small binary.
//!
//! ```text
//!  git remote            cluster
//!     │ poll               ▲
//!     ▼                    │ server-side apply, prune
//!  source ── Artifact ──► sync ──► HelmRelease, sources, namespaces …
//!     │                               │ watch
//!     └── chart Artifact ──────────►  release:  resolve → observe → decide → act → report
//! ```
//!
//! Dependencies point one way: `api` ← pure cores ← I/O modules ← controllers ← `app`.

mod answer;
pub mod api;
pub mod app;
pub mod args;
mod cause;
pub mod cel;
pub mod controller;
pub mod crds;
mod dns_name;
pub mod drift;
pub mod forward;
#[doc(hidden)]
pub mod fuzzing;
pub mod git;
pub mod health;
pub mod helm;
pub mod http;
pub mod kube_ext;
pub mod metrics;
pub mod notification;
pub mod openpgp;
pub mod postrender;
pub mod process;
pub mod proxy;
pub mod receiver;
pub mod redact;
pub mod release;
pub mod release_controller;
pub mod selector;
pub mod source;
pub mod steady_clock;
pub mod sync;
pub mod telemetry;
pub mod traces;
pub mod values;
pub mod yaml;
