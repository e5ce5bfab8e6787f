//! Whether the data directory can be written to while the operator works. What needs no room goes
//! on, and what does says so on its object: this tells of the cause in one place.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::data_dir;
use super::preflight::DATA_DIR;
use crate::http::Readiness;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(10);

/// Looks at the data directory from time to time.
pub async fn watch(dir: PathBuf, readiness: Readiness) {
    let mut told: Option<String> = None;
    loop {
        tokio::time::sleep(PAUSE).await;
        let found = trouble(dir.clone()).await.map(|error| format!("{}: {error}; {}", dir.display(), data_dir::REMEDY));
        match (&told, &found) {
            (_, Some(why)) if found != told => tracing::error!(part = DATA_DIR, why, "what needs the disk waits"),
            (Some(_), None) => tracing::info!(part = DATA_DIR, "is in order now"),
            _ => {}
        }
        readiness.note(DATA_DIR, found.clone().map(|why| format!("{DATA_DIR} {why}")));
        told = found;
    }
}

async fn trouble(dir: PathBuf) -> Option<io::Error> {
    // A file system that hangs must not hold the runtime.
    let looked = tokio::task::spawn_blocking(move || data_dir::can_be_written(&dir)).await;
    looked.ok()?.err()
}
