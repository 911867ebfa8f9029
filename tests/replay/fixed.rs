//! What `dormouse replay --test` printed for `fixed.json`, whose bug (four letters of a shorter kind were shown in a log) is
//! gone. Compared with what it prints today.

/// It panicked at src/connection/request.rs:153:31 in build 0.1.0+c9bdc1fbef163c63:
/// "end byte index 4 is out of bounds of `xx`"
#[test]
fn the_turn_that_panicked_at_src_connection_request_rs_153_31_returns() {
    let crash = r#"{
  "format": 1,
  "build": "0.1.0+c9bdc1fbef163c63",
  "at": 1795387698127,
  "kind": "frame",
  "place": "src/connection/request.rs:153:31",
  "panic": "end byte index 4 is out of bounds of `xx`",
  "payloads": false,
  "turn": {
    "behaviour": "gateway",
    "connection": "c1",
    "generation": 1,
    "mail": {
      "frame": {
        "text": "{\"op\":\"signal\",\"id\":3,\"channel\":\"chat:lobby\",\"kind\":\"xx\",\"data\":{\"xxxx\":\"xxxxxxxxxx\"}}"
      }
    },
    "now": {
      "micros": 488801,
      "unix_ms": 1795387698127
    },
    "read_before": false,
    "record": {
      "bad_frames": 0,
      "encoding": "json",
      "expires": 0,
      "identity": {
        "rare": null,
        "secret": "hidden",
        "subscriptions": [
          {
            "channel": {
              "home": 0,
              "name": "chat:lobby",
              "namespace": {
                "catch_up_limit": 500,
                "durable": true,
                "history_age": "7days",
                "history_events": 1000,
                "presence": true,
                "receipts": true
              }
            },
            "watches": false
          }
        ],
        "user": "ann"
      },
      "phase": "ready",
      "publishes": {
        "on_schedule": 0
      },
      "refused": 0,
      "since_ms": 487,
      "socket": 0,
      "status": "online"
    },
    "seed": null,
    "settings": {
      "auth": "open",
      "bad_frames": 16,
      "chaos": true,
      "heartbeat": {
        "nanos": 0,
        "secs": 45
      },
      "identify_within": {
        "nanos": 0,
        "secs": 10
      },
      "max_frame_bytes": 65536,
      "most_refused": 2000,
      "node": "n9c7ba065e3e8",
      "publish": {
        "interval": 20000,
        "tolerance": 1980000
      },
      "resume_window": {
        "nanos": 0,
        "secs": 120
      },
      "subscriptions": 128
    }
  },
  "backtrace": []
}"#;
    let replayed = dormouse::connection::replay(crash).expect("a crash file");
    assert_eq!(replayed.panic, None, "the turn still panics");
}
