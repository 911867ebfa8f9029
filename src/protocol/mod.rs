//! The wire protocol `dormouse.v1` (CONTRACT §1): what frames mean, and every error and close code.
//!
//! Pure bytes and meaning: no I/O, no clock, no state. Connection turns and channel homes call it; it calls nobody.

pub mod close;
pub mod data;
pub mod depth;
pub mod encoding;
pub mod error;
pub mod frame;
pub mod name;
pub mod request;
pub mod text;
