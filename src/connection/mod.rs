//! The gateway's actor: what a chat connection does with each message. One handler per message in `actor.rs`, the logic
//! in the file of its noun, the state in `record.rs`. Everything here is pure: effects go into the [`Turn`](crate::shard::Turn).

mod access;
mod actor;
mod backend;
mod delivery;
mod frame;
mod identify;
mod lifecycle;
mod mask;
mod membership;
mod opening;
mod rate;
mod record;
mod redact;
mod replay;
mod request;
mod restart;
mod secret;
mod settings;
mod shown;
#[cfg(test)]
mod tests;
mod welcome;

pub use actor::ConnectionActor;
pub use opening::{Opening, Ticket};
pub(crate) use rate::{Limit, Rate};
pub use record::Record;
pub use replay::replay;
pub use settings::Settings;
