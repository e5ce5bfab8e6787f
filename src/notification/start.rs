//! Starts the dispatch of notifications once all alerts are known.

use std::sync::Arc;

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinError;

use super::deliver::Deliverer;
use super::dispatch::{Dispatcher, Inputs};
use crate::controller::Context;
use crate::kube_ext::recorder::Occurrence;

/// How metrics and log lines name all alerts.
const NAME: &str = "alerts";

/// Why notifications end, which they never do by themselves.
#[derive(Debug, thiserror::Error)]
pub enum NotifierError {
    /// A delivery panicked.
    #[error("a notification died: {0}")]
    Died(#[from] JoinError),
    /// There is no HTTP client.
    #[error("notifications cannot be sent: {0}")]
    Client(String),
    /// Nobody tells events any more.
    #[error("the dispatch of notifications ended")]
    Ended,
}

/// Sends the events that alerts are for.
pub struct Notifier {
    context: Context,
    events: Receiver<Arc<Occurrence>>,
}

impl Notifier {
    /// Listens to events from now on.
    pub fn new(context: &Context) -> Self {
        let events = context.reporter.listen(NAME, Arc::clone(&context.metrics));
        Self { context: context.clone(), events }
    }

    /// Runs for ever.
    pub async fn run(self) -> Result<(), NotifierError> {
        let Self { context, events } = self;
        let deliverer = Deliverer::new(context.clone()).map_err(NotifierError::Client)?;
        let (alerts, providers) = (&context.caches.alerts, &context.caches.providers);
        tokio::join!(alerts.ready(), providers.ready());
        let inputs = Inputs { events, alerts: alerts.changes(), providers: providers.changes() };
        Dispatcher::new(context.clone(), deliverer).run(inputs).await?;
        Err(NotifierError::Ended)
    }
}
