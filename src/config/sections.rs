//! One struct per table of the configuration, with the contract's defaults. Plain data: what values make sense is said in
//! `rules`, so that a refusal can name the place; parts of the server read these fields and never write them. A key is added
//! here, in `rules` and in `config/dormouse.toml`; a test fails until all three agree.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{api_key::ApiKey, duration};

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// The one address for WebSockets, API and pages. Port 0 lets the system choose.
    pub addr: SocketAddr,
    /// Connections the kernel holds until they are accepted; the kernel may cut it to `net.core.somaxconn`.
    pub backlog: u32,
    /// Whether clients that offer permessage-deflate get it.
    pub compression: bool,
    /// How long it may take from the signal to the end of the process.
    #[serde(with = "duration")]
    pub drain: Duration,
    /// How many clients a second may leave for other nodes while draining, or more, so that 70 % of `drain` is enough for all.
    pub drain_pace: u32,
    /// Pages that may connect besides those of this server, by origin: `https://example.com`, `https://*.example.com`, `*`.
    pub origins: Vec<String>,
    /// Whether the address speaks TLS.
    pub tls: Tls,
}

/// `[listen.tls]`: both files, or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificate and those that vouch for it, in PEM, the server's own first. Read again at a reload.
    pub cert: PathBuf,
    /// Its private key, in PEM. Read again at a reload.
    pub key: PathBuf,
}

impl Tls {
    /// Whether there is a certificate.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.cert.as_os_str().is_empty()
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            backlog: 4096,
            compression: false,
            drain: Duration::from_secs(10),
            drain_pace: 5_000,
            origins: Vec::new(),
            tls: Tls::default(),
        }
    }
}

/// `[shards]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shards {
    /// Threads that own connections; 0 is one per core.
    pub count: usize,
    /// Messages one connection may handle before the next one has its turn.
    pub budget: usize,
}

impl Default for Shards {
    fn default() -> Self {
        Self { count: 0, budget: 64 }
    }
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open sockets; the next one gets a 503. The process' descriptor limit may allow fewer.
    pub max_connections: usize,
    /// Largest message from a client, in bytes, summed over fragments; beyond it 1009.
    pub max_frame_bytes: usize,
    /// Messages waiting for one connection.
    pub mailbox: usize,
    /// Bytes waiting to be written to one connection.
    pub outbox_bytes: usize,
    /// Channels one connection may subscribe.
    pub subscriptions: usize,
    /// Publications a second that one connection may make in the long run.
    pub publish_per_second: u32,
    /// Publications it may make at once after a pause.
    pub publish_burst: u32,
    /// Frames a second that are taken of one connection, or so many as its publish limits need; then it waits. 0: any.
    pub frames_per_second: u32,
    /// Bytes a second, in the same way.
    pub bytes_per_second: u32,
    /// Sockets of one address, or of one IPv6 network of 64 bits; the next gets 429. 0: any.
    pub connections_per_address: u32,
    /// Sessions of one user, parked ones included; the next gets `rate_limited` and 4004. 0: any.
    pub sessions_per_user: u32,
    /// WebSocket handshakes a second in the long run, and at once after a pause; the next gets 503. 0: any.
    pub handshakes_per_second: u32,
    /// Undecodable frames a minute; one more closes with 4505.
    pub bad_frames: u32,
    /// A turn longer than this is logged.
    #[serde(with = "duration")]
    pub turn_warn: Duration,
    /// A turn longer than this counts as stalled.
    #[serde(with = "duration")]
    pub turn_stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1_000_000,
            max_frame_bytes: 64 * 1024,
            mailbox: 1024,
            outbox_bytes: 256 * 1024,
            subscriptions: 128,
            publish_per_second: 50,
            publish_burst: 100,
            frames_per_second: 20_000,
            bytes_per_second: 32 << 20,
            connections_per_address: 0,
            sessions_per_user: 0,
            handshakes_per_second: 0,
            bad_frames: 16,
            turn_warn: Duration::from_millis(10),
            turn_stall: Duration::from_secs(1),
        }
    }
}

/// `[heartbeat]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Heartbeat {
    /// What `hello` asks for; silence for twice as long closes with 4001.
    #[serde(with = "duration")]
    pub interval: Duration,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: Duration::from_secs(45) }
    }
}

