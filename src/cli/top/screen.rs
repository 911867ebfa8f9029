//! A sample of `/v1/live` as lines of text: what is wrong first, then figures, then tables, each cut to the room there is.
//! Pure; whoever draws it knows the terminal.

use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::figures::{NOTHING, age, bytes, count, number, rate, time};
use crate::cli::{
    connections::{Sort, text},
    table::{Table, plain},
};

/// Rows of a table where there is no end of room.
const LISTED: usize = 10;
/// Rows of the small tables on a screen.
const FEW: usize = 3;

/// How the viewer wants it.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) sort: Sort,
    pub(super) url: &'a str,
    /// Why the sample is not newer.
    pub(super) trouble: Option<&'a str>,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// Begins something.
    Title,
    Good,
    Bad,
}

/// See the module's text.
pub(super) struct Screen<'a> {
    sample: &'a Value,
    view: View<'a>,
}

type Lines = Vec<(Tone, String)>;

impl<'a> Screen<'a> {
    pub(super) fn new(sample: &'a Value, view: View<'a>) -> Self {
        Self { sample, view }
    }

    /// All of it as text; lines end at `width` if there is one.
    pub(super) fn text(&self, width: Option<usize>) -> String {
        let lines = self.all([LISTED; 4]);
        let lines = lines.into_iter().map(|(_, line)| width.map_or_else(|| line.clone(), |width| cut(&line, width)));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// As much of it as there is room for. The list of connections takes what the others leave.
    pub(super) fn lines(&self, width: usize, height: usize) -> Lines {
        let shards = self.rows("shards").len().min(8);
        let most = [shards, FEW, FEW, 0];
        let rest = height.saturating_sub(self.all(most).len());
        let mut lines = self.all([shards, FEW, FEW, rest.max(1)]);
        lines.truncate(height);
        lines.iter_mut().for_each(|(_, line)| *line = cut(line, width));
        lines
    }

    /// `most`: rows of shards, slow turns, crashes and connections.
    fn all(&self, [shards, turns, crashes, connections]: [usize; 4]) -> Lines {
        let mut lines = self.head();
        lines.extend(self.figures());
        lines.push(blank());
        lines.extend(titled(&self.latencies()));
        lines.push(blank());
        lines.extend(titled(&self.shards(shards)));
        for (table, is_empty) in [self.slowest(turns), self.crashes(crashes)] {
            if !is_empty {
                lines.push(blank());
                lines.extend(titled(&table));
            }
        }
        lines.push(blank());
        lines.extend(self.connections(connections));
        lines
    }

    fn head(&self) -> Lines {
        let sample = self.sample;
        let (node, version) = (words(&sample["node"]), words(&sample["version"]));
        let up = age(sample["uptime_ms"].as_u64().unwrap_or_default());
        let title = format!("dormouse {node} {version}, up {up}, at {}", plain(self.view.url));
        let state = words(&sample["health"]["state"]);
        let tone = if state == "healthy" { Tone::Good } else { Tone::Bad };
        let mut lines = vec![(Tone::Title, title)];
        if let Some(trouble) = self.view.trouble {
            lines.push((Tone::Bad, format!("AWAY  {}", plain(trouble))));
        } else {
            lines.push((tone, format!("{}  {}", state.to_uppercase(), words(&sample["health"]["text"]))));
        }
        lines.push(blank());
        lines
    }

    fn figures(&self) -> Lines {
        let Self { sample, .. } = self;
        let (point, connections, ledger) = (&sample["point"], &sample["connections"], &sample["ledger"]);
        let (memory, descriptors) = (&sample["memory"], &sample["descriptors"]);
        let dropped: u64 =
            ledger["dropped"].as_object().into_iter().flat_map(|each| each.values()).filter_map(Value::as_u64).sum();
        let of = |field: &str| number(&connections[field]);
        let a_second = |field: &str| rate(&point[field]);
        let line = |name: &str, text: String| (Tone::Plain, format!("{name:<13}{text}"));
        vec![
            line(
                "connections",
                format!(
                    "{} of {}: {} awake, {} dormant; {} parked",
                    of("total"),
                    of("most"),
                    of("awake"),
                    of("dormant"),
                    of("parked")
                ),
            ),
            line(
                "a second",
                format!(
                    "{} published, {} delivered, {} dropped; {} handshakes, {} refused, {} closed; {} crashes",
                    a_second("published"),
                    a_second("delivered"),
                    a_second("dropped"),
                    a_second("accepted"),
                    a_second("refused"),
                    a_second("closed"),
                    a_second("crashed")
                ),
            ),
            line(
                "ledger",
                format!(
                    "{} offered, {} delivered, {} dropped, {} pending",
                    number(&ledger["offered"]),
                    number(&ledger["delivered"]),
                    count(dropped),
                    number(&ledger["pending"])
                ),
            ),
            line(
                "process",
                format!(
                    "{} cores, {}, {} a connection, {} of it a record; {} of {} descriptors",
                    point["cpu"].as_f64().map_or_else(|| NOTHING.to_owned(), |cores| format!("{cores:.2}")),
                    bytes(&memory["resident_bytes"]),
                    bytes(&memory["bytes_per_connection"]),
                    bytes(&memory["record_bytes"]),
                    number(&descriptors["open"]),
                    number(&descriptors["most"])
                ),
            ),
        ]
    }

    fn latencies(&self) -> Table {
        let mut table = Table::new(["LATENCY", "COUNT", "P50", "P90", "P99", "MAX"]);
        for (name, field) in [
            ("delivery (some)", "delivery"),
            ("mailbox wait", "wait"),
            ("turn", "turn"),
            ("commit", "commit"),
            ("restart", "restart"),
        ] {
            let spread = &self.sample["point"][field];
            let [p50, p90, p99, max] = ["p50", "p90", "p99", "max"].map(|part| time(&spread[part]));
            table.row([name.to_owned(), number(&spread["count"]), p50, p90, p99, max]);
        }
        table
    }

    fn shards(&self, most: usize) -> Table {
        let mut table = Table::new(["SHARD", "AWAKE", "DORMANT", "PARKED", "RESTARTS", "OUTBOX", "LAG P99"]);
        for shard in self.rows("shards").iter().take(most) {
            let of = |field: &str| number(&shard[field]);
            let name = if shard["answers"] == true { of("shard") } else { format!("{} hangs", of("shard")) };
            let (outbox, lag) = (bytes(&shard["outbox_bytes"]), time(&shard["lag"]));
            table.row([name, of("awake"), of("dormant"), of("parked"), of("restarts"), outbox, lag]);
        }
        table
    }

    fn slowest(&self, most: usize) -> (Table, bool) {
        let mut table = Table::new(["SLOWEST TURNS", "OVER", "CONNECTION", "AGO"]);
        for turn in self.rows("slowest").iter().take(most) {
            let took = turn["took_us"].as_f64().map(|micros| micros * 1e-6);
            table.row([time(&took.into()), text(&turn["message"]), text(&turn["connection"]), self.ago(&turn["at"])]);
        }
        let is_empty = table.is_empty();
        (table, is_empty)
    }

    fn crashes(&self, most: usize) -> (Table, bool) {
        let mut table = Table::new(["CRASHES", "LAST", "OVER", "PLACE", "PANIC"]);
        for crash in self.rows("crashes").iter().take(most) {
            let of = |field: &str| text(&crash[field]);
            table.row([number(&crash["count"]), self.ago(&crash["last_at"]), of("kind"), of("place"), of("panic")]);
        }
        let is_empty = table.is_empty();
        (table, is_empty)
    }

    fn connections(&self, most: usize) -> Lines {
        let sort = self.view.sort.name();
        let title = format!("BY {}", sort.to_uppercase());
        let mut table = Table::new([
            title.as_str(),
            "USER",
            "STATE",
            "SHARD",
            "MAILBOX",
            "OUTBOX",
            "RESTARTS",
            "CHANNELS",
            "IDLE",
            "BYTES",
        ]);
        let worst = self.sample["worst"][sort].as_array().map(Vec::as_slice).unwrap_or_default();
        for one in worst.iter().take(most) {
            let of = |field: &str| text(&one[field]);
            table.row([
                of("connection"),
                of("user"),
                of("state"),
                of("shard"),
                number(&one["mailbox"]),
                bytes(&one["outbox_bytes"]),
                number(&one["restarts"]),
                number(&one["channels"]),
                one["idle_ms"].as_u64().map_or_else(|| NOTHING.to_owned(), age),
                number(&one["record_bytes"]),
            ]);
        }
        let mut lines = titled(&table);
        if worst.is_empty() {
            lines.truncate(1);
            lines.push((Tone::Plain, format!("no connection has {}", what(self.view.sort))));
        }
        lines
    }

    fn rows(&self, field: &str) -> &'a [Value] {
        self.sample[field].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// How long before the sample something was.
    fn ago(&self, unix_ms: &Value) -> String {
        match (self.sample["point"]["at"].as_u64(), unix_ms.as_u64()) {
            (Some(now), Some(then)) => age(now.saturating_sub(then)),
            _ => NOTHING.to_owned(),
        }
    }
}

fn what(sort: Sort) -> &'static str {
    match sort {
        Sort::Mailbox => "a message waiting",
        Sort::Outbox => "bytes waiting for its socket",
        Sort::Restarts => "crashed",
        Sort::Idle => "been silent",
    }
}

