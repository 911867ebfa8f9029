//! The attacks: one row each, with the limit it goes against and the answer it must get. To add one, add a row, and a
//! function if it says something new.
//!
//! Rates are bounded, and above the limits: a machine that is all the attacker's measures nothing.

use std::sync::LazyLock;

use dormouse::websocket;

use crate::{
    attack::{Attack, PLAIN, as_somebody, nothing},
    dice::Dice,
    frame::{self, CLOSE, PING, TEXT},
    message,
};

/// Any; never zero, so that the server pays for it.
const MASK: u32 = 0x5EED_BEEF;
const CONTINUATION: u8 = 0;
/// RFC 7692 §6: this message is compressed.
const RSV1: u8 = 0x40;
/// Below `limits.max_frame_bytes` as it comes.
const LARGE: usize = 60_000;
/// A channel that keeps nothing, so that what a slow client misses cannot be told as a `gap`.
const LOUD: &str = "live:loud";

/// 32 MB in 32 KB; made once, for making it costs more than taking it.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| packed(&vec![b'0'; 32 << 20]));

pub(crate) static ARSENAL: [Attack; 22] = [
    // Not the server is attacked, but the machine that both share: what of the other rows is the attackers' own work.
    Attack {
        name: "none: bytes to themselves",
        elsewhere: true,
        then: |_, _| text(&padded(LARGE)),
        rate: 1_500.0,
        right: &["taken"],
        also: &[],
        ..PLAIN
    },
    Attack {
        name: "connections of an address",
        sets: &["limits.connections_per_address=100"],
        sockets: 400,
        dials: 500.0,
        right: &["HTTP 429"],
        ..PLAIN
    },
    Attack {
        name: "connections of the node",
        sets: &["limits.max_connections=600"],
        sockets: 800,
        dials: 500.0,
        right: &["HTTP 503"],
        ..PLAIN
    },
    Attack {
        name: "handshakes",
        sets: &["limits.handshakes_per_second=450"],
        sockets: 400,
        dials: 1_000.0,
        first: |_, _| masked(CLOSE, &1000u16.to_be_bytes()),
        right: &["HTTP 503"],
        also: &["101", "close 1000"],
        ..PLAIN
    },
    Attack {
        name: "sessions of a user",
        sets: &["limits.sessions_per_user=5"],
        sockets: 100,
        dials: 200.0,
        head: |host, _| message::gateway(host, "mallory", None),
        right: &["close 4004"],
        also: &["101", "error rate_limited"],
        ..PLAIN
    },
    Attack {
        name: "heads that drip",
        seconds: 8,
        sockets: 300,
        dials: 300.0,
        head: |_, _| "GET /v1/gateway HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_owned(),
        drips: true,
        then: |_, _| b"a".to_vec(),
        rate: 2.0,
        right: &["HTTP 408", "cut"],
        also: &[],
        ..PLAIN
    },
    Attack {
        name: "silence after the handshake",
        sets: &["session.identify_within=2s"],
        sockets: 300,
        dials: 300.0,
        head: |host, _| message::handshake(host, "/v1/gateway"),
        right: &["close 4500"],
        ..PLAIN
    },
    Attack {
        name: "frames",
        seconds: 13,
        then: |_, _| masked(TEXT, message::HEARTBEAT.as_bytes()).repeat(250),
        rate: 100.0,
        right: &["close 4004"],
        also: &["101", "heartbeat_ack"],
        ..PLAIN
    },
    Attack {
        name: "pings",
        seconds: 13,
        then: |_, _| masked(PING, b"?").repeat(250),
        rate: 100.0,
        right: &["close 4004"],
        also: &["101", "pong"],
        ..PLAIN
    },
    Attack {
        name: "bytes",
        seconds: 13,
        then: |_, _| text(&padded(LARGE)),
        rate: 1_500.0,
        right: &["close 4004"],
        also: &["101", "heartbeat_ack"],
        ..PLAIN
    },
    Attack {
        name: "compression bombs",
        sets: &["listen.compression=true"],
        head: compressing,
        first: |_, _| BOMB.clone(),
        right: &["close 1009"],
        ..PLAIN
    },
    Attack {
        name: "bytes, compressed",
        sets: &["listen.compression=true"],
        seconds: 13,
        head: compressing,
        then: |_, _| packed(padded(LARGE).as_bytes()),
        rate: 1_500.0,
        right: &["close 4004"],
        also: &["101", "heartbeat_ack"],
        ..PLAIN
    },
    Attack {
        name: "publications",
        sockets: 10,
        then: |_, socket| text(&publish(socket, "0")).repeat(50),
        rate: 10.0,
        right: &["error rate_limited"],
        also: &["101", "ok"],
        ..PLAIN
    },
    Attack {
        name: "subscriptions",
        sockets: 10,
        then: |_, socket| {
            (0..200).flat_map(|n| text(&message::subscribe(&format!("room:{socket}-{n}"), n, 0))).collect()
        },
        rate: 2.0,
        right: &["error too_large"],
        also: &["101", "ok", "error rate_limited"],
        ..PLAIN
    },
    Attack {
        name: "clients that never read",
        sets: &["limits.mailbox=64"],
        seconds: 8,
        sockets: 10,
        dials: 20.0,
        // The first two are those who speak.
        head: |host, socket| message::gateway(host, &format!("mallory-{socket}"), (socket > 1).then_some(LOUD)),
        then: |_, socket| if socket > 1 { Vec::new() } else { text(&message::publish(LOUD, None, 0, LARGE)) },
        rate: 40.0,
        in_quick: 0.5,
        deaf: true,
        right: &["close 4002"],
        // What stands in the kernel's buffers when they hear the end.
        also: &["101", "cut", "event"],
        ..PLAIN
    },
    Attack {
        name: "large JSON",
        then: |_, socket| text(&publish(socket, &format!("[{}0]", "0,".repeat(LARGE / 2 - 100)))),
        rate: 400.0,
        in_quick: 0.2,
        right: &["error rate_limited"],
        also: &["101", "ok"],
        ..PLAIN
    },
    Attack {
        name: "nested JSON",
        then: |_, socket| {
            text(&publish(socket, &format!("{}{}", "[".repeat(LARGE / 2 - 100), "]".repeat(LARGE / 2 - 100))))
        },
        rate: 100.0,
        right: &["error bad_request"],
        ..PLAIN
    },
    Attack {
        name: "fragments of a byte",
        first: |_, _| fragment(TEXT, b"a"),
        then: |_, _| fragment(CONTINUATION, b"a").repeat(2_000),
        rate: 50.0,
        in_quick: 0.5,
        right: &["close 1009"],
        ..PLAIN
    },
    Attack {
        name: "fragments of nothing",
        sets: &["limits.max_frame_bytes=4096", "limits.bytes_per_second=100000"],
        seconds: 13,
        first: |_, _| fragment(TEXT, b""),
        then: |_, _| fragment(CONTINUATION, b"").repeat(2_000),
        rate: 250.0,
        in_quick: 0.5,
        right: &["close 4004"],
        ..PLAIN
    },
    Attack {
        name: "broken JSON",
        then: |_, _| text(&padded(LARGE).replace('}', "]")),
        rate: 100.0,
        right: &["close 4505"],
        also: &["101", "error bad_frame"],
        ..PLAIN
    },
    Attack {
        name: "rubbish in frames",
        then: |_, _| text("rubbish").repeat(20),
        rate: 10.0,
        right: &["close 4505"],
        also: &["101", "error bad_frame"],
        ..PLAIN
    },
    Attack {
        name: "rubbish",
        sockets: 10,
        first: rubbish,
        then: nothing,
        right: &["close 1002"],
        // Random bytes may be anything, also a good frame.
        also: &["101", "close 1003", "close 1007", "close 1009", "error bad_frame", "pong", "cut"],
        ..PLAIN
    },
];