/// `[session]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// Time from `hello` to `identify`; beyond it 4500.
    #[serde(with = "duration")]
    pub identify_within: Duration,
    /// How long a parked session can be resumed.
    #[serde(with = "duration")]
    pub resume_window: Duration,
}

impl Default for Session {
    fn default() -> Self {
        Self { identify_within: Duration::from_secs(10), resume_window: Duration::from_secs(120) }
    }
}

/// `[supervision]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Supervision {
    /// Restarts an actor may have within [`Supervision::within`]; at 0 its first crash closes it.
    pub max_restarts: u32,
    /// The time over which restarts are counted.
    #[serde(with = "duration")]
    pub within: Duration,
    /// What becomes of a connection whose turn took longer than [`Limits::turn_stall`].
    pub on_stall: OnStall,
    /// Crashes kept as files; the oldest go, 0 keeps none.
    pub crash_files: usize,
    /// Their directory, below [`Store::path`] unless it is absolute.
    pub crash_dir: PathBuf,
    /// Whether they show what people wrote.
    pub crash_payloads: bool,
}

/// `supervision.on_stall`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStall {
    /// As after a crash: nothing of the turn happens, its client is told, the restart budget pays.
    #[default]
    Restart,
    /// As after one crash too many: told, then closed; the session is parked.
    Close,
    /// It goes on as if nothing had been.
    Keep,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            max_restarts: 5,
            within: Duration::from_secs(10),
            on_stall: OnStall::default(),
            crash_files: 100,
            crash_dir: PathBuf::from("crashes"),
            crash_payloads: false,
        }
    }
}

/// `[presence]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// At most one `presence` frame per channel in this time.
    #[serde(with = "duration")]
    pub interval: Duration,
}

impl Default for Presence {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1) }
    }
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Which implementation keeps durable channels.
    pub engine: Engine,
    /// Its directory.
    pub path: PathBuf,
    /// How long a commit waits for company, so that many publications share one disk sync.
    #[serde(with = "duration")]
    pub commit: Duration,
}

impl Default for Store {
    fn default() -> Self {
        Self { engine: Engine::Embedded, path: PathBuf::from("./dormouse-data"), commit: Duration::from_millis(2) }
    }
}

/// `store.engine`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A log in the server's own process.
    Embedded,
    /// Nothing beyond the process.
    Memory,
}

/// `[auth]`
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// What a token is.
    pub mode: AuthMode,
    /// HS256 secrets. Any of them verifies, the first one signs: rotate by putting the new one first.
    pub keys: Vec<String>,
    /// Files with keys to verify with: public ones in PEM, or a JWKS. Read again at a reload.
    pub key_files: Vec<PathBuf>,
    /// What `iss` of a token must be; empty: anything.
    pub issuer: String,
    /// What `aud` of a token must hold; empty: anything.
    pub audience: String,
}

/// `auth.mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// The token is the user name. For trying things out, hence only on loopback.
    #[default]
    Open,
    /// The token is a JWT signed with one of [`Auth::keys`], or of the keys in [`Auth::key_files`].
    Jwt,
    /// The application's backend says whom a token stands for, in its answer to the connect hook.
    Hook,
}

/// Secrets stay out of logs and panics: only their number shows.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("mode", &self.mode)
            .field("keys", &self.keys.len())
            .field("key_files", &self.key_files)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish()
    }
}

/// `[api]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Bearer keys of the HTTP API and what each may do.
    pub keys: Vec<ApiKey>,
}

/// `[chaos]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chaos {
    /// Whether clients and operators may crash actors.
    pub enabled: bool,
}

/// `[echo]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Echo {
    /// Whether `/v1/echo` exists.
    pub enabled: bool,
}

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// What is logged, in `tracing`'s filter syntax: `info,dormouse::shard=debug`.
    pub log: String,
    /// How a line looks.
    pub format: LogFormat,
    /// Where traces go: a collector's `http://127.0.0.1:4318/v1/traces`; empty for none.
    pub traces: String,
    /// Of so many publications one is traced.
    pub trace_one_in: u32,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log: "info".to_owned(), format: LogFormat::Text, traces: String::new(), trace_one_in: 1000 }
    }
}

/// `telemetry.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}
