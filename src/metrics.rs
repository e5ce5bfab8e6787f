//! Prometheus metrics, under the names of Flux and of its controller framework where they have one.
//!
//! What happens is counted here. What can be looked up is looked up at each scrape, by collectors:
//! the queues, the process, its children, the objects in the watch caches. Those take no memory,
//! and cannot be stale.

mod children;
pub mod exposition;
mod host;
pub mod queue;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use exposition::Format;
use queue::{Queue, Queues};

/// An object that a pass was over.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct PassLabels {
    kind: &'static str,
    /// Namespace and name, where each object has a series of its own.
    object: Option<(String, String)>,
}

impl EncodeLabelSet for PassLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> Result<(), std::fmt::Error> {
        ("kind", self.kind).encode(encoder.encode_label())?;
        if let Some((namespace, name)) = &self.object {
            ("name", name.as_str()).encode(encoder.encode_label())?;
            ("namespace", namespace.as_str()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ControllerLabels {
    controller: String,
}

/// What waits in a controller's queue; the two labels agree, as dashboards use either.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QueueLabels {
    name: String,
    controller: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    controller: String,
    result: &'static str,
}

/// A helm action and how it ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ActionLabels {
    action: &'static str,
    outcome: &'static str,
}

/// A webhook of a type and what became of it.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WebhookLabels {
    r#type: &'static str,
    outcome: &'static str,
}

/// Spans and what became of them.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SpanLabels {
    outcome: &'static str,
}

/// A notification to somebody and what became of it.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NotificationLabels {
    to: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NameLabels {
    name: String,
}

/// How a pass over an object ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassResult {
    /// Nothing is to be done until something changes.
    Success,
    /// The object is looked at again after a while, as it is.
    RequeueAfter,
    /// It is tried again, with growing pauses.
    Error,
}

impl PassResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::RequeueAfter => "requeue_after",
            Self::Error => "error",
        }
    }
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything the operator counts. No label holds free text, and none but those of
/// `--metrics-per-object` names an object.
pub struct Metrics {
    registry: RwLock<Registry>,
    per_object: bool,
    passes: Histograms<PassLabels>,
    times: Histograms<ControllerLabels>,
    results: Family<ResultLabels, Counter>,
    waits: Histograms<QueueLabels>,
    actions: Family<ActionLabels, Counter>,
    action_times: Histograms<ActionLabels>,
    webhooks: Family<WebhookLabels, Counter>,
    notifications: Family<NotificationLabels, Counter>,
    spans: Family<SpanLabels, Counter>,
    commits: Histogram,
    leader: Family<NameLabels, Gauge>,
    queues: Arc<Queues>,
}

fn pass_times() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0])
}

fn action_times() -> Histogram {
    Histogram::new([0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0])
}

