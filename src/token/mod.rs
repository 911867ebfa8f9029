//! Signed tokens (`auth.mode = "jwt"`): JWTs with `sub`, `exp` and lists of channels, verified at `identify` with the
//! operator's keys, minted by `dormouse token` or by whoever has a key. `verifier.rs` decides, `keys.rs` holds and reads
//! keys (`pem.rs`, `jwks.rs`), `grant.rs` is what a token opens, `mint.rs` signs.
//!
//! Reads no clock: the caller says what time it is, so that a turn can verify and a test can choose. Must never put a token
//! or a key into an error. Called by the connection (through the node's settings), by the command line, and by the
//! configuration, which refuses key files that are none.

mod grant;
mod jwks;
mod keys;
mod mint;
mod pem;
mod verifier;

#[cfg(test)]
mod tests;

pub use grant::{Action, Grant, Lists, allows};
pub use keys::{KeyError, Keys};
pub use mint::{Minting, SigningKey};
pub use verifier::{Claims, Expected, TokenError, Verifier};
