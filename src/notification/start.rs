//! Starts the dispatch of notifications once the cluster has their kinds.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinError;

use super::deliver::Deliverer;
use super::dispatch::{Dispatcher, Inputs};
use crate::controller::cache::CacheError;
use crate::controller::{Cache, Context};
use crate::kube_ext::recorder::Occurrence;

/// How metrics and log lines name all alerts.
const NAME: &str = "alerts";

/// Group and version of the kinds.
const API_VERSION: &str = "notification.toolkit.fluxcd.io/v1beta3";

/// The kinds.
const KINDS: [&str; 2] = ["Alert", "Provider"];

/// Pause between looks for the kinds.
const LOOK: Duration = Duration::from_secs(10);

/// Why notifications end, which they never do by themselves.
#[derive(Debug, thiserror::Error)]
pub enum NotifierError {
    /// A watch ended.
    #[error(transparent)]
    Watch(#[from] CacheError),
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

    /// Runs for ever. In a cluster without the kinds it waits for them, and sends nothing.
    pub async fn run(mut self) -> Result<(), NotifierError> {
        self.wait_for_kinds().await;
        let Self { context, events } = self;
        let deliverer = Deliverer::new(context.clone()).map_err(NotifierError::Client)?;
        let (alerts, providers) = (Cache::default(), Cache::default());
        let dispatch = async {
            tokio::join!(alerts.ready(), providers.ready());
            tracing::info!("alerts are looked at");
            let inputs = Inputs { events, alerts: alerts.changes(), providers: providers.changes() };
            Dispatcher::new(context.clone(), deliverer).run(inputs).await?;
            Err(NotifierError::Ended)
        };
        tokio::select! {
            ended = alerts.drive(context.watched_api()) => Err(ended.into()),
            ended = providers.drive(context.watched_api()) => Err(ended.into()),
            ended = dispatch => ended,
        }
    }

    async fn wait_for_kinds(&mut self) {
        let mut told = false;
        while !self.has_kinds().await {
            if !told {
                tracing::info!(
                    "the cluster has no kinds Alert and Provider: no alerts are sent until their CRDs are installed"
                );
                told = true;
            }
            let pause = tokio::time::sleep(LOOK);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    // Nobody has asked for it.
                    Some(_) = self.events.recv() => {}
                }
            }
        }
    }

    /// Whether the API server serves the kinds; also when it does not say, which the watches find
    /// out then.
    async fn has_kinds(&self) -> bool {
        match self.context.client.list_api_group_resources(API_VERSION).await {
            Ok(served) => KINDS.iter().all(|kind| served.resources.iter().any(|resource| resource.kind == *kind)),
            // An unknown group is answered in plain text, without a reason.
            Err(kube::Error::Api(status)) => status.code != StatusCode::NOT_FOUND.as_u16(),
            Err(_) => true,
        }
    }
}
