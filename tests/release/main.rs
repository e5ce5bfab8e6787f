//! The release loop on a real control plane, with both majors of helm.

mod chart_ref;
mod dependencies;
mod drift;
mod failure;
mod identity;
mod lifecycle;
mod postrender;
mod record_size;
mod remedy;
mod survival;
mod waiting;
mod world;
