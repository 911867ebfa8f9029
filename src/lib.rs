//! Dormouse.
pub mod clock;
pub mod protocol;
pub mod websocket;
