//! The release core, pure: facts about one `HelmRelease` go in, one decision comes out.
//!
//! ```text
//! observed (facts) → state (what is the case) → plan (what to do, and why)
//!                                                 ↓ done by the controller
//!                             history, status (what to remember, what to tell)
//! ```
//!
//! Facts come from two stores that survive a crash: helm's storage and the object's status. A
//! journal entry on disk says which action was running; where the disk is gone, the status does. Every decision is reached again from what
//! these three hold, so a process that dies between two steps is continued by the next one.

pub mod chart;
pub mod dependencies;
pub mod history;
pub mod inherited;
pub mod inventory;
pub mod name;
pub mod observed;
pub mod plan;
pub mod remediation;
pub mod state;
pub mod status;
pub mod steady;

#[cfg(test)]
mod convergence;
