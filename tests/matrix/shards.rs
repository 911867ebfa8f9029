//! The cells of shards: what their clients see of a panic outside every turn.

use std::time::Duration;

use dormouse::{
    shard::{Act, Action, CrashShard, Fault as Injected, Options, Target},
    supervision::{ChildState, Exit, Policy},
};

use crate::{
    Cell, Fault, Spent,
    diary::Words,
    engine::{Engine, options},
};

const STALL: Duration = Duration::from_millis(400);

pub(crate) async fn observe(fault: Fault, spent: Spent, full: bool) -> Cell {
    match fault {
        Fault::Job => Err("jobs belong to connections"),
        Fault::Started | Fault::Restarting => Err("runs no code of a behaviour outside a catch"),
        Fault::Wake | Fault::Sleep => Err("a shard keeps its tables; a turn's panic ends at the turn"),
        Fault::Drop => Err("its thread ends with the node"),
        Fault::Stall if spent != Spent::First => Err("a stall is no crash: it spends nothing of the shard"),
        Fault::Stall => Ok(stall(full).await),
        Fault::Handler | Fault::Spawned => Ok(crash(fault, spent, full).await),
    }
}

async fn crash(fault: Fault, spent: Spent, full: bool) -> String {
    let engine = Engine::start(2);
    let (mut client, mut bystander) = (engine.connect("a").await, engine.connect("b").await);
    let (mut victim, mut told) = (engine.connect("victim").await, "");
    client.say_all(&["key k", "note one", "hold"]);
    client.hears(["locked", "noted one", "held"]);
    let shard = client.id.shard();
    assert_eq!(victim.id.shard(), shard);
    let name = format!("shard-{shard}");
    // A shard has more restarts than the other children here.
    let crashes = match spent {
        Spent::First => 1,
        Spent::Within => Policy::shard().max_restarts,
        Spent::Beyond => Policy::shard().max_restarts + 1,
    };
    for crash in 1..=u64::from(crashes) {
        if full && crash == u64::from(crashes) {
            assert_eq!(engine.offer(client.id, ["e1", "e2"].map(Words::event)).await, 0);
        }
        match fault {
            Fault::Handler => {
                // A record whose drop panics does so in the handler of the order that replaced it.
                engine.fault(victim.id, "arm").await;
                victim.hears(["armed"]);
                engine.settings.faults.lock().expect("whole").push("explode".to_owned());
                let action = Action::Fault(Injected::StallInJob(Duration::ZERO));
                let order = Act { target: Target::Connection(victim.id), action };
                assert!(engine.shards.ask(shard, order).await.is_err(), "who ordered it is not answered");
                told = ", the one it was serving is told `restarted`";
            }
            _ => engine.shards.ask(shard, CrashShard).await.expect("accepted"),
        }
        let over = |state| matches!(state, ChildState::Running | ChildState::Ended);
        let there = || engine.children.get(&name).expect("listed");
        while there().restarts < crash && there().state != ChildState::Ended || !over(there().state) {
            tokio::task::yield_now().await;
        }
        if fault == Fault::Handler && there().state == ChildState::Running {
            victim.hears(["half".to_owned(), format!("restarted {} after nothing", crash + 1)]);
        }
    }
    bystander.say("read");
    bystander.hears(["notes [] generation 1"]);
    let child = engine.children.get(&name).expect("listed");
    if spent == Spent::Beyond {
        assert!(matches!(child.last_exit, Some(Exit::GaveUp(_))), "{child:?}");
        assert_eq!(*engine.children.gave_up().await, *name);
        assert!(engine.shards.ask(shard, CrashShard).await.is_err(), "its address is closed");
        return "gives up; the node leaves in order: other shards' clients are asked to reconnect, exit 1".to_owned();
    }
    engine.tell(&client, [Words::notice("release")]);
    client.hears(["released"]);
    if full {
        client.hears(["e1", "e2"]);
    }
    client.say("read");
    client.hears(["notes [one] generation 1"]);
    let view = engine.inspect(client.id).await.expect("the address answers");
    assert_eq!(view.generation, 1);
    assert_eq!(u32::try_from(child.restarts), Ok(crashes));
    engine.finish().await;
    format!("address, sockets, sessions and queues kept; clients are told nothing{told}")
}

async fn stall(full: bool) -> String {
    let engine = Engine::with(2, Options { turn_stall: STALL, ..options() });
    let (mut client, mut bystander) = (engine.connect("a").await, engine.connect("b").await);
    client.say("stall");
    engine.settings.gate.wait();
    if full {
        engine.tell(&client, ["e1", "e2"].map(Words::event));
    }
    let found = engine.stalled().await;
    assert_eq!(*found[0].shard, *format!("shard-{}", client.id.shard()));
    bystander.say("read");
    bystander.hears(["notes [] generation 1"]);
    engine.settings.gate.wait();
    client.hears(["restarted 2 after frame stall"]);
    if full {
        client.hears(["e1", "e2"]);
    }
    let mut late = engine.connect("late").await;
    late.close(1000);
    assert_eq!(late.hear(), crate::client::Heard::Close(1000, String::new()));
    assert_eq!(engine.children.get("shard-0").map(|shard| shard.restarts), Some(0));
    engine.finish().await;
    "reported while it hangs, other shards serve on; then goes on with everything that waited".to_owned()
}
