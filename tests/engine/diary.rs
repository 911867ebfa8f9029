//! The engine's third behaviour: a diary that does what its client tells it, crashes included. Each word of the client is
//! one effect a turn can have, so that a test is a short conversation.

use std::{
    cell::Cell,
    future::pending,
    rc::Rc,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::SyncSender,
    },
    time::Duration,
};

use actix::{Actor, ActorContext as _};
use dormouse::{
    clock::Now,
    id::ConnectionId,
    protocol::close::Close,
    shard::{
        Behaviour, Cause, Class, Crash, Description, Fault, Hub, JobFailure, Life, Mail, Network, Payload, Post, Turn,
        Work,
    },
    websocket::frame,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);

pub(crate) struct Diary {
    record: Record,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    name: String,
    notes: Vec<String>,
    /// Whoever knows it may resume.
    key: Option<String>,
    parked: bool,
    due: Option<u32>,
    /// It cannot be unpacked any more.
    rotten: bool,
    /// Panics when the record that holds it is replaced: where no turn is under way and nothing catches it but the shard.
    #[serde(skip)]
    bomb: Option<Rc<Bomb>>,
    /// What else of it panics when it is asked.
    defect: Option<String>,
}

pub(crate) struct Bomb;

impl Record {
    fn must_not_be(&self, defect: &str) {
        assert!(self.defect.as_deref() != Some(defect), "a defective {defect}");
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a record's drop panicked");
    }
}

pub(crate) struct Settings {
    /// Two parties: a turn or a job that stalls, and the test. Met once when it stalls and once to let it go.
    pub(crate) gate: Barrier,
    /// What the test may look at.
    pub(crate) seen: SyncSender<String>,
    /// What the next faults do, as a client would say it.
    pub(crate) faults: Mutex<Vec<String>>,
    /// So many turns that tell of a restart panic.
    pub(crate) restarts_to_crash: AtomicUsize,
}

impl Settings {
    pub(crate) fn new(seen: SyncSender<String>) -> Self {
        Self { gate: Barrier::new(2), seen, faults: Mutex::default(), restarts_to_crash: AtomicUsize::new(0) }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Ticket {
    key: String,
}

/// A message; `crashes`: so many turns that handle it panic.
#[derive(Serialize, Deserialize)]
pub(crate) struct Said {
    words: Words,
    crashes: Cell<u32>,
}

/// What becomes a [`Said`] on the shard's thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Words {
    pub(crate) class: Class,
    pub(crate) text: String,
    pub(crate) crashes: u32,
}

impl Words {
    pub(crate) fn event(text: impl Into<String>) -> Self {
        Self { class: Class::Event, text: text.into(), crashes: 0 }
    }

    pub(crate) fn notice(text: impl Into<String>) -> Self {
        Self { class: Class::Notice, text: text.into(), crashes: 0 }
    }

    pub(crate) fn crashing(self, crashes: u32) -> Self {
        Self { crashes, ..self }
    }

