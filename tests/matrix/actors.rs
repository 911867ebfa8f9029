//! The cells of system actors, with an actor of the test's own, and of the watchdog.

use std::{
    future::pending,
    sync::{Arc, Barrier, Mutex},
    time::Duration,
};

use actix::prelude::*;
use dormouse::{
    clock::Clock,
    supervision::{
        self, Child, ChildSpec, ChildState, Children, Exit, Policy, Restart, Strategy, SupervisorSpec, Watchdog,
    },
};

use crate::{Cell, Fault, Spent};

const WITHIN: Duration = Duration::from_secs(3_600);

fn tree() -> (Children, Children) {
    supervision::install();
    let root = Children::new(Clock::start(), 1);
    let policy = Policy::new(0, WITHIN);
    let system = root.branch(SupervisorSpec { name: "system", strategy: Strategy::RestForOne, policy });
    (root, system)
}

/// Faults still to come, where the actor cannot lose them.
type Faults = Arc<Mutex<Vec<Fault>>>;

struct Part {
    faults: Faults,
    gate: Arc<Barrier>,
    memory: Vec<u32>,
}

impl Part {
    fn panic_if_due(faults: &Faults, place: Fault) {
        let due = faults.lock().expect("whole").pop_if(|fault| *fault == place).is_some();
        assert!(!due, "a fault in {place:?}");
    }
}

impl Actor for Part {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        Self::panic_if_due(&self.faults, Fault::Started);
        ctx.spawn(pending::<()>().into_actor(self));
    }
}

impl Supervised for Part {
    fn restarting(&mut self, _: &mut Self::Context) {
        Self::panic_if_due(&self.faults, Fault::Restarting);
        self.memory.clear();
    }
}

#[derive(Message)]
#[rtype(result = "Vec<u32>")]
struct Remember(u32);

impl Handler<Remember> for Part {
    type Result = Vec<u32>;

