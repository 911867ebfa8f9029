//! The HTTP side: handshake and admission, the API, metrics and pages. It reaches shards by messages and channel homes by
//! letters, and keeps no state of its own.
//!
//! Read `server.rs` (one listener for everything), `first_look.rs` and `handshake.rs` (how a socket leaves HTTP), `routes.rs`
//! (every path), `live/mod.rs` (the dashboard's feed).

mod addresses;
mod api;
mod auth;
mod body;
mod drain;
mod error;
mod first_look;
mod gateway;
mod handshake;
mod live;
mod mount;
mod openapi;
mod origin;
mod pages;
mod query;
mod request_id;
mod routes;
mod server;
mod stream;
mod upgrade;

pub use addresses::Addresses;
pub use auth::ApiKeys;
pub use drain::{Schedule, drain};
pub use gateway::{Asked, Gateway, Plan};
pub use live::{Live, start_sampler};
pub use mount::{Mount, Place, Requested};
pub use server::{bind, serve};
