//! An [`App`] as the engine runs it: mails become messages, effects become those of the turn. It adds what every connection
//! needs and no app should have to think of: pings, the rooms it is in, the end with its socket.

use std::{rc::Rc, time::Duration};

use actix::Actor;

use super::{
    App, Effect, Effects, Failure, Message, Opening, Rooms, Settings,
    mail::{LABELS, label, message},
    notice::{Ask, Notice},
    record::{Packed, Record},
    redact,
};
use crate::{
    clock::{self, Now},
    protocol::{close::Close, name::MAX_NAME_BYTES},
    shard::{Behaviour, Class, Crash, Description, Evidence, Fault, Life, Mail, Turn, label_index},
    websocket::frame,
};

/// A connection for one turn.
pub(crate) struct Connection<A: App> {
    record: Record<A>,
    /// Unpacked, but for the time that the app has it.
    state: Option<A::State>,
}

/// What an app's connections never have: a ticket of another socket.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) enum Never {}

/// A longer time until it is woken could not be told from the past.
const MOST_WAIT: Duration = Duration::from_secs(20 * 24 * 3_600);

/// Nothing of it is ever pinned, whatever the app's state is.
impl<A: App> Unpin for Connection<A> {}

impl<A: App> Actor for Connection<A> {
    type Context = Turn<Self>;
}

impl<A: App> Connection<A> {
    /// Lets the app have its turn.
    fn hand(&mut self, message: Message<'_, A>, turn: &mut Turn<Self>) {
        turn.label(label(&message));
        let Some(state) = self.state.take() else { return };
        let mut effects = Effects::new(turn.now(), turn.connection());
        self.state = Some(A::receive(state, message, &mut effects));
        for effect in effects.take() {
            self.carry_out(effect, turn);
        }
    }

    fn carry_out(&mut self, effect: Effect<A::Told>, turn: &mut Turn<Self>) {
        match effect {
            Effect::Text(text) => turn.text(&text),
            Effect::Binary(bytes) => turn.binary(&bytes),
            Effect::Enter(room) => self.enter(room, turn),
            Effect::Leave(room) => {
                self.record.remove(&room);
                turn.ask(Ask::Leave(room));
            }
            Effect::Tell(room, told) if self.record.is_in(&room) => turn.ask(Ask::Tell(room, told)),
            Effect::Tell(room, told) => turn.ask(Ask::Fail(room, Some(told), Failure::NotEntered)),
            Effect::Wake(time) => {
                let until = |time: Duration| turn.now().ms().wrapping_add(time.min(MOST_WAIT).as_millis() as u32);
                self.record.due = time.map(until);
            }
            Effect::Close(close) => turn.close(close),
        }
    }

    fn enter(&mut self, room: Box<str>, turn: &mut Turn<Self>) {
        let why = match &self.record {
            _ if room.is_empty() || room.len() > MAX_NAME_BYTES => Failure::BadName,
            record if !record.is_in(&room) && record.rooms().len() >= turn.settings().rooms => Failure::TooMany,
            _ => {
                self.record.add(&room);
                return turn.ask(Ask::Enter(room));
            }
        };
        turn.ask(Ask::Fail(room, None, why));
    }

    fn restarted(&mut self, crash: Crash<'_, Self>, turn: &mut Turn<Self>) {
        let lost = crash.mail.and_then(|mail| message(*mail, &self.record, turn.now()));
        if matches!(lost, Some(Message::Woken)) {
            // It would come again, and crash again.
            self.record.due = None;
        }
        let Crash { retried: again, gave_up, .. } = crash;
        self.hand(Message::Restarted { lost: lost.as_ref(), again, gave_up }, turn);
    }

    /// It has said nothing for long: is anybody there?
    fn silent(&mut self, turn: &mut Turn<Self>) {
        turn.label(const { label_index(LABELS, "app_ping") });
        let now = turn.now();
        match self.record.pinged {
            Some(at) if now.ms_since(at) < turn.settings().heartbeat_ms => turn.close(Close::HEARTBEAT_TIMEOUT),
            _ => {
                let mut ping = Vec::new();
                frame::write_ping(&mut ping, &[]);
                turn.frame(&ping, false);
                self.record.pinged = Some(now.ms());
            }
        }
    }
}

