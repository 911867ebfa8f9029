//! A WebSocket client that also sends: small frames, answered in order.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// Longer than any honest answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client(TcpStream);

impl Client {
    /// Opens one at `http://…`, identified as `user`, and waits for `ready`.
    pub(crate) fn open(url: &str, user: &str, subscribe: &str) -> Self {
        let address = url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = format!(
            "GET /v1/gateway?token={user}&subscribe={subscribe} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        let mut client = Self(stream);
        client.wait_for("ready");
        client
    }

    /// A text frame; the mask is all zeros, so it is sent as it is.
    pub(crate) fn send(&mut self, text: &str) {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).expect("a small frame");
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.0.write_all(&frame).expect("sent");
    }

    /// The next frame of that `op`.
    pub(crate) fn wait_for(&mut self, op: &str) -> Value {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).expect("a frame");
            let length = match head[1] {
                126 => {
                    let mut length = [0; 2];
                    self.0.read_exact(&mut length).expect("a length");
                    usize::from(u16::from_be_bytes(length))
                }
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).expect("a payload");
            assert_eq!(head[0], 0x81, "{}", String::from_utf8_lossy(&payload));
            let frame: Value = serde_json::from_slice(&payload).expect("json");
            if frame["op"] == op {
                return frame;
            }
        }
    }
}
