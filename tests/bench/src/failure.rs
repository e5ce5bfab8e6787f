//! What is kept of a failed test.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::tools::workspace;

/// Copies log files to `target/bench-failures/<time>-<name>/` and says so on standard error.
pub fn keep(name: &str, logs: &[&Path]) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let folder = workspace().join(format!("target/bench-failures/{seconds}-{}-{name}", std::process::id()));
    if let Err(error) = std::fs::create_dir_all(&folder) {
        eprintln!("bench: cannot keep logs in {}: {error}", folder.display());
        return;
    }
    for log in logs {
        if let Some(file) = log.file_name() {
            let _ = std::fs::copy(log, folder.join(file));
        }
    }
    eprintln!("bench: logs are kept in {}", folder.display());
}
