//! The connection actor: an actix actor whose context is a turn, with one handler per message. It decides nothing; each
//! handler calls the file of its noun.

use actix::{Actor, Handler, Message};

use crate::{
    channel::{Ask, ChannelHub, Event, Gap, HomeAnswer, Membership, Notice, Whisper},
    clock::Now,
    connection::{
        backend::{self, Asked},
        delivery, frame, identify, lifecycle, membership,
        opening::{Opening, Ticket},
        record::{Phase, Record},
        redact,
        restart::{self, Restart},
        settings::Settings,
        shown,
    },
    id::ConnectionId,
    protocol::close::Close,
    shard::{
        Behaviour, Cause, Class, Description, Evidence, Fault, JobFailure, Life, Mail, Payload, Subject, Turn,
        label_index,
    },
};

/// One connection for one turn.
pub struct ConnectionActor {
    pub(crate) record: Record,
}

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident $(<$life:lifetime>)? $(($($field:ty),*))?;)*) => {
        $(
            $(#[$doc])*
            #[derive(Message)]
            #[rtype(result = "()")]
            pub(crate) struct $name $(<$life>)? $(($(pub(crate) $field),*))?;
        )*
    };
}

messages! {
    /// The client sent a frame.
    ClientFrame<'a>(Payload<'a>);
    /// A publication for this client.
    Deliver<'a>(&'a Event);
    /// A signal or presence frame for this client.
    Pass<'a>(&'a Whisper);
    /// Events will not come.
    TellGap<'a>(&'a str, Gap);
    /// The user has joined or left a channel.
    Changed<'a>(&'a Membership);
    /// A channel's home has answered.
    Answered<'a>(&'a HomeAnswer);
    /// The socket is open; what its handshake brought.
    Opened<'a>(&'a Opening);
    /// The deadline has passed.
    Silent;
    /// The socket is gone; the number: events that waited for it and were dropped.
    Detached(Cause, u64);
    /// A socket came to resume this record.
    Claimed<'a>(&'a Ticket);
    /// The record this socket came for is not there.
    Refused<'a>(&'a Ticket);
    /// The turn before crashed.
    Restarted<'a>(Restart<'a>);
    /// A job ended.
    JobEnded<'a>(Result<&'a Option<Asked>, &'a JobFailure>);
    /// The node leaves.
    Leaving(u64);
    /// An operator's fault.
    Inject(Fault);
}

impl Actor for ConnectionActor {
    type Context = Turn<Self>;
}

macro_rules! handlers {
    ($($label:literal $pattern:pat = $message:ty => |$actor:ident, $turn:ident| $body:expr;)*) => {
        $(
            impl Handler<$message> for ConnectionActor {
                type Result = ();

                fn handle(&mut self, $pattern: $message, $turn: &mut Turn<Self>) {
                    $turn.label(const { label_index(ConnectionActor::LABELS, $label) });
                    let $actor = &mut self.record;
                    $body
                }
            }
        )*
    };
}

handlers! {
    "frame" ClientFrame(payload) = ClientFrame<'_> => |record, turn| frame::receive(record, payload, turn);
    "event" Deliver(event) = Deliver<'_> => |record, turn| delivery::event(record, event, turn);
    "whisper" Pass(whisper) = Pass<'_> => |record, turn| delivery::whisper(record, whisper, turn);
    "gap" TellGap(channel, gap) = TellGap<'_> => |record, turn| delivery::gap(record, channel, gap, turn);
    "membership" Changed(change) = Changed<'_> => |record, turn| membership::changed(record, change, turn);
    "answer" Answered(answer) = Answered<'_> => |record, turn| delivery::answer(record, answer, turn);
    "opened" Opened(opening) = Opened<'_> => |record, turn| lifecycle::opened(record, opening, turn);
    "silence" Silent = Silent => |record, turn| lifecycle::silent(record, turn);
    "detached" Detached(cause, undelivered) = Detached => |record, turn| lifecycle::detached(record, cause, undelivered, turn);
    "claimed" Claimed(ticket) = Claimed<'_> => |record, turn| identify::claimed(record, ticket, turn);
    "refused" Refused(ticket) = Refused<'_> => |record, turn| identify::refused(record, ticket, turn);
    "restarted" Restarted(restart) = Restarted<'_> => |record, turn| restart::restarted(record, restart, turn);
    "job" JobEnded(result) = JobEnded<'_> => |record, turn| if let Ok(Some(asked)) = result { backend::answered(record, asked, turn) };
    "reconnect" Leaving(after_ms) = Leaving => |record, turn| lifecycle::leaving(record, after_ms, turn);
    "fault" Inject(fault) = Inject => |_record, turn| lifecycle::fault(fault, turn);
}

