//! The parts of the engine one by one, so that a change that costs something shows before it is felt: codec, a turn alone,
//! wake and sleep, a full mailbox, fan-out, spawn, crash and restart. All through what the crate shows to others.
//!
//! `cargo bench -p dormouse-bench --bench engine` compares with the run before; `-- --quick` takes seconds for each, and
//! `-- wake` runs one group. No socket and no system call: what the kernel costs is measured by `bench/run`.

#![expect(clippy::expect_used, reason = "a measurement that cannot go on says where and stops")]

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{
    BatchSize, Criterion as AnyCriterion, Throughput, criterion_group, criterion_main,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use dormouse::{
    clock::Clock,
    config::Config,
    connection::{ConnectionActor, Opening, Record, Settings},
    id::ConnectionId,
    protocol::encoding::{Encoding, Payload},
    shard::{Behaviour, Mail, Turn},
    supervision::Crashes,
    websocket::{Reader, Terms, frame},
};
use dormouse_actors::{Company, thread_time};

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What a publish of the protocol looks like.
const TERMS: Terms = Terms { max_message: 65_536, compressed: false };
const TEXT: &str =
    r#"{"op":"publish","id":4711,"channel":"chat:lobby","data":{"text":"hello, this is dormouse, 98 b"}}."#;
const HEARTBEAT: &str = r#"{"op":"heartbeat"}"#;
const WHOAMI: &str = r#"{"op":"whoami","id":1}"#;
const PANIC: &str = r#"{"op":"chaos","fault":"panic"}"#;

/// Actors of a company, and members of each of its channels.
const PEOPLE: usize = 100_000;
const MEMBERS: usize = 1_000;
/// Who does something at the same moment.
const AT_ONCE: usize = 256;

/// Processor time of the one thread, so that a busy machine is not taken for a slower engine.
struct ThreadTime;

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        thread_time()
    }

    fn end(&self, began: Duration) -> Duration {
        thread_time() - began
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, time: &Duration) -> f64 {
        time.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

type Criterion = AnyCriterion<ThreadTime>;

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    let mut sent = Vec::new();
    frame::write_text(&mut sent, TEXT.as_bytes());
    let mut read = vec![sent[0], sent[1] | 0x80, 1, 2, 3, 4];
    read.extend(sent[2..].iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key));
    let read = read.repeat(600);
    group.throughput(Throughput::Elements(600));
    group.bench_function("read, 98-byte texts", |bencher| {
        bencher.iter_batched_ref(
            || (Reader::default(), read.clone()),
            |(reader, input)| {
                let mut consumed = 0;
                while let Some(message) = reader.next(input, &mut consumed, TERMS).expect("whole frames") {
                    black_box(message);
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.throughput(Throughput::Elements(1));
    let mut written = Vec::new();
    group.bench_function("write, a 98-byte text", |bencher| {
        bencher.iter(|| {
            written.clear();
            frame::write_text(&mut written, black_box(TEXT.as_bytes()));
        });
    });
}

/// Record, context and time of turns without a shard.
fn identified() -> (Record, Turn<ConnectionActor>) {
    let clock = Clock::start();
    let settings = Settings::new(&Config::default(), "bench".to_owned()).expect("open mode reads no keys");
    let mut turn = Turn::<ConnectionActor>::new(Arc::new(settings), [7; 32]);
    let opening = Opening { encoding: Some(Encoding::Json), token: Some("ann".to_owned()), subscribe: Vec::new() };
    turn.begin(clock.now(), ConnectionId::new(0, 0, 1), 1);
    let mut actor = ConnectionActor::wake(ConnectionActor::open(&opening, clock.now()));
    actor.receive(Mail::Opened(&opening), &mut turn);
    (actor.sleep(), turn)
}

fn turn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("turn");
    for (name, text) in [("heartbeat", HEARTBEAT), ("whoami", WHOAMI)] {
        let (record, mut turn) = identified();
        let now = turn.now();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                turn.begin(now, ConnectionId::new(0, 0, 1), 1);
                let mut actor = ConnectionActor::wake(record.clone());
                actor.receive(Mail::Frame(Payload::Text(black_box(text))), &mut turn);
                (actor.sleep(), turn.take_output())
            });
        });
    }
}

/// A company whose actors may crash as often as they like.
fn company(people: usize, members: usize) -> Company {
    let mut config = Company::config();
    config.supervision.within = Duration::from_millis(1);
    let mut company =
        Company::new(&config, people / members, Clock::start(), Crashes::default()).expect("a shard of its own");
    let openings = company.openings(people, true);
    company.open(openings);
    company
}

/// Everybody in turn, far from each other, `AT_ONCE` at a time.
fn somebody(company: &Company, round: &mut u32) -> impl Iterator<Item = u32> + use<> {
    let (people, first) = (company.people(), *round * 7);
    *round = round.wrapping_add(1);
    (0..AT_ONCE as u32).map(move |nth| (first + nth * (people / AT_ONCE as u32)) % people)
}

fn wake(criterion: &mut Criterion) {
    let mut company = company(PEOPLE, MEMBERS);
    for (group, name, text) in [("wake", "a heartbeat", HEARTBEAT), ("crash", "a panic, and the restart", PANIC)] {
        let (mut group, mut round) = (criterion.benchmark_group(group), 0);
        company.say(text);
        group.throughput(Throughput::Elements(AT_ONCE as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let people = somebody(&company, &mut round);
                company.speak(people).expect("everybody is there");
            });
        });
    }
}

fn deliver(criterion: &mut Criterion) {
    for (group, name, members, at_once) in [
        ("fan-out", "to 1,000 asleep", MEMBERS, 1),
        ("fan-out", "to 1,000, 16 at once", MEMBERS, 16),
        ("mailbox", "64 to one", 1, 64),
        ("mailbox", "one to one", 1, 1),
    ] {
        let people = if members == 1 { MEMBERS } else { PEOPLE };
        let (mut company, mut channel) = (company(people, members), 0);
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Elements((members * at_once) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                channel = (channel + 1) % company.channels();
                company.publish(channel, at_once).expect("a channel");
            });
        });
    }
}

fn spawn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spawn");
    group.throughput(Throughput::Elements(AT_ONCE as u64));
    for (name, with_session) in [("bare", false), ("with a session", true)] {
        group.bench_function(name, |bencher| {
            let mut config = Company::config();
            config.chaos.enabled = false;
            let mut company =
                Company::new(&config, 100, Clock::start(), Crashes::default()).expect("a shard of its own");
            bencher.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let openings = company.openings(AT_ONCE, with_session);
                    let began = thread_time();
                    company.open(openings);
                    took += thread_time() - began;
                }
                took
            });
        });
    }
}

criterion_group! {
    name = engine;
    config = AnyCriterion::default().with_measurement(ThreadTime);
    targets = codec, turn, wake, deliver, spawn
}
criterion_main!(engine);