fn commit_times() -> Histogram {
    Histogram::new([0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0])
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Metrics {
    /// Nothing counted yet. With `per_object`, the durations of passes are kept for each object.
    pub fn new(per_object: bool) -> Self {
        let metrics = Self {
            registry: RwLock::default(),
            per_object,
            passes: Family::new_with_constructor(pass_times),
            times: Family::new_with_constructor(pass_times),
            results: Family::default(),
            waits: Family::new_with_constructor(pass_times),
            actions: Family::default(),
            action_times: Family::new_with_constructor(action_times),
            webhooks: Family::default(),
            notifications: Family::default(),
            spans: Family::default(),
            commits: commit_times(),
            leader: Family::default(),
            queues: Arc::default(),
        };
        metrics.register(&mut metrics.registry.write().unwrap_or_else(PoisonError::into_inner));
        metrics
    }

    /// The registry ends each description with a full stop, and adds `_total` to counters.
    fn register(&self, registry: &mut Registry) {
        let of_passes = "Time that passes over objects took, in seconds";
        registry.register("gotk_reconcile_duration_seconds", of_passes, self.passes.clone());
        registry.register("controller_runtime_reconcile_time_seconds", of_passes, self.times.clone());
        registry.register("controller_runtime_reconcile", "Passes over objects by result", self.results.clone());
        registry.register(
            "workqueue_queue_duration_seconds",
            "Time from a pass being due to its begin, in seconds",
            self.waits.clone(),
        );
        registry.register("fairlead_helm_actions", "Helm actions by outcome", self.actions.clone());
        registry.register(
            "fairlead_helm_action_duration_seconds",
            "Time that helm took for actions, in seconds",
            self.action_times.clone(),
        );
        registry.register("fairlead_webhooks", "Webhooks by type and outcome", self.webhooks.clone());
        registry.register(
            "fairlead_notifications",
            "Notifications by receiver and outcome",
            self.notifications.clone(),
        );
        registry.register("fairlead_spans", "Spans of traces by outcome", self.spans.clone());
        registry.register(
            "fairlead_commit_to_ready_seconds",
            "Time from a commit to a release that it changed being ready, in seconds",
            self.commits.clone(),
        );
        registry.register(
            "leader_election_master_status",
            "Whether this process does the work (1) or waits to (0)",
            self.leader.clone(),
        );
        let build = vec![
            ("version", env!("CARGO_PKG_VERSION")),
            ("os", std::env::consts::OS),
            ("arch", std::env::consts::ARCH),
        ];
        registry.register("fairlead_build", "The program that runs", Info::new(build));
        registry.register_collector(Box::new(Arc::clone(&self.queues)));
        registry.register_collector(Box::new(host::Host::starting_now()));
        registry.register_collector(Box::new(children::Children));
    }

    /// Adds what is looked up at each scrape.
    pub fn look_up(&self, collector: Box<dyn Collector>) {
        self.registry.write().unwrap_or_else(PoisonError::into_inner).register_collector(collector);
    }

    /// The queue of the controller of a kind.
    pub fn queue(&self, kind: &'static str) -> Arc<Queue> {
        self.queues.of(&kind.to_lowercase())
    }

    /// A pass over an object of `kind` begins that was due for this time.
    pub fn pass_begins(&self, kind: &'static str, waited: Duration) {
        let controller = kind.to_lowercase();
        let labels = QueueLabels { name: controller.clone(), controller };
        self.waits.get_or_create(&labels).observe(waited.as_secs_f64());
    }

    /// One pass over an object of `kind` ended.
    pub fn pass(&self, kind: &'static str, (namespace, name): (&str, &str), elapsed: Duration, result: PassResult) {
        let seconds = elapsed.as_secs_f64();
        let controller = kind.to_lowercase();
        self.passes.get_or_create(&self.pass_labels(kind, namespace, name)).observe(seconds);
        self.times.get_or_create(&ControllerLabels { controller: controller.clone() }).observe(seconds);
        self.results.get_or_create(&ResultLabels { controller, result: result.as_str() }).inc();
    }

    /// An object of `kind` is gone.
    pub fn forget(&self, kind: &'static str, namespace: &str, name: &str) {
        if self.per_object {
            self.passes.remove(&self.pass_labels(kind, namespace, name));
        }
    }

    fn pass_labels(&self, kind: &'static str, namespace: &str, name: &str) -> PassLabels {
        PassLabels { kind, object: self.per_object.then(|| (namespace.to_owned(), name.to_owned())) }
    }

    /// A helm action (`install`, `upgrade`, `uninstall`, …) ended.
    pub fn helm_action(&self, action: &'static str, elapsed: Duration, succeeded: bool) {
        let labels = ActionLabels { action, outcome: outcome(succeeded) };
        self.actions.get_or_create(&labels).inc();
        self.action_times.get_or_create(&labels).observe(elapsed.as_secs_f64());
    }

    /// A webhook came in; `kind` is the type of its receiver, `unknown` for a path that nobody has.
    pub fn webhook(&self, kind: &'static str, outcome: &'static str) {
        self.webhooks.get_or_create(&WebhookLabels { r#type: kind, outcome }).inc();
    }

    /// A notification was sent, or not; `to` is the type of its provider, `alerts` for all of them,
    /// or `events-addr`.
    pub fn notification(&self, to: &'static str, outcome: &'static str) {
        self.notifications.get_or_create(&NotificationLabels { to, outcome }).inc();
    }

    /// Spans were `sent`, `refused` by the collector, or `dropped` because too many waited.
    pub fn spans(&self, outcome: &'static str, count: usize) {
        if count > 0 {
            self.spans.get_or_create(&SpanLabels { outcome }).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }

    /// A release that a commit changed became ready this long after it.
    pub fn commit_to_ready(&self, elapsed: Duration) {
        self.commits.observe(elapsed.as_secs_f64());
    }

    /// Whether this process does the work of the operators with this lease.
    pub fn leads(&self, lease: &str, leads: bool) {
        self.leader.get_or_create(&NameLabels { name: lease.to_owned() }).set(leads.into());
    }

    /// The exposition in a text format.
    pub fn text(&self, format: Format) -> String {
        let mut text = String::new();
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        format.of(text)
    }
}

fn outcome(succeeded: bool) -> &'static str {
    if succeeded { "success" } else { "failure" }
}

#[cfg(test)]
mod tests;
