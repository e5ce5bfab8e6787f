//! `notification.toolkit.fluxcd.io/v1`: webhooks that come in.

mod receiver;

pub use receiver::*;
