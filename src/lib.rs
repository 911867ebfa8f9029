//! Dormouse.
pub mod clock;
pub mod id;
pub mod protocol;
