//! Several operators, how one begins and how one ends, on a real control plane.

mod chaos;
mod clock;
mod disk;
mod hand_over;
mod life;
mod rivals;
mod scene;
mod shards;
mod standby;
mod start_checks;
#[path = "../release/world.rs"]
#[allow(dead_code, reason = "these tests need less of it")]
mod world;
