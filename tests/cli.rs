//! The command line as a user meets it: the real binary, its two outputs and its exit code. A scripted server on a free
//! loopback port stands in for a running Dormouse, so that what commands ask and how they word a refusal is tested alone.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    thread::JoinHandle,
};

use dormouse::token::{Action, Expected, Keys, Lists, TokenError, Verifier, allows};
use serde_json::{Value, json};

/// What a run of the binary left behind.
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

fn dormouse(arguments: &[&str]) -> Outcome {
    dormouse_with(&[], arguments)
}

fn dormouse_with(environment: &[(&str, &str)], arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_dormouse"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A file that is gone when the test is over.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dormouse-cli-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// One request as the scripted server saw it.
struct Request {
    line: String,
    headers: Vec<String>,
    body: String,
}

/// A server that answers one request with what it was given.
struct Scripted {
    addr: SocketAddr,
    url: String,
    thread: JoinHandle<Option<Request>>,
}

impl Scripted {
    fn new(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let request = read_request(&stream)?;
            (&stream).write_all(answer.as_bytes()).unwrap();
            Some(request)
        });
        Self { addr, url: format!("http://{addr}"), thread }
    }

    /// The request that came; to be asked when the command has ended.
    fn request(self) -> Request {
        // Wakes a server that nobody asked; one that was asked is gone, and its port refuses.
        let _ = TcpStream::connect(self.addr);
        self.thread.join().unwrap().expect("the command asked nothing")
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            line => headers.push(line.to_owned()),
        }
    }
    let length = headers.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let line = (!headers.is_empty()).then(|| headers.remove(0))?;
    Some(Request { line, headers, body: String::from_utf8(body).ok()? })
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn refusal(code: &str, message: &str) -> String {
    json!({"error": {"code": code, "message": message, "retry": "never"}}).to_string()
}

#[test]
fn help_names_every_command_and_shows_examples() {
    let help = dormouse(&["--help"]);
    assert_eq!(help.code, 0);
    for command in ["serve", "check", "token", "publish", "connections", "inspect", "top", "kill"] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command} is missing in\n{}", help.stdout);
        let own = dormouse(&[command, "--help"]);
        assert_eq!(own.code, 0);
        assert!(own.stdout.contains("\nExample"), "no example in\n{}", own.stdout);
    }
    assert!(help.stdout.contains("Examples:"));
}

#[test]
fn a_secret_in_the_environment_does_not_show_in_help() {
    let help = dormouse_with(&[("DORMOUSE_API_KEY", "hush")], &["connections", "--help"]);
    assert!(help.stdout.contains("DORMOUSE_API_KEY") && !help.stdout.contains("hush"), "{}", help.stdout);
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    let outcome = dormouse(&["hibernate"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""));
    assert!(outcome.stderr.contains("hibernate"));
    assert_eq!(dormouse(&[]).code, 2);
}

