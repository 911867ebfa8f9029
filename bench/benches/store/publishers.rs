//! The store as the server uses it: publishers that each wait for their answer, one thread that commits. Beside it, in
//! alternating slices, the raw loop with groups as large as the store's were.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use dormouse::{
    clock::{Clock, unix_ms},
    store::{Append, Engine, Faults, Log, OpenError, Options, Store, Write},
    telemetry::Metrics,
};

use super::{candidate::DATA_BYTES, data, median, own::KEEP};

const ROUNDS: usize = 7;
const SLICE: Duration = Duration::from_secs(1);

/// Prints a line for a lone publisher and one for 64.
pub(crate) fn measure(base: &Path) {
    println!(
        "\n| publishers, each with a key | events/s | in a group | raw loop, same groups | of raw | reply p50, p99 | one raw sync p50, p99 |\n\
         |---|--:|--:|--:|--:|--:|--:|"
    );
    for publishers in [1, 64] {
        let mut rounds: Vec<Round> = (0..ROUNDS).map(|round| Round::run(base, publishers, round)).collect();
        let replies = percentiles(rounds.iter_mut().flat_map(|round| std::mem::take(&mut round.replies)).collect());
        let syncs = percentiles(rounds.iter_mut().flat_map(|round| std::mem::take(&mut round.syncs)).collect());
        let middle = |of: fn(&Round) -> f64| median(&mut rounds.iter().map(of).collect::<Vec<_>>());
        let (rate, group, raw) = (middle(|round| round.rate), middle(|round| round.group), middle(|round| round.raw));
        let ratio = middle(|round| round.rate / round.raw);
        println!("| {publishers} | {rate:.0} | {group:.1} | {raw:.0} | {:.0} % | {replies} | {syncs} |", ratio * 100.0);
    }
}

struct Round {
    rate: f64,
    group: f64,
    raw: f64,
    /// Milliseconds.
    replies: Vec<f64>,
    /// Milliseconds of the raw loop.
    syncs: Vec<f64>,
}

fn percentiles(mut times: Vec<f64>) -> String {
    let p50 = median(&mut times);
    format!("{p50:.2}, {:.2} ms", times[times.len() * 99 / 100])
}

impl Round {
    fn run(base: &Path, publishers: usize, round: usize) -> Self {
        let path = base.join(format!("publishers-{publishers}-{round}"));
        let (clock, kept) = (Clock::start(), path.clone());
        let make = move || -> Result<Box<dyn Engine>, OpenError> {
            Ok(Box::new(Log::open(&kept, Faults::default(), unix_ms())?))
        };
        let metrics = Metrics::new().expect("metrics");
        let (store, thread) = Store::start(Options::default(), clock, metrics, make).expect("the store opens");
        let (answered, answers) = sync_channel(publishers);
        let mut publications = 0;
        for publisher in 0..publishers {
            publish(&store, &answered, publisher, &mut publications, clock);
        }
        let mut replies = Vec::new();
        let (until, began) = (clock.elapsed() + SLICE, clock.elapsed());
        while clock.elapsed() < until {
            let (publisher, micros) = next(&answers);
            replies.push(micros / 1e3);
            publish(&store, &answered, publisher, &mut publications, clock);
        }
        let rate = replies.len() as f64 / (clock.elapsed() - began).as_secs_f64();
        store.close();
        thread.join().expect("the store's thread ends");
        let group = publications as f64 / groups(&path) as f64;
        fs::remove_dir_all(&path).expect("the store can be removed");
        let (raw, syncs) = raw(base, group.round() as usize);
        Self { rate, group, raw, replies, syncs }
    }
}

type Answers = (usize, f64);

fn publish(store: &Store, answered: &SyncSender<Answers>, publisher: usize, count: &mut u64, clock: Clock) {
    *count += 1;
    let write = Write::Append(Append {
        channel: format!("chat:room-{}", *count % 16).into(),
        from: format!("user-{publisher}").into(),
        key: Some(format!("{count:016x}").into()),
        data: data(*count).into(),
        keep: KEEP,
    });
    let (answered, since) = (answered.clone(), clock.micros());
    let done = move |outcome: Result<_, _>| {
        outcome.expect("committed");
        // Nobody waits for the last ones.
        let _ = answered.send((publisher, (clock.micros() - since) as f64));
    };
    store.offer(write, Box::new(done)).expect("the queue has room");
}

fn next(answers: &Receiver<Answers>) -> Answers {
    answers.recv().expect("an answer")
}

/// How many groups the store has written: their marks in its files.
fn groups(path: &Path) -> usize {
    let files = fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path());
    let marks = |file| fs::read(file).expect("readable").windows(4).filter(|bytes| bytes == b"GRUP").count();
    files.map(marks).sum::<usize>().max(1)
}

/// Events a second of a loop that writes so many at once and syncs, and the milliseconds of each.
fn raw(base: &Path, group: usize) -> (f64, Vec<f64>) {
    let path = base.join("raw");
    let mut file = File::create(&path).expect("a file");
    let bytes = data(1).repeat(group.max(1));
    let (clock, mut syncs, mut before) = (Clock::start(), Vec::new(), 0);
    while clock.elapsed() < SLICE {
        file.write_all(&bytes).expect("the disk takes it");
        file.sync_data().expect("the disk keeps it");
        let now = clock.micros();
        syncs.push((now - before) as f64 / 1e3);
        before = now;
    }
    fs::remove_file(&path).expect("it can be removed");
    ((syncs.len() * bytes.len() / DATA_BYTES) as f64 / clock.elapsed().as_secs_f64(), syncs)
}
