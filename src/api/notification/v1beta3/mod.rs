//! `notification.toolkit.fluxcd.io/v1beta3`: notifications that go out. The kinds have no status.

mod alert;
mod provider;

pub use alert::*;
pub use provider::*;
