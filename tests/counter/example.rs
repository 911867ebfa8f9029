//! A counter that everybody in a room turns together. `cargo run --example counter`, then, as often as you like,
//! `websocat 'ws://127.0.0.1:8080/counter?room=kitchen'`: say `add 5`, say `share 3`, say `share 0` and see who notices.

use dormouse::{
    app::{App, Effects, Message},
    node::Server,
};
use serde::{Deserialize, Serialize};

/// The behaviour. No value of it is ever made.
pub(crate) enum Counter {}

/// What one connection remembers.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Visitor {
    room: String,
    /// As it was last heard.
    total: i64,
    /// By this connection.
    added: i64,
}

impl App for Counter {
    const NAME: &'static str = "counter";
    type State = Visitor;
    type Room = i64;
    type Told = i64;

    fn receive(mut visitor: Visitor, message: Message<'_, Self>, effects: &mut Effects<Self>) -> Visitor {
        match message {
            Message::Opened(opening) => {
                visitor.room = opening.parameter("room").unwrap_or_else(|| "lobby".to_owned());
                effects.enter(&visitor.room);
            }
            Message::Entered { state, .. } | Message::Skipped { state, .. } => {
                visitor.total = *state;
                effects.text(format!("total {state}"));
            }
            Message::Told { from, told, state, .. } => {
                visitor.total = *state;
                if from == effects.connection() {
                    visitor.added += told;
                }
                effects.text(format!("total {state}, {} of it yours", visitor.added));
            }
            Message::Text(text) => match text.split_once(' ').map(|(verb, number)| (verb, number.parse::<i64>())) {
                Some(("add", Ok(by))) => effects.tell(&visitor.room, by),
                // Somebody says `share 0` one day.
                Some(("share", Ok(among))) => effects.text(format!("{} each", visitor.total / among)),
                _ => effects.text("say `add 5` or `share 3`"),
            },
            Message::Restarted { .. } => effects.text(format!("restarted, {} of it yours", visitor.added)),
            _ => {}
        }
        visitor
    }

    fn fold(total: i64, by: &i64) -> i64 {
        total.saturating_add(*by)
    }

    /// Commands are nobody's secret, and crashes over them replay.
    fn redact(text: &str) -> String {
        text.to_owned()
    }
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    Ok(Server::at(&address)?.mount::<Counter>("/counter").run()?)
}