#[test]
fn version_is_the_crates() {
    assert_eq!(dormouse(&["--version"]).stdout, format!("dormouse {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn check_finds_the_shipped_file_and_the_defaults_good() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/dormouse.toml");
    let outcome = dormouse(&["check", "--config", shipped]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert!(outcome.stdout.starts_with(&format!("{shipped} is good\n")));
    assert!(!outcome.stdout.contains("Changed:"), "the shipped file is the defaults:\n{}", outcome.stdout);
    let outcome = dormouse(&["check"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert!(outcome.stdout.contains("127.0.0.1:8080"));
}

#[test]
fn check_leaves_a_folder_without_a_log_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("crashes")).unwrap();
    let path = folder.path().to_str().unwrap();
    for (path, left) in [(path.to_owned(), vec!["crashes"]), (format!("{path}/crashes"), vec![])] {
        let outcome = dormouse_with(&[("DORMOUSE__STORE__PATH", &path)], &["check"]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
        assert!(outcome.stdout.contains(&format!("embedded, in {path}\n")), "{}", outcome.stdout);
        let names: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, left);
    }
    let outcome = dormouse_with(&[("DORMOUSE__STORE__PATH", &format!("{path}/none"))], &["check", "--repair"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(!folder.path().join("none").exists());
}

#[test]
fn check_tells_who_set_what_and_shows_no_secret() {
    let file = TempFile::new("who", "[limits]\nmailbox = 5\n[auth]\nmode = \"jwt\"\nkeys = [\"hush\"]\n");
    let environment = [("DORMOUSE__LIMITS__MAILBOX", "6"), ("DORMOUSE__API__KEYS", "hushhush")];
    let outcome = dormouse_with(&environment, &["check", "--config", file.path()]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let line = |start: &str| outcome.stdout.lines().find(|line| line.contains(start)).unwrap_or_default().to_owned();
    assert!(line("mailbox = 5").contains(&format!("{}:2:11", file.path())), "{}", outcome.stdout);
    assert!(line("mailbox = 5").ends_with("(overridden)"), "{}", outcome.stdout);
    assert!(line("mailbox = 6").ends_with("environment variable DORMOUSE__LIMITS__MAILBOX"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("hush"), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("shorter than 32 bytes"), "{}", outcome.stderr);
}

#[test]
fn check_and_serve_refuse_a_bad_file_with_exit_code_2_and_the_place() {
    let file = TempFile::new("bad", "[limits]\nmax_frames = 5\nmailbox = 0\n");
    for command in ["check", "serve", "token"] {
        let mut arguments = vec![command, "--config", file.path()];
        arguments.extend((command == "token").then_some("alice"));
        let outcome = dormouse(&arguments);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{command}");
        let expected = format!(
            "{0}:2:1: unknown key `max_frames` in [limits]; did you mean `max_frame_bytes`?\n{0}:3:11: limits.mailbox: 0 is not a \
             whole number from 1 to 1048576; the default is 1024\n",
            file.path()
        );
        assert_eq!(outcome.stderr, expected, "{command}");
    }
}

#[test]
fn serve_refuses_open_auth_where_others_can_reach_it() {
    let outcome = dormouse(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""));
    assert_eq!(
        outcome.stderr,
        "--listen: open auth on 0.0.0.0:0 would let everybody who reaches it be any user: set auth.mode = \"jwt\" with auth.keys \
         or auth.key_files, or listen on 127.0.0.1:0\n"
    );
}

#[test]
fn an_override_that_is_wrong_is_named() {
    let outcome = dormouse_with(&[("DORMOUSE__HEARTBEAT__INTERVAL", "0s")], &["serve"]);
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.starts_with("environment variable DORMOUSE__HEARTBEAT__INTERVAL: "), "{}", outcome.stderr);
    let outcome = dormouse(&["serve", "--set", "limits.mailbix=5"]);
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.ends_with("did you mean `mailbox`?\n"), "{}", outcome.stderr);
}

#[test]
fn in_open_mode_a_token_is_the_user_name() {
    let outcome = dormouse(&["token", "alice"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "alice\n"));
    assert!(outcome.stderr.contains("it is just the user name"), "{}", outcome.stderr);
}

/// Accepts what this secret has signed.
fn verifier(secret: &str) -> Verifier {
    Verifier::new(Keys::from_secrets(&[secret]), Expected::default())
}

#[test]
fn a_token_is_signed_with_the_first_key_and_ends_when_asked() {
    let now = dormouse::clock::unix_ms() / 1000;
    let file = TempFile::new("token", "[auth]\nmode = \"jwt\"\nkeys = [\"first\", \"second\"]\n");
    let arguments =
        ["token", "alice", "--expires", "2h", "--channel", "chat:*", "--channel", "live:x", "--config", file.path()];
    let outcome = dormouse(&arguments);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    let token = outcome.stdout.trim_end();
    let claims = verifier("first").verify(token, now).unwrap();
    let channels = Some(vec!["chat:*".to_owned(), "live:x".to_owned()]);
    assert_eq!((claims.user.as_str(), claims.grants), ("alice", Lists { channels, ..Lists::default() }.grants()));
    let expires = claims.expires.unwrap();
    assert!((now + 7200..=dormouse::clock::unix_ms() / 1000 + 7200).contains(&expires));
    assert_eq!(verifier("first").verify(token, expires), Err(TokenError::Expired));
    assert_eq!(verifier("second").verify(token, now), Err(TokenError::Signature));
}

#[test]
fn a_token_can_be_signed_with_a_key_from_the_environment_or_the_command_line() {
    let now = dormouse::clock::unix_ms() / 1000;
    let outcome =
        dormouse_with(&[("DORMOUSE__AUTH__KEYS", "from env"), ("DORMOUSE__AUTH__MODE", "jwt")], &["token", "alice"]);
    let claims = verifier("from env").verify(outcome.stdout.trim_end(), now).unwrap();
    assert_eq!(claims.grants, None);
    assert!(claims.expires.unwrap() >= now + 24 * 3600, "a day unless asked otherwise");
    let outcome = dormouse(&["token", "alice", "--key", "given"]);
    assert!(verifier("given").verify(outcome.stdout.trim_end(), now).is_ok());
    assert_eq!(dormouse(&["token", "alice", "--expires", "soon"]).code, 2);
    assert_eq!(dormouse(&["token", ""]).code, 2);
}

#[test]
fn a_private_key_signs_with_its_own_algorithm_for_a_server_that_has_the_public_one() {
    let now = dormouse::clock::unix_ms() / 1000;
    let keys = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/token/tests/keys");
    for name in ["rsa", "p256", "ed25519"] {
        let (private, public) = (keys.join(format!("{name}.pem")), keys.join(format!("{name}.pub.pem")));
        let text = format!("[auth]\nmode = \"jwt\"\nkey_files = [{public:?}]\nissuer = \"me\"\naudience = \"chat\"\n");
        let file = TempFile::new(name, &text);
        let sign = ["token", "alice", "--config", file.path(), "--subscribe", "news:*", "--kid", "k"];
        let refused = dormouse(&sign);
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""));
        assert!(refused.stderr.contains("name the private key with --key-file"), "{}", refused.stderr);
        let outcome = dormouse(&[&sign[..], &["--key-file", private.to_str().unwrap()]].concat());
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
        let expected = Expected { issuer: Some("me".to_owned()), audience: Some("chat".to_owned()) };
        let verifier = Verifier::new(Keys::load(&[], &[public]).unwrap(), expected);
        let grants = verifier.verify(outcome.stdout.trim_end(), now).unwrap().grants.unwrap();
        assert!(allows(&grants, Action::Subscribe, "news:x") && !allows(&grants, Action::Publish, "news:x"));
    }
    let wrong = dormouse(&["token", "alice", "--key-file", keys.join("rsa.pub.pem").to_str().unwrap()]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("rsa.pub.pem: holds a public key; only the private one signs"), "{}", wrong.stderr);
}

#[test]
fn check_tells_algorithms_and_scopes_and_shows_no_key() {
    let public = concat!(env!("CARGO_MANIFEST_DIR"), "/src/token/tests/keys/rsa.pub.pem");
    let file = TempFile::new(
        "scopes",
        &format!(
            "[listen]\norigins = [\"https://app.example.com\"]\n[auth]\nmode = \"jwt\"\nkeys = [\"hush-{0}\"]\nkey_files = [{public:?}]\n\
             [api]\nkeys = [\"hush-1\", {{key = \"hush-2\", scopes = [\"publish\", \"read\"]}}]\n\
             [channels.news]\npublish = \"nobody\"\nsubscribe = \"claim\"\n",
            "x".repeat(32)
        ),
    );
    let outcome = dormouse(&["check", "--config", file.path()]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    for expected in [
        "jwt, signed with 2 keys (HS256, RS256)",
        "opened by 2 keys: everything; publish and read",
        "a claim to subscribe, nobody may publish",
        "https://app.example.com",
    ] {
        assert!(outcome.stdout.contains(expected), "{expected} is not in\n{}", outcome.stdout);
    }
    assert!(outcome.stderr.contains("set auth.audience"), "{}", outcome.stderr);
    assert!(!outcome.stdout.contains("hush") && !outcome.stderr.contains("hush"), "{}", outcome.stdout);
}

#[test]
fn publish_sends_the_event_and_tells_its_offset() {
    let server = Scripted::new(200, r#"{"offset":42,"at":1,"duplicate":false}"#);
    let outcome = dormouse_with(
        &[("DORMOUSE_API_KEY", "k1")],
        &["publish", "chat:lobby", r#"{"text":"hi"}"#, "--from", "ops", "--key", "once", "--url", &server.url],
    );
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "published to chat:lobby at offset 42\n"),
        "{}",
        outcome.stderr
    );
    let request = server.request();
    assert_eq!(request.line, "POST /v1/publish HTTP/1.1");
    assert!(
        request.headers.iter().any(|line| line.eq_ignore_ascii_case("authorization: Bearer k1")),
        "{:?}",
        request.headers
    );
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body, json!({"channel": "chat:lobby", "data": {"text": "hi"}, "from": "ops", "key": "once"}));
}

#[test]
fn publish_says_when_it_had_happened_before() {
    let server = Scripted::new(200, r#"{"offset":42,"at":1,"duplicate":true}"#);
    let outcome = dormouse_with(&[("DORMOUSE_URL", &server.url)], &["publish", "chat:lobby", "1"]);
    assert_eq!(outcome.stdout, "already published to chat:lobby at offset 42\n");
    server.request();
}

#[test]
fn publish_refuses_what_is_not_json_before_it_asks_a_server() {
    let outcome = dormouse(&["publish", "chat:lobby", "hello"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""));
    assert!(outcome.stderr.contains("'\"hello\"'"), "{}", outcome.stderr);
}

#[test]
fn connections_are_a_table() {
    let list = json!({"connections": [
        {"connection": "0-7", "user": "alice", "state": "awake", "shard": 0, "generation": 3, "restarts": 2, "mailbox": 5,
         "outbox_bytes": 1024, "subscriptions": 2, "idle_ms": 1500, "record_bytes": 90},
    ]});
    let server = Scripted::new(200, &list.to_string());
    let outcome = dormouse(&["connections", "--sort", "outbox", "--limit", "10", "--url", &server.url]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(server.request().line, "GET /v1/connections?sort=outbox&limit=10 HTTP/1.1");
    assert_eq!(
        outcome.stdout,
        "CONNECTION  USER   STATE  SHARD  GENERATION  RESTARTS  MAILBOX  OUTBOX  CHANNELS  IDLE\n\
         0-7         alice  awake  0      3           2         5        1024    2         1s\n"
    );
}

#[test]
fn json_gives_the_servers_answer() {
    for (arguments, answer) in [
        (&["connections"][..], json!({"connections": []})),
        (&["inspect", "x"], json!({"user": "a"})),
        (&["kill", "x"], json!({"hit": 1})),
        (&["publish", "c", "1"], json!({"offset": 1, "at": 2, "duplicate": false})),
    ] {
        let server = Scripted::new(200, &answer.to_string());
        let outcome = dormouse(&[arguments, &["--json", "--url", &server.url]].concat());
        assert_eq!(serde_json::from_str::<Value>(&outcome.stdout).unwrap(), answer);
        server.request();
    }
}

#[test]
fn top_prints_one_screen_where_there_is_no_terminal() {
    let sample = json!({
        "kind": "sample", "node": "n1", "version": "9.9.9", "uptime_ms": 61_000, "measured": true,
        "health": {"state": "degraded", "text": "shard-1 does not answer."},
        "point": {"at": 5_000, "delivered": 7, "turn": {"count": 3, "p50": 0.000_02, "p90": null, "p99": 0.25, "max": 1.0}},
        "connections": {"total": 2, "awake": 1, "dormant": 1, "parked": 0, "most": 1_000},
        "shards": [{"shard": 1, "answers": false}],
        "worst": {"restarts": [{"connection": "c7", "user": "al\u{1b}[2Jice", "restarts": 3}]},
    });
    for arguments in [vec!["--once"], vec![]] {
        let server = Scripted::new(200, &sample.to_string());
        let mut all = vec!["top", "--url", &server.url, "--sort", "restarts", "--interval", "3s"];
        all.extend(arguments);
        let outcome = dormouse(&all);
        assert_eq!((outcome.code, &*outcome.stderr), (0, ""));
        for part in [
            "dormouse n1 9.9.9, up 1m 1s, at http://",
            "DEGRADED  shard-1 does not answer.",
            "2 of 1,000: 1 awake",
            "250 ms",
            "1 hangs",
            "al\\u{1b}[2Jice",
        ] {
            assert!(outcome.stdout.contains(part), "{part:?} is not in\n{}", outcome.stdout);
        }
        assert!(!outcome.stdout.contains('\u{1b}'), "{:?}", outcome.stdout);
        assert_eq!(server.request().line, "GET /v1/live?every_ms=3000 HTTP/1.1");
    }
}

#[test]
fn top_says_when_a_server_has_no_feed_or_the_interval_is_none() {
    let server = Scripted::new(404, &refusal("not_found", "nothing is at /v1/live"));
    let outcome = dormouse(&["top", "--once", "--url", &server.url]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("too old"), "{}", outcome.stderr);
    let outcome = dormouse(&["top", "--interval", "1ms"]);
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("from 1s to 10s"), "{}", outcome.stderr);
}

#[test]
fn inspect_shows_a_connection_or_says_that_it_is_gone() {
    let server = Scripted::new(200, r#"{"connection":"0/7","user":"alice","subscriptions":["a","b"],"idle_ms":40}"#);
    let outcome = dormouse(&["inspect", "0/7", "--url", &server.url]);
    assert_eq!(server.request().line, "GET /v1/connections/0%2F7 HTTP/1.1");
    assert_eq!(
        outcome.stdout,
        "connection     0/7\nuser           alice\nidle           40ms\nsubscriptions  a\n               b\n"
    );
    let server = Scripted::new(404, &refusal("not_found", "no such connection"));
    let outcome = dormouse(&["inspect", "0-7", "--url", &server.url]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    assert!(outcome.stderr.starts_with("there is no connection 0-7"), "{}", outcome.stderr);
    server.request();
}

#[test]
fn kill_asks_for_panics_and_tells_how_many() {
    for (arguments, target, said) in [
        (&["0-7"][..], json!({"connection": "0-7"}), (1, "crashed 1 actor\n")),
        (&["--count", "5"], json!({"count": 5}), (5, "crashed 5 actors\n")),
        (&["--fraction", "0.5"], json!({"fraction": 0.5}), (0, "no actor was hit\n")),
    ] {
        let server = Scripted::new(200, &json!({"hit": said.0}).to_string());
        let outcome = dormouse(&[&["kill"], arguments, &["--url", &server.url]].concat());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, said.1), "{}", outcome.stderr);
        let request = server.request();
        assert_eq!(request.line, "POST /v1/chaos HTTP/1.1");
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body, json!({"fault": "panic", "target": target}));
    }
}

#[test]
fn kill_wants_exactly_one_target() {
    for arguments in
        [&["kill"][..], &["kill", "x", "--count", "1"], &["kill", "--count", "0"], &["kill", "--fraction", "1.5"]]
    {
        assert_eq!(dormouse(arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn kill_says_when_chaos_is_off() {
    let server = Scripted::new(404, &refusal("not_found", "chaos is off"));
    let outcome = dormouse(&["kill", "--count", "1", "--url", &server.url]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    assert!(outcome.stderr.contains("--set chaos.enabled=true"), "{}", outcome.stderr);
    server.request();
    let server = Scripted::new(404, &refusal("not_found", "no such connection"));
    let outcome = dormouse(&["kill", "0-7", "--url", &server.url]);
    assert!(outcome.stderr.contains("there is no connection 0-7"), "{}", outcome.stderr);
    server.request();
}

#[test]
fn chaos_refuses_what_it_cannot_read_with_an_example() {
    for (arguments, told) in [
        (&["--rate", "fast"][..], "1000/s"),
        (&["--rate", "0/s"], "1000/s"),
        (&["--rate", "1000000/s"], "at most"),
        (&["--for", "0s"], "60s"),
        (&["--for", "soon"], "60s"),
        (&["--for", "2days"], "24h"),
        (&["--faults", "melt"], "panic_shard"),
        (&["--faults", "panic=0"], "panic=9"),
        (&["--faults", "panic,stall", "--where", "wake"], "turn, job"),
        (&["--where", "bed"], "wake"),
        (&["--ms", "0"], "60000"),
    ] {
        let outcome = dormouse(&[&["chaos"], arguments].concat());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(outcome.stderr.contains(told), "{arguments:?}: {}", outcome.stderr);
    }
}

#[test]
fn a_server_that_is_not_there_is_named_with_how_to_start_one() {
    let url = format!("http://{}", nobody());
    for arguments in [&["connections"][..], &["inspect", "x"], &["kill", "x"], &["chaos"], &["publish", "c", "1"]] {
        let outcome = dormouse(&[arguments, &["--url", &url]].concat());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
        assert!(outcome.stderr.contains(&url) && outcome.stderr.contains("dormouse serve"), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    }
}

#[test]
fn a_refused_key_is_told_with_where_to_give_one() {
    for (status, key, expected) in [
        (401, None, "the server wants a key"),
        (401, Some("wrong"), "the server does not know this key"),
        (403, None, "set api.keys there"),
    ] {
        let server = Scripted::new(status, &refusal("forbidden", "no api.keys are configured"));
        let mut arguments = vec!["connections", "--url", &server.url];
        arguments.extend(key.map(|_| "--api-key"));
        arguments.extend(key);
        let outcome = dormouse(&arguments);
        assert_eq!(outcome.code, 1);
        assert!(outcome.stderr.starts_with("the server") && outcome.stderr.contains(expected), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("--api-key") && !outcome.stderr.contains("wrong"), "{}", outcome.stderr);
        server.request();
    }
}

#[test]
fn something_that_is_no_dormouse_is_told_as_such() {
    let server = Scripted::new(200, "<html>");
    let outcome = dormouse(&["connections", "--url", &server.url]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("is that a Dormouse server?"), "{}", outcome.stderr);
    server.request();
}
