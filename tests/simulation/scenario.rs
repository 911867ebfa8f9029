//! One run: a node, its clients and their troubles, all decided by a seed. First everything happens at once and in any
//! order; then the world calms down and everybody must have what was promised; then all leave and nothing may be left.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use dormouse::{
    channel::{Answer, ChannelHub, Directory, HomeRequest, HubTraces, Letter, Origin},
    clock::Clock,
    connection::{ConnectionActor, Opening, Settings},
    protocol::{close::Close, encoding::Encoding},
    shard::{
        Act, Action, Escaped, Fault, Line, Options, Peer, Setup, Simulation, State, TICK, Target, Traces,
        faults::{self, Crashed, Defect, Moment, Strike},
    },
    telemetry::Metrics,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::oneshot;

use crate::{
    client::{Client, Judged, Phase, World},
    crashes::Crashes,
    plan::Plan,
    tell,
    truth::Truth,
};

/// Steps shown when a promise is broken.
const SHOWN: usize = 40;
/// Rounds after which a node that should be quiet is not.
const ROUNDS: usize = 10_000;

/// What a run was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) sockets: u64,
    pub(crate) events: u64,
    pub(crate) replies: u64,
    pub(crate) crashes: u64,
    pub(crate) virtual_time: Duration,
    /// Of everything the clients heard, in order.
    pub(crate) digest: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sockets += other.sockets;
        self.events += other.events;
        self.replies += other.replies;
        self.crashes += other.crashes;
        self.virtual_time += other.virtual_time;
        self.digest ^= other.digest;
    }
}

#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "only shown")]
enum Step {
    Round(usize),
    Tick(usize),
    Pass(Duration),
    Write(usize, usize),
    Read(usize, usize),
    Act(usize),
    Open(usize, usize),
    Identify(usize),
    Leave(usize),
    Lose(usize),
    Cut(usize),
    Kick(usize),
    Inject(usize, Fault),
    Plan(Strike),
    Escape(u32),
    Restart(usize),
    Slow(usize),
    Calm,
    Gone,
}

pub(crate) struct Scenario {
    plan: Plan,
    rng: StdRng,
    node: Simulation<ConnectionActor>,
    directory: Arc<Directory>,
    metrics: Metrics,
    clock: Clock,
    clients: Vec<Client>,
    truth: Truth,
    crashes: Crashes,
    due: Vec<Duration>,
    last: VecDeque<Step>,
    /// Sockets whose session went on with another one.
    left_behind: Vec<Peer>,
    sockets: u64,
}

/// Runs the scenario of `seed`.
pub(crate) fn run(seed: u64, clients: Option<usize>, defect: Option<(Defect, u32)>) -> Result<Tally, String> {
    faults::clear();
    if let Some((defect, every)) = defect {
        faults::introduce(defect, every);
    }
    let mut scenario = Scenario::new(seed, clients);
    let result = scenario.play();
    faults::clear();
    let tally = scenario.tally();
    result.map(|()| tally).map_err(|error| {
        let steps: Vec<String> = scenario.last.iter().map(|step| format!("    {step:?}")).collect();
        let at = scenario.clock.elapsed();
        format!("seed {seed} at {at:?}: {error}\n  last steps:\n{}\n  again with SEED={seed}", steps.join("\n"))
    })
}

impl Scenario {
    fn new(seed: u64, clients: Option<usize>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let plan = Plan::new(&mut rng, clients);
        let config = &plan.config;
        let clock = Clock::simulated();
        let metrics = Metrics::new().expect("unique names");
        let shards = config.shards.count as u16;
        let directory = Arc::new(Directory::new(&config.channels, shards, seed));
        let setup = Setup {
            shards,
            options: Options::new(config),
            settings: Arc::new(Settings::new(config, "simulated".to_owned()).expect("open mode reads no keys")),
            metrics: metrics.clone(),
            clock,
            seed,
        };
        let interval = config.presence.interval.as_millis() as u32;
        let hub = |shard: u16| {
            let mut epochs = [0; 32];
            epochs[..8].copy_from_slice(&seed.to_le_bytes());
            epochs[8] = shard as u8;
            ChannelHub::new(shard, Arc::clone(&directory), metrics.clone(), interval, epochs)
        };
        let node = Simulation::new(setup, hub).expect("a runtime");
        let encoding = |name: usize| if name.is_multiple_of(3) { Encoding::Msgpack } else { Encoding::Json };
        let clients = (0..plan.clients).map(|name| Client::new(name, plan.user(name), encoding(name))).collect();
        Self {
            crashes: Crashes::new(config.supervision.max_restarts, config.supervision.within),
            due: vec![Duration::ZERO; usize::from(shards)],
            plan,
            rng,
            node,
            directory,
            metrics,
            clock,
            clients,
            truth: Truth::default(),
            last: VecDeque::new(),
            left_behind: Vec::new(),
            sockets: 0,
        }
    }

