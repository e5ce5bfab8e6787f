//! What the operator tells of itself: metrics, alerts and a dashboard on a real Prometheus, and log lines.

#[path = "observability/world.rs"]
mod world;

#[path = "observability/logs.rs"]
mod logs;
#[path = "observability/metrics.rs"]
mod metrics;
#[path = "observability/monitoring.rs"]
mod monitoring;
