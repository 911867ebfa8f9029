//! `comeback`: SIGKILL for the server under its clients, a new one on the same port, and how long until every client has
//! found back by its own backoff and is subscribed again.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use memchr::memmem;

use crate::{
    application::Application,
    client::Happening,
    clock,
    crowd::{Arrival, gather},
    dice::{Backoff, Dice},
    histogram::Histogram,
    message::{self, Op, op},
    process::Cpu,
    report::{Report, Unit},
    server::Server,
    swarm::{Key, Swarm},
    target::TargetOptions,
};

/// Beyond this somebody is not coming back.
const DEADLINE: Duration = Duration::from_secs(120);

/// Options of `comeback`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Clients [default: 2000, quick 500]
    #[arg(long)]
    connections: Option<usize>,
    /// Time between the SIGKILL and the start of the next server
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    down: Duration,
    /// Longest first wait of a client; the limit doubles with each attempt
    #[arg(long, default_value = "250ms", value_parser = humantime::parse_duration)]
    backoff: Duration,
    /// Longest wait of a client at all
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    backoff_cap: Duration,
    #[command(flatten)]
    target: TargetOptions,
}

/// Runs it and says whether everybody came back.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut target = options.target.open(&[])?;
    let Some(mut server) = target.server.take() else {
        bail!("comeback kills its server, so it starts its own: no --url")
    };
    let count = options.target.size(options.connections, 2_000, 500);
    let (address, host) = (target.address, target.host());
    let mut swarm = options.target.swarm(address)?;
    let request = |index: usize| message::gateway(&host, &format!("u{index}"), Some("bench"));
    let crowd = gather(&mut swarm, count, 256, Arrival::Ready, |index| Some(request(index)))?;

    let application = Application::start(address, options.backoff_cap, options.target.seed)?;
    let own = Cpu::own()?;
    server.kill();
    let killed = clock::now();
    application.publish("interrupted")?;
    // Started from another thread, since the clients go on trying meanwhile.
    let (bin, sets, down) = (options.target.bin.clone(), options.target.all_sets(&[]), options.down);
    let mut next = Some(thread::spawn(move || restart(&bin, address, &sets, killed + down)));
    let mut clients = Clients::new(count, options, killed);
    let mut up = None;
    while clients.missing() > 0 {
        if killed.elapsed() > DEADLINE {
            break;
        }
        clients.redial(&mut swarm, &request);
        swarm.turn(clients.patience(), |key, happening| clients.hear(key, &happening))?;
        if let Some(started) = next.take_if(|started| started.is_finished()) {
            let (server, at) = started.join().ok().context("the starting thread panicked")??;
            up = Some((server, at));
        }
    }
    let Some((server, up)) = up else { bail!("the server was not up again within {DEADLINE:?}") };
    let took = killed.elapsed();
    let busy = Cpu::own()?.since(&own).as_secs_f64() / took.as_secs_f64();

    target.replace(server);
    let mut report = Report::new("comeback: SIGKILL, restart, and the clients' way back");
    report.figure("clients", count as f64, Unit::Count, format!("opened in {:.2} s", crowd.took.as_secs_f64()));
    report.must_be("clients back and subscribed", (count - clients.missing()) as u64, count as u64, "");
    report.figure("server listening again", up.duration_since(killed).as_secs_f64(), Unit::Seconds, "after SIGKILL");
    report.figure("all back", took.as_secs_f64(), Unit::Seconds, "after SIGKILL");
    report.spread("back after SIGKILL", &clients.back_after(killed), "");
    report.spread("back after listening", &clients.back_after(up), "");
    let note = format!("{:.2} for each client", clients.attempts as f64 / count.max(1) as f64);
    report.figure("attempts", clients.attempts as f64, Unit::Count, note);
    let [base, cap] = [options.backoff, options.backoff_cap].map(humantime::format_duration);
    let note = format!("full jitter, limit {base} doubling up to {cap}, seed {}", options.target.seed);
    report.text("backoff", "exponential", note);
    let heard = roll_call(&mut swarm, &application, count).map_err(|error| target.explain(error))?;
    let diary = application.finish().map_err(|error| target.explain(error))?;
    let interrupted = diary.answered.first().context("the interrupted publish was not answered")?;
    let note = format!("dormouse::client, one socket before and {} after it", diary.sockets.saturating_sub(1));
    let waited = interrupted.saturating_duration_since(killed).as_secs_f64();
    report.figure("a publish begun at SIGKILL is answered", waited, Unit::Seconds, note);
    report.must_be("clients that hear one publication", heard, count as u64, "on the new server");
    report.figure("load generator CPU", busy, Unit::Cores, "from SIGKILL until all were back");
    target.describe(&mut report);
    report.finish(options.target.json.as_deref())
}

