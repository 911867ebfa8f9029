//! The HTTP API against the built server: every route once as it should go and once as it should not (CONTRACT §2).

#![expect(clippy::expect_used, reason = "a test ends where something is not as it must be")]

mod chaos;
mod server;

use serde_json::{Value, json};

use server::{Server, Socket};

/// Status, code and message of a refusal, whose shape is checked on the way.
fn refused((status, body): (u16, Value)) -> (u16, String, String) {
    let error = body["error"].as_object().unwrap_or_else(|| panic!("no error: {body}"));
    let text = |field: &str| error[field].as_str().unwrap_or_else(|| panic!("no {field}: {body}")).to_owned();
    assert!(["now", "later", "never"].contains(&text("retry").as_str()), "{body}");
    (status, text("code"), text("message"))
}

#[track_caller]
fn assert_refused(answer: (u16, Value), status: u16, code: &str, part: &str) {
    let got = refused(answer);
    assert!(got.0 == status && got.1 == code && got.2.contains(part), "{got:?} is not {status} {code} {part:?}");
}

#[test]
fn a_publication_reaches_its_subscribers_and_the_history() {
    let server = Server::start(&[]);
    let mut ann = Socket::open(&server, "ann", "room:1");
    let body = r#"{"channel":"room:1","data":{"b" : 1.50},"from":"shop","key":"k"}"#;
    let placed = server.post("/v1/publish", body);
    let event = ann.wait_for("event");
    assert_eq!((&event["offset"], &event["at"]), (&placed["offset"], &placed["at"]));
    assert_eq!((&event["from"], &event["data"], &event["key"]), (&json!("shop"), &json!({"b": 1.5}), &json!("k")));
    let again = server.post("/v1/publish", body);
    assert_eq!((&again["offset"], &again["duplicate"]), (&placed["offset"], &json!(true)));
    server.post("/v1/publish", r#"{"channel":"room:1","data":2}"#);

    let mut answer = server.request("GET", "/v1/channels/room%3A1/history?limit=1&after=0", &[], "");
    let history = answer.body_mut().read_to_string().expect("a body");
    assert!(history.contains(r#""data":{"b" : 1.50}"#), "not to the byte: {history}");
    assert!(!history.contains("\"op\"") && history.contains("\"more\":true"), "{history}");
    let newest = server.get("/v1/channels/room:1/history?limit=1");
    assert_eq!(newest["events"][0]["from"], "api");
}

#[test]
fn a_batch_answers_item_by_item() {
    let server = Server::start(&["limits.max_frame_bytes=1024"]);
    let large = "x".repeat(1024);
    let body = json!([
        {"channel": "room:1", "data": 1},
        {"channel": "a b", "data": 1},
        7,
        {"channel": "room:1", "data": large},
        {"channel": "room:1", "data": 2, "from": ""},
        {"channel": "room:1", "data": null},
    ]);
    let results = server.post("/v1/publish/batch", &body.to_string());
    let told: Vec<_> = results
        .as_array()
        .expect("a list")
        .iter()
        .map(|result| result["error"]["code"].as_str().map_or_else(|| result["offset"].to_string(), ToOwned::to_owned))
        .collect();
    assert_eq!(told, ["1", "bad_request", "bad_request", "too_large", "bad_request", "2"]);
}

#[test]
fn a_bad_body_is_told_its_place_and_size() {
    let server = Server::start(&[]);
    let publish = |body: &str| server.call("POST", "/v1/publish", body);
    assert_refused(publish(r#"{"data":1}"#), 400, "bad_request", "missing field `channel` at line 1 column 10");
    assert_refused(publish("{\"channel\":\"c\",\n\"data\":}"), 400, "bad_request", "line 2 column 8");
    assert_refused(publish(""), 400, "bad_request", "empty");
    assert_refused(publish("[]"), 400, "bad_request", "");
    assert_refused(publish("7"), 400, "bad_request", "expected an object with `channel` and `data`");
    assert_refused(publish(&"x".repeat(9 << 20)), 413, "too_large", "8388608 bytes");
    let plain = server.request("POST", "/v1/publish", &[("content-type", "text/plain")], r#"{"channel":"c","data":1}"#);
    assert_eq!(plain.status(), 200);
}

#[test]
fn channels_are_listed_shown_and_looked_into() {
    let server = Server::start(&[]);
    let _ann = Socket::open(&server, "ann", "chat:b,chat:a,room:%2Bx");
    let list = server.get("/v1/channels?prefix=chat:&limit=1");
    assert_eq!(list["channels"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["channels"][0]["channel"], "chat:a");
    assert_eq!(server.get("/v1/channels/chat:a")["subscribers"], 1);
    assert_eq!(server.get("/v1/channels/room%3A%2Bx")["channel"], "room:+x");
    let presence = server.get("/v1/channels/chat:a/presence");
    assert_eq!((&presence["count"], &presence["users"][0]["user"]), (&json!(1), &json!("ann")));
    for path in ["", "/history", "/presence"] {
        let answer = server.call("GET", &format!("/v1/channels/chat:none{path}"), "");
        assert_refused(answer, 404, "not_found", "chat:none");
    }
    assert_refused(server.call("GET", "/v1/channels/a%20b", ""), 400, "bad_request", "' '");
    assert_refused(server.call("GET", "/v1/channels/chat:a/history?after=x", ""), 400, "bad_request", "`after`");
}

#[test]
fn the_node_counts_its_connections_and_balances_its_ledger() {
    let server = Server::start(&["shards.count=3"]);
    let mut sockets: Vec<_> = (0..5).map(|n| Socket::open(&server, &format!("user{n}"), "room:1")).collect();
    server.post("/v1/publish", r#"{"channel":"room:1","data":1}"#);
    for socket in &mut sockets {
        socket.wait_for("event");
    }
    let node = server.get("/v1/node");
    assert_eq!(node["shards"].as_array().map(Vec::len), Some(3));
    let connections = &node["connections"];
    assert_eq!((&connections["total"], &connections["parked"]), (&json!(5), &json!(0)));
    assert_eq!(node["ledger"], json!({"offered": 5, "delivered": 5, "dropped": {}, "pending": 0}));

    let mut answer = server.request("GET", "/metrics", &[], "");
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let page = answer.body_mut().read_to_string().expect("a body");
    for line in [
        "dormouse_connections{state=\"parked\"} 0",
        "dormouse_events_delivered_total 5",
        "dormouse_handshakes_total{result=\"accepted\"} 5",
        "dormouse_handshakes_total{result=\"too_many_connections\"} 0",
        "dormouse_closes_total{code=\"4002\"} 0",
        "dormouse_events_dropped_total{reason=\"overflow\"} 0",
        "dormouse_outbox_bytes 0",
    ] {
        assert!(page.lines().any(|each| each == line), "no {line} in:\n{page}");
    }
}

#[test]
fn a_connection_is_found_shown_and_kicked() {
    let server = Server::start(&[]);
    let mut ann = Socket::open(&server, "ann", "room:1");
    let _bob = Socket::open(&server, "bob", "");
    let id = server.connection_of("ann");
    let seen = server.get(&format!("/v1/connections/{id}"));
    assert_eq!((&seen["user"], &seen["subscriptions"]), (&json!("ann"), &json!(["room:1"])));
    assert_eq!(server.get("/v1/connections?sort=idle&limit=1")["connections"].as_array().map(Vec::len), Some(1));
    assert_refused(server.call("GET", "/v1/connections?sort=beauty", ""), 400, "bad_request", "`mailbox`");
    assert_eq!(server.call("DELETE", &format!("/v1/connections/{id}"), ""), (200, json!({"disconnected": 1})));
    assert_eq!(ann.closed(), 4503);
    for unknown in ["nobody", "cffffff", "cfff0000000000000"] {
        let path = format!("/v1/connections/{unknown}");
        assert_refused(server.call("GET", &path, ""), 404, "not_found", unknown);
        assert_refused(server.call("DELETE", &path, ""), 404, "not_found", unknown);
    }
}

#[test]
fn a_user_is_disconnected_with_the_code_asked_for() {
    let server = Server::start(&[]);
    let (mut here, mut there) = (Socket::open(&server, "ann", ""), Socket::open(&server, "ann", ""));
    assert_eq!(server.post("/v1/disconnect", r#"{"user":"ann","code":4002}"#), json!({"disconnected": 2}));
    assert_eq!((here.closed(), there.closed()), (4002, 4002));
    assert_eq!(server.post("/v1/disconnect", r#"{"user":"nobody"}"#), json!({"disconnected": 0}));
    let disconnect = |body: &str| server.call("POST", "/v1/disconnect", body);
    assert_refused(disconnect(r#"{"connection":"nobody"}"#), 404, "not_found", "nobody");
    assert_refused(disconnect(r#"{"user":"ann","code":4999}"#), 400, "bad_request", "4503 kicked");
    assert_refused(disconnect("{}"), 400, "bad_request", "one of `user` and `connection`");
}

#[test]
fn chaos_crashes_actors_where_it_is_enabled() {
    let server = Server::start(&["chaos.enabled=true"]);
    let mut sockets: Vec<_> = (0..4).map(|n| Socket::open(&server, &format!("user{n}"), "")).collect();
    let id = server.connection_of("user0");
    let one = json!({"fault": "panic", "target": {"connection": id}}).to_string();
    assert_eq!(server.post("/v1/chaos", &one), json!({"hit": 1}));
    assert_eq!(sockets[0].wait_for("restarted")["generation"], 2);
    let all = r#"{"fault":"panic","where":"wake","target":{"fraction":1.0}}"#;
    assert_eq!(server.post("/v1/chaos", all), json!({"hit": 4}));
    for socket in &mut sockets {
        socket.wait_for("restarted");
    }
    assert_eq!(server.post("/v1/chaos", r#"{"fault":"panic","target":{"count":3}}"#), json!({"hit": 3}));
    assert_eq!(server.get("/v1/node")["restarts"], 8);
    assert_eq!(server.post("/v1/chaos", r#"{"fault":"panic_shard","target":{"count":1}}"#), json!({"hit": 1}));
    let actors = server.get("/v1/node")["actors"].clone();
    for actor in actors.as_array().expect("a list") {
        let body = json!({"fault": "panic_actor", "target": {"actor": actor["name"]}});
        assert_eq!(server.post("/v1/chaos", &body.to_string()), json!({"hit": 1}));
    }
    assert_eq!(server.get("/v1/node")["connections"]["total"], 4);
    let chaos = |body: &str| server.call("POST", "/v1/chaos", body);
    assert_refused(chaos(r#"{"fault":"panic","target":{"connection":"nobody"}}"#), 404, "not_found", "nobody");
    assert_refused(chaos(r#"{"fault":"panic_actor","target":{"actor":"cat"}}"#), 404, "not_found", "cat");
    assert_refused(chaos(r#"{"fault":"panic","target":{"count":0}}"#), 400, "bad_request", "at least 1");
    assert_eq!(server.post("/v1/chaos", r#"{"fault":"drop","target":{"user":"user1"}}"#), json!({"hit": 1}));
}

#[test]
fn a_stuck_shard_is_shown_and_the_rest_answers() {
    let server = Server::start(&["chaos.enabled=true", "shards.count=2"]);
    let mut sockets = [Socket::open(&server, "ann", ""), Socket::open(&server, "bob", "")];
    let stall = r#"{"fault":"stall","ms":2500,"target":{"user":"ann"}}"#;
    assert_eq!(server.post("/v1/chaos", stall), json!({"hit": 1}));
    let node = server.get("/v1/node");
    let answers: Vec<_> = (0..2).map(|shard| node["shards"][shard]["answers"].clone()).collect();
    assert!(answers.contains(&json!(false)) && answers.contains(&json!(true)), "{node}");
    let list = server.get("/v1/connections");
    assert_eq!(list["connections"][0]["user"], "bob", "{list}");
    assert_eq!(list["unanswered"].as_array().map(Vec::len), Some(1), "{list}");
    // Its turn ends, and with it the trouble.
    assert_eq!(server.post("/v1/disconnect", r#"{"user":"ann"}"#), json!({"disconnected": 1}));
    assert_eq!(sockets[0].closed(), 4503);
    assert_eq!(server.get("/v1/node")["connections"]["total"], 1);
}

#[test]
fn chaos_does_not_exist_where_it_is_off() {
    let server = Server::start(&[]);
    let answer = server.call("POST", "/v1/chaos", r#"{"fault":"panic","target":{"count":1}}"#);
    assert_refused(answer, 404, "not_found", "chaos.enabled=true");
}

#[test]
fn a_key_opens_the_api_and_nothing_else_does() {
    let server = Server::start(&["api.keys=[\"first\",\"second\"]", "chaos.enabled=true"]);
    let status = |method: &str, path: &str, key: &str| {
        let header = [("authorization", key)];
        server.request(method, path, if key.is_empty() { &[] } else { &header }, "").status().as_u16()
    };
    let closed = [
        ("GET", "/v1/node"),
        ("GET", "/v1/channels/x"),
        ("POST", "/v1/publish"),
        ("POST", "/v1/chaos"),
        ("DELETE", "/v1/connections/x"),
        ("GET", "/metrics"),
    ];
    for (method, path) in closed {
        for key in ["", "Bearer wrong", "Basic Zmlyc3Q="] {
            assert_eq!(status(method, path, key), 401, "{method} {path} {key}");
        }
        assert_ne!(status(method, path, "Bearer second"), 401, "{method} {path}");
    }
    let answer = server.request("GET", "/v1/node", &[], "");
    assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"dormouse\"");
    for path in ["/health/live", "/health/ready", "/", "/dashboard", "/client.js", "/v1/openapi.json"] {
        assert_eq!(status("GET", path, ""), 200, "{path}");
    }
}

#[test]
fn with_jwt_and_without_keys_the_api_says_why_it_is_closed() {
    let secret = "auth.keys=[\"0123456789abcdef0123456789abcdef\"]";
    let server = Server::start(&["auth.mode=\"jwt\"", secret]);
    assert_refused(server.call("GET", "/v1/node", ""), 403, "forbidden", "api.keys is empty");
    assert_eq!(server.request("GET", "/metrics", &[], "").status(), 200);
}

#[test]
fn unknown_paths_and_methods_are_refused_in_json() {
    let server = Server::start(&[]);
    assert_refused(server.call("GET", "/v1/nothing", ""), 404, "not_found", "/v1/nothing");
    assert_refused(server.call("GET", "/v1/echo", ""), 404, "not_found", "/v1/echo");
    assert_refused(server.call("PUT", "/v1/node", ""), 405, "bad_request", "GET, HEAD");
    assert_refused(server.call("POST", "/", ""), 405, "bad_request", "GET, HEAD");
    assert_eq!(server.request("DELETE", "/v1/publish", &[], "").headers()["allow"], "POST");
    assert_refused(server.call("GET", "/v1/gateway", ""), 426, "bad_request", "WebSocket");
    assert_eq!(server.request("HEAD", "/v1/node", &[], "").status(), 200);
}

#[test]
fn pages_come_with_strict_headers_and_are_kept_until_they_change() {
    let server = Server::start(&[]);
    let kinds =
        [("/", "text/html"), ("/dashboard", "text/html"), ("/client.js", "text/javascript"), ("/chat.css", "text/css")];
    for (path, kind) in kinds {
        let page = server.request("GET", path, &[], "");
        let header = |name: &str| page.headers()[name].to_str().expect("text").to_owned();
        assert!(header("content-type").starts_with(kind), "{path}");
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!((header("x-content-type-options"), header("cache-control")), ("nosniff".into(), "no-cache".into()));
        let again = server.request("GET", path, &[("if-none-match", &header("etag"))], "");
        assert_eq!(again.status(), 304, "{path}");
    }
    let document = server.get("/v1/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn a_draining_node_is_live_and_not_ready() {
    let mut server = Server::start(&[]);
    assert_eq!(server.get("/health/ready"), json!({"status": "ready"}));
    let mut ann = Socket::open(&server, "ann", "");
    server.terminate();
    server.log_line("draining");
    assert_refused(server.call("GET", "/health/ready", ""), 503, "unavailable", "drained");
    assert_eq!(server.get("/health/live"), json!({"status": "live"}));
    assert_eq!(ann.closed(), 4003);
    assert!(server.ended_well());
}
