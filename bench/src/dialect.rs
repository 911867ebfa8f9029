//! How a server is spoken to: handshakes of a subscriber, a publisher and an echo, what is published, what keeps a
//! connection alive. Dormouse speaks its protocol; the peers in `bench/peers/` speak whatever is smallest there.
//!
//! Events of all of them have the same length, so that the generator's and the kernel's work is the same. Pure text;
//! called by the measurements through `target`.

use serde::Deserialize;

use crate::{
    crowd::Arrival,
    message::{self, HEARTBEAT, handshake},
    swarm::Beat,
};

/// Bytes of an event of Dormouse with nothing added; a peer's is padded to as many.
pub(crate) const EVENT: usize = 98;

/// See the file's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Dialect {
    /// `dormouse.v1.json`: identified and subscribed by the URL, `ready` tells that it is so.
    #[default]
    Dormouse,
    /// `/subscribe` is subscribed and hears `{"op":"ready"}`; what `/publish` says goes to all of those; `/echo` echoes.
    Plain,
    /// The same without `ready`: who has opened is subscribed. Publications are answered with texts that nobody needs.
    Silent,
    /// Socket.IO packets: text frames with `42` before a JSON array.
    SocketIo,
    /// A handshake and nothing after it: the floor under all others.
    Bare,
}

impl Dialect {
    /// The handshake of a subscriber.
    pub(crate) fn subscriber(self, host: &str, user: &str, channel: &str) -> String {
        match self {
            Self::Dormouse => message::gateway(host, user, Some(channel)),
            Self::SocketIo => socket_io(host, "subscribe"),
            Self::Plain | Self::Silent | Self::Bare => handshake(host, "/subscribe"),
        }
    }

    /// When a subscriber has arrived.
    pub(crate) fn subscribed(self) -> Arrival {
        match self {
            Self::Dormouse | Self::Plain | Self::SocketIo => Arrival::Ready,
            Self::Silent | Self::Bare => Arrival::Opened,
        }
    }

    /// The handshake of a publisher.
    pub(crate) fn publisher(self, host: &str) -> String {
        match self {
            Self::Dormouse => message::gateway(host, "publisher", None),
            Self::SocketIo => socket_io(host, "publish"),
            Self::Plain | Self::Silent | Self::Bare => handshake(host, "/publish"),
        }
    }

    /// When a publisher has arrived.
    pub(crate) fn publishing(self) -> Arrival {
        match self {
            Self::Dormouse | Self::SocketIo => Arrival::Ready,
            Self::Plain | Self::Silent | Self::Bare => Arrival::Opened,
        }
    }

    /// A publication whose event is `EVENT + padding` bytes long, in `channel` where there are channels.
    pub(crate) fn publication(self, channel: &str, n: u64, padding: usize) -> String {
        let event = |head: String, tail: &str| {
            let pad = (EVENT + padding).saturating_sub(head.len() + tail.len());
            format!("{head}{:x<pad$}{tail}", "")
        };
        match self {
            Self::Dormouse => message::publish(channel, None, n, padding),
            // The event begins with two bytes less: "event" for "publish".
            Self::SocketIo => event(format!(r#"42["event","{n} "#), r#""]"#).replacen("event", "publish", 1),
            Self::Plain | Self::Silent | Self::Bare => event(format!(r#"{{"op":"event","n":{n},"pad":""#), r#""}"#),
        }
    }

    /// The handshake of a connection that echoes, and when it has arrived.
    pub(crate) fn echo(self, host: &str) -> (String, Arrival) {
        match self {
            Self::Dormouse => (handshake(host, "/v1/echo"), Arrival::Opened),
            Self::SocketIo => (socket_io(host, "echo"), Arrival::Ready),
            Self::Plain | Self::Silent | Self::Bare => (handshake(host, "/echo"), Arrival::Opened),
        }
    }

    /// What stands around a text that is to come back.
    pub(crate) fn around_echo(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::SocketIo => (br#"42["echo",""#, br#""]"#),
            _ => (b"", b""),
        }
    }

    /// What a client says to show that it is there.
    pub(crate) fn beat(self) -> Option<Beat> {
        match self {
            Self::Dormouse => Some(Beat::Text(HEARTBEAT)),
            Self::Plain | Self::Silent | Self::SocketIo => Some(Beat::Ping),
            Self::Bare => None,
        }
    }

    /// Beginnings of messages, and what the protocol answers to them.
    pub(crate) fn answers(self) -> &'static [(&'static [u8], &'static [u8])] {
        match self {
            // Engine.IO's open packet asks for the namespace, its ping for a pong.
            Self::SocketIo => &[(b"0{", b"40"), (b"2", b"3")],
            _ => &[],
        }
    }

    /// Whether `GET /v1/node` can be asked.
    pub(crate) fn has_node(self) -> bool {
        self == Self::Dormouse
    }
}

fn socket_io(host: &str, role: &str) -> String {
    handshake(host, &format!("/socket.io/?EIO=4&transport=websocket&role={role}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Op, op};

    #[test]
    fn a_peers_event_is_recognised_and_as_long_as_ours() {
        let event =
            r#"{"op":"event","channel":"bench","offset":12345,"from":"publisher","at":1763839474711,"data":{"n":12}}"#;
        assert!(event.len().abs_diff(EVENT) < 8, "{}", event.len());
        for n in [1, 12_345] {
            let plain = Dialect::Plain.publication("bench", n, 0);
            assert_eq!((plain.len(), op(plain.as_bytes())), (EVENT, Op::Event));
            let packet = Dialect::SocketIo.publication("bench", n, 0);
            assert!(packet.starts_with(r#"42["publish",""#));
            let event = packet.replacen("publish", "event", 1);
            assert_eq!((event.len(), op(event.as_bytes())), (EVENT, Op::Event));
        }
        assert_eq!(Dialect::Silent.publication("bench", 7, 1024).len(), EVENT + 1024);
    }
}