/// Waits until `when`, then starts the server; also tells when it listened.
fn restart(bin: &std::path::Path, address: SocketAddr, sets: &[String], when: Instant) -> Result<(Server, Instant)> {
    thread::park_timeout(when.saturating_duration_since(clock::now()));
    let server = Server::serve(bin, &address.to_string(), sets)?;
    Ok((server, clock::now()))
}

/// One publication that everyone who is subscribed hears; how many did.
fn roll_call(swarm: &mut Swarm, publisher: &Application, count: usize) -> Result<u64> {
    publisher.publish("bench")?;
    let deadline = clock::now() + Duration::from_secs(10);
    let mut heard = 0;
    while heard < count as u64 && clock::now() < deadline {
        swarm.turn(Duration::from_millis(50), |_, happening| {
            heard += u64::from(matches!(happening, Happening::Message(message) if op(message) == Op::Event));
        })?;
    }
    Ok(heard)
}

/// Clients that lose their server and look for it again.
struct Clients {
    backoff: Backoff,
    dice: Dice,
    /// Failed attempts since each was last connected.
    failures: Vec<u32>,
    back: Vec<Option<Instant>>,
    due: BinaryHeap<Reverse<(Instant, Key)>>,
    attempts: u64,
    killed: Instant,
}

impl Clients {
    fn new(count: usize, options: &Options, killed: Instant) -> Self {
        Self {
            backoff: Backoff { base: options.backoff, cap: options.backoff_cap },
            dice: Dice::new(options.target.seed),
            failures: vec![0; count],
            back: vec![None; count],
            due: BinaryHeap::new(),
            attempts: 0,
            killed,
        }
    }

    fn missing(&self) -> usize {
        self.back.iter().filter(|back| back.is_none()).count()
    }

    /// Until the next attempt is due.
    fn patience(&self) -> Duration {
        let soon = Duration::from_millis(50);
        self.due.peek().map_or(soon, |Reverse((when, _))| when.saturating_duration_since(clock::now()).min(soon))
    }

    fn redial(&mut self, swarm: &mut Swarm, request: &impl Fn(usize) -> String) {
        let now = clock::now();
        while let Some(Reverse((when, key))) = self.due.peek().copied()
            && when <= now
        {
            self.due.pop();
            self.attempts += 1;
            if swarm.redial(key, Some(&request(key))).is_err() {
                self.lose(key);
            }
        }
    }

    fn lose(&mut self, key: Key) {
        self.back[key] = None;
        let wait = self.backoff.wait(self.failures[key], &mut self.dice);
        self.failures[key] += 1;
        self.due.push(Reverse((clock::now() + wait, key)));
    }

    fn hear(&mut self, key: Key, happening: &Happening<'_>) {
        match happening {
            Happening::Closed(_) => self.lose(key),
            Happening::Message(message) if op(message) == Op::Ready => {
                if memmem::find(message, br#""bench""#).is_some() {
                    self.back[key] = Some(clock::now());
                    self.failures[key] = 0;
                }
            }
            Happening::Message(_) | Happening::Opened | Happening::Pong => {}
        }
    }

    /// The time from `moment` until each was back.
    fn back_after(&self, moment: Instant) -> Histogram {
        let mut times = Histogram::new();
        let moment = moment.max(self.killed);
        self.back.iter().flatten().for_each(|back| times.record(back.saturating_duration_since(moment)));
        times
    }
}