    fn tally(&self) -> Tally {
        Tally {
            sockets: self.sockets,
            events: self.clients.iter().map(|client| client.events).sum(),
            replies: self.clients.iter().map(|client| client.replies).sum(),
            crashes: self.crashes.count,
            virtual_time: self.clock.elapsed(),
            digest: self.clients.iter().fold(0, |digest, client| digest.rotate_left(7) ^ client.digest),
        }
    }

    fn play(&mut self) -> Judged {
        for step in 0..self.plan.steps {
            self.step()?;
            if step % 16 == 0 {
                self.ledgers_balance()?;
            }
        }
        self.calm_down()?;
        self.everybody_has_everything()?;
        self.everybody_leaves()
    }

    fn note(&mut self, step: Step) {
        tell(|| format!("{:?} {step:?}", self.clock.elapsed()));
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(step);
    }

    /// Anything that may happen next.
    fn step(&mut self) -> Judged {
        let client = self.rng.random_range(0..self.clients.len());
        match self.rng.random_range(0..1000) {
            0..280 => {
                let shard = self.rng.random_range(0..self.node.shards());
                self.round(shard).map(drop)
            }
            280..480 => {
                let most = self.pieces();
                self.write(client, most);
                Ok(())
            }
            480..680 => {
                let most = self.pieces();
                let slow = self.clients[client].link.as_ref().is_some_and(|link| link.slow);
                if slow && self.rng.random_ratio(9, 10) { Ok(()) } else { self.read(client, most) }
            }
            680..860 => self.want(client),
            860..900 => {
                let time = match self.rng.random_range(0..20) {
                    0 => self.rng.random_range(500..3_000),
                    1..4 => self.rng.random_range(50..300),
                    _ => self.rng.random_range(0..30),
                };
                // In a crowd everybody gets round to things as often as in a small company.
                // Whole microseconds, as the clock counts them.
                self.pass(Duration::from_micros(time * 1000 / (1 + self.plan.clients as u64 / 20)))
            }
            _ => self.trouble(client),
        }
    }

    /// How many bytes move at once.
    fn pieces(&mut self) -> usize {
        match self.rng.random_range(0..4) {
            0 => self.rng.random_range(1..8),
            1 => self.rng.random_range(8..200),
            _ => usize::MAX,
        }
    }

    /// Whatever a client does next.
    fn want(&mut self, client: usize) -> Judged {
        let phase = self.clients[client].link.as_ref().map(|link| link.phase);
        match phase {
            None => self.open(client),
            Some(Phase::Arriving(false)) => {
                self.note(Step::Identify(client));
                self.with(client, |client, world| client.identify(world));
                Ok(())
            }
            Some(Phase::Ready) => {
                self.note(Step::Act(client));
                // Pipelined now and then.
                let asks = if self.rng.random_ratio(1, 6) { 4 } else { 1 };
                for _ in 0..asks {
                    self.with(client, |client, world| client.act(world));
                }
                if self.rng.random_ratio(1, 200) {
                    self.note(Step::Leave(client));
                    self.clients[client].leave(&mut self.rng);
                }
                Ok(())
            }
            Some(Phase::Arriving(true) | Phase::Leaving) => Ok(()),
        }
    }

