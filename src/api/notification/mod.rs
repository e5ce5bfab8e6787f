//! `notification.toolkit.fluxcd.io`: who tells the operator of changes, and whom it tells.

pub mod v1;
pub mod v1beta3;
