//! What has to be in order before anything is watched or touched; each obstacle is named in the
//! log and by `/readyz`, with what helps, until it is gone.

mod cluster;
mod programs;
mod rights;

use std::fs::File;
use std::io::ErrorKind;
use std::time::Duration;

use kube::Client;

use super::{AppError, data_dir};
use crate::args::Config;
use crate::http::Readiness;

/// Pause between two looks at what is not in order.
const PAUSE: Duration = Duration::from_secs(2);

/// The part that is not ready while the data directory cannot be written to.
pub(super) const DATA_DIR: &str = "--data-dir";

/// Something that is not in order.
#[derive(Debug, PartialEq, Eq)]
struct Obstacle {
    /// What it is about.
    part: &'static str,
    /// What is wrong, and what helps.
    why: String,
}

/// Takes the data directory; waits for room on a disk that is full or read-only.
pub async fn take_data_dir(config: &Config, readiness: &Readiness) -> Result<File, AppError> {
    loop {
        match data_dir::take(&config.data_dir) {
            Err(AppError::DataDir { dir, source }) if passes(source.kind()) => {
                let why = format!("{}: {source}; {}", dir.display(), data_dir::REMEDY);
                tell(readiness, DATA_DIR, &why);
            }
            taken => {
                readiness.has(DATA_DIR);
                return taken;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether a refusal of the file system may end without a change of the flags.
fn passes(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
}

/// Waits until nothing is in the way.
pub async fn passed(config: &Config, client: &Client, readiness: &Readiness) {
    let mut told: Vec<&'static str> = Vec::new();
    loop {
        let obstacles = look(config, client).await;
        for part in std::mem::take(&mut told) {
            if obstacles.iter().all(|obstacle| obstacle.part != part) {
                readiness.has(part);
                tracing::info!(part, "is in order now");
            }
        }
        if obstacles.is_empty() {
            return;
        }
        for Obstacle { part, why } in &obstacles {
            tell(readiness, part, why);
            told.push(part);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(config: &Config, client: &Client) -> Vec<Obstacle> {
    let (programs, cluster, rights) =
        tokio::join!(programs::look(config), cluster::look(config, client), rights::look(config, client));
    programs.into_iter().chain(cluster).chain(rights).collect()
}

fn tell(readiness: &Readiness, part: &'static str, why: &str) {
    if readiness.lacks(part, why) {
        tracing::error!(part, why, "nothing is done before this is in order");
    }
}
