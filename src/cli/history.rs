//! `dormouse history`: kept events of a channel of a running server.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Answer, Failure, api, table::Table};

/// Show kept events of a channel of a running server, the newest unless told otherwise
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  dormouse history chat:lobby --limit 20
  dormouse history chat:lobby --after 100              the oldest after offset 100
  dormouse history chat:lobby --json | jq .events[].data")]
pub(super) struct Args {
    /// The channel, such as chat:lobby
    channel: String,
    /// The oldest events after this offset
    #[arg(long, value_name = "OFFSET", conflicts_with = "before")]
    after: Option<u64>,
    /// The newest events before this offset
    #[arg(long, value_name = "OFFSET")]
    before: Option<u64>,
    /// At most so many; up to 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Print the server's answer as it is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: api::Server,
}

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let mut path = format!("/v1/channels/{}/history?limit={}", api::path_part(&args.channel), args.limit);
    for (name, bound) in [("after", args.after), ("before", args.before)] {
        if let Some(bound) = bound {
            let _ = write!(path, "&{name}={bound}");
        }
    }
    let answer = args.server.get(&path)?.map_err(|refused| Failure::new(refused.message))?;
    if args.json {
        return Ok(Answer::new(api::pretty(&answer)));
    }
    let events = answer["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let note = match (answer["more"] == Value::Bool(true), args.after, events.first(), events.last()) {
        (true, Some(_), _, Some(last)) => Some(format!("there are more: --after {}", last["offset"])),
        (true, None, Some(first), _) => Some(format!("there are more: --before {}", first["offset"])),
        (_, _, None, _) => Some(format!("nothing is kept of {} there", args.channel)),
        _ => None,
    };
    let mut table = Table::new([]);
    for event in events {
        let from = event["from"].as_str().unwrap_or_default().to_owned();
        table.row([event["offset"].to_string(), time(&event["at"]), from, event["data"].to_string()]);
    }
    let result = if table.is_empty() { String::new() } else { table.to_string() };
    Ok(Answer { result, note, ..Answer::default() })
}

/// UTC, to the second.
fn time(at: &Value) -> String {
    let since = std::time::Duration::from_millis(at.as_u64().unwrap_or(0));
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string()
}
