//! The engine without the gateway: a behaviour of the test's own ([`diary`]), real sockets, shards on their arbiters.
//! Every promise about turns, crashes, queues, jobs and sockets is proved by what a client reads, what the hub saw, and
//! what the ledger says.
//!
//! Nothing here waits for time to pass: a test awaits a frame, a word of the hub, or a state; the timeouts are guards.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

mod client;
mod diary;
mod engine;

mod crashes;
mod interrupted;
mod jobs;
mod ledger;
mod mailboxes;
mod replays;
mod restarts;
mod sockets;
mod stalls;
mod transfers;
