//! Dormouse.
pub mod clock;
pub mod config;
pub mod id;
pub mod protocol;
pub mod supervision;
pub mod token;
pub mod websocket;