    fn said(self) -> Said {
        Said { crashes: Cell::new(self.crashes), words: self }
    }
}

pub(crate) enum Ask {
    /// Shown to the test.
    Log(String),
    /// The hub panics.
    Panic,
}

pub(crate) enum Letter {
    /// Queued beyond the bound.
    Tell(ConnectionId, Vec<Words>),
    /// Offered; how many the mailbox gave back.
    Offer(ConnectionId, Vec<Words>, oneshot::Sender<usize>),
    Close(ConnectionId, Close),
    Panic,
}

pub(crate) struct Witness {
    pub(crate) seen: SyncSender<String>,
}

impl Actor for Diary {
    type Context = Turn<Self>;
}

impl Diary {
    fn obey(&mut self, text: &str, turn: &mut Turn<Self>) {
        let record = &mut self.record;
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        match verb {
            "note" => {
                record.notes.push(rest.to_owned());
                turn.text(&format!("noted {rest}"));
            }
            "read" => {
                let (notes, generation) = (record.notes.join(","), turn.generation());
                turn.text(&format!("notes [{notes}] generation {generation}"));
            }
            "panic" | "panic-twice" => {
                record.notes.push("lost".to_owned());
                turn.text("half");
                turn.ask(Ask::Log("lost".to_owned()));
                turn.job(LONG, Work::Async(Box::pin(async { "lost".to_owned() })));
                turn.close(Close::KICKED);
                turn.hold();
                panic!("asked to panic");
            }
            "rot" => {
                record.rotten = true;
                turn.text("rotten");
            }
            "stiff" => {
                record.defect = Some("sleep".to_owned());
            }
            "arm" => {
                record.bomb = Some(Rc::new(Bomb));
                turn.text("armed");
            }
            "explode" => {
                turn.text("half");
                record.bomb = None;
            }
            "defect" => {
                record.defect = Some(rest.to_owned());
                turn.text("defective");
            }
            "when" => {
                let when = if turn.was_read_before() { "before" } else { "now" };
                turn.text(&format!("read {when}"));
            }
            "log" => turn.ask(Ask::Log(format!("{} {rest}", record.name))),
            "hub-panic" => turn.ask(Ask::Panic),
            "hold" => {
                turn.hold();
                turn.text("held");
            }
            "key" => {
                record.key = Some(rest.to_owned());
                turn.text("locked");
            }
            "move" => {
                let (id, key) = rest.split_once(' ').expect("id and key");
                turn.transfer(id.parse().expect("an id"), Ticket { key: key.to_owned() });
            }
            "due" => record.due = Some(turn.now().ms()),
            "big" => {
                let bytes: usize = rest.parse().expect("a number");
                turn.text(&"x".repeat(bytes));
            }
            "close" => {
                turn.text("last words");
                turn.close(Close::KICKED);
            }
            "end" => turn.end(),
            "stop" => turn.stop(),
            "stall" => {
                let settings = turn.settings();
                settings.gate.wait();
                settings.gate.wait();
            }
            _ => self.work(verb, rest, turn),
        }
    }

    fn work(&mut self, verb: &str, rest: &str, turn: &mut Turn<Self>) {
        let (word, settings) = (rest.to_owned(), turn.settings());
        let patience = Duration::from_millis(20);
        match verb {
            "job" => turn.job(LONG, Work::Async(Box::pin(async move { word }))),
            "block" => turn.job(LONG, Work::Blocking(Box::new(move || word))),
            "job-panic" => turn.job(LONG, Work::Async(Box::pin(async { panic!("asked to panic") }))),
            "block-panic" => turn.job(LONG, Work::Blocking(Box::new(|| panic!("asked to panic")))),
            "job-late" | "job-pending" => {
                let deadline = if verb == "job-late" { patience } else { LONG };
                let told = ToldOnDrop(settings);
                let job = async move {
                    let _told = told;
                    pending().await
                };
                turn.job(deadline, Work::Async(Box::pin(job)));
            }
            "block-late" | "block-pending" => {
                let deadline = if verb == "block-late" { patience } else { LONG };
                let job = move || {
                    // Full or closed: the test is over.
                    let _ = settings.seen.try_send("job begins".to_owned());
                    settings.gate.wait();
                    word
                };
                turn.job(deadline, Work::Blocking(Box::new(job)));
            }
            _ => panic!("no such verb: {verb}"),
        }
    }

    fn hear(&mut self, said: &Said, turn: &mut Turn<Self>) {
        let Words { class, text, .. } = &said.words;
        if let Some(left) = said.crashes.get().checked_sub(1) {
            said.crashes.set(left);
            turn.text("half");
            turn.frame(b"half", true);
            self.record.notes.push("lost".to_owned());
            panic!("asked to panic");
        }
        match (class, &**text) {
            (Class::Event, "ignored") => {}
            (Class::Event, "explode" | "stall") => self.obey(text, turn),
            (Class::Event, text) => {
                let mut bytes = Vec::new();
                frame::write_text(&mut bytes, text.as_bytes());
                turn.frame(&bytes, true);
            }
            (Class::Notice, "explode") => self.obey("explode", turn),
            (Class::Notice, "release") => {
                turn.release();
                turn.text("released");
            }
            (Class::Notice, text) if text.starts_with("move ") => self.obey(text, turn),
            (_, text) => turn.text(text),
        }
    }

