//! Every fault with every target and place, by its effect on the built server: how many it says it hit, and how many it did
//! hit, by the node's own counts. What makes no sense is refused by name in the unit tests of the request.

use serde_json::{Value, json};

use crate::{
    assert_refused,
    server::{Server, Socket},
};

/// Budgets out of the way, every stall counted, and two shards to spread over.
const SETTINGS: [&str; 4] =
    ["chaos.enabled=true", "supervision.max_restarts=1000", "limits.turn_warn=\"100ms\"", "shards.count=2"];

const USERS: [&str; 4] = ["user0", "user1", "user2", "user3"];

/// Every target, and how many of the four users it hits.
fn targets(server: &Server) -> [(Value, u64); 5] {
    let ids: Vec<String> = USERS.iter().map(|user| server.connection_of(user)).collect();
    [
        (json!({"connection": ids[0]}), 1),
        (json!({"connections": [ids[1], ids[2], ids[1], "nobody", "7-7"]}), 2),
        (json!({"user": "user3"}), 1),
        (json!({"count": 3}), 3),
        (json!({"fraction": 0.5}), 2),
    ]
}

/// A metric, or the sum over its labels, with what the shards have counted until now.
fn metric(server: &Server, name: &str) -> u64 {
    server.get("/v1/node");
    let page = server.request("GET", "/metrics", &[], "").body_mut().read_to_string().expect("a page");
    let of = |line: &str| {
        let (sample, value) = line.rsplit_once(' ')?;
        (sample == name || sample.split('{').next() == Some(name))
            .then(|| value.parse::<f64>().expect("a number") as u64)
    };
    page.lines().filter_map(of).sum()
}

/// Asks until the metric is `wanted`; fails when it has passed it, or never comes there.
fn reaches(server: &Server, name: &str, wanted: u64, about: &Value) {
    let mut last = 0;
    for _ in 0..5_000 {
        last = metric(server, name);
        if last >= wanted {
            break;
        }
    }
    assert_eq!(last, wanted, "{name} after {about}");
}

fn sockets(server: &Server) -> [Socket; 4] {
    USERS.map(|user| Socket::open(server, user, "room:1"))
}