fn fault(fault: Fault) {
    match fault {
        #[expect(clippy::panic, reason = "somebody asked for it, with chaos enabled")]
        Fault::Panic => panic!("chaos: asked to panic"),
        Fault::Stall(time) => clock::block(time),
        // There are no jobs; a wake's is in the engine.
        Fault::PanicInJob | Fault::StallInJob(_) | Fault::PanicInWake => {}
    }
}

impl<A: App> Behaviour for Connection<A> {
    type Opening = Opening;
    type Record = Record<A>;
    type Message = Notice<A>;
    type Ask = Ask<A>;
    type Done = ();
    type Ticket = Never;
    type Settings = Settings;
    type Hub = Rooms<A>;

    const NAME: &'static str = A::NAME;
    const LABELS: &'static [&'static str] = LABELS;

    fn open(_: &Opening, _: Now) -> Record<A> {
        Record { state: Packed::new(&A::State::default()), rooms: None, due: None, pinged: None }
    }

    fn wake(record: Record<A>) -> Self {
        Self { state: Some(record.state.unpack()), record }
    }

    fn sleep(self) -> Record<A> {
        let Self { record, state } = self;
        match state {
            Some(state) => Record { state: record.state.with(&state), ..record },
            None => record,
        }
    }

    fn receive(&mut self, mail: Mail<'_, Self>, turn: &mut Turn<Self>) {
        match mail {
            Mail::Fault(asked) => fault(asked),
            Mail::Restarted(crash) => self.restarted(crash, turn),
            _ => match message(mail, &self.record, turn.now()) {
                Some(message) => {
                    if matches!(message, Message::Woken) {
                        self.record.due = None;
                    }
                    self.hand(message, turn);
                }
                None if matches!(mail, Mail::Silence) => self.silent(turn),
                None => {}
            },
        }
        if matches!(mail, Mail::Detached { .. }) {
            turn.end();
        }
    }

    fn deadline(record: &Record<A>, settings: &Settings, life: Life) -> Option<u32> {
        // An answer may come within the same millisecond.
        let unanswered = record.pinged.filter(|at| at.wrapping_sub(life.heard_ms).wrapping_sub(1) < u32::MAX / 2);
        let silence = match unanswered {
            Some(at) => at.wrapping_add(settings.heartbeat_ms / 2),
            None => life.heard_ms.wrapping_add(settings.heartbeat_ms),
        };
        let until = |due: u32| due.wrapping_sub(life.now.ms()) as i32;
        Some(record.due.filter(|due| until(*due) < until(silence)).unwrap_or(silence))
    }

    fn admits(_: &Record<A>, ticket: &Never) -> bool {
        match *ticket {}
    }

    fn refused(ticket: &Never, _: Now) -> Record<A> {
        match *ticket {}
    }

    fn farewell(record: &Record<A>) -> Option<Ask<A>> {
        record.rooms.as_ref().map(|rooms| Ask::Farewell(Rc::clone(rooms)))
    }

    fn leave(_: &Record<A>) -> Close {
        Close::GOING_AWAY
    }

    fn max_message(settings: &Settings) -> usize {
        settings.max_message_bytes
    }

    fn class(notice: &Notice<A>) -> Class {
        match notice {
            Notice::Told(_) => Class::Ephemeral,
            Notice::Entered(_) | Notice::Skipped(_) | Notice::Failed(_) => Class::Notice,
        }
    }

    fn heap_bytes(record: &Record<A>) -> usize {
        let rooms = record.rooms.as_ref().map_or(0, |rooms| {
            size_of::<Vec<Box<str>>>() + rooms.iter().map(|room| size_of_val(room) + room.len()).sum::<usize>()
        });
        record.state.len() + rooms
    }

    fn describe(record: &Record<A>) -> Description {
        Description { user: None, subscriptions: record.rooms().iter().map(ToString::to_string).collect() }
    }

    fn redact(evidence: &mut Evidence, settings: &Settings, payloads: bool) {
        redact::evidence::<A>(evidence, settings, payloads);
    }
}
