//! An app whose every message becomes a line to its client, so that a test sees what the app saw.

use serde::{Deserialize, Serialize};

use crate::app::{App, Effects, Message};

pub(super) enum Choir {}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Singer {
    pub(super) turns: u64,
    pub(super) name: String,
}

impl App for Choir {
    const NAME: &'static str = "choir";
    type State = Singer;
    type Room = i64;
    type Told = i64;

    fn receive(mut singer: Singer, message: Message<'_, Self>, effects: &mut Effects<Self>) -> Singer {
        singer.turns += 1;
        match message {
            Message::Text(text) => {
                let words: Vec<&str> = text.split(' ').collect();
                match words[..] {
                    ["enter", room] => effects.enter(room),
                    ["leave", room] => {
                        effects.leave(room);
                        effects.text(format!("left {room}"));
                    }
                    ["add", room, by] => effects.tell(room, by.parse().expect("a number")),
                    ["name", name] => name.clone_into(&mut singer.name),
                    _ => panic!("{text:?} is no word of this choir"),
                }
            }
            Message::Restarted { lost, again, .. } => effects.text(format!("restarted {again} {}", line(lost))),
            Message::Opened(_) | Message::Closed { .. } | Message::Leaving { .. } => {}
            heard => effects.text(line(Some(&heard))),
        }
        singer
    }

    fn fold(room: i64, by: &i64) -> i64 {
        assert!(*by != 13, "no room likes 13");
        room + by
    }
}

/// What came, in words: kind, room, number, state, what was told.
fn line(message: Option<&Message<'_, Choir>>) -> String {
    match message {
        Some(Message::Entered { room, state, number }) => format!("entered {room} {number} {state}"),
        Some(Message::Skipped { room, state, number }) => format!("skipped {room} {number} {state}"),
        Some(Message::Told { room, number, told, state, .. }) => format!("told {room} {number} {state} {told}"),
        Some(Message::Failed { room, told, why }) => format!("failed {room} {told:?} {why:?}"),
        Some(Message::Text(text)) => format!("text {text}"),
        Some(Message::Woken) => "woken".to_owned(),
        Some(_) => "other".to_owned(),
        None => "nothing".to_owned(),
    }
}
