//! Channels: who is subscribed, in which order events go out, what is kept for those who come back, who is present.
//!
//! One [`ChannelHub`] per shard. Read `message.rs` for what passes, `home.rs` for order and replay, `hub.rs` for how it
//! moves, `commits.rs` and `errands.rs` for what durable channels do otherwise, `desk.rs` for who a user's sessions are.
//! Connections ask by [`Ask`] and hear by [`Notice`]; the HTTP side writes [`Letter`]s.

mod ask;
mod backlog;
mod burst;
mod catch_up;
mod commits;
mod desk;
mod desks;
mod directory;
mod durable;
mod errands;
mod home;
mod homes;
mod hub;
mod message;
mod overflow;
mod pauses;
mod presence;
mod pursuit;
mod reader;
mod receipts;
mod seat;
mod seats;
mod shared_frame;
mod storage;
mod traced;
mod under_way;

pub use ask::{Ask, Subscriber};
pub use catch_up::{CatchUp, Gap, Page, Since};
pub use desk::{DeskRequest, Person};
pub use directory::{Channel, Directory};
pub use home::{Event, Publication, Published};
pub use hub::ChannelHub;
#[cfg(feature = "simulation")]
pub use hub::HubTraces;
pub use message::{
    Answer, Audience, Change, ChannelGap, Description, HomeAnswer, HomeRequest, Letter, Membership, Notice, Origin,
    Purpose, Spread, Tag, Whisper,
};
pub use reader::Reader;
pub use shared_frame::SharedFrame;
pub use storage::{Deliver, News, Storage};
