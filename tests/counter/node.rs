//! An app on its node: its place in the handshake, in the API and in the drain; its sleep.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use dormouse::node::Server;

use crate::{
    client::Client,
    example::{self, Counter},
    server::{Service, config, until},
    stubborn::Stubborn,
};

#[expect(dead_code, reason = "its main is for people")]
mod snippet {
    include!("snippet.rs");
    pub(super) fn mount(server: Server) -> Server {
        server.mount::<Counter>("/counter")
    }
}

#[test]
fn the_behaviour_of_the_readme_does_what_it_says_there() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("a file");
    let after = readme.split("<!-- run: own-behaviour -->\n```rust\n").nth(1).unwrap_or_default();
    let mut blocks = after.split("```");
    assert_eq!(
        blocks.next(),
        Some(include_str!("snippet.rs")),
        "README.md shows another than tests/counter/snippet.rs"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let server = snippet::mount(Server::new(config(&folder))).start().expect("it starts");
    let mut client = Client::open(server.address(), "/counter");
    let conversation = blocks.nth(1).and_then(|block| block.split_once("/counter\n")).expect("a conversation").1;
    let lines: Vec<&str> = conversation.lines().collect();
    client.hears(lines[0]);
    for said_and_heard in lines[1..].chunks(2) {
        client.asks(said_and_heard[0], said_and_heard[1]);
    }
    assert_eq!(lines.len(), 7);
    server.stop().expect("it ends well");
}

#[test]
#[ignore = "the next test runs it, in a process that may be told to stop"]
fn the_example() {
    example::main().expect("it ends well");
}

#[test]
fn the_example_runs_until_it_is_told_to_stop() {
    let this = std::env::current_exe().expect("a path");
    let folder = tempfile::tempdir().expect("a folder");
    // The first argument is the example's, and for the test harness the name of a test there is not.
    let mut process = Command::new(this)
        .args(["127.0.0.1:0", "node::the_example", "--exact", "--ignored", "--nocapture"])
        .env("DORMOUSE__STORE__PATH", folder.path())
        .env("DORMOUSE__LISTEN__DRAIN", "1s")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was started once");
    let mut log = BufReader::new(process.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let line = log.find(|line| line.contains("listening addr=")).expect("it listens");
    let address = line.split("addr=").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
    let mut client = Client::open(address.parse().expect("an address"), "/counter");
    client.hears("total 0");
    client.asks("add 5", "total 5, 5 of it yours");
    let told = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
    assert!(told.is_ok_and(|status| status.success()));
    let rest: Vec<_> = log.collect();
    assert!(process.wait().expect("a child").success(), "{rest:?}");
    assert_eq!(client.closed(), (1001, "going_away".to_owned()));
}

#[test]
fn a_quiet_connection_is_dormant_and_costs_its_bytes() {
    let service = Service::start();
    let clients: Vec<_> = (0..50).map(|_| service.visitor("kitchen", 0)).collect();
    until("all are dormant", || service.get("/v1/node")["apps"][0]["connections"]["dormant"] == 50);
    for connection in service.connections("counter") {
        assert_eq!(connection["state"], "dormant");
        assert_eq!(connection["subscriptions"], serde_json::json!(["kitchen"]));
        let bytes = connection["record_bytes"].as_u64().expect("a number");
        assert!(bytes < 256, "{bytes} bytes of a connection with a room, two numbers and a socket");
    }
    // The gateway's own numbers do not know them, the node's sockets do.
    assert_eq!(service.get("/v1/node")["connections"]["total"], 0);
    assert_eq!(service.metric("dormouse_connections"), 50.0);
    drop(clients);
    until("all are gone", || service.connections("counter").is_empty());
    service.stop();
}

#[test]
fn operators_find_an_apps_connection_look_at_it_and_kick_it() {
    let service = Service::start();
    let mut ann = service.visitor("kitchen", 0);
    ann.asks("add 5", "total 5, 5 of it yours");
    let id = service.connections("counter")[0]["connection"].as_str().expect("an id").to_owned();
    let (own, of_the_gateway) = (format!("/v1/connections/{id}?app=counter"), format!("/v1/connections/{id}"));
    let state = &service.get(&own)["record"]["state"];
    assert_eq!(*state, serde_json::json!({"room": "kitchen", "total": 5, "added": 5}));
    for (method, path, status) in [
        ("GET", &*of_the_gateway, 404),
        ("DELETE", &of_the_gateway, 404),
        ("GET", "/v1/connections?app=nothing", 404),
        ("DELETE", "/v1/connections/nobody?app=counter", 404),
        ("DELETE", &own, 200),
        ("DELETE", &own, 404),
    ] {
        assert_eq!(service.status(method, path), status, "{method} {path}");
    }
    assert_eq!(ann.closed(), (4503, "kicked".to_owned()));
    service.stop();
}

#[test]
fn a_handshake_is_as_strict_as_the_gateways_and_agrees_on_a_protocol() {
    let service = Service::start();
    for (offered, agreed) in [
        (None, None),
        (Some("chat, stubborn.v1, stubborn.v2"), Some("stubborn.v1")),
        (Some("stubborn.v2"), Some("stubborn.v2")),
    ] {
        let (mut client, taken) = Client::offer(service.address(), "/stubborn/room/7?x=1", offered);
        assert_eq!(taken.as_deref(), agreed);
        client.hears(&format!("hello /stubborn/room/7 {}", agreed.unwrap_or("none")));
    }
    let upgrade = "Host: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (path, headers, status) in [
        ("/counter", format!("{upgrade}{key}"), "101"),
        ("/counter", upgrade.to_owned(), "400"),
        ("/counter", format!("{upgrade}{key}Origin: http://elsewhere.example\r\n"), "403"),
        ("/counter/below", format!("{upgrade}{key}"), "404"),
        ("/stubborn", format!("{upgrade}{key}"), "404"),
        ("/counter", "Host: here\r\n".to_owned(), "426"),
        ("/nothing", "Host: here\r\n".to_owned(), "404"),
        ("/health/ready", "Host: here\r\n".to_owned(), "200"),
    ] {
        let mut socket = TcpStream::connect(service.address()).expect("connects");
        write!(socket, "GET {path} HTTP/1.1\r\n{headers}\r\n").expect("sent");
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, *format!("HTTP/1.1 {status}").as_bytes(), "{path} {headers}");
    }
    service.stop();
}

