//! An app that does what its client tells it, and crashes where it is told to: in a turn, in a fold, over what a room said.

use std::time::Duration;

use dormouse::app::{App, Effects, Message};
use serde::{Deserialize, Serialize};

/// See the module's text.
pub(crate) enum Stubborn {}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Mood {
    /// Turns that did not crash.
    turns: u32,
    /// How it is; a word of a few.
    is: Is,
    /// What the client wrote.
    note: String,
    /// Crashes over what it is told, so many times.
    sulks: u32,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Is {
    #[default]
    Calm,
    Cross,
}

impl App for Stubborn {
    const NAME: &'static str = "stubborn";
    const PROTOCOLS: &'static [&'static str] = &["stubborn.v2", "stubborn.v1"];
    type State = Mood;
    type Room = Vec<String>;
    type Told = String;

    fn receive(mut mood: Mood, message: Message<'_, Self>, effects: &mut Effects<Self>) -> Mood {
        mood.turns += 1;
        match message {
            Message::Opened(opening) => {
                let protocol = opening.protocol.as_deref().unwrap_or("none");
                effects.text(format!("hello {} {protocol}", opening.path));
            }
            Message::Text(text) => obey(&mut mood, text, effects),
            Message::Binary(bytes) => effects.binary(bytes.iter().rev().copied().collect::<Vec<_>>()),
            Message::Entered { room, state, number } => {
                effects.text(format!("entered {room} at {number}: {}", state.join(",")));
            }
            Message::Told { told, number, .. } => {
                assert!(mood.sulks == 0, "it does not want to hear {told}");
                effects.text(format!("{number} {told}"));
            }
            Message::Skipped { room, number, .. } => effects.text(format!("skipped {room} to {number}")),
            Message::Failed { room, told, why } => {
                let what = told.map_or("enter", |told| told);
                effects.text(format!("failed {room} {what}: {why}"));
            }
            Message::Woken => effects.text("woken"),
            Message::Restarted { lost, again, gave_up } => {
                let lost = match lost {
                    Some(Message::Text(text)) => format!("text {text}"),
                    Some(Message::Told { number, .. }) => format!("told {number}"),
                    Some(_) => "something".to_owned(),
                    None => "nothing".to_owned(),
                };
                let (again, gave_up) = (if again { ", again" } else { "" }, if gave_up { ", gave up" } else { "" });
                mood.sulks = mood.sulks.saturating_sub(1);
                effects.text(format!("restarted after {lost}{again}{gave_up}"));
            }
            Message::Leaving { .. } => effects.text("leaving"),
            Message::Closed { code } if mood.note == "tell" => effects.tell("farewells", format!("closed {code}")),
            Message::Closed { .. } => {}
        }
        mood
    }

    fn fold(mut said: Vec<String>, told: &String) -> Vec<String> {
        assert!(!told.starts_with("never"), "a room does not want to hear {told}");
        said.push(told.clone());
        // What is heard is bounded, as everything.
        said.drain(..said.len().saturating_sub(3));
        said
    }
}

fn obey(mood: &mut Mood, text: &str, effects: &mut Effects<Stubborn>) {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    match verb {
        "enter" => effects.enter(rest),
        "leave" => effects.leave(rest),
        "tell" => {
            let (room, told) = rest.split_once(' ').expect("a room and what");
            effects.tell(room, told.to_owned());
        }
        "note" => rest.clone_into(&mut mood.note),
        "mood" => effects.text(format!("{} turns, {}", mood.turns, mood.note)),
        "cross" => mood.is = Is::Cross,
        "sulk" => mood.sulks = rest.parse().expect("a number"),
        "wake" => effects.wake_after(Duration::from_millis(rest.parse().expect("milliseconds"))),
        "close" => effects.close(4_321, "as you wish"),
        "illegal" => effects.close(1_006, "nobody may send that"),
        "length" => panic!("a text of {} bytes", text.len()),
        other => panic!("it does not know {other}"),
    }
}