    fn trouble(&mut self, client: usize) -> Judged {
        let dice = self.rng.random_range(0..100);
        let Plan { strikes, escapes, restarts, losses, .. } = self.plan;
        if dice < strikes {
            let moment = if self.rng.random_bool(0.5) { Moment::Begin } else { Moment::End };
            let then = if self.rng.random_bool(0.5) { 0 } else { self.rng.random_range(0..16) };
            let strike = Strike { after: self.rng.random_range(0..20), moment, then };
            self.note(Step::Plan(strike));
            faults::strike(strike);
        } else if dice < strikes + escapes {
            let after = self.rng.random_range(0..20);
            self.note(Step::Escape(after));
            faults::escape(after);
        } else if dice < strikes + escapes + restarts {
            let shard = self.rng.random_range(0..self.node.shards());
            self.note(Step::Restart(shard));
            self.node.crash(shard);
        } else if dice < strikes + escapes + restarts + losses {
            return self.lose(client);
        } else if self.plan.chaos && dice > 90 {
            let fault = match dice {
                91..94 => Fault::PanicInWake,
                94..96 => Fault::PanicInJob,
                96 => Fault::Stall(Duration::from_millis(30)),
                _ => Fault::Panic,
            };
            self.note(Step::Inject(client, fault));
            self.act_on(client, Action::Fault(fault))?;
            self.node.run_jobs();
        } else if dice == 90
            && let Some(link) = &mut self.clients[client].link
        {
            link.slow ^= true;
            self.note(Step::Slow(client));
        }
        Ok(())
    }

    /// A socket goes without goodbye, or its session goes on with another one before it does.
    fn lose(&mut self, client: usize) -> Judged {
        if self.clients[client].link.is_none() {
            return Ok(());
        }
        match self.rng.random_range(0..6) {
            0 => {
                self.note(Step::Cut(client));
                self.doom(client);
                self.act_on(client, Action::Cut)
            }
            1 => {
                self.note(Step::Kick(client));
                self.doom(client);
                self.act_on(client, Action::Close(Close::KICKED))
            }
            2 => {
                // Another socket resumes while this one is open.
                if let Some(link) = &self.clients[client].link {
                    self.left_behind.push(link.peer.clone());
                }
                self.clients[client].lost();
                self.open(client)
            }
            how => {
                self.note(Step::Lose(client));
                if let Some(link) = &self.clients[client].link {
                    if how == 3 {
                        link.peer.end()
                    } else {
                        link.peer.reset()
                    }
                    if how == 3 {
                        self.left_behind.push(link.peer.clone());
                    }
                }
                self.clients[client].lost();
                Ok(())
            }
        }
    }

    fn doom(&mut self, client: usize) {
        let link = self.clients[client].link.as_mut();
        if let Some(link) = link
            && self.node.owner(&link.peer).is_some()
        {
            link.doomed = true;
        }
    }

    fn act_on(&mut self, client: usize, action: Action) -> Judged {
        let owner = self.clients[client].link.as_ref().and_then(|link| self.node.owner(&link.peer));
        let Some(owner) = owner else { return Ok(()) };
        let result = self.node.act(usize::from(owner.shard()), &Act { target: Target::Connection(owner), action });
        self.escaped(result)?;
        self.after()
    }

    fn open(&mut self, client: usize) -> Judged {
        let shard = self.rng.random_range(0..self.node.shards());
        self.note(Step::Open(client, shard));
        let own = &self.clients[client];
        let identified = own.session().is_none() && self.rng.random_ratio(1, 3);
        let opening = Opening {
            encoding: Some(own.encoding),
            token: identified.then(|| own.user.clone()),
            subscribe: if identified { vec![self.plan.channel(&mut self.rng)] } else { Vec::new() },
        };
        let (peer, result) = self.node.connect(shard, opening, Vec::new(), self.plan.capacity);
        self.sockets += 1;
        let slow = self.rng.random_ratio(1, 10);
        self.clients[client].opened(peer, identified, self.clock.elapsed(), slow);
        self.escaped(result)?;
        self.after()
    }

    fn write(&mut self, client: usize, most: usize) {
        self.note(Step::Write(client, most));
        self.clients[client].write(most, self.clock.elapsed());
    }

    fn read(&mut self, client: usize, most: usize) -> Judged {
        self.note(Step::Read(client, most));
        let judged = self.with(client, |client, world| client.read(most, world));
        judged.map_err(|error| format!("client {client}: {error}"))
    }

