//! The cells of connection actors: the engine with the diary as its behaviour.

use std::time::Duration;

use dormouse::{
    protocol::close::Close,
    shard::{Action, Drop, Fault as Injected, Options, State},
    supervision::Policy,
};

use crate::{
    Cell, Fault, Spent,
    client::{Client, Heard},
    diary::Words,
    engine::{Engine, options},
};

/// Longer than any turn of a busy machine, short enough to wait for.
const STALL: Duration = Duration::from_millis(400);
/// Deliveries a full mailbox holds.
const MAILBOX: usize = 4;

pub(crate) async fn observe(fault: Fault, spent: Spent, full: bool) -> Cell {
    match fault {
        Fault::Spawned => return Err("a turn spawns nothing: waiting work is a job"),
        Fault::Started if spent == Spent::Within => return Err("there is one first turn"),
        Fault::Drop if spent != Spent::First => return Err("a lost socket is no crash: it spends nothing"),
        Fault::Started if full => return Err("nothing waits before the first turn"),
        _ => {}
    }
    // In its first turn the first crash must be the one too many.
    let allowed = if (fault, spent) == (Fault::Started, Spent::Beyond) { 0 } else { Spent::ALLOWED };
    let policy = Policy::new(allowed, Duration::from_secs(3_600));
    let turn_stall = if fault == Fault::Stall { STALL } else { Duration::from_secs(3_600) };
    let engine = Engine::with(1, Options { policy, turn_stall, mailbox: MAILBOX, ..options() });
    let mut bystander = engine.connect("bystander").await;
    bystander.say("note calm");
    bystander.hears(["noted calm"]);
    let cell = if fault == Fault::Started { started(&engine).await } else { run(&engine, fault, spent, full).await };
    bystander.say("read");
    bystander.hears(["notes [calm] generation 1"]);
    assert_eq!(engine.children.get("shard-0").map(|shard| shard.restarts), Some(0), "{fault:?}: the shard's budget");
    engine.finish().await;
    Ok(cell)
}

async fn run(engine: &Engine, fault: Fault, spent: Spent, full: bool) -> String {
    let mut client = engine.connect("a").await;
    client.say_all(&["key k", "note one", "hold"]);
    client.hears(["locked", "noted one", "held"]);
    // A crash in the turn that tells of one counts for two.
    let rounds = if fault == Fault::Restarting { spent.crashes().div_ceil(2) } else { spent.crashes() };
    for round in 1..rounds {
        inject(engine, &client, fault, round).await;
        told(&mut client, fault);
    }
    if full {
        let events = (1..=MAILBOX + 1).map(|number| Words::event(format!("e{number}")));
        assert_eq!(engine.offer(client.id, events).await, 1, "it is full");
    }
    inject(engine, &client, fault, rounds).await;
    let told = if fault == Fault::Drop { "nothing: its socket is gone".to_owned() } else { told(&mut client, fault) };
    let closed = told.ends_with("gave up");
    let socket = if closed {
        client.hears_close(Close::GAVE_UP);
        "closed 4000"
    } else if fault == Fault::Drop {
        assert!(matches!(client.hear(), Heard::End | Heard::Reset));
        "gone"
    } else {
        "kept"
    };
    let view = engine.inspect(client.id).await.expect("the record stays");
    assert_eq!(view.subscriptions, ["one"], "nothing of a crashed turn is in the record");
    assert_eq!(view.state == State::Parked, closed || fault == Fault::Drop);
    let ledger = engine.census().await.ledger;
    let queue = if view.state == State::Parked {
        assert_eq!(ledger.dropped(Drop::Disconnected), if full { MAILBOX as u64 } else { 0 });
        "counted as dropped"
    } else {
        engine.tell(&client, [Words::notice("release")]);
        client.hears(["released"]);
        for number in 1..=if full { MAILBOX } else { 0 } {
            client.hears([format!("e{number}")]);
        }
        "kept"
    };
    // The session: whoever has its key finds the record, with its generation.
    let mut next = engine.connect("b").await;
    next.say_all(&[&format!("move {} k", client.id), "read"]);
    let generation = view.generation;
    next.hears([format!("claimed a generation {generation}"), format!("notes [one] generation {generation}")]);
    let queue = if full { format!(", queue {queue}") } else { String::new() };
    format!("socket {socket}, session kept, told {told}, generation {generation}{queue}")
        .replace(&format!("told restarted {generation}"), "told `restarted`")
}

async fn inject(engine: &Engine, client: &Client, fault: Fault, _round: u32) {
    let fault = match fault {
        Fault::Wake => Injected::PanicInWake,
        Fault::Drop => {
            assert_eq!(engine.act(client.id, Action::Cut).await, 1);
            return;
        }
        _ => {
            let words = match fault {
                Fault::Job => "job-panic",
                Fault::Sleep => "stiff",
                Fault::Stall => "stall",
                _ => "panic",
            };
            if fault == Fault::Restarting {
                engine.settings.restarts_to_crash.store(1, std::sync::atomic::Ordering::SeqCst);
            }
            if fault == Fault::Stall {
                return stall(engine, client).await;
            }
            return engine.fault(client.id, words).await;
        }
    };
    assert_eq!(engine.act(client.id, Action::Fault(fault)).await, 1);
}

/// A turn that hangs: the order's own answer comes when it is over.
async fn stall(engine: &Engine, client: &Client) {
    let hanging = async {
        engine.settings.gate.wait();
        engine.stalled().await;
        engine.settings.gate.wait();
    };
    futures_util::future::join(engine.fault(client.id, "stall"), hanging).await;
}

/// What the client is told; jobs tell of themselves.
fn told(client: &mut Client, fault: Fault) -> String {
    let Heard::Text(text) = client.hear() else { panic!("nothing told") };
    if fault == Fault::Job {
        assert_eq!(text, "job crashed: asked to panic");
        return "the job's failure".to_owned();
    }
    let (restarted, after) = text.split_once(" after ").unwrap_or_else(|| panic!("{text}"));
    let gave_up = if after.ends_with(", gave up") { ", gave up" } else { "" };
    format!("{restarted}{gave_up}")
}

async fn started(engine: &Engine) -> String {
    let mut client = engine.connect_silently("panic", crate::client::frame("read")).await;
    match client.hear() {
        Heard::Text(text) if text == "restarted 2 after something" => {
            client.hears(["notes [] generation 2"]);
            "socket kept, told `restarted`, generation 2, what came behind the handshake is served".to_owned()
        }
        Heard::Text(text) => {
            assert_eq!(text, "restarted 2 after something, gave up");
            client.hears_close(Close::GAVE_UP);
            "socket closed 4000, told restarted, gave up".to_owned()
        }
        other => panic!("{other:?}"),
    }
}
