//! The task behind a client: opens sockets one after the other and carries frames, commands and timers to the session.
//!
//! ```text
//! reach ──socket──▶ talk ──lost──▶ reach …        either ──end──▶ closed
//! ```
//!
//! It waits for everything at once and never for a listener: while listeners are behind it stops reading, and goes on
//! writing. It ends when the server says so for good, when it is told to, or when no handle is left.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, Stream, StreamExt as _, future::BoxFuture};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::{
    Error as SocketError, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{
    client::{
        error::ClientError,
        exchange::Command,
        session::{Leave, Session},
        socket::{Address, DialError, OPENING, Socket, flush},
        timers::Timer,
    },
    protocol::close::Close,
};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Asked for a token; says why there is none.
pub(super) type TokenSource = Arc<dyn Fn() -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// See the file's head.
pub(super) struct Driver {
    pub(super) session: Session,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) address: Address,
    pub(super) source: Option<TokenSource>,
}

/// How it goes on without this socket.
enum Turn {
    /// Close code, reason, and how long to wait if not as backoff says.
    Lost(Option<u16>, String, Option<Duration>),
    /// It does not.
    End(ClientError),
}

impl Driver {
    /// Until the end.
    pub(super) async fn run(mut self) {
        let mut wait = Duration::ZERO;
        let why = loop {
            let turn = match self.reach(wait).await {
                Ok(socket) => self.talk(socket).await,
                Err(turn) => turn,
            };
            let lost = match turn {
                Turn::Lost(code, reason, wait) => self.session.lost(code, &reason, wait),
                Turn::End(why) => Err(why),
            };
            match lost {
                Ok(next) => wait = next,
                Err(why) => break why,
            }
        };
        self.session.end(&why);
    }

    /// Waits, asks for a token where one is needed, opens a socket; serves commands meanwhile.
    async fn reach(&mut self, wait: Duration) -> Result<Socket, Turn> {
        let source = self.source.clone().filter(|_| self.session.ask_token);
        let address = self.address.clone();
        let mut dial = pin!(async move {
            sleep(wait).await;
            let token = match source {
                Some(ask) => Some(ask().await.map_err(|why| DialError::Passing(format!("no token: {why}"), None))?),
                None => None,
            };
            Ok((token, address.dial().await?))
        });
        let shared = Arc::clone(&self.session.shared);
        loop {
            tokio::select! {
                dialled = &mut dial => return match dialled {
                    Ok((token, socket)) => {
                        if let Some(token) = token {
                            self.session.token = token;
                            self.session.ask_token = false;
                        }
                        Ok(socket)
                    }
                    // After the first socket even a wrong answer is trouble that passes: a proxy whose server is away.
                    Err(DialError::Lasting(why)) if shared.vitals().sockets == 0 => Err(Turn::End(why)),
                    Err(DialError::Lasting(why)) => Err(Turn::Lost(None, why.to_string(), None)),
                    Err(DialError::Passing(reason, after)) => {
                        let wait = after.map(|after| after + self.session.backoff.next());
                        Err(Turn::Lost(None, reason, wait))
                    }
                },
                command = self.commands.recv() => self.command(command)?,
                () = shared.level.changed.notified() => self.session.sweep(),
            }
        }
    }

    fn command(&mut self, command: Option<Command>) -> Result<(), Turn> {
        match command {
            None | Some(Command::Close) => Err(Turn::End(ClientError::Ended)),
            Some(command) => {
                self.session.serve(command);
                Ok(())
            }
        }
    }

    /// As long as the socket lives.
    async fn talk(&mut self, socket: Socket) -> Turn {
        let (mut sink, mut stream) = socket.split();
        let shared = Arc::clone(&self.session.shared);
        self.session.timers.start(Timer::Opening, OPENING);
        let mut unflushed = false;
        loop {
            unflushed |= !self.session.out.is_empty();
            let may_read = self.session.may_read();
            tokio::select! {
                message = stream.next(), if may_read => match message {
                    Some(Ok(Message::Text(text))) => self.session.hear(&text),
                    // Pings are answered by the library; binary frames do not belong to this encoding.
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(close))) => {
                        // The library's answer to it.
                        drop(timeout(GOODBYE, sink.flush()).await);
                        return closed(close);
                    }
                    Some(Err(error)) => return lost(&error),
                    None => return Turn::Lost(None, "end of stream without a close frame".to_owned(), None),
                },
                flushed = flush(&mut sink, &mut self.session.out), if unflushed => match flushed {
                    Ok(()) => unflushed = false,
                    Err(error) => {
                        // What the server said before it closed is worth more than that writing failed.
                        return timeout(GOODBYE, last_words(&mut stream)).await.unwrap_or(None).unwrap_or_else(|| lost(&error));
                    }
                },
                due = self.session.timers.next() => self.session.due(due),
                command = self.commands.recv() => if let Err(end) = self.command(command) {
                    self.session.acknowledge();
                    // Whatever was still to be said, then the goodbye that ends the session, then the server's.
                    drop(timeout(GOODBYE, async {
                        flush(&mut sink, &mut self.session.out).await?;
                        sink.send(close_frame(Close::BYE)).await?;
                        last_words(&mut stream).await;
                        Ok::<_, SocketError>(())
                    }).await);
                    return end;
                },
                () = shared.level.changed.notified() => self.session.sweep(),
            }
            if let Some(Leave { close, wait }) = self.session.leave.take() {
                // Any code but 1000, so the server keeps the session. A dead peer gets none.
                if close != Close::HEARTBEAT_TIMEOUT {
                    drop(timeout(GOODBYE, sink.send(close_frame(close))).await);
                }
                return Turn::Lost(None, close.name.to_owned(), wait);
            }
        }
    }
}

/// Reads to the close frame, past everything else.
async fn last_words(stream: &mut (impl Stream<Item = Result<Message, SocketError>> + Unpin)) -> Option<Turn> {
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Close(close) = message {
            return Some(closed(close));
        }
    }
    None
}

fn close_frame(close: Close) -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::from(close.code), reason: close.name.into() }))
}

fn closed(close: Option<CloseFrame>) -> Turn {
    let (code, reason) = match close {
        Some(close) => (Some(u16::from(close.code)), close.reason.to_string()),
        None => (None, "closed without a reason".to_owned()),
    };
    Turn::Lost(code, reason, None)
}

fn lost(error: &SocketError) -> Turn {
    Turn::Lost(None, error.to_string(), None)
}
