//! Actors under supervision are crashed in every way they can be, and must keep their address, their queue and its order,
//! or give up when their budget says so. Also what the panic hook lets through, and that this build unwinds.

use std::{
    cell::Cell,
    future::pending,
    panic,
    sync::{Arc, Mutex, Once, PoisonError},
    time::Duration,
};

use actix::prelude::*;
use dormouse::{
    clock::Clock,
    supervision::{self, Backoff, Child, ChildSpec, ChildState, Children, Exit, Policy},
};
use tokio::sync::oneshot;

const WITHIN: Duration = Duration::from_secs(3_600);

thread_local! {
    static PRINTED: Cell<usize> = const { Cell::new(0) };
}

/// Installs the hook above one that counts what would be printed.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let printing = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PRINTED.set(PRINTED.get() + 1);
            printing(info);
        }));
        supervision::install();
    });
}

fn children() -> Children {
    install();
    Children::new(Clock::start(), 1)
}

fn policy(max_restarts: u32) -> Policy {
    Policy::new(max_restarts, WITHIN)
}

fn spec(name: &str, policy: Policy) -> ChildSpec {
    ChildSpec::transient(name, policy)
}

/// Lets the arbiter work until the child is as wanted.
async fn until(children: &Children, name: &str, wanted: impl Fn(&Child) -> bool) -> Child {
    loop {
        match children.get(name) {
            Some(child) if wanted(&child) => return child,
            _ => tokio::task::yield_now().await,
        }
    }
}

async fn ended(children: &Children, name: &str) -> Child {
    until(children, name, |child| child.state == ChildState::Ended).await
}

/// Where the actor panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Handler,
    Spawned,
    Waited,
    Started,
    Restarting,
    Stopping,
}

impl Place {
    const RESTARTABLE: [Self; 5] = [Self::Handler, Self::Spawned, Self::Waited, Self::Started, Self::Restarting];

    /// The fault's own message is answered before its future panics.
    fn is_future(self) -> bool {
        matches!(self, Self::Spawned | Self::Waited)
    }
}

/// What outlives the actor's state: the test's view, and the faults still to come.
#[derive(Clone, Debug, Default)]
struct Seen {
    numbers: Vec<u32>,
    started: u64,
    restarting: u64,
    stopping: u64,
    faults: Vec<Place>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Seen>>);

impl Shared {
    fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn panic_if_due(&self, place: Place) {
        let due = self.with(|seen| seen.faults.pop_if(|fault| *fault == place).is_some());
        assert!(!due, "a fault in {place:?}");
    }
}

struct Victim {
    shared: Shared,
    /// Mended by `restarting`; messages must never see what a crash left here.
    broken: bool,
}

impl Victim {
    fn new(shared: &Shared) -> Self {
        Self { shared: shared.clone(), broken: false }
    }
}

impl Actor for Victim {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.shared.with(|seen| seen.started += 1);
        self.shared.panic_if_due(Place::Started);
        ctx.spawn(pending::<()>().into_actor(self));
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.shared.with(|seen| seen.stopping += 1);
        self.shared.panic_if_due(Place::Stopping);
        Running::Stop
    }
}

impl Supervised for Victim {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.shared.with(|seen| seen.restarting += 1);
        self.shared.panic_if_due(Place::Restarting);
        self.broken = false;
    }
}

/// Is noted.
#[derive(Message)]
#[rtype(result = "()")]
struct Number(u32);

impl Handler<Number> for Victim {
    type Result = ();

    fn handle(&mut self, Number(number): Number, _: &mut Self::Context) {
        assert!(!self.broken, "a message met the state of the actor that crashed");
        self.shared.with(|seen| seen.numbers.push(number));
    }
}

/// Makes the next `times` visits to a place panic, and goes there. To `started` and `restarting` the way leads through a
/// panic of this message's handler.
#[derive(Message)]
#[rtype(result = "()")]
struct Fault {
    place: Place,
    times: usize,
}

impl Handler<Fault> for Victim {
    type Result = ();

    fn handle(&mut self, Fault { place, times }: Fault, ctx: &mut Self::Context) {
        self.shared.with(|seen| seen.faults.extend(vec![place; times]));
        let shared = self.shared.clone();
        let crash = async move {
            tokio::task::yield_now().await;
            shared.panic_if_due(place);
        };
        match place {
            Place::Handler => {
                self.broken = true;
                self.shared.panic_if_due(place);
            }
            Place::Spawned => drop(ctx.spawn(crash.into_actor(self))),
            Place::Waited => ctx.wait(crash.into_actor(self)),
            Place::Started | Place::Restarting => {
                self.broken = true;
                panic!("on the way to {place:?}");
            }
            Place::Stopping => ctx.stop(),
        }
    }
}