    fn restarted(&mut self, crash: Crash<'_, Self>, turn: &mut Turn<Self>) {
        let after = match crash.mail {
            Some(Mail::Frame(Payload::Text(text))) => format!("frame {text}"),
            Some(Mail::Message(said)) => format!("message {}", said.words.text),
            Some(Mail::Fault(fault)) => format!("fault {fault:?}"),
            Some(_) => "something".to_owned(),
            None => "nothing".to_owned(),
        };
        let crashes = &turn.settings().restarts_to_crash;
        if crashes.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            panic!("the restart crashes too");
        }
        let (generation, Crash { retried, gave_up, .. }) = (turn.generation(), crash);
        let retried = if retried { ", retried" } else { "" };
        let gave_up = if gave_up { ", gave up" } else { "" };
        turn.text(&format!("restarted {generation} after {after}{retried}{gave_up}"));
        assert!(after != "frame panic-twice", "the restart crashes too");
    }

    fn detached(&mut self, cause: Cause, undelivered: bool, turn: &mut Turn<Self>) {
        let record = &mut self.record;
        if record.defect.as_deref() == Some("detached once") {
            // The record does not remember the crash, the generation does.
            assert!(turn.generation() > 1, "asked to panic over the end of the socket");
        }
        assert!(record.defect.as_deref() != Some("detached"), "asked to panic over the end of the socket");
        record.parked = true;
        let undelivered = if undelivered { ", undelivered" } else { "" };
        let how = match cause {
            Cause::ClientClosed(code) => format!("client closed {}", code.unwrap_or_default()),
            Cause::ServerClosed(close) => format!("server closed {}", close.name),
            Cause::Cut => "cut".to_owned(),
        };
        turn.ask(Ask::Log(format!("{} {how}{undelivered}", record.name)));
        if matches!(cause, Cause::ClientClosed(Some(1000))) {
            turn.end();
        }
    }
}

impl Behaviour for Diary {
    type Opening = String;
    type Record = Record;
    type Message = Said;
    type Ask = Ask;
    type Done = String;
    type Ticket = Ticket;
    type Settings = Settings;
    type Hub = Witness;

