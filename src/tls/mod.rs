//! TLS (RFC 8446, RFC 5246) on nonblocking sockets: which certificate is shown, and sessions that keep no buffer while
//! nothing is going on. rustls speaks the protocol; here are the files it begins with and the bytes between it and a socket.
//!
//! A [`Session`] stands beside its socket and reads and writes through it, in the HTTP side and then, moved with the socket,
//! in a shard. Knows neither.

mod acceptor;
mod session;
#[cfg(test)]
mod tests;

pub use acceptor::{Acceptor, Shown, TlsError};
pub use session::Session;
