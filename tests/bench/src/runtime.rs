//! What must not depend on one test's runtime.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime of its own, for servers that several tests use; it lives as long as the process.
///
/// # Panics
/// When the system has no threads left.
pub fn handle() -> &'static Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("bench")
                .enable_all()
                .build()
                .expect("start a runtime")
        })
        .handle()
}

/// Makes ring the process' TLS provider, unless there is one.
pub fn install_crypto() {
    // An error means that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