    fn with<T>(&mut self, client: usize, work: impl FnOnce(&mut Client, &mut World<'_>) -> T) -> T {
        let now = self.clock.elapsed();
        let Self { truth, crashes, plan, rng, clients, .. } = self;
        work(&mut clients[client], &mut World { truth, crashes, plan, now, rng })
    }

    fn round(&mut self, shard: usize) -> Result<bool, String> {
        self.note(Step::Round(shard));
        let result = self.node.round(shard);
        let more = self.escaped(result)?.unwrap_or(true);
        self.after()?;
        Ok(more)
    }

    fn tick(&mut self, shard: usize) -> Judged {
        self.note(Step::Tick(shard));
        let result = self.node.tick(shard);
        self.escaped(result)?;
        self.after()
    }

    /// A panic that no turn caught is a crash of the connection that was served, and nobody else's.
    fn escaped<T>(&mut self, result: Result<T, Escaped>) -> Result<Option<T>, String> {
        let Escaped { report, serving } = match result {
            Ok(value) => return Ok(Some(value)),
            Err(escaped) => escaped,
        };
        if !report.message.starts_with("simulation:") {
            return Err(format!("a panic of the shard's own: {report}"));
        }
        if let Some(connection) = serving {
            self.crashes.note(Crashed { connection, kind: "escape", at: self.clock.elapsed() });
        }
        Ok(None)
    }

    /// Whoever has spent its budget must not have a socket.
    fn after(&mut self) -> Judged {
        for crashed in faults::take_crashed() {
            tell(|| format!("{crashed:?}"));
            let id = crashed.connection;
            let has_socket = self.node.inspect(id).is_some_and(|view| view.state != State::Parked);
            if self.crashes.note(crashed) && has_socket {
                return Err(format!("{id} lives on with its restart budget spent ({})", crashed.kind));
            }
        }
        Ok(())
    }

    /// Time passes; every shard ticks when it is due.
    fn pass(&mut self, time: Duration) -> Judged {
        self.note(Step::Pass(time));
        let until = self.clock.elapsed() + time;
        loop {
            let left = until.saturating_sub(self.clock.elapsed());
            self.node.advance(left.min(TICK));
            let now = self.clock.elapsed();
            for shard in 0..self.node.shards() {
                if self.due[shard] <= now {
                    self.due[shard] = now + TICK;
                    self.tick(shard)?;
                    if left > TICK {
                        self.round(shard)?;
                    }
                }
            }
            if now >= until {
                return Ok(());
            }
        }
    }

    fn ledgers_balance(&self) -> Judged {
        for shard in 0..self.node.shards() {
            let ledger = self.node.census(shard).ledger;
            if !ledger.balances() {
                return Err(format!("the ledger of shard {shard} is off: {ledger:?}"));
            }
        }
        Ok(())
    }

    /// Runs everything until nobody has anything to do.
    fn settle(&mut self) -> Judged {
        for _ in 0..ROUNDS {
            let mut moved = false;
            for shard in 0..self.node.shards() {
                while !self.node.is_quiet(shard) {
                    moved = true;
                    self.node.run_jobs();
                    self.round(shard)?;
                }
            }
            for client in 0..self.clients.len() {
                let Some(link) = &self.clients[client].link else { continue };
                if !link.leaving.is_empty() || link.peer.waiting() > 0 || link.peer.line() != Line::Open {
                    moved = true;
                    self.write(client, usize::MAX);
                    self.read(client, usize::MAX)?;
                }
            }
            if !moved {
                return Ok(());
            }
        }
        Err("the node does not come to rest".to_owned())
    }

    /// No faults any more: everybody comes back and stays.
    fn calm_down(&mut self) -> Judged {
        self.note(Step::Calm);
        faults::calm();
        let config = &self.plan.config;
        let longest = config.session.resume_window.max(config.supervision.within).max(config.session.identify_within);
        let rest = longest + config.heartbeat.interval * 2 + Duration::from_secs(5);
        let (beat, interval) = (config.heartbeat.interval, config.presence.interval);
        self.everybody_lives_for(rest, beat)?;
        for client in 0..self.clients.len() {
            self.clients[client].watch(&mut self.rng);
            if client % 16 == 0 {
                self.settle()?;
            }
        }
        self.everybody_lives_for(interval * 2 + TICK * 2, beat)
    }

    fn everybody_lives_for(&mut self, time: Duration, beat: Duration) -> Judged {
        let until = self.clock.elapsed() + time;
        let mut beats = self.clock.elapsed();
        while self.clock.elapsed() < until {
            let is_beat = self.clock.elapsed() >= beats;
            for client in 0..self.clients.len() {
                match self.clients[client].link.as_ref().map(|link| link.phase) {
                    None => {
                        self.open(client)?;
                        if self.clients[client].link.as_ref().is_some_and(|link| link.phase == Phase::Arriving(false)) {
                            self.with(client, |client, world| client.identify(world));
                        }
                    }
                    Some(Phase::Arriving(false)) => self.with(client, |client, world| client.identify(world)),
                    Some(_) if is_beat => self.clients[client].heartbeat(&mut self.rng),
                    Some(_) => {}
                }
            }
            if is_beat {
                beats += beat;
            }
            self.settle()?;
            self.pass(TICK)?;
        }
        self.settle()
    }

    /// Asks a channel's home, as the HTTP side does.
    fn ask_home(&mut self, channel: &str, request: HomeRequest) -> Result<Option<Answer>, String> {
        let Some(channel) = self.directory.get(channel) else { return Ok(None) };
        let (caller, mut answer) = oneshot::channel();
        let home = usize::from(channel.home);
        self.node.write(home, Letter::Home { channel, origin: Origin::Call(caller), request });
        self.settle()?;
        answer.try_recv().map(Some).map_err(|error| error.to_string())
    }

    fn everybody_has_everything(&mut self) -> Judged {
        let mut heads = BTreeMap::new();
        for channel in ["room:a", "room:b", "chat:a", "chat:b", "live:a"] {
            if let Some(Answer::Described(described)) = self.ask_home(channel, HomeRequest::Describe)? {
                heads.insert(channel.to_owned(), described.offset);
            }
        }
        for client in &self.clients {
            client.quiet(&heads).map_err(|error| format!("client {}: {error}", client.name))?;
        }
        for (nth, peer) in self.left_behind.iter().enumerate() {
            let _ = peer.take(usize::MAX);
            if peer.line() == Line::Open {
                return Err(format!("socket {nth} of those left behind is still open"));
            }
        }
        for shard in 0..self.node.shards() {
            let ledger = self.node.census(shard).ledger;
            if !ledger.balances() || ledger.pending > 0 {
                return Err(format!("the ledger of shard {shard} is off when all is quiet: {ledger:?}"));
            }
        }
        for channel in ["chat:a", "chat:b"] {
            self.everybody_sees_who_is_in(channel)?;
        }
        Ok(())
    }

    fn everybody_sees_who_is_in(&mut self, channel: &str) -> Judged {
        let Some(Answer::Roster(roster)) = self.ask_home(channel, HomeRequest::Roster)? else { return Ok(()) };
        let told: BTreeMap<String, String> =
            roster.users.iter().map(|user| (user.user.clone(), format!("{:?}", user.status).to_lowercase())).collect();
        let subscribed = self.clients.iter().filter(|client| client.subscriptions.contains_key(channel));
        let truth: BTreeMap<String, String> = subscribed
            .clone()
            .filter(|client| client.status != "invisible")
            .map(|client| (client.user.clone(), client.status.to_owned()))
            .collect();
        if told != truth || roster.count != truth.len() {
            return Err(format!("{channel} tells that {told:?} are there, and there are {truth:?}"));
        }
        if self.metrics.ephemeral_dropped.get() > 0 {
            return Ok(());
        }
        for client in subscribed {
            let seen = client.subscriptions.get(channel).and_then(|own| own.roster.as_ref());
            if let Some(seen) = seen
                && *seen != truth
            {
                return Err(format!("client {} sees {seen:?} in {channel}, there are {truth:?}", client.name));
            }
        }
        Ok(())
    }

    fn everybody_leaves(&mut self) -> Judged {
        self.note(Step::Gone);
        for client in 0..self.clients.len() {
            if self.rng.random_bool(0.5) {
                self.clients[client].leave(&mut self.rng);
                self.write(client, usize::MAX);
            } else if let Some(link) = &self.clients[client].link {
                link.peer.reset();
                self.clients[client].lost();
            }
        }
        self.settle()?;
        self.pass(self.plan.config.session.resume_window + Duration::from_secs(6))?;
        self.settle()?;
        for shard in 0..self.node.shards() {
            let traces = self.node.traces(shard);
            if traces != Traces::default() {
                return Err(format!("everybody is gone and shard {shard} holds {traces:?}"));
            }
            let hub = self.node.hub(shard).traces();
            if (HubTraces { homes: 0, ..hub }) != HubTraces::default() {
                return Err(format!("everybody is gone and the hub of shard {shard} holds {hub:?}"));
            }
        }
        if self.node.sockets().are_gone() { Ok(()) } else { Err("places of sockets are still taken".to_owned()) }
    }
}
