//! Dormouse: a WebSocket connection server in which every connection is an actor that sleeps, crashes and comes back on
//! its own socket. This file is the map; what the server does for its users is in `README.md`.
//!
//! # The idea
//! An actor runs in turns. A turn takes the connection's *record* (its whole state between turns), one message and the
//! time; it gives a new record and a list of effects. The shard commits both together when the turn has returned, and drops
//! both when it panicked. Sleeping, waking, crashing, resuming on another socket: all of them are "the last committed
//! record, and another turn".
//!
//! # The tree
//! A module uses what stands below it and nothing above it.
//!
//! ```text
//! main        chooses the allocator
//! cli         one file per command; the client commands speak the HTTP API
//! client      for applications in Rust: comes back, resumes, publishes once; knows the protocol and nothing of the server
//! node        the one place that constructs and wires; start, signals, the end; a server with apps of your own
//! http        listener, handshake and admission, API (http/api/), pages, metrics page, live feed (http/live/), drain
//! connection  ConnectionActor: one handler per message, the record, one function per op
//! app         for behaviours of your own: one trait, rooms, replay
//! echo        the smallest behaviour: sends everything back
//! channel     directory (names), home (order, history, keys, presence), hub (who of this shard is subscribed), desk (who a
//!             user's sessions are), storage and its reader
//! hooks       calls of the application's own backend: deadlines, retries, breakers, fallbacks
//! shard       the engine: table of records, run queue, poller, turns, mailboxes, outboxes, sweeper, jobs, ledger
//! supervision the tree: specs, supervisors, restarts; budgets, catch, crash reports and files, the watchdog
//! store       what survives the process: events, memberships, cursors, keys; one thread commits in groups
//! websocket   RFC 6455: bytes to messages and back, no I/O
//! protocol    frames, requests, encodings, names, error codes, close codes
//! token       JWTs, the keys that verify them, what they open
//! tls         certificates, and sessions on nonblocking sockets without buffers of their own
//! config · id · telemetry · clock
//! ```
//!
//! # The promises, and the one place that keeps each
//! - A crash costs one turn: `shard/execute.rs` runs it on a copy; socket, session and queue are never in its hands.
//! - The crash of a shard costs no socket: its state lives in `shard/core.rs`, outside the actor that drives it, and what
//!   a service holds on the stack is caught by `shard/rescue.rs`.
//! - One order per channel: `channel/home.rs` gives out the offsets.
//! - Acknowledged is on disk: `channel/commits.rs` lets a durable publish be answered and spread when the store has it.
//! - No hole and no double between replay and live: `channel/hub.rs` seats a subscriber when the answer arrives.
//! - No silent loss: `channel/overflow.rs` remembers what a full mailbox refused, `shard/ledger.rs` counts every event.
//! - An idle connection is a slot of `shard/table.rs` and a descriptor: no task, no timer, no buffer.
//! - Every queue has a bound, and its file says what happens there.
//! - Only `clock.rs` reads clocks, only `protocol/close.rs` knows close codes, only `node.rs` constructs.
//!
//! # Reading order
//! `README.md` → this file → `shard/turn.rs` (what a handler may do) → `shard/table.rs` (what a connection is) →
//! `shard/core.rs`, `shard/execute.rs` (a round, a turn) → [`supervision`] → `channel/home.rs` → `connection/actor.rs`.
//!
//! # Where is the room for a change?
//!
//! | change | begin in |
//! |---|---|
//! | an op, its fields, its texts | `protocol/request.rs`, then `connection/request.rs` |
//! | what the server says | `protocol/frame.rs` |
//! | an error or close code | `protocol/error.rs`, `protocol/close.rs` |
//! | what the application's backend is asked | `connection/backend.rs` (when), `hooks/call.rs` (what), `hooks/backend.rs` (how) |
//! | who may do what | `connection/access.rs` (channels), `http/auth.rs` (API), `http/origin.rs` (pages), `token/` |
//! | identify, resume, renewal, `ready` | `connection/identify.rs`, `connection/welcome.rs` |
//! | silence, parking, restarts as the client sees them | `connection/lifecycle.rs` |
//! | offsets, keys | `channel/home.rs` |
//! | who hears what, and in which order | `channel/hub.rs` |
//! | what who comes back gets, pages, history | `channel/catch_up.rs`, `channel/pursuit.rs` |
//! | memberships, cursors, receipts | `channel/errands.rs`, `channel/receipts.rs`, `connection/membership.rs` |
//! | a user's sessions | `channel/desk.rs` |
//! | presence | `channel/presence.rs` |
//! | how a durable channel opens, waits and recovers | `channel/commits.rs`, `channel/backlog.rs` |
//! | what is kept on disk, and how | `store/mod.rs` is the contract, `store/log/` the embedded engine |
//! | what one connection may hold or cost | `shard/table.rs`, `shard/mailbox.rs`, `shard/output.rs` |
//! | reading, writing, fairness | `shard/stream.rs`, `shard/run_queue.rs` |
//! | what a burst costs | `channel/burst.rs` (offering), `shard/batch.rs` (turns) |
//! | how sockets come, go and change records | `shard/socket.rs` |
//! | what a crash file keeps, and what it hides | `shard/evidence.rs`, `connection/redact.rs`, `connection/mask.rs` |
//! | what a simulated node is and breaks | `shard/simulation.rs`, `shard/wires.rs`, `shard/faults.rs`; scenarios in `tests/simulation/` |
//! | what actors are measured on without sockets | `shard/crowd.rs`, `shard/dummy.rs`, `shard/anatomy.rs`; measured in `bench/actors/` |
//! | restart rules | `supervision/spec.rs`, `supervision/policy.rs`, `supervision/supervisor.rs` |
//! | RFC 6455 | `websocket/reader.rs`, `websocket/frame.rs` |
//! | compression | `websocket/extension.rs` (who gets it), `websocket/deflate.rs` |
//! | the handshake and its refusals | `http/first_look.rs`, `http/handshake.rs` |
//! | TLS | `tls/session.rs` (bytes), `tls/acceptor.rs` (files), `shard/transport.rs` |
//! | a route of the API | `http/routes.rs`, `http/api/`, `http/openapi.json` |
//! | the client for Rust | `client/session.rs` (what frames mean), `client/driver.rs` (sockets) |
//! | a page, the JavaScript client and its types | `http/assets/`, listed in `http/pages.rs` |
//! | what the dashboard and `dormouse top` show | `http/live/sample.rs`, `http/live/health.rs`, then `http/assets/dashboard/`, `cli/top/screen.rs` |
//! | who watches the node, and how often | `http/live/mod.rs`, `http/live/sampler.rs`, `http/live/viewer.rs` |
//! | what a shard tells about itself | `shard/survey.rs`, `shard/slowest.rs`, `shard/probe.rs` |
//! | a key of the configuration | `config/sections.rs`, `config/rules.rs`, `config/dormouse.toml` |
//! | a trace, a span | `channel/traced.rs` (what), `telemetry/traces.rs` (which, and how) |
//! | ids in logs | `shard/execute.rs`, `connection/shown.rs` (connections), `http/request_id.rs` (calls) |
//! | a metric | `telemetry.rs`; counted on the hot path: `shard/stats.rs` |
//! | a long-lived part | `node.rs`, its spec in `node/tree.rs`, started through [`supervision::Children`] |
//! | what a behaviour of your own is told and may do | `app/mod.rs`, `app/message.rs`, `app/effects.rs`; how it is run: `app/actor.rs` |
//! | what members of a room hear | `app/rooms.rs` (who, when), `app/homes.rs` (states, numbers), `app/seat.rs` |
//! | how a behaviour is served beside the gateway | `node/server.rs`, `http/mount.rs` |
//! | a behaviour that is more than an app | `shard/behaviour.rs` is the trait, `echo.rs` the smallest example |
//!
//! # Words
//! *Record*: the state of a connection between turns. *Dormant*: a record and a socket; *awake*: something is going on;
//! *parked*: a record without a socket, waiting to be resumed. *Session*: the identity that outlives sockets. *Mailbox*:
//! bounded, inbound. *Outbox*: bounded, outbound. *Home*: the shard that orders a channel. *Desk*: the shard that knows a
//! user's sessions. *Seat*: a channel as one shard's subscribers see it. *Event*: a publication with an offset; *signal*:
//! ephemeral; *gap*: events that will not come.
//! *Notice*, *letter*, *ask*: hub to connection, hub to hub, connection to hub. *App*: a behaviour behind one trait; *room*: what
//! its members share; *telling*: what one of them told it, with a number. *Mount*: a behaviour at a path.

pub mod app;
pub mod channel;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod connection;
pub mod echo;
pub mod hooks;
pub mod http;
pub mod id;
pub mod node;
pub mod protocol;
pub mod shard;
pub mod store;
pub mod supervision;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod websocket;
