//! `dormouse inspect`: everything that a running server tells about one connection.

use serde_json::Value;

use super::{
    Answer, Failure, api,
    connections::{idle, text},
    table::Table,
};

/// Show one connection of a running server
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  dormouse inspect 0-17        an ID from `dormouse connections`, or from `whoami`")]
pub(super) struct Args {
    /// The connection's id
    #[arg(value_name = "ID")]
    id: String,
    /// Print the server's answer as it is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: api::Server,
}

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let answer = args.server.get(&format!("/v1/connections/{}", api::path_part(&args.id)))?;
    let connection = answer.map_err(|refused| match refused.status {
        404 => Failure::new(format!(
            "there is no connection {}: it may have closed; `dormouse connections` lists those there are",
            args.id
        )),
        _ => Failure::new(refused.message),
    })?;
    Ok(Answer::new(if args.json { api::pretty(&connection) } else { lines(&connection) }))
}

/// A field a line. Those we know come first, in the order in which one asks; the rest as the server sent them.
fn lines(connection: &Value) -> String {
    const FIRST: [&str; 12] = [
        "connection",
        "id",
        "user",
        "state",
        "shard",
        "generation",
        "restarts",
        "mailbox",
        "outbox_bytes",
        "record_bytes",
        "idle_ms",
        "subscriptions",
    ];
    let mut table = Table::new([]);
    let rest = connection.as_object().into_iter().flat_map(|fields| fields.keys().map(String::as_str));
    for field in FIRST.into_iter().chain(rest.filter(|field| !FIRST.contains(field))) {
        match &connection[field] {
            Value::Null => {}
            Value::Number(ms) if field == "idle_ms" => {
                table.row(["idle".to_owned(), idle(ms.as_u64().unwrap_or_default())]);
            }
            Value::Array(list) if list.is_empty() => table.row([field.to_owned(), "none".to_owned()]),
            Value::Array(list) => {
                for (index, item) in list.iter().enumerate() {
                    let name = if index == 0 { field } else { "" };
                    table.row([name.to_owned(), item.as_str().map_or_else(|| item.to_string(), str::to_owned)]);
                }
            }
            value => table.row([field.to_owned(), text(value)]),
        }
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn known_fields_come_first_and_none_is_lost() {
        let text = lines(&json!({
            "aaa": true, "user": "alice", "idle_ms": 40, "connection": "0-7", "subscriptions": ["chat:a", "chat:b"],
        }));
        assert_eq!(
            text,
            "connection     0-7\nuser           alice\nidle           40ms\nsubscriptions  chat:a\n               chat:b\naaa            \
             true"
        );
    }
}
