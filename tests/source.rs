//! Sources on a real API server, with real remotes: git over HTTP, HTTPS and SSH, Helm repositories over HTTP, S3 stores,
//! and an OCI registry.

#[path = "source/artifacts.rs"]
mod artifacts;
#[path = "source/bucket.rs"]
mod bucket;
#[path = "source/chart_urls.rs"]
mod chart_urls;
#[path = "source/charts.rs"]
mod charts;
#[path = "source/charts_life.rs"]
mod charts_life;
#[path = "source/charts_provenance.rs"]
mod charts_provenance;
#[path = "source/dependencies.rs"]
mod dependencies;
#[path = "source/git.rs"]
mod git;
#[path = "source/git_access.rs"]
mod git_access;
#[path = "source/git_contents.rs"]
mod git_contents;
#[path = "source/git_life.rs"]
mod git_life;
#[path = "source/git_verify.rs"]
mod git_verify;
#[path = "source/old_keys.rs"]
mod old_keys;
#[path = "source/progress.rs"]
mod progress;
#[path = "source/receiver.rs"]
mod receiver;
#[path = "source/registry.rs"]
mod registry;
#[path = "source/registry_charts.rs"]
mod registry_charts;
#[path = "source/registry_notation.rs"]
mod registry_notation;
#[path = "source/registry_verify.rs"]
mod registry_verify;
#[path = "source/retention.rs"]
mod retention;
#[path = "source/scene.rs"]
mod scene;
#[path = "source/socks.rs"]
mod socks;