fn blank() -> (Tone, String) {
    (Tone::Plain, String::new())
}

fn titled(table: &Table) -> Lines {
    let text = table.to_string();
    let tone = |nth| if nth == 0 { Tone::Title } else { Tone::Plain };
    text.lines().enumerate().map(|(nth, line)| (tone(nth), line.to_owned())).collect()
}

fn words(value: &Value) -> String {
    plain(value.as_str().unwrap_or_default())
}

/// The beginning of a line that fits into so many columns; a mark shows that there was more.
fn cut(line: &str, width: usize) -> String {
    if line.width() <= width {
        return line.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= room;
        room = if fits { room - wide } else { 0 };
        fits
    };
    let mut cut: String = line.chars().take_while(fits).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        let connection = |id: &str, mailbox: u64| {
            json!({"connection": id, "user": "al\u{1b}[2Jice", "state": "awake", "shard": 0, "mailbox": mailbox,
                "outbox_bytes": 2048, "restarts": 1, "channels": 2, "idle_ms": 61_000, "record_bytes": 186})
        };
        json!({
            "node": "n1", "version": "0.1.0", "uptime_ms": 7_260_000, "health": {"state": "healthy", "text": "All is well."},
            "point": {"at": 100_000, "published": 2.5, "delivered": 12_000.0, "dropped": 0, "accepted": 0, "refused": 0,
                "closed": 0, "crashed": 0, "cpu": 0.421, "delivery": {"count": 7, "p50": 0.000_064, "p99": 0.002},
                "turn": {"count": 0}},
            "connections": {"total": 10_000, "most": 1_000_000, "awake": 12, "dormant": 9_988, "parked": 3},
            "ledger": {"offered": 10, "delivered": 7, "dropped": {"overflow": 1, "crash": 1}, "pending": 1},
            "memory": {"resident_bytes": 31_457_280, "bytes_per_connection": 3_145, "record_bytes": 186},
            "descriptors": {"open": 10_045, "most": 1_048_576},
            "shards": [{"shard": 0, "answers": true, "awake": 12, "lag": 0.001}, {"shard": 1, "answers": false}],
            "slowest": [{"took_us": 1_500, "message": "frame", "connection": "c1", "at": 90_000}],
            "crashes": [{"count": 3, "last_at": 99_000, "kind": "frame", "place": "src/a.rs:1:1", "panic": "boom"}],
            "worst": {"mailbox": [connection("c1", 5), connection("c2", 4)], "outbox": []},
        })
    }

    fn view(sort: Sort) -> View<'static> {
        View { sort, url: "http://h:1", trouble: None }
    }

    #[test]
    fn everything_is_said_in_one_text_and_control_characters_are_not_obeyed() {
        let text = Screen::new(&sample(), view(Sort::Mailbox)).text(None);
        for part in [
            "dormouse n1 0.1.0, up 2h 1m, at http://h:1",
            "HEALTHY  All is well.",
            "10,000 of 1,000,000: 12 awake, 9,988 dormant; 3 parked",
            "2.5 published, 12,000 delivered",
            "10 offered, 7 delivered, 2 dropped, 1 pending",
            "0.42 cores, 30 MiB, 3.07 KiB a connection, 186 B of it a record; 10,045 of 1,048,576 descriptors",
            "delivery (some)  7      64 µs  –    2 ms",
            "1 hangs",
            "1.5 ms         frame  c1          10s",
            "3        1s    frame  src/a.rs:1:1  boom",
            "BY MAILBOX",
            "al\\u{1b}[2Jice",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_screen_has_no_more_lines_and_no_longer_ones_than_fit() {
        for (width, height) in [(80, 24), (40, 10), (200, 60), (7, 3), (1, 1), (0, 0)] {
            let lines = Screen::new(&sample(), view(Sort::Mailbox)).lines(width, height);
            assert!(lines.len() <= height, "{width}×{height}: {} lines", lines.len());
            for (_, line) in lines {
                assert!(line.width() <= width, "{width}×{height}: {line:?}");
            }
        }
        let lines = Screen::new(&sample(), view(Sort::Mailbox)).lines(80, 40);
        assert!(lines.iter().any(|(_, line)| line.starts_with("c2")), "the list takes what the others leave");
    }

    #[test]
    fn wide_letters_are_cut_where_they_do_not_fit() {
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!([cut("abc", 2), cut("abc", 1), cut("abc", 0)], ["a…", "…", ""]);
    }

    #[test]
    fn trouble_and_an_empty_list_are_said_in_words() {
        let sample = sample();
        let away = View { trouble: Some("no server answers"), ..view(Sort::Outbox) };
        let lines = Screen::new(&sample, away).lines(100, 50);
        assert!(lines.contains(&(Tone::Bad, "AWAY  no server answers".to_owned())));
        assert!(lines.iter().any(|(_, line)| line == "no connection has bytes waiting for its socket"));
    }
}
