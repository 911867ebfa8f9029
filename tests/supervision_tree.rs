//! The tree above single actors: who is started again with whom, what a spent budget costs at each level, how a node's
//! actors are stopped, and that the drawing in the README is the tree that is started.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::prelude::*;
use dormouse::{
    clock::Clock,
    supervision::{
        self, Backoff, Child, ChildSpec, ChildState, Children, Exit, Policy, Restart, Strategy, SupervisorSpec,
    },
};
use tokio::sync::oneshot;

const WITHIN: Duration = Duration::from_secs(3_600);

fn root() -> Children {
    supervision::install();
    Children::new(Clock::start(), 7)
}

fn branch(name: &'static str, strategy: Strategy, children_that_give_up: u32) -> SupervisorSpec {
    SupervisorSpec { name, strategy, policy: Policy::new(children_that_give_up, WITHIN) }
}

fn spec(name: &str, restart: Restart, max_restarts: u32) -> ChildSpec {
    ChildSpec { restart, ..ChildSpec::transient(name, Policy::new(max_restarts, WITHIN)) }
}

/// What all workers of a test have done, in order.
type Diary = Arc<Mutex<Vec<String>>>;

struct Worker {
    name: &'static str,
    diary: Diary,
    /// Forgotten by a restart.
    memory: Vec<u32>,
    stays: bool,
}

impl Worker {
    fn new(name: &'static str, diary: &Diary) -> Self {
        Self { name, diary: Arc::clone(diary), memory: Vec::new(), stays: false }
    }

    fn write(&self, what: &str) {
        self.diary.lock().expect("whole").push(format!("{} {what}", self.name));
    }
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.write("stopping");
        if self.stays { Running::Continue } else { Running::Stop }
    }
}

impl Supervised for Worker {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.write("restarting");
        self.memory.clear();
    }
}

#[derive(Message)]
#[rtype(result = "Vec<u32>")]
struct Remember(u32);

#[derive(Message)]
#[rtype(result = "()")]
enum Do {
    Panic,
    Stop,
    /// Refuse to stop.
    Stay,
}

impl Handler<Remember> for Worker {
    type Result = Vec<u32>;

    fn handle(&mut self, Remember(number): Remember, _: &mut Self::Context) -> Vec<u32> {
        self.memory.push(number);
        self.write(&format!("{number}"));
        self.memory.clone()
    }
}

impl Handler<Do> for Worker {
    type Result = ();

