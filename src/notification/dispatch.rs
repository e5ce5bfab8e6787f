//! Finds the alerts that an event is for, and hands it to their providers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use kube::ResourceExt as _;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::task::JoinError;

use super::choose::{self, Expressions};
use super::deliver::{Deliverer, Job};
use super::lanes::Lanes;
use super::recent::Recent;
use super::settings;
use super::{format, metadata};
use crate::api::condition::reason;
use crate::api::notification::v1beta3::{Alert, Provider};
use crate::controller::{Change, Context, Watched, namespaced_name};
use crate::kube_ext::recorder::Occurrence;

type Key = (String, String);

/// What comes in.
pub struct Inputs {
    /// Events.
    pub events: Receiver<Arc<Occurrence>>,
    /// Alerts, all of them first.
    pub alerts: UnboundedReceiver<Change<Alert>>,
    /// Providers, all of them first.
    pub providers: UnboundedReceiver<Change<Provider>>,
}

/// Sends events to whom they are for.
pub struct Dispatcher {
    context: Context,
    alerts: HashMap<Key, (Arc<Alert>, Expressions)>,
    providers: HashMap<Key, Arc<Provider>>,
    recent: Recent,
    lanes: Lanes,
}

impl Dispatcher {
    /// Knows nobody yet.
    pub fn new(context: Context, deliverer: Deliverer) -> Self {
        let recent = Recent::new(context.config.rate_limit_interval);
        Self { context, alerts: HashMap::new(), providers: HashMap::new(), recent, lanes: Lanes::new(deliverer) }
    }

    /// Runs until nobody tells events any more, or a delivery dies.
    pub async fn run(mut self, mut inputs: Inputs) -> Result<(), JoinError> {
        loop {
            tokio::select! {
                // An event is for the alerts that were there before it.
                biased;
                Some(change) = inputs.alerts.recv() => self.learn_alert(change),
                Some(change) = inputs.providers.recv() => self.learn_provider(change),
                ended = self.lanes.advance() => ended?,
                event = inputs.events.recv() => match event {
                    Some(occurrence) => self.dispatch(&occurrence),
                    None => return Ok(()),
                },
            }
        }
    }

    fn learn_alert(&mut self, change: Change<Alert>) {
        let key = namespaced_name(change.object().as_ref());
        let Change::Applied(alert) = change else {
            self.alerts.remove(&key);
            return;
        };
        let (expressions, problems) = Expressions::read(&alert.spec);
        if is_news(self.alerts.get(&key).map(|(known, _)| known), &alert) {
            for problem in problems {
                self.context.reporter.warning(alert.as_ref(), reason::INVALID_CONFIG, &problem, &[]);
            }
        }
        self.alerts.insert(key, (alert, expressions));
    }

    fn learn_provider(&mut self, change: Change<Provider>) {
        let key = namespaced_name(change.object().as_ref());
        let Change::Applied(provider) = change else {
            self.providers.remove(&key);
            return;
        };
        if is_news(self.providers.get(&key), &provider) {
            for (reason, problem) in settings::problems(&provider.spec) {
                self.context.reporter.warning(provider.as_ref(), reason, &problem, &[]);
            }
        }
        self.providers.insert(key, provider);
    }

    fn dispatch(&mut self, occurrence: &Occurrence) {
        let event = &occurrence.event;
        let wanted = |(alert, expressions): &&(Arc<Alert>, Expressions)| {
            let own = alert.namespace().unwrap_or_default();
            !alert.spec.suspend
                && choose::is_for(&alert.spec, &own, event, &occurrence.labels)
                && expressions.admit(&event.message)
        };
        let alerts: Vec<Arc<Alert>> = self.alerts.values().filter(wanted).map(|(alert, _)| Arc::clone(alert)).collect();
        if alerts.is_empty() {
            return;
        }
        if !self.recent.is_new(event, Instant::now()) {
            self.context.metrics.notification("alerts", "duplicate");
            return;
        }
        for alert in alerts {
            match self.job(&alert, occurrence) {
                Ok(Some(job)) => self.lanes.put(&self.context, job),
                Ok(None) => {}
                Err(why) => {
                    self.context.reporter.warning(alert.as_ref(), reason::NOTIFICATION_DISPATCH_FAILED, &why, &[]);
                }
            }
        }
    }

    /// What is to be sent for an alert, if anything.
    fn job(&self, alert: &Arc<Alert>, Occurrence { event, .. }: &Occurrence) -> Result<Option<Job>, String> {
        let own = alert.namespace().unwrap_or_default();
        let object = &event.involved_object;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let (kind, namespace, name) = (part(&object.kind), part(&object.namespace), part(&object.name));
        if let Some(denied) = self.context.denied(&own, &kind, &namespace, &name) {
            return Err(denied);
        }
        let reference = &alert.spec.provider_ref.name;
        let provider = self.providers.get(&(own.clone(), reference.clone())).ok_or_else(|| {
            format!("failed to send notification for {}: there is no Provider {own}/{reference}", format::object(event))
        })?;
        let spec = &provider.spec;
        if spec.suspend || !choose::is_supported(spec.r#type) || !choose::takes(spec.r#type, event) {
            return Ok(None);
        }
        let (values, conflicts) = metadata::combined(event, &alert.spec);
        if !conflicts.is_empty() {
            let named: Vec<String> = conflicts.iter().map(|(name, by)| format!("'{name}' ({by})")).collect();
            let message =
                format!("several sources give metadata of one name, the last one counts: {}", named.join("; "));
            self.context.reporter.warning(alert.as_ref(), reason::METADATA_APPEND_FAILED, &message, &[]);
        }
        let event = crate::api::event::Event { metadata: values, ..event.clone() };
        Ok(Some(Job { alert: Arc::clone(alert), provider: Arc::clone(provider), event }))
    }
}

/// Whether an object is not the same as before, such as when a watch was lost.
fn is_news<K: Watched>(known: Option<&Arc<K>>, object: &K) -> bool {
    let meta = object.meta();
    known.is_none_or(|known| (&known.meta().uid, known.meta().generation) != (&meta.uid, meta.generation))
}
