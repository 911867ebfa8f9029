//! Channels: who is subscribed, in which order events go out, what is kept for those who come back, who is present.
//!
//! One [`ChannelHub`] per shard. Read `message.rs` for what passes, `home.rs` for order and replay, `hub.rs` for how it
//! moves, `commits.rs` for what durable channels do otherwise. Connections ask by [`Ask`] and hear by [`Notice`]; the HTTP side writes [`Letter`]s.

mod backlog;
mod burst;
mod commits;
mod directory;
mod durable;
mod home;
mod homes;
mod hub;
mod message;
mod overflow;
mod pauses;
mod presence;
mod seat;
mod shared_frame;
mod storage;
mod under_way;

pub use directory::{Channel, Directory};
pub use home::{CatchUp, Event, Gap, Publication, Published, Since};
pub use hub::ChannelHub;
#[cfg(feature = "simulation")]
pub use hub::HubTraces;
pub use message::{
    Answer, Ask, Audience, ChannelGap, Description, HomeAnswer, HomeRequest, Letter, Notice, Origin, Purpose, Spread,
    Subscriber, Tag, Whisper,
};
pub use shared_frame::SharedFrame;
pub use storage::{Deliver, News, Reader, Storage};