    fn handle(&mut self, order: Do, ctx: &mut Self::Context) {
        match order {
            Do::Panic => panic!("asked to panic"),
            Do::Stop => ctx.stop(),
            Do::Stay => self.stays = true,
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

async fn running(children: &Children, name: &str, restarts: u64) {
    until(children, name, |child| child.restarts == restarts && child.state == ChildState::Running).await;
}

#[actix_rt::test]
async fn rest_for_one_restarts_a_child_that_gave_up_and_those_after_it_with_their_addresses_and_queues() {
    let (root, diary) = (root(), Diary::default());
    let system = root.branch(branch("system", Strategy::RestForOne, 1));
    let start = |name| system.start_here(spec(name, Restart::Permanent, 0), || Worker::new(name, &diary));
    let [first, second, third] = ["first", "second", "third"].map(start);
    for worker in [&first, &second, &third] {
        assert_eq!(worker.send(Remember(1)).await, Ok(vec![1]));
    }
    let crash = second.send(Do::Panic);
    let queued = second.send(Remember(2));
    assert!(crash.await.is_err());
    assert_eq!(queued.await, Ok(vec![2]), "its queue stayed, its state did not");
    running(&root, "third", 1).await;
    assert_eq!(third.send(Remember(2)).await, Ok(vec![2]), "it is started again with the one it depends on");
    assert_eq!(first.send(Remember(2)).await, Ok(vec![1, 2]), "it does not depend on them");
    assert_eq!(system.branches(), []);
    assert_eq!(root.branches()[0].restarts, 1);
    // The supervisor's own budget is spent too, and the root has none.
    assert!(third.send(Do::Panic).await.is_err());
    assert_eq!(&*root.gave_up().await, "third");
    let child = root.get("third").expect("listed");
    assert!(matches!(child.last_exit, Some(Exit::GaveUp(_))), "{child:?}");
}

#[actix_rt::test]
async fn one_for_one_restarts_the_child_that_gave_up_alone() {
    let (root, diary) = (root(), Diary::default());
    let shards = root.branch(branch("shards", Strategy::OneForOne, 1));
    let start = |name| shards.start_here(spec(name, Restart::Permanent, 1), || Worker::new(name, &diary));
    let [first, second] = ["first", "second"].map(start);
    assert_eq!(second.send(Remember(1)).await, Ok(vec![1]));
    for crashes in 1..=3 {
        assert!(first.send(Do::Panic).await.is_err());
        running(&root, "first", crashes).await;
    }
    assert_eq!(second.send(Remember(2)).await, Ok(vec![1, 2]));
    assert_eq!(root.get("second").map(|child| child.restarts), Some(0));
    assert!(first.send(Do::Panic).await.is_err());
    assert_eq!(&*root.gave_up().await, "first", "two budgets of one, and the supervisor's one");
}

#[actix_rt::test]
async fn a_supervisor_that_gives_up_is_restarted_whole_by_its_own_supervisor() {
    let (root, diary) = (root(), Diary::default());
    let upper = root.branch(branch("upper", Strategy::RestForOne, 1));
    let lower = upper.branch(branch("lower", Strategy::OneForOne, 0));
    let start = |children: &Children, name| {
        children.start_here(spec(name, Restart::Permanent, 0), || Worker::new(name, &diary))
    };
    let (a, b) = (start(&lower, "a"), start(&lower, "b"));
    let after = start(&upper, "after");
    for worker in [&a, &b, &after] {
        assert_eq!(worker.send(Remember(1)).await, Ok(vec![1]));
    }
    assert!(a.send(Do::Panic).await.is_err());
    for name in ["a", "b", "after"] {
        running(&root, name, 1).await;
    }
    for worker in [&a, &b, &after] {
        assert_eq!(worker.send(Remember(2)).await, Ok(vec![2]));
    }
    assert!(b.send(Do::Panic).await.is_err());
    assert_eq!(&*root.gave_up().await, "b");
}

#[actix_rt::test]
async fn a_permanent_child_that_stops_by_itself_is_started_again_a_temporary_one_never() {
    let (root, diary) = (root(), Diary::default());
    let permanent = root.start_here(spec("permanent", Restart::Permanent, 1), || Worker::new("permanent", &diary));
    assert_eq!(permanent.send(Remember(1)).await, Ok(vec![1]));
    permanent.send(Do::Stop).await.expect("answered, then stopped");
    running(&root, "permanent", 1).await;
    assert_eq!(root.get("permanent").and_then(|child| child.last_exit), Some(Exit::Normal));
    assert_eq!(permanent.send(Remember(2)).await, Ok(vec![2]));
    let temporary = root.start_here(spec("temporary", Restart::Temporary, 9), || Worker::new("temporary", &diary));
    assert!(temporary.send(Do::Panic).await.is_err());
    let ended = until(&root, "temporary", |child| child.state == ChildState::Ended).await;
    assert!(matches!(ended.last_exit, Some(Exit::Crash(_))) && ended.restarts == 0, "{ended:?}");
    assert!(!temporary.connected());
    assert_eq!(permanent.send(Remember(3)).await, Ok(vec![2, 3]), "nobody was told");
}

#[actix_rt::test]
async fn children_stop_in_the_reverse_order_of_their_start_and_handle_what_is_queued_first() {
    let (root, diary) = (root(), Diary::default());
    let system = root.branch(branch("system", Strategy::RestForOne, 0));
    let start = |children: &Children, name| {
        children.start_here(spec(name, Restart::Permanent, 0), || Worker::new(name, &diary))
    };
    let workers = [start(&system, "writer"), start(&system, "link"), start(&root, "last")];
    for worker in &workers {
        worker.try_send(Remember(1)).expect("room");
        worker.try_send(Remember(2)).expect("room");
    }
    assert!(root.stop().await.is_empty());
    let told: Vec<_> = diary.lock().expect("whole").iter().filter(|line| line.ends_with("stopping")).cloned().collect();
    assert_eq!(told, ["last stopping", "link stopping", "writer stopping"]);
    assert_eq!(diary.lock().expect("whole").len(), 9, "each has handled its two messages");
    for child in root.list() {
        assert_eq!((child.state, child.last_exit), (ChildState::Ended, Some(Exit::Shutdown)));
    }
    assert!(workers.iter().all(|worker| !worker.connected()));
}

#[actix_rt::test]
async fn a_child_that_will_not_stop_is_abandoned_after_its_time_and_the_others_are_stopped() {
    let (root, diary) = (root(), Diary::default());
    let first = root.start_here(spec("first", Restart::Permanent, 0), || Worker::new("first", &diary));
    let stubborn = ChildSpec { shutdown: Duration::from_millis(1), ..spec("stubborn", Restart::Permanent, 0) };
    let stays = root.start_here(stubborn, || Worker::new("stubborn", &diary));
    stays.send(Do::Stay).await.expect("handled");
    assert_eq!(root.stop().await, ["stubborn".into()]);
    assert!(!first.connected());
    until(&root, "stubborn", |child| child.state == ChildState::Ended).await;
    assert!(!stays.connected(), "it lives on its own thread's time no longer than that thread looks at it");
}

#[actix_rt::test]
async fn a_child_that_waits_for_its_restart_is_stopped_at_once() {
    let (root, diary) = (root(), Diary::default());
    let policy = Policy { backoff: Backoff { first: WITHIN, most: WITHIN }, ..Policy::new(9, WITHIN) };
    let waits = ChildSpec { policy, ..spec("waits", Restart::Permanent, 0) };
    let worker = root.start_here(waits, || Worker::new("waits", &diary));
    for _ in 0..2 {
        assert!(worker.send(Do::Panic).await.is_err());
    }
    until(&root, "waits", |child| child.restarts == 2 && child.state == ChildState::Restarting).await;
    assert!(root.stop().await.is_empty());
    assert!(!worker.connected());
}

#[actix_rt::test]
async fn chaos_panics_any_child_by_its_name_and_its_queue_stays() {
    let (root, diary) = (root(), Diary::default());
    let (told, heard) = oneshot::channel();
    let worker = root.start_here(spec("worker", Restart::Permanent, 1), || {
        let _ = told.send(());
        Worker::new("worker", &diary)
    });
    heard.await.expect("made");
    assert_eq!(worker.send(Remember(1)).await, Ok(vec![1]));
    assert!(root.crash("worker") && !root.crash("nobody"));
    assert_eq!(worker.send(Remember(2)).await, Ok(vec![2]));
    running(&root, "worker", 1).await;
    let Some(Exit::Crash(report)) = root.get("worker").and_then(|child| child.last_exit) else { panic!("no crash") };
    assert_eq!(&*report.message, "chaos: asked to panic");
    assert!(root.crash("worker"));
    until(&root, "worker", |child| child.state == ChildState::Ended).await;
    assert!(!root.crash("worker"), "it has ended");
}