fn publish_reaches_all(server: &Server, sockets: &mut [Socket]) {
    let offset = server.post("/v1/publish", r#"{"channel":"room:1","data":1}"#)["offset"].clone();
    for socket in sockets {
        while socket.wait_for("event")["offset"] != offset {}
    }
}

#[test]
fn a_panic_hits_whom_it_should_in_a_turn_a_job_and_a_wake() {
    let server = Server::start(&SETTINGS);
    let mut sockets = sockets(&server);
    let (mut crashes, mut restarts) = (0, 0);
    for place in ["turn", "job", "wake"] {
        for (target, hits) in targets(&server) {
            let body = json!({"fault": "panic", "where": place, "target": target});
            assert_eq!(server.post("/v1/chaos", &body.to_string()), json!({"hit": hits}), "{body}");
            crashes += hits;
            // A job is not its actor: the actor hears of it and goes on.
            restarts += if place == "job" { 0 } else { hits };
            reaches(&server, "dormouse_crashes_total", crashes, &body);
            reaches(&server, "dormouse_restarts_total", restarts, &body);
        }
    }
    assert_eq!(server.get("/v1/node")["connections"]["total"], 4);
    publish_reaches_all(&server, &mut sockets);
}

#[test]
fn a_stall_hits_whom_it_should_in_a_turn_and_a_job() {
    let server = Server::start(&SETTINGS);
    let mut sockets = sockets(&server);
    let mut slow = metric(&server, "dormouse_slow_turns_total");
    for (target, hits) in targets(&server) {
        let body = json!({"fault": "stall", "ms": 120, "target": target});
        assert_eq!(server.post("/v1/chaos", &body.to_string()), json!({"hit": hits}), "{body}");
        slow += hits;
        reaches(&server, "dormouse_slow_turns_total", slow, &body);
    }
    let jobs = "dormouse_turns_total{message=\"job\"}";
    let mut ended = metric(&server, jobs);
    for (target, hits) in targets(&server) {
        let body = json!({"fault": "stall", "where": "job", "ms": 50, "target": target});
        assert_eq!(server.post("/v1/chaos", &body.to_string()), json!({"hit": hits}), "{body}");
        ended += hits;
        reaches(&server, jobs, ended, &body);
    }
    assert_eq!(metric(&server, "dormouse_restarts_total"), 0);
    publish_reaches_all(&server, &mut sockets);
}

#[test]
fn a_drop_cuts_whom_it_should_and_parks_their_sessions() {
    for nth in 0..5 {
        let server = Server::start(&SETTINGS);
        let opened = sockets(&server);
        let (target, hits) = targets(&server)[nth].clone();
        let body = json!({"fault": "drop", "target": target});
        assert_eq!(server.post("/v1/chaos", &body.to_string()), json!({"hit": hits}), "{body}");
        let connections = server.get("/v1/node")["connections"].clone();
        assert_eq!((&connections["total"], &connections["parked"]), (&json!(4 - hits), &json!(hits)), "{body}");
        drop(opened);
    }
}

#[test]
fn a_shard_is_hit_by_its_name_or_by_number_and_cuts_nobody() {
    let server = Server::start(&SETTINGS);
    let mut sockets = sockets(&server);
    let restarts = |server: &Server| -> u64 {
        let node = server.get("/v1/node");
        node["actors"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|actor| actor["restarts"].as_u64().expect("a number"))
            .sum()
    };
    let mut wanted = 0;
    for (fault, target, hits) in [
        ("panic_shard", json!({"count": 1}), 1),
        ("panic_shard", json!({"count": 99}), 2),
        ("panic_shard", json!({"actor": "shard-1"}), 1),
        ("panic_actor", json!({"actor": "shard-0"}), 1),
    ] {
        let body = json!({"fault": fault, "target": target});
        assert_eq!(server.post("/v1/chaos", &body.to_string()), json!({"hit": hits}), "{body}");
        wanted += hits;
        while restarts(&server) < wanted {}
        assert_eq!(restarts(&server), wanted, "{body}");
        publish_reaches_all(&server, &mut sockets);
    }
    assert_eq!(server.get("/v1/node")["connections"]["total"], 4);
    assert_eq!(metric(&server, "dormouse_restarts_total"), 0, "no connection was restarted");
}

#[test]
fn whom_there_is_not_cannot_be_hit() {
    let server = Server::start(&SETTINGS);
    let chaos = |body: &str| server.call("POST", "/v1/chaos", body);
    for fault in ["panic", "stall", "drop"] {
        for (target, hits) in [
            (json!({"user": "nobody"}), json!({"hit": 0})),
            (json!({"count": 5}), json!({"hit": 0})),
            (json!({"fraction": 1}), json!({"hit": 0})),
            (json!({"connections": ["nobody"]}), json!({"hit": 0})),
        ] {
            let body = json!({"fault": fault, "target": target});
            assert_eq!(server.post("/v1/chaos", &body.to_string()), hits, "{body}");
        }
        let body = json!({"fault": fault, "target": {"connection": "0-9"}});
        assert_refused(chaos(&body.to_string()), 404, "not_found", "0-9");
    }
    for (fault, actor) in [("panic_shard", "shard-2"), ("panic_shard", "shard-x"), ("panic_actor", "cat")] {
        let body = json!({"fault": fault, "target": {"actor": actor}});
        assert_refused(chaos(&body.to_string()), 404, "not_found", actor);
    }
}

#[test]
fn a_senseless_order_is_refused_by_the_name_of_its_field() {
    let server = Server::start(&SETTINGS);
    for (body, field) in [
        (json!({"fault": "melt", "target": {"count": 1}}), "melt"),
        (json!({"target": {"count": 1}}), "fault"),
        (json!({"fault": "panic"}), "target"),
        (json!({"fault": "panic", "target": {}}), "target"),
        (json!({"fault": "panic", "target": {"count": 0}}), "count"),
        (json!({"fault": "panic", "target": {"count": 1, "user": "u"}}), "target"),
        (json!({"fault": "panic", "target": {"fraction": 7}}), "fraction"),
        (json!({"fault": "panic", "target": {"actor": "shard-0"}}), "target"),
        (json!({"fault": "panic", "where": "bed", "target": {"count": 1}}), "bed"),
        (json!({"fault": "stall", "ms": "long", "target": {"count": 1}}), "ms"),
        (json!({"fault": "stall", "where": "wake", "target": {"count": 1}}), "where"),
        (json!({"fault": "drop", "where": "job", "target": {"count": 1}}), "where"),
        (json!({"fault": "panic_shard", "target": {"user": "u"}}), "target"),
        (json!({"fault": "panic_actor", "target": {"fraction": 0.5}}), "target"),
        (json!({"fault": "store_fail", "target": {"count": 1}}), "target"),
    ] {
        assert_refused(server.call("POST", "/v1/chaos", &body.to_string()), 400, "bad_request", field);
    }
}