impl Behaviour for ConnectionActor {
    type Opening = Opening;
    type Record = Record;
    type Message = Notice;
    type Ask = Ask;
    /// `None`: a job of chaos.
    type Done = Option<Asked>;
    type Ticket = Ticket;
    type Settings = Settings;
    type Hub = ChannelHub;

    const NAME: &'static str = "gateway";
    const LABELS: &'static [&'static str] = &[
        "other",
        "frame",
        "event",
        "whisper",
        "gap",
        "membership",
        "answer",
        "opened",
        "silence",
        "detached",
        "claimed",
        "refused",
        "restarted",
        "job",
        "reconnect",
        "fault",
    ];

    fn open(opening: &Opening, now: Now) -> Record {
        Record::new(opening.encoding.unwrap_or_default(), now)
    }

    fn wake(record: Record) -> Self {
        Self { record }
    }

    fn sleep(self) -> Record {
        self.record
    }

    fn receive(&mut self, mail: Mail<'_, Self>, turn: &mut Turn<Self>) {
        match mail {
            Mail::Opened(opening) => self.handle(Opened(opening), turn),
            Mail::Frame(payload) => self.handle(ClientFrame(payload), turn),
            Mail::Message(Notice::Event(event)) => self.handle(Deliver(event), turn),
            Mail::Message(Notice::Whisper(whisper)) => self.handle(Pass(whisper), turn),
            Mail::Message(Notice::Gap(missed)) => self.handle(TellGap(&missed.channel.name, missed.gap), turn),
            Mail::Message(Notice::Membership(change)) => self.handle(Changed(change), turn),
            Mail::Message(Notice::Answer(answer)) => self.handle(Answered(answer), turn),
            Mail::Silence => self.handle(Silent, turn),
            Mail::Detached { cause, undelivered } => self.handle(Detached(cause, undelivered), turn),
            Mail::Claimed(ticket) => self.handle(Claimed(ticket), turn),
            Mail::Refused(ticket) => self.handle(Refused(ticket), turn),
            Mail::Restarted(crash) => self.handle(Restarted(Restart::of(&crash)), turn),
            Mail::Job(result) => self.handle(JobEnded(result), turn),
            Mail::Reconnect { after_ms } => self.handle(Leaving(after_ms), turn),
            Mail::Fault(fault) => self.handle(Inject(fault), turn),
        }
    }

    fn deadline(record: &Record, settings: &Settings, life: Life) -> Option<u32> {
        Some(lifecycle::deadline(record, settings, life))
    }

    fn admits(record: &Record, ticket: &Ticket) -> bool {
        identify::admits(record, ticket)
    }

    fn refused(ticket: &Ticket, now: Now) -> Record {
        Record::new(ticket.encoding, now)
    }

    fn farewell(record: &Record) -> Option<Ask> {
        let user = record.identity.as_ref()?.user.clone();
        Some(Ask::Farewell { channels: record.channels(), user })
    }

    fn awaits(record: &Record, notice: &Notice) -> bool {
        !matches!(notice, Notice::Answer(answer) if answer.tag.socket != record.socket)
    }

    fn unheard(notice: &Notice) -> Option<Ask> {
        delivery::unheard(notice)
    }

    fn leave(record: &Record) -> Close {
        if record.phase == Phase::Unidentified { Close::GOING_AWAY } else { Close::DRAINING }
    }

    fn max_message(settings: &Settings) -> usize {
        settings.max_frame_bytes
    }

    fn class(message: &Notice) -> Class {
        match message {
            Notice::Event(_) => Class::Event,
            Notice::Whisper(_) | Notice::Gap(_) => Class::Ephemeral,
            Notice::Membership(_) | Notice::Answer(_) => Class::Notice,
        }
    }

    fn heap_bytes(record: &Record) -> usize {
        record.heap_bytes()
    }

    fn subject(connection: ConnectionId, record: &Record, mail: &Mail<'_, Self>) -> Subject {
        shown::subject(connection, record, mail)
    }

    fn redact(evidence: &mut Evidence, settings: &Settings, payloads: bool) {
        redact::evidence(evidence, settings, payloads);
    }

    fn describe(record: &Record) -> Description {
        record.describe()
    }
}
