//! The HTTP side: handshake and admission, the API, metrics and pages. It reaches shards by messages and channel homes by
//! letters, and keeps no state of its own.
//!
//! Read `server.rs` (one listener for everything), `handshake.rs` (how a socket leaves HTTP), `routes.rs` (every path).

mod drain;
mod gateway;
mod handshake;
mod routes;
mod server;

pub use drain::drain;
pub use gateway::{Gateway, Plan};
pub use server::{bind, serve};
