//! The structure of the source as a test: which module may know which, and what no file may be or hold.
//!
//! An arrow is a `crate::…` path from one top-level module to another. All arrows that exist stand in [`ARROWS`]; they go
//! down the layers, or have their reason in [`LEVEL`]. A new arrow is a decision: add it in a commit of its own, and say
//! why there. The checker is run on planted violations too, so that it cannot pass by seeing nothing.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// From the roof to the ground. Modules of one layer do not know each other, except as [`LEVEL`] says.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli", "client"],
    &["node"],
    &["http"],
    &["connection", "app", "echo"],
    &["channel"],
    &["shard"],
    &["supervision"],
    &["store", "hooks"],
    &["websocket", "protocol"],
    &["config", "id", "telemetry", "clock", "token", "tls"],
];

/// Every arrow there is: who, and whom it knows.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    // Commands that run here and not in a server read crash files themselves.
    ("cli", &["node", "shard", "supervision", "store", "config", "clock", "token"]),
    // For applications: it shares the protocol with the server, and nothing else.
    ("client", &["protocol"]),
    // The one place that constructs knows nearly everything; nothing but a command knows it.
    (
        "node",
        &[
            "http",
            "connection",
            "app",
            "echo",
            "channel",
            "shard",
            "supervision",
            "store",
            "hooks",
            "config",
            "id",
            "telemetry",
            "clock",
            "tls",
        ],
    ),
    (
        "http",
        // Of the store it knows the faults that chaos begins, of WebSockets which extension is agreed on.
        &[
            "connection",
            "channel",
            "shard",
            "supervision",
            "store",
            "websocket",
            "protocol",
            "config",
            "id",
            "telemetry",
            "clock",
            "tls",
        ],
    ),
    ("connection", &["channel", "shard", "hooks", "protocol", "config", "id", "clock", "token"]),
    // It sends pings, which no other behaviour does.
    ("app", &["shard", "supervision", "websocket", "protocol", "config", "id", "telemetry", "clock"]),
    ("echo", &["shard", "protocol", "id", "clock"]),
    ("channel", &["shard", "store", "hooks", "websocket", "protocol", "config", "id", "telemetry", "clock"]),
    ("shard", &["supervision", "websocket", "protocol", "config", "id", "telemetry", "clock", "tls"]),
    ("supervision", &["id", "clock"]),
    ("hooks", &["config", "telemetry", "clock", "token"]),
    // Names and data are bytes to it: no protocol, no shard.
    ("store", &["config", "id", "telemetry", "clock"]),
    ("websocket", &["protocol"]),
    ("protocol", &["id"]),
    ("telemetry", &["config", "clock"]),
    ("config", &["token", "tls"]),
];

/// Arrows within a layer, each with its reason.
const LEVEL: &[(&str, &str, &str)] = &[
    ("websocket", "protocol", "a broken frame knows the close code it deserves, and only protocol::close writes those"),
    (
        "config",
        "token",
        "a file of keys that is none is refused with the place that names it; tokens know no configuration",
    ),
    ("config", "tls", "files that are no certificate and key are refused with the setting that names them"),
    ("telemetry", "config", "logs are set up as the section `[telemetry]` says; configuration knows no logs"),
    ("telemetry", "clock", "spans begin and end in the node's own time; clocks know no telemetry"),
];

/// Names that say nothing: a file has one noun.
const NO_NOUNS: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "prelude", "manager"];

/// Lines of a file that are not tests.
const MOST_LINES: usize = 500;
/// Lines of the one file where every server of this kind rots.
const ACTOR: (&str, usize) = ("src/connection/actor.rs", 250);

/// The only file with numbers that close a socket.
const CLOSE_CODES: &str = "src/protocol/close.rs";
/// Numbers in the range of close codes that are none: a capacity, and the end of the range that RFC 6455 §7.4.2 leaves
/// to private use.
const NO_CODES: &[u64] = &[4096, 4999];

