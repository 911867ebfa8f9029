//! The wire protocol `dormouse.v1`: what frames mean, and every limit, error and close code. Pure: no I/O, no clock.

pub mod close;
pub mod error;
