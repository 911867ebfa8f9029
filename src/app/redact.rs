//! What a crash file keeps of an app's turn while payloads are not to be shown: its shape, its numbers, and no text that
//! people wrote. Called outside of the shards, through [`Behaviour::redact`](crate::shard::Behaviour::redact).
//!
//! A text that a type reads in a few forms only (the name of a variant, an id, a time) cannot be hidden without losing the
//! replay, so those stay; whatever the types take any text for is hidden. [`App::redact`] decides about clients' texts.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{App, Opening, Settings, notice::Notice, record::Record};
use crate::shard::{Evidence, hide};

/// Looks at a value per part of a crash file: beyond that what is left is hidden, and perhaps not to be replayed.
const MOST_READS: u32 = 2_000;

/// Which settings the turn could read, and the evidence without what is nobody's business.
pub(super) fn evidence<A: App>(evidence: &mut Evidence, settings: &Settings, payloads: bool) {
    evidence.settings = serde_json::to_value(settings).unwrap_or_default();
    if !payloads {
        hide_readable::<Record<A>>(&mut evidence.record);
        mail::<A>(&mut evidence.mail);
    }
}

fn mail<A: App>(mail: &mut Value) {
    let Some((kind, brought)) = mail.as_object_mut().and_then(|mail| mail.iter_mut().next()) else { return };
    match kind.as_str() {
        "opened" => hide_readable::<Opening>(brought),
        "message" => hide_readable::<Notice<A>>(brought),
        "frame" => match brought.as_object_mut().and_then(|frame| frame.iter_mut().next()) {
            Some((kind, Value::String(text))) if kind == "text" => *text = A::redact(text),
            // In base64, four letters for three bytes: as many others say as much.
            Some((_, Value::String(bytes))) => {
                *bytes = bytes.chars().map(|c| if c == '=' { c } else { 'A' }).collect();
            }
            _ => {}
        },
        "restarted" => {
            if let Some(lost) = brought.get_mut("mail") {
                self::mail::<A>(lost);
            }
        }
        _ => {}
    }
}

/// Hides every text that `T` reads as well when it is hidden.
fn hide_readable<T: DeserializeOwned>(value: &mut Value) {
    hide_below::<T>(value, "", &mut 0);
}

/// Whatever is at `path`: as a whole if the value can still be read then, else part by part.
fn hide_below<T: DeserializeOwned>(root: &mut Value, path: &str, reads: &mut u32) {
    let Some(here) = root.pointer_mut(path) else { return };
    let before = here.clone();
    hide(here);
    if *here == before {
        return;
    }
    *reads += 1;
    if *reads > MOST_READS || T::deserialize(&*root).is_ok() {
        return;
    }
    let parts: Vec<String> = match &before {
        Value::Array(items) => (0..items.len()).map(|index| format!("{path}/{index}")).collect(),
        Value::Object(fields) => {
            fields.keys().map(|key| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
        }
        _ => Vec::new(),
    };
    if let Some(here) = root.pointer_mut(path) {
        *here = before;
    }
    for part in parts {
        hide_below::<T>(root, &part, reads);
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Colour {
        Red,
    }

    #[derive(Serialize, Deserialize)]
    struct Board {
        turn: Colour,
        moves: Vec<(Colour, String)>,
        note: Option<String>,
    }

    #[test]
    fn what_people_wrote_is_hidden_and_what_the_types_need_stays() {
        let mut board = json!({"turn": "red", "moves": [["red", "my secret"], ["red", "e4"]], "note": "Ännchen"});
        hide_readable::<Board>(&mut board);
        assert_eq!(board, json!({"turn": "red", "moves": [["red", "xxxxxxxxx"], ["red", "xx"]], "note": "éxxxxxx"}));
    }

    #[test]
    fn what_would_take_too_long_is_hidden_rather_than_shown() {
        let moves: Vec<_> = (0..MOST_READS).map(|_| json!(["red", "my secret"])).collect();
        let mut board = json!({"turn": "red", "moves": moves, "note": null});
        hide_readable::<Board>(&mut board);
        assert!(!board.to_string().contains("secret"));
    }
}