#[test]
fn the_source_keeps_to_the_design() {
    let files = sources();
    assert!(files.len() > 50, "only {} files found under src/", files.len());
    let complaints = check(&files);
    assert!(complaints.is_empty(), "{} complaints:\n  {}\n", complaints.len(), complaints.join("\n  "));
}

#[test]
fn every_arrow_of_the_table_goes_down_or_has_a_reason() {
    let layer = |module: &str| {
        let found = LAYERS.iter().position(|layer| layer.contains(&module));
        found.unwrap_or_else(|| panic!("{module} is in no layer"))
    };
    for (from, known) in ARROWS {
        for to in *known {
            let reason = LEVEL.iter().any(|(a, b, _)| (a, b) == (from, to));
            let (above, below) = (layer(from), layer(to));
            assert!(above < below || (above == below && reason), "{from} → {to} goes up, or sideways without a reason");
        }
    }
    for (from, to, reason) in LEVEL {
        assert!(ARROWS.iter().any(|(a, known)| a == from && known.contains(to)), "{from} → {to} is no arrow");
        assert_eq!(layer(from), layer(to), "{from} → {to} goes down and needs no reason");
        assert!(reason.len() > 20, "{from} → {to} needs a reason");
    }
}

#[test]
fn the_table_lists_no_arrow_that_does_not_exist() {
    let files = sources();
    let drawn: BTreeSet<(String, String)> =
        files.iter().flat_map(|file| arrows(file).into_iter().map(|arrow| (file.module(), arrow.to))).collect();
    for (from, known) in ARROWS {
        for to in *known {
            assert!(
                drawn.contains(&((*from).into(), (*to).into())),
                "nothing draws {from} → {to} any more: take it out"
            );
        }
    }
    for module in LAYERS.iter().flat_map(|layer| layer.iter()) {
        assert!(files.iter().any(|file| file.module() == *module), "there is no module {module} any more");
    }
}

