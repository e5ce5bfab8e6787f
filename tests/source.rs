//! Sources on a real API server, with real remotes: git over HTTP, HTTPS and SSH, Helm repositories over HTTP, and an
//! OCI registry.

#[path = "source/charts.rs"]
mod charts;
#[path = "source/git.rs"]
mod git;
#[path = "source/git_contents.rs"]
mod git_contents;
#[path = "source/registry.rs"]
mod registry;
#[path = "source/scene.rs"]
mod scene;
