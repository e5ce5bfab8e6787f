//! `notification.toolkit.fluxcd.io`: who tells the operator of changes.

pub mod v1;
