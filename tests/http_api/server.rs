//! A server of the built binary on a port of its own, and the two ways a test talks to it: requests, and a bare WebSocket.
//! Stopping is part of every test: the process must end by itself, with exit code 0.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStderr, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;
use ureq::{Agent, Body, http::Response};

/// Longer than any honest answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    process: Child,
    log: Log,
    address: String,
    agent: Agent,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts one with these `key=value` settings.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dormouse"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--set", "listen.drain=\"3s\""]);
        // One store belongs to one server, and to one test.
        let folder = tempfile::tempdir().expect("a folder");
        command.args(["--set", &format!("store.path={:?}", folder.path())]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Log::read(process.stderr.take().expect("piped"));
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .build()
            .into();
        let mut server = Self { process, log, address: String::new(), agent, _folder: folder };
        let line = server.log.wait_for("listening addr=");
        let address = line.split("addr=").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
        server.address = address.to_owned();
        server
    }

    /// Waits for a line of the log that has `text`.
    pub(crate) fn log_line(&self, text: &str) -> String {
        self.log.wait_for(text)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Any request; headers as pairs.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_owned()).expect("a request");
        self.agent.run(request).expect("an answer")
    }

    /// Status and body.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut answer = self.request(method, path, &[], body);
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().expect("a body");
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}")))
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Value {
        let (status, answer) = self.call("POST", path, body);
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }

    /// The id of the only connection of `user`.
    pub(crate) fn connection_of(&self, user: &str) -> String {
        let list = self.get("/v1/connections?limit=1000");
        let connections = list["connections"].as_array().expect("a list");
        let own: Vec<_> = connections.iter().filter(|each| each["user"] == user).collect();
        assert_eq!(own.len(), 1, "{list}");
        own[0]["connection"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the server had ended");
    }

    /// Whether the process has ended well; waits for it.
    pub(crate) fn ended_well(&mut self) -> bool {
        self.process.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let killed = self.process.kill().and_then(|()| self.process.wait());
            return drop(killed);
        }
        if matches!(self.process.try_wait(), Ok(None)) {
            self.terminate();
        }
        assert!(self.ended_well(), "the server did not end well");
    }
}

/// The log as it is written, read all the time: a server whose log nobody reads would come to a halt.
struct Log {
    written: Arc<(Mutex<Written>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn read(stderr: ChildStderr) -> Self {
        let written = Arc::<(Mutex<Written>, Condvar)>::default();
        let shared = Arc::clone(&written);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                shared.0.lock().expect("a log").lines.push(line);
                shared.1.notify_all();
            }
            shared.0.lock().expect("a log").ended = true;
            shared.1.notify_all();
        });
        Self { written, reader: Some(reader) }
    }

    fn wait_for(&self, text: &str) -> String {
        let found = |written: &Written| written.lines.iter().find(|line| line.contains(text)).cloned();
        let written = self.written.0.lock().expect("a log");
        let waits = |written: &mut Written| found(written).is_none() && !written.ended;
        let (written, _) = self.written.1.wait_timeout_while(written, PATIENCE, waits).expect("a log");
        found(&written).unwrap_or_else(|| panic!("no {text:?} in the log:\n{}", written.lines.join("\n")))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The process has ended, so its log has.
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

/// What a server sends.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    Text(Value),
    Close(u16),
}

/// A WebSocket that only listens.
pub(crate) struct Socket(TcpStream);

impl Socket {
    /// Opens one that is identified, and waits for `ready`.
    pub(crate) fn open(server: &Server, user: &str, subscribe: &str) -> Self {
        let mut stream = TcpStream::connect(&server.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = format!(
            "GET /v1/gateway?token={user}&subscribe={subscribe} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.address
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        let mut socket = Self(stream);
        socket.wait_for("ready");
        socket
    }

    pub(crate) fn receive(&mut self) -> Message {
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
        match head[0] {
            0x81 => Message::Text(serde_json::from_slice(&payload).expect("json")),
            0x88 => Message::Close(u16::from_be_bytes([payload[0], payload[1]])),
            other => panic!("unexpected frame {other:#x}"),
        }
    }

    /// The next frame of that `op`.
    pub(crate) fn wait_for(&mut self, op: &str) -> Value {
        loop {
            match self.receive() {
                Message::Text(frame) if frame["op"] == op => return frame,
                Message::Text(_) => {}
                Message::Close(code) => panic!("closed with {code} instead of {op}"),
            }
        }
    }

    /// The close code, whatever comes before it.
    pub(crate) fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(code) = self.receive() {
                return code;
            }
        }
    }
}
