//! What the operator tells of itself: metrics, alerts and a dashboard on a real Prometheus, log lines, and traces.

#[path = "observability/world.rs"]
mod world;

#[path = "observability/logs.rs"]
mod logs;
#[path = "observability/metrics.rs"]
mod metrics;
#[path = "observability/monitoring.rs"]
mod monitoring;
#[path = "observability/traces.rs"]
mod traces;
