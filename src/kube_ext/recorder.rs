//! Tells one thing that happened to an object, as a log line, as a Kubernetes event, and to whoever
//! listens.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::api::event::{self, Severity};
use crate::metrics::Metrics;
use crate::redact;

/// Events waiting to be written; more are dropped, with a log line, rather than kept for ever.
const QUEUE: usize = 1024;

/// A repeated event within this time counts up the first one instead of making another.
const AGGREGATION: Duration = Duration::from_mins(10);

/// Kubernetes refuses longer event messages.
const MESSAGE_LIMIT: usize = 1000;

/// Flux's format of events takes no longer ones.
const EVENT_MESSAGE_LIMIT: usize = 39_000;

/// Events about the kinds of this group are not passed on: they tell, among other things, that an
/// event could not be passed on.
const NOT_PASSED_ON: &str = "notification.toolkit.fluxcd.io";

#[derive(Debug)]
struct Said {
    regarding: ObjectReference,
    severity: Severity,
    reason: String,
    message: String,
    annotations: BTreeMap<String, String>,
}

/// An event, and what else is known of its object.
#[derive(Debug)]
pub struct Occurrence {
    /// The event.
    pub event: event::Event,
    /// The object's labels.
    pub labels: BTreeMap<String, String>,
}

struct Listener {
    name: &'static str,
    queue: Sender<Arc<Occurrence>>,
    metrics: Arc<Metrics>,
}

/// Writes log lines at once and hands events to the [`Recorder`]. Cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    events: Sender<Said>,
    listeners: Arc<RwLock<Vec<Listener>>>,
    controller: Arc<str>,
    instance: Arc<str>,
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
    let instance = rustix::system::uname().nodename().to_string_lossy().as_ref().into();
    (Reporter { events, listeners: Arc::default(), controller, instance }, recorder)
}

impl Reporter {
    /// How events name this process.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Something went as wanted. Of the facts, `revision`, `chart`, `elapsed`, `file` and `action`
    /// become fields of the log line, and all but `elapsed` annotations of the event
    /// (`<group>/<fact>`, as Flux writes them), beside those of the object that are meant for
    /// events.
    pub fn normal<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        reason: &str,
        message: &str,
        facts: &[(&str, &str)],
    ) {
        self.say(object, Severity::Info, reason, message, facts);
    }

    /// Something needs a person's attention. Facts as in [`Self::normal`].
    pub fn warning<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        reason: &str,
        message: &str,
        facts: &[(&str, &str)],
    ) {
        self.say(object, Severity::Error, reason, message, facts);
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
        let annotations = annotations(object, facts);
        self.pass_on(object, severity, reason, &message, &annotations);
        let said = Said {
            regarding,
            severity,
            reason: reason.to_owned(),
            message: redact::bounded(&message, MESSAGE_LIMIT).into_owned(),
            annotations,
        };
        if self.events.try_send(said).is_err() {
            tracing::warn!(controller = &*self.controller, reason, "an event was dropped: too many are waiting");
        }
    }

    /// Every event from now on. Of those that are not taken for too long, the newest are dropped,
    /// counted and logged under this name.
    pub fn listen(&self, name: &'static str, metrics: Arc<Metrics>) -> Receiver<Arc<Occurrence>> {
        let (queue, receiver) = channel(QUEUE);
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(Listener { name, queue, metrics });
        receiver
    }

    fn pass_on<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        severity: Severity,
        reason: &str,
        message: &str,
        metadata: &BTreeMap<String, String>,
    ) {
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        if listeners.is_empty() || K::group(&()) == NOT_PASSED_ON {
            return;
        }
        let occurrence = Arc::new(Occurrence {
            event: event::Event {
                involved_object: object.object_ref(&()),
                severity,
                timestamp: whole_seconds(Timestamp::now()),
                message: redact::bounded(message, EVENT_MESSAGE_LIMIT).into_owned(),
                reason: reason.to_owned(),
                metadata: metadata.clone(),
                reporting_controller: self.controller.as_ref().to_owned(),
                reporting_instance: self.instance.as_ref().to_owned(),
            },
            labels: object.meta().labels.clone().unwrap_or_default(),
        });
        for Listener { name, queue, metrics } in listeners.iter() {
            if queue.try_send(Arc::clone(&occurrence)).is_err() {
                metrics.notification(name, "dropped");
                tracing::warn!(to = name, reason, "an event is not passed on: too many are waiting");
            }
        }
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// What stands beside the message of an event.
fn annotations<K: Resource<DynamicType = ()>>(object: &K, facts: &[(&str, &str)]) -> BTreeMap<String, String> {
    let group = K::group(&());
    let of_object = object.meta().annotations.iter().flatten();
    let of_object = of_object.filter(|(key, _)| key.split_once('/').is_some_and(|(group, _)| group == event::GROUP));
    let mut annotations: BTreeMap<_, _> = of_object.map(|(key, value)| (key.clone(), value.clone())).collect();
    let facts = facts.iter().filter(|(key, _)| *key != "elapsed");
    annotations.extend(facts.map(|(key, value)| (format!("{group}/{key}"), (*value).to_owned())));
    annotations
}

fn log(regarding: &ObjectReference, severity: Severity, reason: &str, message: &str, facts: &[(&str, &str)]) {
    let fact = |name| facts.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let (kind, namespace, name) =
        (regarding.kind.as_deref(), regarding.namespace.as_deref(), regarding.name.as_deref());
    let (revision, chart, elapsed, file, action) =
        (fact("revision"), fact("chart"), fact("elapsed"), fact("file"), fact("action"));
    match severity {
        Severity::Info => {
            tracing::info!(kind, namespace, name, reason, revision, chart, action, file, elapsed, "{message}");
        }
        Severity::Error => {
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
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            annotations: Some(said.annotations.clone()),
            ..ObjectMeta::default()
        },
        involved_object: said.regarding.clone(),
        type_: Some(if said.severity == Severity::Info { "Normal" } else { "Warning" }.to_owned()),
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
