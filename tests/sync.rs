//! The environment folder on a real control plane: what is pushed is applied, what leaves goes, and
//! what was live in real folders stops nothing else.

#[path = "sync/world.rs"]
mod world;

#[path = "sync/bad_input.rs"]
mod bad_input;
#[path = "sync/builds.rs"]
mod builds;
#[path = "sync/folder.rs"]
mod folder;
#[path = "sync/variables.rs"]
mod variables;
