//! Brings spans to a collector: in batches, again where that may help, and never in anybody's way.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use reqwest::{Client, redirect};
use tokio_util::sync::CancellationToken;

use super::otlp;
use super::queue::Queue;
use super::settings::OtlpSettings;
use super::span::Attributes;
use crate::cause;
use crate::metrics::Metrics;
use crate::notification::retry::retry_after;
use crate::redact::{Redactor, bounded};

/// Spans in a request at the most: the default of the SDKs.
const BATCH: usize = 512;

/// How long the first span of a batch waits for others.
const LINGER: Duration = Duration::from_secs(1);

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after the first failure; it doubles with each further one.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause, also where a collector asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Bytes of an answer that are told.
const ANSWER_LIMIT: usize = 256;

/// How long the last spans may take when the operator ends.
pub const FAREWELL: Duration = Duration::from_secs(5);

/// Sends what is in the queue.
pub struct Exporter {
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    settings: OtlpSettings,
    client: Client,
    resource: Attributes,
    redactor: Redactor,
    standing: Standing,
}

/// How it goes with the collector; only a change is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Well,
    Away,
    Refuses,
}

/// What became of a batch.
enum Sent {
    Taken(Vec<u8>),
    /// It may be taken later.
    Later(String, Option<Duration>),
    /// It never will.
    Refused(String),
}

impl Exporter {
    /// Sends to the collector of these settings; `instance` names this process.
    pub fn new(
        settings: OtlpSettings,
        queue: Arc<Queue>,
        metrics: Arc<Metrics>,
        instance: &str,
    ) -> Result<Self, reqwest::Error> {
        // The headers are for this server alone.
        let client = Client::builder().user_agent("fairlead").redirect(redirect::Policy::none()).timeout(TIMEOUT);
        let mut redactor = Redactor::default();
        for value in settings.headers.values() {
            redactor.add(&String::from_utf8_lossy(value.as_bytes()));
        }
        let resource = vec![
            ("service.name", "fairlead".into()),
            ("service.version", env!("CARGO_PKG_VERSION").into()),
            ("service.instance.id", instance.into()),
        ];
        Ok(Self { queue, metrics, settings, client: client.build()?, resource, redactor, standing: Standing::Well })
    }

    /// Runs until it is told that there will be no more spans, and then sends the last ones.
    pub async fn run(mut self, no_more: CancellationToken) {
        let mut failures = 0;
        loop {
            tokio::select! {
                () = self.queue.filled() => {}
                () = no_more.cancelled() => break,
            }
            let pause = if failures == 0 { LINGER } else { Duration::ZERO };
            wait(pause, &no_more).await;
            match self.send_batch().await {
                Ok(()) => failures = 0,
                Err(asked) => {
                    failures += 1;
                    wait(pause_after(failures, asked), &no_more).await;
                }
            }
        }
        while !self.queue.is_empty() && self.send_batch().await.is_ok() {}
    }

    /// Sends the oldest spans; a failure that may pass gives the pause that the collector asks for.
    async fn send_batch(&mut self) -> Result<(), Option<Duration>> {
        let spans = self.queue.take(BATCH);
        match self.send(otlp::request(&self.resource, &spans)).await {
            Sent::Taken(answer) => {
                let rejected = otlp::rejected(&answer);
                let refused = rejected.as_ref().map_or(0, |(count, _)| usize::try_from(*count).unwrap_or(usize::MAX));
                let refused = refused.min(spans.len());
                self.metrics.spans("sent", spans.len() - refused);
                self.metrics.spans("refused", refused);
                match rejected {
                    Some((_, why)) => self.stands(Standing::Refuses, &why),
                    None => self.stands(Standing::Well, ""),
                }
                Ok(())
            }
            Sent::Refused(why) => {
                self.metrics.spans("refused", spans.len());
                self.stands(Standing::Refuses, &why);
                Ok(())
            }
            Sent::Later(why, asked) => {
                self.queue.put_back(spans);
                self.stands(Standing::Away, &why);
                Err(asked)
            }
        }
    }

    async fn send(&self, body: Vec<u8>) -> Sent {
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        let request = self.client.post(self.settings.url.clone()).headers(self.settings.headers.clone());
        let answer = match request.header(header::CONTENT_TYPE, protobuf).body(body).send().await {
            Ok(answer) => answer,
            Err(error) => return Sent::Later(cause::of_request(&error), None),
        };
        let status = answer.status();
        if status.is_success() {
            // It was taken, whatever becomes of the rest of the answer.
            return Sent::Taken(answer.bytes().await.map(Vec::from).unwrap_or_default());
        }
        let why = format!("it answers {status}");
        if is_transient(status.as_u16()) { Sent::Later(why, asked_for(answer.headers())) } else { Sent::Refused(why) }
    }

    /// Tells when the collector goes away or refuses, and when it is back.
    fn stands(&mut self, now: Standing, why: &str) {
        if std::mem::replace(&mut self.standing, now) == now {
            return;
        }
        let url = self.settings.url.as_str();
        let error = self.redactor.text(why);
        let error = bounded(&error, ANSWER_LIMIT);
        let hint = if self.settings.url.port() == Some(4317) { " (4317 is often gRPC, and 4318 HTTP)" } else { "" };
        match now {
            Standing::Well => tracing::info!(url, "traces reach their collector again"),
            Standing::Away => tracing::warn!(url, %error, "traces wait: their collector is not reached{hint}"),
            Standing::Refuses => tracing::warn!(url, %error, "traces are lost: their collector refuses them{hint}"),
        }
    }
}

async fn wait(pause: Duration, no_more: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = no_more.cancelled() => {}
    }
}

/// Whether the same request may be taken later, as OTLP has it.
fn is_transient(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

/// The pause after so many failures in a row.
fn pause_after(failures: u32, asked: Option<Duration>) -> Duration {
    let doubled = SHORTEST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    asked.unwrap_or(doubled).min(LONGEST_PAUSE)
}

fn asked_for(headers: &HeaderMap) -> Option<Duration> {
    retry_after(headers.get(header::RETRY_AFTER)?.to_str().ok()?, Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_half_a_minute_unless_asked_for() {
        for (failures, asked, expected) in [
            (1, None, 1),
            (2, None, 2),
            (5, None, 16),
            (6, None, 30),
            (90, None, 30),
            (9, Some(4), 4),
            (1, Some(99), 30),
        ] {
            let pause = pause_after(failures, asked.map(Duration::from_secs));
            assert_eq!(pause.as_secs(), expected, "{failures} {asked:?}");
        }
    }

    #[test]
    fn only_what_may_pass_is_sent_again() {
        for (status, expected) in [(429, true), (502, true), (503, true), (504, true), (500, false), (401, false)] {
            assert_eq!(is_transient(status), expected, "{status}");
        }
    }
}
