//! The example as the README shows it, held to what is promised of an app: over real sockets of a real server, on a port of
//! the system's, with two shards.
//!
//! Nothing here waits for time to pass: a test awaits a frame or a state; timeouts are guards.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

mod client;
mod crashes;
mod example;
mod node;
mod rooms;
mod server;
mod stress;
mod stubborn;
