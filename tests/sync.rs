//! The environment folder on a real control plane: what is pushed is applied, what leaves goes, and
//! what was live in real folders stops nothing else.

#[path = "sync/world.rs"]
mod world;

#[path = "sync/asked.rs"]
mod asked;
#[path = "sync/bad_input.rs"]
mod bad_input;
#[path = "sync/builds.rs"]
mod builds;
#[path = "sync/decryption.rs"]
mod decryption;
#[path = "sync/dependencies.rs"]
mod dependencies;
#[path = "sync/folder.rs"]
mod folder;
#[path = "sync/from_flux.rs"]
mod from_flux;
#[path = "sync/health.rs"]
mod health;
#[path = "sync/history.rs"]
mod history;
#[path = "sync/holds.rs"]
mod holds;
#[path = "sync/identity.rs"]
mod identity;
#[path = "sync/policies.rs"]
mod policies;
#[path = "sync/prune.rs"]
mod prune;
#[path = "sync/replay.rs"]
mod replay;
#[path = "sync/secrets.rs"]
mod secrets;
#[path = "sync/sources.rs"]
mod sources;
#[path = "sync/variables.rs"]
mod variables;
