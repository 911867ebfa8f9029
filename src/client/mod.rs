//! A client for Rust: one lasting connection to a Dormouse server, over as many sockets as that takes. It keeps the same
//! promises as the client for JavaScript (`http/assets/client.js`):
//!
//! - It comes back by itself, with jittered exponential backoff, resumes its session, and goes on from its cursors where the
//!   server has lost the session, for instance by a restart. Close codes 4500–4999 and 1000 end it.
//! - Events of a channel come once and in order; what will not come is told, with the next event ([`Event::missed`]) and at
//!   once ([`Notice::Gap`]).
//! - A publish is repeated with its key until it is answered, so it happens once. What is not safe to repeat
//!   ([`Client::rpc`], [`Client::signal`], [`Client::chaos`]) fails with [`ClientError::ConnectionLost`] instead.
//! - What a listener has taken in channels where the user is a member is acknowledged, for all channels together.
//! - Every queue is bounded. While listeners are behind, the socket is not read; whoever asks too much is told.
//!
//! ```no_run
//! use dormouse::client::{Client, ClientError};
//!
//! # async fn talk() -> Result<(), ClientError> {
//! let client = Client::connect("ws://127.0.0.1:8080/v1/gateway").token("ann").open().await?;
//! let mut lobby = client.subscribe("chat:lobby").last(50).await?;
//! client.publish("chat:lobby", "hello").await?;
//! while let Some(event) = lobby.next().await {
//!     println!("{} {}: {}", event.offset, event.from, event.data::<String>()?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Uses of this crate's server only what both sides speak: the protocol. Nothing of the server uses this.
//!
//! | file | owns |
//! |---|---|
//! | `connect.rs` `handle.rs` `ops.rs` `subscription.rs` `notices.rs` | what applications hold |
//! | `driver.rs` `socket.rs` `timers.rs` | sockets and waiting |
//! | `session.rs` `welcome.rs` `exchange.rs` `receipts.rs` | what frames mean, without I/O |
//! | `place.rs` `request.rs` `memberships.rs` `backoff.rs` `queue.rs` | one rule each, pure |
//! | `wire.rs` `event.rs` `error.rs` | values |

mod backoff;
mod connect;
mod driver;
mod error;
mod event;
mod exchange;
mod handle;
mod memberships;
mod notices;
mod ops;
mod place;
mod queue;
mod receipts;
mod request;
mod session;
mod shared;
mod socket;
mod subscription;
mod timers;
mod welcome;
mod wire;

pub use connect::Connect;
pub use error::ClientError;
pub use event::{
    Event, Gap, Joined, Membership, Notice, Page, PresenceChange, Published, Range, Receipt, Signal, State, Subscribed,
    Vitals, Whoami,
};
pub use handle::Client;
pub use notices::Notices;
pub use subscription::{Inbox, Subscribe, Subscription};

pub use crate::protocol::{
    error::{ErrorCode, Fault, Retry},
    frame::{GapReason, Member, Members, Present, Roster, Standing},
    request::{ChaosFault, Cursor, Status},
};
