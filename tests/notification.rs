//! Notifications on a real API server: alerts and providers, and events that are posted on.

#[path = "notification/commits.rs"]
mod commits;
#[path = "notification/forward.rs"]
mod forward;
#[path = "notification/own_cluster.rs"]
mod own_cluster;
#[path = "notification/providers.rs"]
mod providers;
#[path = "notification/scene.rs"]
mod scene;
