//! What a seed decides before anything happens: how big the node is, how tight its limits, how rough its world.

use std::time::Duration;

use dormouse::config::Config;
use rand::{Rng, rngs::StdRng};

/// Channels: kept events, presence, and neither.
const CHANNELS: [&str; 5] = ["room:a", "room:b", "chat:a", "chat:b", "live:a"];

pub(crate) fn has_history(channel: &str) -> bool {
    !channel.starts_with("live:")
}

pub(crate) fn has_presence(channel: &str) -> bool {
    channel.starts_with("chat:")
}

pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) clients: usize,
    pub(crate) steps: usize,
    pub(crate) chaos: bool,
    /// Of a thousand steps: planned panics in turns, panics between turns, shards restarted, sockets lost.
    pub(crate) strikes: u32,
    pub(crate) escapes: u32,
    pub(crate) restarts: u32,
    pub(crate) losses: u32,
    /// Bytes a socket keeps for its client.
    pub(crate) capacity: usize,
}

fn one_of<T: Copy>(rng: &mut StdRng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())]
}

fn ms(rng: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.random_range(from..=to))
}

impl Plan {
    pub(crate) fn new(rng: &mut StdRng, clients: Option<usize>) -> Self {
        let mut config = Config::default();
        config.shards.count = rng.random_range(1..=4);
        config.shards.budget = one_of(rng, &[1, 3, 64]);
        config.limits.mailbox = one_of(rng, &[4, 20, 1024]);
        config.limits.outbox_bytes = one_of(rng, &[200, 4096, 262_144]);
        config.limits.subscriptions = one_of(rng, &[3, 128]);
        let rate = one_of(rng, &[20, 100_000]);
        (config.limits.publish_per_second, config.limits.publish_burst) = (rate, rate);
        config.heartbeat.interval = ms(rng, 2_000, 6_000);
        config.session.identify_within = ms(rng, 1_000, 4_000);
        config.session.resume_window = ms(rng, 1_000, 6_000);
        config.supervision.max_restarts = rng.random_range(0..=5);
        config.supervision.within = ms(rng, 500, 10_000);
        config.presence.interval = ms(rng, 50, 1_000);
        // Virtual turns take no time; only a stall would be slow.
        config.limits.turn_warn = Duration::from_secs(60);
        let (kept, limit) = (one_of(rng, &[5, 50, 1000]), one_of(rng, &[3, 30, 500]));
        let channels =
            format!("[defaults]\nhistory_events = {kept}\ncatch_up_limit = {limit}\n[chat]\nhistory_events = {kept}");
        config.channels = toml::from_str(&channels).expect("two tables");
        let rough = rng.random_range(0..4);
        let chaos = rough > 0 && rng.random_bool(0.5);
        config.chaos.enabled = chaos;
        let crowd = clients.is_some();
        let clients = clients.unwrap_or_else(|| rng.random_range(2..=16));
        let upto = |rng: &mut StdRng, most: u32| if rough > 0 { rng.random_range(0..=most) } else { 0 };
        Self {
            clients,
            // Everybody hears everybody: in a crowd each needs to say less.
            steps: if crowd { clients * 40 } else { clients * rng.random_range(40..160) },
            chaos,
            strikes: upto(rng, 20),
            escapes: upto(rng, 3),
            restarts: upto(rng, 3),
            losses: if rng.random_bool(0.7) { rng.random_range(0..20) } else { 0 },
            capacity: one_of(rng, &[100, 3_000, 1_000_000]),
            config,
        }
    }

    pub(crate) fn crashes(&self) -> bool {
        self.chaos || self.strikes + self.escapes + self.restarts > 0
    }

    /// A user's name: some have several clients.
    pub(crate) fn user(&self, client: usize) -> String {
        if client % 5 == 4 { format!("twin{}", client / 10) } else { format!("user{client}") }
    }

    /// A status that tells the same whichever of a user's sessions set it last.
    pub(crate) fn status(&self, user: &str, rng: &mut StdRng) -> &'static str {
        if user.starts_with("twin") { "online" } else { one_of(rng, &["online", "idle", "busy", "invisible"]) }
    }

    pub(crate) fn channel(&self, rng: &mut StdRng) -> String {
        one_of(rng, &CHANNELS).to_owned()
    }
}
