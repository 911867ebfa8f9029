//! RFC 6455 for the server's side of a socket: bytes in, messages out, and back. Pure: no I/O, no clock, no task.
//!
//! [`Reader`] takes messages straight out of the shard's read buffer and keeps nothing while no frame is unfinished, so
//! an idle connection pays eight bytes for it. [`frame`] writes frames to the end of the shard's write buffer. Strict on
//! purpose: whatever the RFC forbids a client is a [`ReadError`] that knows its close code.
//!
//! What is not here: the handshake (`http`), when to answer a ping or a close (`shard`), what a message means
//! (`protocol`). Of extensions there is one, compression (RFC 7692: [`extension`] agrees on it, `deflate` does it).

mod deflate;
mod head;
mod incoming;
mod mask;
mod message;
mod read_error;
mod reader;

pub mod extension;
pub mod frame;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scripted;

pub use incoming::{CloseFrame, Incoming};
pub use read_error::ReadError;
pub use reader::{Reader, Terms};
