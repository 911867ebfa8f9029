//! The other end of an app's connection: says texts, hears texts.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use tokio_tungstenite::tungstenite::{self, Message, WebSocket, client::IntoClientRequest as _, protocol::CloseFrame};

/// What has not come by then will not come.
const GUARD: Duration = Duration::from_secs(30);

/// See the module's text.
pub(crate) struct Client(WebSocket<TcpStream>);

impl Client {
    /// Opens one at `/counter?room=…`.
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        Self::offer(address, path, None).0
    }

    /// Also offers sub-protocols; which one was taken.
    pub(crate) fn offer(address: SocketAddr, path: &str, protocols: Option<&str>) -> (Self, Option<String>) {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(GUARD)).expect("a timeout");
        stream.set_write_timeout(Some(GUARD)).expect("a timeout");
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
        if let Some(protocols) = protocols {
            request.headers_mut().insert("sec-websocket-protocol", protocols.parse().expect("a value"));
        }
        let (socket, answer) = tungstenite::client(request, stream).expect("a handshake");
        let agreed = answer.headers().get("sec-websocket-protocol").map(|name| name.to_str().expect("text").to_owned());
        (Self(socket), agreed)
    }

    pub(crate) fn say(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).expect("the socket takes it");
    }

    /// The next text.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        loop {
            match self.0.read().expect("it comes in time") {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} instead of a text"),
            }
        }
    }

    /// Hears exactly this.
    #[track_caller]
    pub(crate) fn hears(&mut self, text: &str) {
        assert_eq!(self.hear(), text);
    }

    /// Says something and hears exactly this.
    #[track_caller]
    pub(crate) fn asks(&mut self, text: &str, answer: &str) {
        self.say(text);
        self.hears(answer);
    }

    /// The code and the reason of the close that comes, whatever comes before it.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        loop {
            match self.0.read() {
                Ok(Message::Close(Some(CloseFrame { code, reason }))) => {
                    return (code.into(), reason.as_str().to_owned());
                }
                Ok(_) => {}
                Err(error) => panic!("no close came: {error}"),
            }
        }
    }
}
