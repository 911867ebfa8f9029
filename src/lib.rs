//! Dormouse.
pub mod clock;
pub mod id;
pub mod protocol;
pub mod websocket;
