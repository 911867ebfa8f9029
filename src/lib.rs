//! Dormouse.
pub mod clock;
pub mod protocol;
