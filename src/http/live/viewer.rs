//! One viewer of the live feed: an actor of actix-web-actors on its socket. That costs kilobytes for each, which is right for
//! the few who watch a node and would be wrong for those it serves.
//!
//! ```text
//! Stranger ── a key with the scope `read` ──▶ Guest ── hello, past, samples ──▶ closed 1001 when the node leaves
//!    └── no key in time: closed 4500; another one: closed 4501         a key that is taken back: closed 4501
//! ```
//! Its outbox is the one message under way: while the socket takes nothing the actor is not polled (`socket.rs`), and what is
//! told meanwhile replaces what was told before.

use std::time::Duration;

use actix::{Actor, ActorContext as _, AsyncContext as _, StreamHandler};
use actix_web::web::Data;
use actix_web_actors::ws::{CloseReason, Message, ProtocolError, WebsocketContext};
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};

use crate::{
    config::Scope,
    http::{
        auth,
        error::ApiError,
        gateway::Gateway,
        live::{Seat, Told, seconds},
    },
    protocol::{close::Close, error::Fault, frame::VERSION},
};

/// A stranger has so long to say who he is.
const WITHIN: Duration = Duration::from_secs(5);
/// A sample may come this much sooner than it was wished: timers are not that exact.
const SLACK: Duration = Duration::from_millis(250);

/// See the module's text.
pub(super) struct Viewer {
    gateway: Data<Gateway>,
    seat: Seat,
    /// `None`: a stranger.
    scopes: Option<Vec<Scope>>,
    /// What let it in, where a key was needed: a reload of the keys may take that back.
    key: Option<String>,
    /// When the sample was taken that it got last, in microseconds of the clock.
    sent: Option<u64>,
}

/// What a viewer says.
#[derive(Deserialize)]
struct Wish {
    key: Option<String>,
    every_ms: Option<u64>,
}

/// The first message to a guest.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "hello")]
struct Hello<'a> {
    node: &'a str,
    version: &'static str,
    every_ms: u64,
    /// What its key may do; all of it where none is needed.
    scopes: &'a [Scope],
    /// The server has keys: without them, requests with one are refused.
    keyed: bool,
    /// Faults may be injected.
    chaos: bool,
}

/// Why it is closed.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "error")]
struct Refusal<'a> {
    error: &'a Fault,
}

type Ctx = WebsocketContext<Viewer>;

impl Viewer {
    pub(super) fn new(gateway: Data<Gateway>, seat: Seat, scopes: Option<Vec<Scope>>, key: Option<String>) -> Self {
        Self { gateway, seat, scopes, key, sent: None }
    }

    fn welcome(&mut self, ctx: &mut Ctx) {
        let Some(scopes) = &self.scopes else { return };
        let gateway = &self.gateway;
        let hello = Hello {
            node: &gateway.node,
            version: VERSION,
            every_ms: self.seat.every().as_millis() as u64,
            scopes,
            keyed: auth::has_keys(&gateway.keys),
            chaos: gateway.config().chaos.enabled,
        };
        say(ctx, &hello);
        say(ctx, &gateway.live.past());
        // What others have just been told.
        let told = gateway.live.listen().borrow().clone();
        self.hear(told, ctx);
    }

    fn hear(&mut self, told: Told, ctx: &mut Ctx) {
        if told.ended {
            return end(ctx, Close::GOING_AWAY);
        }
        let (Some(taken), Some(_)) = (told.latest, &self.scopes) else { return };
        if self.key.is_some()
            && let Err(error) = auth::open(&self.gateway.keys, self.key.as_deref(), Scope::Read)
        {
            return refuse(ctx, error);
        }
        let micros = |time: Duration| time.as_micros() as u64;
        let every = micros(self.seat.every().saturating_sub(SLACK));
        let stale = self.gateway.clock.micros().saturating_sub(taken.micros) > micros(self.seat.every() * 2);
        if !stale && self.sent.is_none_or(|sent| taken.micros >= sent + every) {
            self.sent = Some(taken.micros);
            ctx.text(&*taken.json);
        }
    }

    fn wish(&mut self, text: &str, ctx: &mut Ctx) {
        let Ok(Wish { key, every_ms }) = serde_json::from_str(text) else {
            return end(ctx, Close::PROTOCOL_VIOLATION);
        };
        if every_ms.is_some() {
            let every = seconds(every_ms);
            self.seat = Seat::new(self.seat.live.clone(), every);
        }
        if self.scopes.is_some() {
            return;
        }
        match auth::open(&self.gateway.keys, key.as_deref(), Scope::Read) {
            Ok(scopes) => {
                (self.scopes, self.key) = (Some(scopes), key);
                self.welcome(ctx);
            }
            Err(error) => refuse(ctx, error),
        }
    }
}

impl Actor for Viewer {
    type Context = Ctx;

    fn started(&mut self, ctx: &mut Ctx) {
        let told = self.gateway.live.listen();
        ctx.add_stream(unfold(told, async |mut told| {
            told.changed().await.ok()?;
            let latest = told.borrow_and_update().clone();
            Some((latest, told))
        }));
        if self.scopes.is_some() {
            self.welcome(ctx);
        } else {
            ctx.run_later(WITHIN, |viewer, ctx| {
                if viewer.scopes.is_none() {
                    end(ctx, Close::NOT_IDENTIFIED);
                }
            });
        }
    }
}

impl StreamHandler<Told> for Viewer {
    fn handle(&mut self, told: Told, ctx: &mut Ctx) {
        self.hear(told, ctx);
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for Viewer {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Ctx) {
        match message {
            Ok(Message::Text(text)) => self.wish(&text, ctx),
            Ok(Message::Ping(payload)) => ctx.pong(&payload),
            Ok(Message::Pong(_) | Message::Nop) => {}
            Ok(Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Ok(Message::Binary(_) | Message::Continuation(_)) => end(ctx, Close::UNSUPPORTED_DATA),
            Err(error) => {
                tracing::debug!(%error, "a viewer of the live feed broke the protocol");
                end(ctx, Close::PROTOCOL_ERROR);
            }
        }
    }
}

fn say(ctx: &mut Ctx, message: &impl Serialize) {
    match serde_json::to_string(message) {
        Ok(json) => ctx.text(json),
        Err(error) => tracing::error!(%error, "a message of the live feed cannot be written"),
    }
}

fn refuse(ctx: &mut Ctx, error: ApiError) {
    say(ctx, &Refusal { error: &error.into_fault() });
    end(ctx, Close::AUTH_FAILED);
}

fn end(ctx: &mut Ctx, close: Close) {
    ctx.close(Some(CloseReason { code: close.code.into(), description: Some(close.name.to_owned()) }));
    ctx.stop();
}