#[actix_rt::test]
async fn a_crashed_actor_keeps_its_address_and_its_queued_messages_in_order() {
    for place in Place::RESTARTABLE {
        for backoff in [Backoff::NONE, Backoff { first: Duration::from_millis(1), most: Duration::from_millis(2) }] {
            let (children, shared) = (children(), Shared::default());
            let policy = Policy { backoff, ..policy(3) };
            let address = children.start_here(spec("victim", policy), || Victim::new(&shared));
            // Two crashes on the way back to work, where that is possible: three in all, just within the budget.
            let (times, restarts, starts) = match place {
                Place::Started => (2, 3, 4),
                Place::Restarting => (2, 3, 2),
                _ => (1, 1, 2),
            };
            // Nothing runs before the first await: all of these are queued when the fault strikes.
            address.try_send(Number(1)).expect("room");
            let fault = address.send(Fault { place, times });
            for number in 2..=5 {
                address.try_send(Number(number)).expect("room");
            }
            assert_eq!(fault.await.is_ok(), place.is_future(), "{place:?}: a handler that panics owes its answer");
            let child =
                until(&children, "victim", |child| child.restarts == restarts && child.state == ChildState::Running);
            let child = child.await;
            address.send(Number(6)).await.expect("the address is valid");
            let seen = shared.with(|seen| seen.clone());
            assert_eq!(seen.numbers, [1, 2, 3, 4, 5, 6], "{place:?}");
            assert_eq!((seen.restarting, seen.started), (restarts, starts), "{place:?}");
            let Some(Exit::Crash(report)) = child.last_exit else { panic!("{place:?}: {child:?}") };
            assert!(report.place.starts_with("tests/supervision.rs:"), "{report}");
        }
    }
}

#[actix_rt::test]
async fn an_actor_whose_budget_is_spent_closes_its_address_and_tells() {
    for place in Place::RESTARTABLE {
        let (children, shared) = (children(), Shared::default());
        let address = children.start_here(spec("victim", policy(3)), || Victim::new(&shared));
        for crashes in 1..=4 {
            let _ = address.send(Fault { place, times: 1 }).await;
            if place.is_future() {
                let crashed = |child: &Child| child.restarts == crashes || child.state == ChildState::Ended;
                until(&children, "victim", crashed).await;
            }
        }
        let child = ended(&children, "victim").await;
        assert_eq!(child.restarts, 3, "{place:?}");
        assert!(matches!(child.last_exit, Some(Exit::GaveUp(_))), "{place:?}: {child:?}");
        assert!(matches!(address.send(Number(9)).await, Err(MailboxError::Closed)), "{place:?}");
        assert_eq!(&*children.gave_up().await, "victim");
        assert_eq!(shared.with(|seen| seen.stopping), 0, "{place:?}: nothing more runs on a crashed state");
    }
}

#[actix_rt::test]
async fn an_actor_that_crashes_at_every_start_gives_up_and_frees_who_waits() {
    for place in [Place::Started, Place::Restarting] {
        let (children, shared) = (children(), Shared::default());
        let backoff = Backoff { first: Duration::from_millis(1), most: Duration::from_millis(1) };
        let address = children.start_here(spec("victim", Policy { backoff, ..policy(5) }), || Victim::new(&shared));
        let fault = address.send(Fault { place, times: 100 });
        let waiting = address.send(Number(1));
        assert!(fault.await.is_err());
        assert_eq!(&*children.gave_up().await, "victim");
        assert!(matches!(waiting.await, Err(MailboxError::Closed)), "{place:?}");
        assert_eq!(shared.with(|seen| seen.faults.len()), 95, "{place:?}: each of five restarts crashed");
    }
}

#[actix_rt::test]
async fn one_child_that_gives_up_leaves_the_others_alone() {
    let (children, shared) = (children(), Shared::default());
    let victim = children.start_here(spec("victim", policy(0)), || Victim::new(&Shared::default()));
    let other = children.start_here(spec("other", policy(0)), || Victim::new(&shared));
    assert!(victim.send(Fault { place: Place::Handler, times: 1 }).await.is_err());
    assert_eq!(&*children.gave_up().await, "victim");
    other.send(Number(1)).await.expect("still there");
    let states: Vec<_> = children.list().into_iter().map(|child| (child.name.to_string(), child.state)).collect();
    assert_eq!(states, [("victim".to_owned(), ChildState::Ended), ("other".to_owned(), ChildState::Running)]);
}

#[actix_rt::test]
async fn an_actor_that_stops_by_itself_is_not_started_again() {
    let (children, shared) = (children(), Shared::default());
    let address = children.start_here(spec("victim", policy(5)), || Victim::new(&shared));
    address.send(Fault { place: Place::Stopping, times: 0 }).await.expect("answered, then stopped");
    assert_eq!(ended(&children, "victim").await.last_exit, Some(Exit::Normal));
    assert!(!address.connected());
    let again = children.start_here(spec("victim", policy(5)), || Victim::new(&shared));
    again.send(Number(1)).await.expect("a new actor under the old name");
    assert_eq!(children.list().len(), 1);
}

