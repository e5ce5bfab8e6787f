//! Tells one thing that happened to an object, as a log line and as a Kubernetes event.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::redact;

/// Events waiting to be written; more are dropped, with a log line, rather than kept for ever.
const QUEUE: usize = 1024;

/// A repeated event within this time counts up the first one instead of making another.
const AGGREGATION: Duration = Duration::from_mins(10);

/// Kubernetes refuses longer event messages.
const MESSAGE_LIMIT: usize = 1000;

/// Whether a person should worry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Severity {
    Normal,
    Warning,
}

#[derive(Debug)]
struct Said {
    regarding: ObjectReference,
    severity: Severity,
    reason: String,
    message: String,
    annotations: Vec<(String, String)>,
}

/// Writes log lines at once and hands events to the [`Recorder`]. Cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    events: Sender<Said>,
    controller: Arc<str>,
}

/// Writes the events that [`Reporter`]s hand over.
pub struct Recorder {
    client: Client,
    queue: Receiver<Said>,
    controller: Arc<str>,
    recent: HashMap<(String, Severity, String, String), Recorded>,
}

struct Recorded {
    name: String,
    count: i32,
    at: Instant,
}

/// A reporter and the recorder that has to run for its events to be written. `controller` is the
/// name under which events show where they come from.
pub fn channel_for(client: Client, controller: &str) -> (Reporter, Recorder) {
    let (events, queue) = channel(QUEUE);
    let controller: Arc<str> = controller.into();
    let recorder = Recorder { client, queue, controller: controller.clone(), recent: HashMap::new() };
    (Reporter { events, controller }, recorder)
}

impl Reporter {
    /// Something went as wanted. Of the facts, `revision`, `chart`, `elapsed`, `file` and `action`
    /// become fields of the log line, and all but `elapsed` annotations of the event
    /// (`<group>/<fact>`, as Flux writes them).
    pub fn normal<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        reason: &str,
        message: &str,
        facts: &[(&str, &str)],
    ) {
        self.say(object, Severity::Normal, reason, message, facts);
    }

    /// Something needs a person's attention. Facts as in [`Self::normal`].
    pub fn warning<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        reason: &str,
        message: &str,
        facts: &[(&str, &str)],
    ) {
        self.say(object, Severity::Warning, reason, message, facts);
    }

    fn say<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        severity: Severity,
        reason: &str,
        message: &str,
        facts: &[(&str, &str)],
    ) {
        let message = redact::redact(message);
        let regarding = object.object_ref(&());
        log(&regarding, severity, reason, &message, facts);
        let group = K::group(&());
        let annotations = facts.iter().filter(|(key, _)| *key != "elapsed");
        let said = Said {
            regarding,
            severity,
            reason: reason.to_owned(),
            message: redact::bounded(&message, MESSAGE_LIMIT).into_owned(),
            annotations: annotations.map(|(key, value)| (format!("{group}/{key}"), (*value).to_owned())).collect(),
        };
        if self.events.try_send(said).is_err() {
            tracing::warn!(controller = &*self.controller, reason, "an event was dropped: too many are waiting");
        }
    }
}

fn log(regarding: &ObjectReference, severity: Severity, reason: &str, message: &str, facts: &[(&str, &str)]) {
    let fact = |name| facts.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let (kind, namespace, name) =
        (regarding.kind.as_deref(), regarding.namespace.as_deref(), regarding.name.as_deref());
    let (revision, chart, elapsed, file, action) =
        (fact("revision"), fact("chart"), fact("elapsed"), fact("file"), fact("action"));
    match severity {
        Severity::Normal => {
            tracing::info!(kind, namespace, name, reason, revision, chart, action, file, elapsed, "{message}");
        }
        Severity::Warning => {
            tracing::warn!(kind, namespace, name, reason, revision, chart, action, file, elapsed, "{message}");
        }
    }
}

impl Recorder {
    /// Writes events until every reporter is gone. An event that cannot be written is dropped: it
    /// is in the log, and on the object's status if it matters.
    pub async fn run(mut self) {
        while let Some(said) = self.queue.recv().await {
            if let Err(error) = self.write(said).await {
                tracing::debug!(%error, "an event could not be written");
            }
        }
    }

    async fn write(&mut self, said: Said) -> Result<(), kube::Error> {
        let now = Instant::now();
        self.recent.retain(|_, recorded| now.duration_since(recorded.at) < AGGREGATION);
        let uid = said.regarding.uid.clone().unwrap_or_default();
        let key = (uid, said.severity, said.reason.clone(), said.message.clone());
        let namespace = said.regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        if let Some(recorded) = self.recent.get_mut(&key) {
            recorded.count += 1;
            recorded.at = now;
            let again = json!({"count": recorded.count, "lastTimestamp": Time(Timestamp::now())});
            match api.patch(&recorded.name, &PatchParams::default(), &Patch::Merge(again)).await {
                // It expired in the cluster: make a new one.
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                result => return result.map(drop),
            }
        }
        let event = event_of(&said, &namespace, &self.controller, Timestamp::now());
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        self.recent.insert(key, Recorded { name, count: 1, at: now });
        Ok(())
    }
}

fn event_of(said: &Said, namespace: &str, controller: &str, now: Timestamp) -> Event {
    let name = format!("{}.{:x}", said.regarding.name.as_deref().unwrap_or(controller), now.as_nanosecond());
    let annotations = said.annotations.iter().cloned().collect();
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        involved_object: said.regarding.clone(),
        type_: Some(if said.severity == Severity::Normal { "Normal" } else { "Warning" }.to_owned()),
        reason: Some(said.reason.clone()),
        message: Some(said.message.clone()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource { component: Some(controller.to_owned()), host: None }),
        reporting_component: Some(controller.to_owned()),
        ..Event::default()
    }
}
