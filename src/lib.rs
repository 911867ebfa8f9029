//! Dormouse.
pub mod cli;
pub mod clock;
pub mod config;
pub mod id;
pub mod node;
pub mod protocol;
pub mod token;
pub mod websocket;
