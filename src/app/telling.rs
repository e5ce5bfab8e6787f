//! The task that sends traces: it runs until the last span is told, and nobody waits for it for long.

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::traces::{Exporter, export};

/// The exporter, where there is one.
#[derive(Default)]
pub struct Telling {
    task: Option<JoinHandle<()>>,
    no_more: CancellationToken,
}

impl Telling {
    /// Starts it.
    pub fn start(&mut self, exporter: Exporter) {
        self.task = Some(tokio::spawn(exporter.run(self.no_more.clone())));
    }

    /// The failure of the task, which never ends by itself.
    pub async fn failure(&mut self) -> AppError {
        match &mut self.task {
            None => std::future::pending().await,
            Some(task) => match task.await {
                Ok(()) => AppError::Ended("the exporter of traces"),
                Err(died) => AppError::Died(died),
            },
        }
    }

    /// Lets it send what is left, as far as that goes until then.
    pub async fn end(&mut self, deadline: Instant) {
        self.no_more.cancel();
        if let Some(task) = self.task.take() {
            let _ = timeout_at(deadline.min(Instant::now() + export::FAREWELL), task).await;
        }
    }
}