#[test]
fn a_client_that_wants_to_be_woken_is_and_one_that_is_silent_is_sent_pings() {
    let service = Service::with(|config| config.heartbeat.interval = Duration::from_secs(3));
    let mut ann = service.client("/stubborn/");
    ann.hears("hello /stubborn/ none");
    ann.say("wake 1");
    ann.hears("woken");
    let mut ben = service.client("/stubborn/");
    ben.hears("hello /stubborn/ none");
    ben.asks("enter hall", "entered hall at 0: ");
    // Reading is what answers a ping.
    let reader = std::thread::spawn(move || ben.hears("1 still there"));
    ann.asks("enter hall", "entered hall at 0: ");
    let mut deaf = service.client("/stubborn/");
    deaf.hears("hello /stubborn/ none");
    until("whoever does not answer is closed", || {
        ann.say("mood");
        ann.hear();
        service.connections("stubborn").len() == 2
    });
    assert_eq!(deaf.closed(), (4001, "heartbeat_timeout".to_owned()));
    ann.asks("tell hall still there", "1 still there");
    reader.join().expect("he is there");
    service.stop();
}

#[test]
fn a_node_that_leaves_tells_the_apps_clients() {
    let service = Service::start();
    let mut ann = service.client("/stubborn/");
    ann.hears("hello /stubborn/ none");
    service.stop();
    ann.hears("leaving");
    assert_eq!(ann.closed(), (1001, "going_away".to_owned()));
}

#[test]
fn two_apps_of_one_name_or_one_path_do_not_start_nor_does_a_server_that_is_open_to_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |server: Server| server.start().err().map(|error| error.to_string()).unwrap_or_default();
    let server = || Server::new(config(&folder)).mount::<Counter>("/counter");
    assert_eq!(refused(server().mount::<Counter>("/other")), "two apps are named counter");
    assert_eq!(refused(server().mount::<Stubborn>("/counter")), "stubborn and counter are both at /counter");
    assert!(refused(server().mount::<Stubborn>("/v1/gateway")).contains("the node's own"));
    assert!(refused(server().mount::<Stubborn>("stubborn")).contains("begins with `/`"));
    let mut open = config(&folder);
    open.listen.addr.set_ip([0, 0, 0, 0].into());
    let refusal = refused(Server::new(open));
    assert!(refusal.contains("auth"), "{refusal:?}");
}
