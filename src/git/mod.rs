//! Git remotes, driven through the `git` binary: argument lists and output parsers are pure,
//! [`Mirrors`] holds one shallow bare mirror per remote and credential.

pub mod argv;
pub mod auth;
mod checkout;
pub mod github_app;
mod http;
pub mod mirror;
pub mod output;
mod redirect;
pub mod reference;
pub mod remote;
pub mod signature;
pub mod submodule;
pub mod through;

pub use auth::{AuthError, Credential};
pub use mirror::{Export, Mirror, Mirrors, Selection};
pub use output::{Cause, GitError};
pub use reference::{ReferenceError, Target, Wanted};
pub use remote::{Remote, RemoteError};
