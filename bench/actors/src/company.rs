//! Chat connections on a shard without sockets: the gateway's actor, its hub and its settings, made as a node makes them.
//! Everybody who has a session is subscribed to one channel; channels are as large as asked for, and their members lie
//! far from each other, so that a publication finds nobody in a cache.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use dormouse::{
    channel::{Channel, ChannelHub, Directory, HomeRequest, Letter, Origin, Publication},
    clock::Clock,
    config::Config,
    connection::{ConnectionActor, Opening, Settings},
    protocol::encoding::Encoding,
    shard::{Census, Crowd, CrowdSetup, Options},
    supervision::{self, Crashes},
    telemetry::Metrics,
};
use serde_json::value::RawValue;

/// Nobody is to be closed for his silence while others are measured. Walks of the sweeper stay as long as a server's.
const NEVER: Duration = Duration::from_secs(86_400);

/// See the file's head.
pub struct Company {
    crowd: Crowd<ConnectionActor>,
    channels: Vec<Arc<Channel>>,
    data: Box<RawValue>,
    people: u32,
}

impl Company {
    /// What a company is made with unless somebody wants it otherwise: a server's defaults, but that clients may crash
    /// their actors and nobody is closed for his silence.
    #[must_use]
    pub fn config() -> Config {
        let mut config = Config::default();
        config.chaos.enabled = true;
        (config.heartbeat.interval, config.session.identify_within) = (NEVER, NEVER);
        config
    }

    /// Nobody yet, and so many channels.
    ///
    /// # Errors
    /// What a node would not start over.
    pub fn new(config: &Config, channels: usize, clock: Clock, crashes: Crashes) -> Result<Self> {
        supervision::install();
        let metrics = Metrics::new()?;
        let directory = Arc::new(Directory::new(&config.channels, 1, 7));
        let presence = config.presence.interval.as_millis() as u32;
        let setup = CrowdSetup {
            options: Options::new(config),
            settings: Arc::new(Settings::new(config, "bench".to_owned())?),
            metrics: metrics.clone(),
            clock,
            crashes,
            hub: ChannelHub::new(0, Arc::clone(&directory), metrics, presence, [7; 32]),
        };
        let channels = (0..channels.max(1)).map(|channel| directory.intern(&format!("room:{channel}"))).collect();
        let data = RawValue::from_string(r#"{"text":"hello, this is dormouse"}"#.to_owned())?;
        Ok(Self { crowd: Crowd::new(setup), channels, data, people: 0 })
    }

    /// What the handshakes of the next so many clients bring: a token and a channel, or nothing.
    pub fn openings(&self, count: usize, with_session: bool) -> Vec<Opening> {
        let opening = |nth: usize| {
            let person = self.people as usize + nth;
            let channel = &self.channels[person % self.channels.len()];
            Opening {
                encoding: Some(Encoding::Json),
                token: with_session.then(|| format!("user-{person:07}")),
                subscribe: if with_session { vec![channel.name.to_string()] } else { Vec::new() },
            }
        };
        (0..count).map(opening).collect()
    }

    /// Makes an actor for each and runs until all of them sleep.
    pub fn open(&mut self, openings: Vec<Opening>) {
        self.people += openings.len() as u32;
        for opening in openings {
            self.crowd.open(opening, Vec::new());
        }
        self.crowd.settle();
    }

    /// How many have come.
    #[must_use]
    pub fn people(&self) -> u32 {
        self.people
    }

    /// Sets the message that clients send.
    pub fn say(&self, text: &str) {
        let mut frame = Vec::new();
        dormouse::websocket::frame::write_text(&mut frame, text.as_bytes());
        self.crowd.say(&masked(&frame));
    }

    /// These clients send it; runs until all of them sleep again.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn speak(&mut self, people: impl IntoIterator<Item = u32>) -> Result<()> {
        for person in people {
            anyhow::ensure!(self.crowd.speak(person), "nobody is in slot {person}");
        }
        self.crowd.settle();
        Ok(())
    }

    /// Somebody publishes to a channel so many times at once; runs until all its members sleep again.
    ///
    /// # Errors
    /// There is no such channel.
    pub fn publish(&mut self, channel: usize, times: usize) -> Result<()> {
        let channel = self.channels.get(channel).context("no such channel")?;
        for _ in 0..times {
            let publication = Publication { from: "bench".into(), data: self.data.clone(), key: None };
            let (origin, request) = (Origin::Nobody, HomeRequest::Publish(publication));
            self.crowd.write(Letter::Home { channel: Arc::clone(channel), origin, request });
        }
        self.crowd.settle();
        Ok(())
    }

    /// How many channels there are.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Bytes that all clients have got so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.crowd.written()
    }

    /// Everybody counted.
    #[must_use]
    pub fn census(&self) -> Census {
        self.crowd.census()
    }
}

/// A short frame of ours as a client sends it: masked, with a key that changes nothing.
fn masked(frame: &[u8]) -> Vec<u8> {
    let mut masked = vec![frame[0], frame[1] | 0x80, 0, 0, 0, 0];
    masked.extend_from_slice(&frame[2..]);
    masked
}