    const NAME: &'static str = "diary";
    const LABELS: &'static [&'static str] = &["diary"];

    fn open(name: &String, _: Now) -> Record {
        Record { name: name.clone(), ..Record::default() }
    }

    fn wake(record: Record) -> Self {
        if record.rotten {
            panic!("this record is rotten");
        }
        Self { record }
    }

    fn sleep(self) -> Record {
        assert!(self.record.defect.as_deref() != Some("sleep"), "asked to panic while packing");
        self.record
    }

    fn receive(&mut self, mail: Mail<'_, Self>, turn: &mut Turn<Self>) {
        match mail {
            Mail::Opened(name) if name.starts_with("move ") => self.obey(name, turn),
            Mail::Opened(name) if name == "panic" => panic!("asked to panic in the first turn"),
            Mail::Opened(name) => turn.text(&format!("hello {name} {}", turn.connection())),
            Mail::Frame(Payload::Text(text)) => self.obey(text, turn),
            Mail::Frame(Payload::Binary(bytes)) => turn.binary(bytes),
            Mail::Message(said) => self.hear(said, turn),
            Mail::Silence if self.record.parked => turn.end(),
            Mail::Silence => turn.close(Close::HEARTBEAT_TIMEOUT),
            Mail::Detached { cause, undelivered } => self.detached(cause, undelivered > 0, turn),
            Mail::Claimed(_) => {
                self.record.parked = false;
                turn.text(&format!("claimed {} generation {}", self.record.name, turn.generation()));
            }
            Mail::Refused(_) => turn.text(&format!("refused {}", turn.connection())),
            Mail::Restarted(crash) => self.restarted(crash, turn),
            Mail::Job(Ok(word)) if word.starts_with("move ") || word == "explode" => self.obey(word, turn),
            Mail::Job(Ok(word)) => turn.text(&format!("job done: {word}")),
            Mail::Job(Err(JobFailure::Timeout)) => turn.text("job overdue"),
            Mail::Job(Err(JobFailure::Crashed(report))) => turn.text(&format!("job crashed: {}", report.message)),
            Mail::Reconnect { after_ms } => turn.text(&format!("reconnect {after_ms}")),
            Mail::Fault(Fault::Panic) => panic!("asked to panic"),
            Mail::Fault(_) => {
                let next = turn.settings().faults.lock().expect("not poisoned").pop();
                if let Some(next) = next {
                    self.obey(&next, turn);
                }
            }
        }
    }

    fn deadline(record: &Record, _: &Settings, _: Life) -> Option<u32> {
        record.must_not_be("deadline");
        record.due
    }

    fn admits(record: &Record, ticket: &Ticket) -> bool {
        record.key.as_ref() == Some(&ticket.key)
    }

    fn refused(ticket: &Ticket, _: Now) -> Record {
        Record { name: format!("refused with {}", ticket.key), ..Record::default() }
    }

    fn farewell(record: &Record) -> Option<Ask> {
        record.must_not_be("farewell");
        Some(Ask::Log(format!("{} farewell", record.name)))
    }

    fn leave(record: &Record) -> Close {
        record.must_not_be("leave");
        if record.key.is_some() { Close::DRAINING } else { Close::GOING_AWAY }
    }

    fn max_message(_: &Settings) -> usize {
        1 << 20
    }

    fn class(said: &Said) -> Class {
        said.words.class
    }

    fn heap_bytes(record: &Record) -> usize {
        record.must_not_be("heap_bytes");
        0
    }

    fn describe(record: &Record) -> Description {
        record.must_not_be("describe");
        Description { user: Some(record.name.clone()), subscriptions: record.notes.clone() }
    }
}

impl Hub<Diary> for Witness {
    type Letter = Letter;

    fn ask(&mut self, _: ConnectionId, ask: Ask, _: &mut Post<'_, Diary, impl Network>) {
        match ask {
            Ask::Log(line) => self.seen.try_send(line).expect("the test looks at what it caused"),
            Ask::Panic => panic!("the hub was asked to panic"),
        }
    }

    fn letter(&mut self, letter: Letter, post: &mut Post<'_, Diary, impl Network>) {
        match letter {
            Letter::Tell(to, words) => {
                for words in words {
                    post.tell(to, words.said());
                }
            }
            Letter::Offer(to, words, answer) => {
                let live = post.is_live(to);
                let offers = words.into_iter().filter(|_| live).map(|words| post.offer(to.index(), words.said()));
                let refused = offers.filter(Result::is_err).count();
                // A test that no longer listens has failed already.
                let _ = answer.send(refused);
            }
            Letter::Close(connection, close) => post.close(connection, close),
            Letter::Panic => panic!("the hub was asked to panic"),
        }
    }

    fn drained(&mut self, _: ConnectionId, _: &mut Post<'_, Diary, impl Network>) {
        self.seen.try_send("drained".to_owned()).expect("the test looks at what it caused");
    }

    fn crashed(&mut self, _: &mut Post<'_, Diary, impl Network>) {
        self.seen.try_send("hub crashed".to_owned()).expect("the test looks at what it caused");
    }

    fn tick(&mut self, _: &mut Post<'_, Diary, impl Network>) {}
}

/// Tells when a job is dropped.
struct ToldOnDrop(Arc<Settings>);

impl Drop for ToldOnDrop {
    fn drop(&mut self) {
        // Full or closed: the test is over.
        let _ = self.0.seen.try_send("job dropped".to_owned());
    }
}