#[actix_rt::test]
async fn an_actor_that_panics_while_stopping_has_ended() {
    let (children, shared) = (children(), Shared::default());
    let address = children.start_here(spec("victim", policy(5)), || Victim::new(&shared));
    address.send(Fault { place: Place::Stopping, times: 1 }).await.expect("answered, then stopped");
    let child = ended(&children, "victim").await;
    assert!(matches!(child.last_exit, Some(Exit::Crash(_))), "{child:?}");
    assert_eq!(child.restarts, 0);
}

struct Idle;

impl Actor for Idle {
    type Context = Context<Self>;
}

impl Supervised for Idle {}

#[actix_rt::test]
async fn an_actor_without_addresses_ends_as_shut_down() {
    let children = children();
    drop(children.start_here(spec("idle", policy(5)), || Idle));
    assert_eq!(ended(&children, "idle").await.last_exit, Some(Exit::Shutdown));
}

#[actix_rt::test]
async fn an_actor_on_another_arbiter_is_supervised_there() {
    let (children, shared) = (children(), Shared::default());
    let arbiter = Arbiter::new();
    let made = shared.clone();
    let address = children.start(&arbiter.handle(), spec("far", policy(5)), move || Victim::new(&made));
    for round in 0..3 {
        assert!(address.send(Fault { place: Place::Handler, times: 1 }).await.is_err());
        address.send(Number(round)).await.expect("the address is valid");
    }
    assert_eq!(shared.with(|seen| seen.numbers.clone()), [0, 1, 2]);
    assert_eq!(children.get("far").map(|child| child.restarts), Some(3));
    // Its `stopping` panics when the arbiter drops it; the thread must end in order all the same.
    shared.with(|seen| seen.faults.push(Place::Stopping));
    arbiter.stop();
    arbiter.join().expect("the thread did not panic");
    assert_eq!(shared.with(|seen| seen.faults.len()), 0, "it was told");
    assert_eq!(children.get("far").and_then(|child| child.last_exit), Some(Exit::Shutdown));
}

#[actix_rt::test]
async fn an_actor_started_on_an_arbiter_that_has_ended_is_closed_from_the_beginning() {
    let (children, arbiter) = (children(), Arbiter::new());
    let handle = arbiter.handle();
    arbiter.stop();
    arbiter.join().expect("ends");
    let address = children.start(&handle, spec("late", policy(5)), || Idle);
    assert!(!address.connected());
    assert_eq!(children.get("late").map(|child| child.state), Some(ChildState::Ended));
}

#[actix_rt::test]
async fn an_actor_that_cannot_be_made_has_given_up() {
    let children = children();
    let address = children.start_here(spec("stillborn", policy(5)), || -> Idle { panic!("cannot be made") });
    assert!(!address.connected());
    assert_eq!(&*children.gave_up().await, "stillborn");
}

/// Keeps the sender in one future and crashes in another.
#[derive(Message)]
#[rtype(result = "()")]
struct Keep(oneshot::Sender<()>);

impl Handler<Keep> for Idle {
    type Result = ();

    fn handle(&mut self, Keep(sender): Keep, ctx: &mut Self::Context) {
        let kept = async move {
            pending::<()>().await;
            drop(sender);
        };
        ctx.spawn(kept.into_actor(self));
        ctx.spawn(async { panic!("beside it") }.into_actor(self));
    }
}

#[actix_rt::test]
async fn a_crash_drops_the_futures_the_actor_had_spawned() {
    let children = children();
    let address = children.start_here(spec("idle", policy(1)), || Idle);
    let (sender, receiver) = oneshot::channel();
    address.send(Keep(sender)).await.expect("handled");
    assert!(receiver.await.is_err(), "the future was dropped with what it held");
    assert!(address.connected());
}

#[test]
fn only_panics_that_nobody_of_ours_catches_are_printed() {
    install();
    let printed = |work: &dyn Fn()| {
        PRINTED.set(0);
        work();
        PRINTED.get()
    };
    assert_eq!(printed(&|| drop(supervision::catch(|| panic!("caught")))), 0);
    assert_eq!(printed(&|| drop(panic::catch_unwind(|| panic!("printed")))), 1);
    assert_eq!(printed(&|| drop(supervision::catch(|| panic!("caught")))), 0);
}

#[test]
fn this_build_unwinds_and_its_panics_can_be_caught() {
    install();
    const { assert!(cfg!(panic = "unwind"), "with panic = \"abort\" one crashed turn would end the process") };
    let report = supervision::catch(|| std::hint::black_box([1, 2, 3])[std::hint::black_box(3)]).expect_err("panics");
    assert_eq!(&*report.message, "index out of bounds: the len is 3 but the index is 3");
    assert!(report.place.starts_with("tests/supervision.rs:"), "{report}");
}
