//! Prometheus metrics, under Flux's names where Flux has one.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Which kind of object a pass was over and how it ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PassLabels {
    kind: &'static str,
}

/// Which program ran and how it ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ChildLabels {
    program: String,
    outcome: &'static str,
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

/// A notification to somebody and what became of it.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NotificationLabels {
    to: &'static str,
    outcome: &'static str,
}

/// Everything the operator counts. Cardinality is bounded: no label carries an object's name.
pub struct Metrics {
    registry: Registry,
    passes: Family<PassLabels, Histogram>,
    failures: Family<PassLabels, Counter>,
    children: Family<ChildLabels, Counter>,
    actions: Family<ActionLabels, Counter>,
    webhooks: Family<WebhookLabels, Counter>,
    notifications: Family<NotificationLabels, Counter>,
    objects: Family<PassLabels, Gauge<f64, AtomicU64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let buckets = || Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0]);
        let passes = Family::<PassLabels, Histogram>::new_with_constructor(buckets as fn() -> Histogram);
        let metrics = Self {
            passes,
            failures: Family::default(),
            children: Family::default(),
            actions: Family::default(),
            webhooks: Family::default(),
            notifications: Family::default(),
            objects: Family::default(),
            registry: Registry::default(),
        };
        registry.register_with_unit(
            "gotk_reconcile_duration",
            "Time one pass over an object took",
            Unit::Seconds,
            metrics.passes.clone(),
        );
        registry.register("fairlead_reconcile_failures", "Passes that ended in a retry", metrics.failures.clone());
        registry.register(
            "fairlead_child_processes",
            "Child processes by program and outcome",
            metrics.children.clone(),
        );
        registry.register("fairlead_helm_actions", "Helm actions by outcome", metrics.actions.clone());
        registry.register("fairlead_webhooks", "Webhooks by type and outcome", metrics.webhooks.clone());
        registry.register(
            "fairlead_notifications",
            "Notifications by receiver and outcome",
            metrics.notifications.clone(),
        );
        registry.register("fairlead_objects", "Objects in the watch caches", metrics.objects.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// One pass over an object of `kind` ended.
    pub fn pass(&self, kind: &'static str, elapsed: Duration, failed: bool) {
        let labels = PassLabels { kind };
        self.passes.get_or_create(&labels).observe(elapsed.as_secs_f64());
        if failed {
            self.failures.get_or_create(&labels).inc();
        }
    }

    /// A child process ended.
    pub fn child(&self, program: &str, succeeded: bool) {
        let outcome = if succeeded { "success" } else { "failure" };
        self.children.get_or_create(&ChildLabels { program: program.to_owned(), outcome }).inc();
    }

    /// A helm action (`install`, `upgrade`, `uninstall`, …) ended.
    pub fn helm_action(&self, action: &'static str, succeeded: bool) {
        let outcome = if succeeded { "success" } else { "failure" };
        self.actions.get_or_create(&ActionLabels { action, outcome }).inc();
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

    /// How many objects of `kind` the watch cache holds.
    pub fn objects(&self, kind: &'static str, count: usize) {
        #[allow(clippy::cast_precision_loss, reason = "no cluster holds 2^52 objects of a kind")]
        self.objects.get_or_create(&PassLabels { kind }).set(count as f64);
    }

    /// The exposition in the `OpenMetrics` text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_show_under_flux_name() {
        let metrics = Metrics::default();
        metrics.pass("HelmRelease", Duration::from_millis(20), true);
        metrics.helm_action("install", true);
        metrics.child("git", false);
        metrics.objects("HelmRelease", 3);
        let text = metrics.text();
        for line in [
            "gotk_reconcile_duration_seconds_count{kind=\"HelmRelease\"} 1",
            "fairlead_reconcile_failures_total{kind=\"HelmRelease\"} 1",
            "fairlead_helm_actions_total{action=\"install\",outcome=\"success\"} 1",
            "fairlead_child_processes_total{program=\"git\",outcome=\"failure\"} 1",
            "fairlead_objects{kind=\"HelmRelease\"} 3.0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