/// The attack of that name.
pub(crate) fn find(name: &str) -> Option<&'static Attack> {
    ARSENAL.iter().find(|attack| attack.name == name)
}

fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, opcode, payload, MASK);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    masked(TEXT, text.as_bytes())
}

/// A message as somebody who has agreed to compression sends it.
fn packed(payload: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    websocket::frame::write_compressed_text(&mut plain, payload);
    masked(TEXT | RSV1, websocket::frame::payload(&plain))
}

fn compressing(host: &str, socket: usize) -> String {
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    format!("{}{offer}", as_somebody(host, socket).trim_end())
}

/// A frame that is not the last of its message.
fn fragment(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = masked(opcode, payload);
    bytes[0] &= 0x7F;
    bytes
}

/// A heartbeat of so many bytes or a few more.
fn padded(bytes: usize) -> String {
    format!(r#"{{"op":"heartbeat","pad":"{}"}}"#, "x".repeat(bytes))
}

fn publish(socket: usize, data: &str) -> String {
    format!(r#"{{"op":"publish","id":1,"channel":"room:{socket}","data":{data}}}"#)
}

fn rubbish(dice: &mut Dice, _: usize) -> Vec<u8> {
    (0..4_096).map(|_| dice.roll() as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_has_a_name_of_its_own_and_a_right_answer() {
        for attack in &ARSENAL {
            assert!(std::ptr::eq(find(attack.name).unwrap(), attack), "{}", attack.name);
            assert!(!attack.right.is_empty() && attack.sockets > 0 && attack.seconds > 0, "{}", attack.name);
            assert!(attack.right.iter().all(|right| !attack.also.contains(right)), "{}", attack.name);
        }
    }

    #[test]
    fn a_fragment_is_a_frame_that_is_not_the_last() {
        assert_eq!(fragment(CONTINUATION, b"").len(), 6);
        assert_eq!(fragment(TEXT, b"")[0], 0x01);
        assert_eq!(text("a")[0], 0x81);
        assert_eq!(packed(&[b'0'; 1_000])[0], 0xc1);
    }
}
