//! Actors alone: one process, one thread, no socket. `company` is the server's own engine with chat connections; `tasks`
//! and `addresses` are the plain actors one could have instead. Each is spawned, left idle, woken and (ours) crashed.
//!
//! The program prints one JSON object for `dormouse-bench actors`, which runs it; `bench/benches/engine.rs` takes the
//! company for its own measurements.

mod addresses;
mod company;
mod evidence;
mod gateway;
mod memory;
mod series;
mod tasks;

pub use addresses::addresses;
pub use company::Company;
pub use gateway::{Plan, gateway};
pub use tasks::tasks;