    fn handle(&mut self, Remember(number): Remember, _: &mut Self::Context) -> Vec<u32> {
        self.memory.push(number);
        self.memory.clone()
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Go(Fault);

impl Handler<Go> for Part {
    type Result = ();

    fn handle(&mut self, Go(fault): Go, ctx: &mut Self::Context) {
        match fault {
            Fault::Spawned => {
                let faults = Arc::clone(&self.faults);
                ctx.spawn(async move { Self::panic_if_due(&faults, Fault::Spawned) }.into_actor(self));
            }
            Fault::Stall => {
                self.gate.wait();
                self.gate.wait();
            }
            Fault::Handler => Self::panic_if_due(&self.faults, Fault::Handler),
            _ => panic!("on the way to {fault:?}"),
        }
    }
}

async fn until(children: &Children, name: &str, wanted: impl Fn(&Child) -> bool) -> Child {
    loop {
        match children.get(name) {
            Some(child) if wanted(&child) => return child,
            _ => tokio::task::yield_now().await,
        }
    }
}

pub(crate) async fn system(fault: Fault, spent: Spent, full: bool) -> Cell {
    match fault {
        Fault::Job => return Err("jobs belong to connections"),
        Fault::Wake | Fault::Sleep => return Err("only connections sleep"),
        Fault::Stall if spent != Spent::First => return Err("a stall is no crash: it spends nothing"),
        Fault::Drop if spent != Spent::First => return Err("an actor is dropped once"),
        _ => {}
    }
    let (root, tree) = tree();
    let (faults, gate, arbiter) = (Faults::default(), Arc::new(Barrier::new(2)), Arbiter::new());
    let part = |gate: &Arc<Barrier>| {
        let (faults, gate) = (Arc::clone(&faults), Arc::clone(gate));
        move || Part { faults, gate, memory: Vec::new() }
    };
    let spec = |name| ChildSpec {
        restart: Restart::Permanent,
        ..ChildSpec::transient(name, Policy::new(Spent::ALLOWED, WITHIN))
    };
    let address = tree.start(&arbiter.handle(), spec("part"), part(&gate));
    let neighbour = tree.start(&arbiter.handle(), spec("neighbour"), || Part {
        faults: Faults::default(),
        gate: Arc::new(Barrier::new(2)),
        memory: Vec::new(),
    });
    assert_eq!(neighbour.send(Remember(1)).await, Ok(vec![1]));
    assert_eq!(address.send(Remember(1)).await, Ok(vec![1]));
    let cell = match fault {
        Fault::Stall => {
            let stalled = address.send(Go(Fault::Stall));
            let hanging = async {
                gate.wait();
                let waiting: Vec<_> = (2..=if full { 5 } else { 2 }).map(|n| address.send(Remember(n))).collect();
                gate.wait();
                waiting
            };
            let (stalled, waiting) = futures_util::future::join(stalled, hanging).await;
            stalled.expect("it ends");
            let last = futures_util::future::join_all(waiting).await.pop().expect("one at least");
            assert_eq!(last, Ok((1..=if full { 5 } else { 2 }).collect()));
            "its thread waits; address, queue and state kept".to_owned()
        }
        Fault::Drop => {
            drop(address);
            // Its own future keeps it until its thread looks at it; the neighbour's does not mind.
            arbiter.stop();
            let ended = until(&root, "part", |child| child.state == ChildState::Ended).await;
            assert_eq!(ended.last_exit, Some(Exit::Shutdown));
            arbiter.join().expect("its thread ends");
            return Ok("its thread ends: ended as shut down, nobody escalates".to_owned());
        }
        _ => crash(&root, &address, &faults, (fault, spent, full)).await,
    };
    assert_eq!(neighbour.send(Remember(2)).await, Ok(vec![1, 2]), "{fault:?}: the neighbour keeps its state");
    arbiter.stop();
    arbiter.join().expect("its thread ends");
    Ok(cell)
}

async fn crash(
    root: &Children,
    address: &Addr<Part>,
    faults: &Faults,
    (fault, spent, full): (Fault, Spent, bool),
) -> String {
    // On the way to `started` and `restarting` leads a crash of its own; both count.
    let twice = matches!(fault, Fault::Started | Fault::Restarting);
    let wanted = spent.crashes();
    let rounds = if twice { wanted.div_ceil(2) } else { wanted };
    let mut waiting = Vec::new();
    for round in 1..=rounds {
        faults.lock().expect("whole").push(fault);
        let crash = address.send(Go(fault));
        if full && round == rounds {
            waiting = (2..=5).map(|number| address.send(Remember(number))).collect();
        }
        assert_eq!(crash.await.is_ok(), fault == Fault::Spawned, "{fault:?}");
        let restarts = u64::from(if twice { 2 * round } else { round }).min(u64::from(Spent::ALLOWED));
        let settled = |child: &Child| {
            child.state == ChildState::Ended || (child.restarts == restarts && child.state == ChildState::Running)
        };
        // A spent budget shows as an end; every other crash as one more restart.
        if round == rounds && spent == Spent::Beyond {
            until(root, "part", |child| child.state == ChildState::Ended).await;
        } else {
            until(root, "part", settled).await;
        }
    }
    let answers = futures_util::future::join_all(waiting).await;
    let child = root.get("part").expect("listed");
    if child.state == ChildState::Ended {
        assert!(matches!(child.last_exit, Some(Exit::GaveUp(_))), "{child:?}");
        assert!(!address.connected());
        // A future runs behind the messages that are there already: those are answered before it panics.
        let freed = |answer: &Result<_, _>| *answer == Err(MailboxError::Closed) || fault == Fault::Spawned;
        assert!(answers.iter().all(freed), "who waits is freed");
        assert_eq!(&*root.gave_up().await, "part");
        return "gives up, its supervisor too: address closed, who waits is freed, the node leaves".to_owned();
    }
    if full {
        assert!(answers.iter().all(Result::is_ok), "each is answered once: {answers:?}");
        let kept = answers.last().expect("four").as_ref().expect("answered");
        // Where a future panics between two of them, the later ones meet the new state.
        let in_order = kept.ends_with(&[2, 3, 4, 5]) || (fault == Fault::Spawned && [2, 3, 4, 5].ends_with(kept));
        assert!(in_order, "{kept:?}");
    }
    let last = address.send(Remember(9)).await.expect("the address answers");
    // The future that panics runs after what was queued before it.
    assert!(!last.contains(&1), "the state is new");
    "address and queue kept, state built anew, neighbours untouched".to_owned()
}

pub(crate) async fn watchdog(fault: Fault, spent: Spent, full: bool) -> Cell {
    match fault {
        Fault::Handler => return Err("it takes no messages: its work is a timer"),
        Fault::Job => return Err("jobs belong to connections"),
        Fault::Started | Fault::Restarting => return Err("sets a timer, nothing that can panic"),
        Fault::Wake | Fault::Sleep => return Err("only connections sleep"),
        Fault::Stall => return Err("has a thread of its own, and nothing of others runs there"),
        Fault::Drop => return Err("lives as long as the node"),
        Fault::Spawned if full => return Err("it takes no messages"),
        Fault::Spawned => {}
    }
    let (root, tree) = tree();
    let (clock, arbiter) = (Clock::start(), Arbiter::new());
    let watchdog = Watchdog::start(&tree, &arbiter.handle(), clock, Duration::ZERO);
    let beat = watchdog.watch("shard-0");
    beat.begin(clock.micros(), 7, "frame");
    while watchdog.stalls() == 0 {
        tokio::task::yield_now().await;
    }
    let allowed = Policy::system().max_restarts;
    let crashes = match spent {
        Spent::First => 1,
        // All of them would wait for seconds; one cell does.
        Spent::Within => 4,
        Spent::Beyond => allowed + 1,
    };
    for crash in 1..=u64::from(crashes) {
        assert!(root.crash(Watchdog::NAME));
        let back = |child: &Child| child.restarts == crash && child.state == ChildState::Running;
        until(&root, Watchdog::NAME, |child| back(child) || child.state == ChildState::Ended).await;
    }
    if spent == Spent::Beyond {
        assert_eq!(&*root.gave_up().await, Watchdog::NAME);
        arbiter.stop();
        arbiter.join().expect("its thread ends");
        return Ok("gives up, its supervisor too: the node leaves".to_owned());
    }
    beat.end();
    while !watchdog.stalled_now().is_empty() {
        tokio::task::yield_now().await;
    }
    beat.begin(clock.micros(), 8, "job");
    while watchdog.stalls() < 2 {
        tokio::task::yield_now().await;
    }
    arbiter.stop();
    arbiter.join().expect("its thread ends");
    Ok("looks on; what it told is not told again".to_owned())
}
