//! `dormouse connections`: the connections of a running server, the most interesting first.

use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use super::{Answer, Failure, api, table::Table};

/// List connections of a running server, the worst first
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  dormouse connections --sort outbox --limit 10        who reads slowly?
  dormouse connections --sort restarts                 whose actor crashes?
  dormouse connections --json | jq '.connections[].user'")]
pub(super) struct Args {
    /// What makes a connection worse
    #[arg(long, value_enum, default_value = "mailbox")]
    sort: Sort,
    /// How many at most
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print the server's answer as it is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: api::Server,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Sort {
    /// Most messages waiting to be handled
    Mailbox,
    /// Most bytes waiting to be sent
    Outbox,
    /// Most crashes
    Restarts,
    /// Silent for longest
    Idle,
}

impl Sort {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Outbox => "outbox",
            Self::Restarts => "restarts",
            Self::Idle => "idle",
        }
    }
}

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let path = format!("/v1/connections?sort={}&limit={}", args.sort.name(), args.limit);
    let answer = args.server.get(&path)?.map_err(|refused| Failure::new(refused.message))?;
    if args.json {
        return Ok(Answer::new(api::pretty(&answer)));
    }
    let Some(connections) = answer["connections"].as_array() else {
        return Err(Failure::new(format!("{} answered without a list of connections", args.server.url())));
    };
    if connections.is_empty() {
        return Ok(Answer::new("nobody is connected"));
    }
    Ok(Answer::new(table(connections).to_string()))
}

fn table(connections: &[Value]) -> Table {
    let mut table = Table::new([
        "CONNECTION",
        "USER",
        "STATE",
        "SHARD",
        "GENERATION",
        "RESTARTS",
        "MAILBOX",
        "OUTBOX",
        "CHANNELS",
        "IDLE",
    ]);
    for connection in connections {
        let cell = |field: &str| text(&connection[field]);
        table.row([
            text(connection.get("connection").unwrap_or(&connection["id"])),
            cell("user"),
            cell("state"),
            cell("shard"),
            cell("generation"),
            cell("restarts"),
            cell("mailbox"),
            cell("outbox_bytes"),
            cell("subscriptions"),
            connection["idle_ms"].as_u64().map_or_else(|| "-".to_owned(), idle),
        ]);
    }
    table
}

/// A field as a cell: of a list its length, of what is absent a dash.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.len().to_string(),
        other => other.to_string(),
    }
}

/// Milliseconds as people say them, to the second once there is one.
pub(super) fn idle(ms: u64) -> String {
    let ms = if ms < 1000 { ms } else { ms - ms % 1000 };
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_connection_is_a_row_and_what_is_absent_a_dash() {
        let list = [json!({
            "connection": "0-7", "user": "al\u{7}ice", "state": "awake", "shard": 0, "generation": 3, "restarts": 2,
            "mailbox": 5, "outbox_bytes": 1024, "subscriptions": ["a", "b"], "idle_ms": 61_234,
        })];
        let text = table(&list).to_string();
        let row: Vec<_> =
            text.lines().nth(1).unwrap().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(row, ["0-7", "al\\u{7}ice", "awake", "0", "3", "2", "5", "1024", "2", "1m 1s"]);
        assert!(table(&[json!({})]).to_string().lines().nth(1).unwrap().starts_with("-  "));
    }
}
