//! Dormouse.
pub mod channel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connection;
pub mod echo;
pub mod http;
pub mod id;
pub mod node;
pub mod protocol;
pub mod shard;
pub mod supervision;
pub mod telemetry;
pub mod token;
pub mod websocket;