#[test]
fn planted_violations_are_found() {
    let head = "//! About.\n";
    let long = format!("{head}{}", "fn f() {}\n".repeat(MOST_LINES));
    let long_actor = format!("{head}{}", "fn f() {}\n".repeat(ACTOR.1));
    let long_tests = format!("{head}#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(MOST_LINES));
    let planted: &[(&str, &str, &[&str])] = &[
        ("src/shard/core.rs", "use crate::connection::Record;", &["src/shard/core.rs:2: shard → connection"]),
        ("src/shard/core.rs", "use crate::{clock::Now, http};", &["src/shard/core.rs:2: shard → http"]),
        (
            "src/shard/core.rs",
            "use crate::{\n    clock::{Clock, Now},\n    channel,\n};",
            &["core.rs:4: shard → channel"],
        ),
        ("src/shard/core.rs", "fn f() { crate::node::serve(); }", &["src/shard/core.rs:2: shard → node"]),
        ("src/shard/core.rs", "fn f() { super::super::node::serve(); }", &["src/shard/core.rs:2: shard → node"]),
        ("src/shard/core.rs", "mod inner { use super::super::super::http::Gateway; }", &["core.rs:2: shard → http"]),
        ("src/shard/mod.rs", "use super::http::Gateway;", &["src/shard/mod.rs:2: shard → http"]),
        ("src/echo.rs", "use super::connection::Record;", &["src/echo.rs:2: echo → connection"]),
        ("src/echo.rs", "macro_rules! m { () => { $crate::channel::Ask } }", &["src/echo.rs:2: echo → channel"]),
        ("src/main.rs", "fn main() { dormouse::node::serve() }", &["src/main.rs:2: main → node"]),
        ("src/main.rs", "pub(crate) mod x; // crate::node", &[]),
        ("src/shard/core.rs", "// crate::http\nconst A: &str = \"crate::http\"; const B: char = '\"';", &[]),
        ("src/shard/core.rs", "/* crate::http /* nested */ */ const A: &str = r#\"\"crate::http\"#;", &[]),
        ("src/shard/core.rs", "fn f<'a>(x: &'a str) { super::table::get(x); self::g() }", &[]),
        (
            "src/shard/core.rs",
            "#[cfg(test)]\nmod tests { use super::super::super::http; }",
            &["core.rs:3: shard → http"],
        ),
        ("src/stray.rs", "", &["src/stray.rs: module stray is in no layer"]),
        ("src/shard/utils.rs", "", &["src/shard/utils.rs: a file is named for its noun, `utils` is none"]),
        ("src/http/helpers/x.rs", "", &["src/http/helpers/x.rs: a file is named for its noun, `helpers` is none"]),
        ("src/shard/core.rs", "fn f() { unsafe { g() } }", &["src/shard/core.rs:2: unsafe code"]),
        ("src/shard/core.rs", "const A: &str = \"unsafe\"; // unsafe\n", &[]),
        ("src/http/drain.rs", "const C: u16 = 4_003;", &["src/http/drain.rs:2: 4003 looks like a close code"]),
        ("src/http/drain.rs", "const C: f64 = 4003.5; const D: u16 = 4096; const E: u16 = 0x4003;", &[]),
        ("src/http/drain.rs", "fn f() {}\n#[cfg(test)]\nmod tests { const C: u16 = 4003u16; }", &[]),
        (CLOSE_CODES, "const C: u16 = 4003;", &[]),
    ];
    for (path, text, expected) in planted {
        compare(path, &format!("{head}{text}"), expected);
    }
    compare("src/shard/core.rs", "use crate::clock::Now;", &["src/shard/core.rs: does not open with `//!`"]);
    compare("src/shard/core.rs", &long, &["src/shard/core.rs: 501 lines without its tests, 500 are allowed"]);
    compare(ACTOR.0, &long_actor, &["src/connection/actor.rs: 251 lines without its tests, 250 are allowed"]);
    compare("src/shard/core.rs", &long_tests, &[]);
    compare("src/shard/tests.rs", &format!("{long}const C: u16 = 4003;"), &[]);
}

#[track_caller]
fn compare(path: &str, text: &str, expected: &[&str]) {
    let complaints = check(&[Source { path: path.into(), text: text.into(), test: is_test_path(path) }]);
    assert_eq!(complaints.len(), expected.len(), "{path}: {text:?} gives {complaints:?}");
    for (complaint, expected) in complaints.iter().zip(expected) {
        assert!(complaint.contains(expected), "{complaint:?} does not say {expected:?}");
    }
}

/// One file of Rust.
struct Source {
    /// From the project's root, with `/`.
    path: String,
    text: String,
    /// Compiled for tests alone.
    test: bool,
}

impl Source {
    /// The top-level module it belongs to.
    fn module(&self) -> String {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
    }

    /// How many modules it is below the crate's root: `super` so often is the root.
    fn depth(&self) -> usize {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        if matches!(inside, "lib" | "main") { 0 } else { inside.split('/').count() }
    }
}

fn is_test_path(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Everything under src/, in order.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src/ can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("readable");
                let path = path.strip_prefix(root).expect("inside").to_str().expect("a plain name").replace('\\', "/");
                files.push(Source { test: is_test_path(&path), path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let declared: Vec<String> = files.iter().flat_map(test_modules).collect();
    for file in &mut files {
        file.test |= declared
            .iter()
            .any(|module| file.path == format!("{module}.rs") || file.path.starts_with(&format!("{module}/")));
    }
    files
}

/// Paths, without `.rs`, of files that a file declares as `#[cfg(test)] mod name;`.
fn test_modules(file: &Source) -> Vec<String> {
    let folder = file.path.trim_end_matches(".rs").trim_end_matches("/mod").to_owned();
    let tokens = tokens(&file.text);
    let words: Vec<&str> = tokens.iter().map(|token| &*token.text).collect();
    let declarations = words.windows(CFG_TEST.len() + 3).filter(|window| window.starts_with(CFG_TEST));
    declarations
        .filter_map(|window| match window[CFG_TEST.len()..] {
            ["mod", name, ";"] => Some(format!("{folder}/{name}")),
            _ => None,
        })
        .collect()
}

/// All that is wrong with some files.
fn check(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let table: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for file in files {
        let (path, module) = (&file.path, file.module());
        if !file.text.starts_with("//!") {
            complaints.push(format!("{path}: does not open with `//!`: what it owns, must never do, who calls it"));
        }
        for part in path.trim_end_matches(".rs").split('/') {
            if NO_NOUNS.contains(&part) {
                complaints.push(format!("{path}: a file is named for its noun, `{part}` is none"));
            }
        }
        if module != "lib" && !LAYERS.iter().any(|layer| layer.contains(&&*module)) {
            complaints.push(format!("{path}: module {module} is in no layer: give it its place in LAYERS"));
        }
        for Arrow { to, line } in arrows(file) {
            let allowed =
                module == to || module == "lib" || table.get(&*module).is_some_and(|known| known.contains(&&*to));
            if !allowed {
                complaints.push(format!("{path}:{line}: {module} → {to} is no arrow of the design"));
            }
        }
        check_text(file, &mut complaints);
    }
    complaints
}

fn check_text(file: &Source, complaints: &mut Vec<String>) {
    let path = &file.path;
    let tokens = tokens(&file.text);
    let tests = test_regions(&tokens);
    let in_tests = |line: usize| file.test || tests.iter().any(|(from, to)| (*from..=*to).contains(&line));
    let lines = (1..=file.text.lines().count()).filter(|line| !in_tests(*line)).count();
    let most = if *path == ACTOR.0 { ACTOR.1 } else { MOST_LINES };
    if lines > most {
        complaints.push(format!("{path}: {lines} lines without its tests, {most} are allowed: split it by nouns"));
    }
    for Token { text, line } in &tokens {
        if text == "unsafe" {
            complaints.push(format!("{path}:{line}: unsafe code"));
        }
        let digits = text.replace('_', "");
        let number = digits.find(|c: char| !c.is_ascii_digit()).map_or(&*digits, |end| &digits[..end]);
        let number: u64 = if digits.contains(['.', 'x']) { 0 } else { number.parse().unwrap_or_default() };
        let code = (4000..5000).contains(&number) && !NO_CODES.contains(&number);
        if code && path != CLOSE_CODES && !in_tests(*line) {
            complaints
                .push(format!("{path}:{line}: {number} looks like a close code; those stand in {CLOSE_CODES} alone"));
        }
    }
}

/// A path to a module of the crate.
struct Arrow {
    to: String,
    line: usize,
}

/// Where the paths of a file lead, tests included.
fn arrows(file: &Source) -> Vec<Arrow> {
    let tokens = tokens(&file.text);
    let word = |at: usize| tokens.get(at).map_or("", |token| &*token.text);
    let mut arrows = Vec::new();
    // Inline modules that are open: at which depth of braces each ends.
    let (mut braces, mut inline) = (0_usize, Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        match word(at) {
            "{" => {
                if at >= 2 && word(at - 2) == "mod" {
                    inline.push(braces);
                }
                braces += 1;
            }
            "}" => {
                braces = braces.saturating_sub(1);
                inline.pop_if(|depth| *depth == braces);
            }
            "crate" if word(at + 1) == "::" => roots(&tokens, at + 2, &mut arrows),
            "dormouse" if word(at + 1) == "::" && file.module() == "main" => roots(&tokens, at + 2, &mut arrows),
            "super" => {
                let from = at;
                while word(at) == "super" && word(at + 1) == "::" {
                    at += 2;
                }
                if (at - from) / 2 >= file.depth() + inline.len() && at > from {
                    roots(&tokens, at, &mut arrows);
                }
                at = at.max(from + 1);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    arrows
}

/// The first names of the path or the tree of paths that begins at `at`.
fn roots(tokens: &[Token], at: usize, arrows: &mut Vec<Arrow>) {
    let is_module = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase()) && name != "self";
    let mut push = |token: &Token| {
        if is_module(&token.text) {
            arrows.push(Arrow { to: token.text.clone(), line: token.line });
        }
    };
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        return push(first);
    }
    let (mut depth, mut begins) = (0, false);
    for token in &tokens[at..] {
        match &*token.text {
            "{" => (depth, begins) = (depth + 1, depth == 0),
            "}" => depth -= 1,
            "," => begins = depth == 1,
            _ => {
                if begins {
                    push(token);
                }
                begins = false;
            }
        }
        if depth == 0 {
            return;
        }
    }
}

const CFG_TEST: &[&str] = &["#", "[", "cfg", "(", "test", ")", "]"];

/// First and last lines of inline modules for tests.
fn test_regions(tokens: &[Token]) -> Vec<(usize, usize)> {
    let mut regions = Vec::new();
    for at in 0..tokens.len().saturating_sub(CFG_TEST.len() + 2) {
        let (attribute, rest) = tokens[at..].split_at(CFG_TEST.len());
        let is_test = attribute.iter().map(|token| &*token.text).eq(CFG_TEST.iter().copied());
        if !is_test || rest[0].text != "mod" || rest[2].text != "{" {
            continue;
        }
        let mut depth = 0;
        let end = rest.iter().skip(2).find(|token| {
            depth += i32::from(token.text == "{") - i32::from(token.text == "}");
            depth == 0
        });
        regions.push((tokens[at].line, end.map_or(usize::MAX, |token| token.line)));
    }
    regions
}

/// A word, a number, `::` or a single sign.
struct Token {
    text: String,
    line: usize,
}

/// The code of a file without its comments and literals of text.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let peek = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let from = at;
        match (peek(at), peek(at + 1)) {
            ('/', '/') => {
                while at < chars.len() && peek(at) != '\n' {
                    at += 1;
                }
            }
            ('/', '*') => {
                let mut depth = 0;
                loop {
                    match (peek(at), peek(at + 1)) {
                        ('/', '*') => (depth, at) = (depth + 1, at + 2),
                        ('*', '/') => (depth, at) = (depth - 1, at + 2),
                        _ => at += 1,
                    }
                    if depth == 0 || at >= chars.len() {
                        break;
                    }
                }
            }
            ('"', _) => {
                at += 1;
                while at < chars.len() && peek(at) != '"' {
                    at += if peek(at) == '\\' { 2 } else { 1 };
                }
                at += 1;
            }
            ('\'', '\\') => {
                at += 3;
                while at < chars.len() && peek(at) != '\'' {
                    at += 1;
                }
                at += 1;
            }
            ('\'', _) => at += if peek(at + 2) == '\'' { 3 } else { 1 },
            (':', ':') => {
                at += 2;
                tokens.push(Token { text: "::".into(), line });
            }
            (c, _) if is_word(c) => {
                let number = c.is_ascii_digit();
                while is_word(peek(at)) || (number && peek(at) == '.' && peek(at + 1).is_ascii_digit()) {
                    at += 1;
                }
                let word: String = chars[from..at].iter().collect();
                let raw = matches!(&*word, "r" | "br" | "cr").then(|| (at..).take_while(|at| peek(*at) == '#').count());
                match raw {
                    Some(hashes) if peek(at + hashes) == '"' => {
                        let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                        at += hashes + 1;
                        while at < chars.len() && !chars[at..].starts_with(&end) {
                            at += 1;
                        }
                        at += end.len();
                    }
                    _ => tokens.push(Token { text: word, line }),
                }
            }
            (c, _) => {
                at += 1;
                if !c.is_whitespace() {
                    tokens.push(Token { text: c.into(), line });
                }
            }
        }
        line += chars[from..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}
