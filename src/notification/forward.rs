//! Sends every event to `--events-addr`, as Flux's controllers do.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use tokio::sync::mpsc::Receiver;
use url::Url;

use super::post::{self, Post, PostError, send};
use super::retry::EVENT;
use crate::controller::Context;
use crate::kube_ext::recorder::Occurrence;
use crate::metrics::Metrics;
use crate::redact::Redactor;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How metrics and log lines name it.
const NAME: &str = "events-addr";

/// Sends events, one after the other.
pub struct Forwarder {
    address: Url,
    events: Receiver<Arc<Occurrence>>,
    metrics: Arc<Metrics>,
    redactor: Redactor,
}

impl Forwarder {
    /// To this address, from now on.
    pub fn new(context: &Context, address: Url) -> Self {
        let mut redactor = Redactor::default();
        redactor.add(address.query().unwrap_or_default());
        redactor.add(address.password().unwrap_or_default());
        let metrics = Arc::clone(&context.metrics);
        Self { events: context.reporter.listen(NAME, Arc::clone(&metrics)), address, metrics, redactor }
    }

    /// Runs until nobody tells events any more. An event that cannot be sent is dropped.
    pub async fn run(mut self) {
        let client = match post::client().build() {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(%error, "--events-addr: there is no HTTP client");
                return;
            }
        };
        while let Some(occurrence) = self.events.recv().await {
            self.forward(&client, &occurrence).await;
        }
    }

    async fn forward(&self, client: &Client, occurrence: &Occurrence) {
        let Ok(body) = serde_json::to_vec(&occurrence.event) else { return };
        let post = Post::json(self.address.clone(), body);
        let outcome = match send(client, &post, TIMEOUT, EVENT).await {
            Ok(_) => "sent",
            // The receiver had it already.
            Err(PostError::Refused { status: 429, .. }) => "duplicate",
            Err(error) => {
                let error = error.to_string();
                let error = self.redactor.text(&error);
                let event = &occurrence.event;
                let object = super::format::object(event);
                tracing::warn!(object, reason = event.reason, %error, "--events-addr: an event was not taken");
                "failed"
            }
        };
        self.metrics.notification(NAME, outcome);
    }
}
