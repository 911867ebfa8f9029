use dormouse::app::{App, Effects, Message};
use dormouse::node::Server;

enum Counter {}

impl App for Counter {
    const NAME: &'static str = "counter";
    type State = (); // what one connection remembers
    type Room = i64; // what all members of a room see
    type Told = i64; // what a member tells it

    fn receive(_: (), message: Message<'_, Self>, effects: &mut Effects<Self>) {
        match message {
            Message::Opened(_) => effects.enter("lobby"),
            Message::Text(by) => effects.tell("lobby", by.parse().expect("a number")),
            Message::Entered { state, .. } | Message::Told { state, .. } | Message::Skipped { state, .. } => {
                effects.text(state.to_string());
            }
            Message::Restarted { .. } => effects.text("that crashed me"),
            _ => {}
        }
    }

    fn fold(room: i64, told: &i64) -> i64 {
        room + told
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Ok(Server::at("127.0.0.1:8080")?.mount::<Counter>("/counter").run()?)
}
