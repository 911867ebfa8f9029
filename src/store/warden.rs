//! The actor that stands for the store's thread in the supervision tree. The thread mends itself (a panic of the engine costs
//! its group); should it end all the same, nothing durable would ever be answered again, so the warden crashes until its
//! budget is spent and the node leaves.
//!
//! Holds nothing that a restart could lose. Started by the node, before the shards.

use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Supervised};

use super::Store;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// See the module's text.
pub struct Warden {
    store: Store,
}

impl Warden {
    /// Watches `store` once started.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    #[expect(clippy::panic, reason = "its supervisor is to hear of it")]
    fn look(&self) {
        if self.store.has_died() {
            panic!("the store's thread has ended");
        }
    }
}

impl Actor for Warden {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(EVERY, |warden, _| warden.look());
    }
}

impl Supervised for Warden {}
