//! Actors alone: one process, one thread, no socket. `company` is the server's own engine with chat connections; `tasks`
//! and `addresses` are the plain actors one could have instead, measured by `counters`. Each is spawned, left idle, woken and (ours) crashed.
//! Times are processor times of that thread (`stopwatch`).
//!
//! The program prints one JSON object for `dormouse-bench actors`, which runs it; `bench/benches/engine.rs` takes the
//! company for its own measurements.

mod addresses;
mod company;
mod counters;
mod evidence;
mod gateway;
mod memory;
mod series;
mod stopwatch;
mod tasks;

pub use addresses::addresses;
pub use company::Company;
pub use gateway::{Plan, gateway};
pub use stopwatch::thread_time;
pub use tasks::tasks;
