//! A client's frame: the right kind, decoded, and given to the op it names. Whatever is wrong with it is answered.

use std::borrow::Cow;

use crate::{
    connection::{
        actor::ConnectionActor,
        backend::Stage,
        identify,
        record::{Phase, Record},
        request,
    },
    protocol::{
        close::Close,
        encoding::{Encoding, Payload, json_of},
        error::{ErrorCode, Fault},
        frame::Frame,
        request::{Envelope, Request, decode},
    },
    shard::Turn,
};

pub(crate) fn receive(record: &mut Record, payload: Payload<'_>, turn: &mut Turn<ConnectionActor>) {
    let json = match json(record.encoding, payload) {
        Ok(json) => json,
        Err(fault) => return undecodable(record, &fault, turn),
    };
    if record.identity.as_ref().is_some_and(|identity| identity.previous().is_some())
        && record.phase == Phase::Ready
        && !turn.was_read_before()
        && let Some(identity) = record.identity_mut()
    {
        // The client has got the new session token: it speaks after the `ready` that brought it.
        identity.rare_mut().previous = None;
        identity.tidy();
    }
    serve(record, &json, Stage::Frame(&json), turn);
}

/// A frame's request, as it came or with what the backend says of it.
pub(crate) fn serve(record: &mut Record, json: &str, stage: Stage<'_>, turn: &mut Turn<ConnectionActor>) {
    let Envelope { id, request } = match decode(json) {
        Ok(envelope) => envelope,
        Err(error) if error.fault.code == ErrorCode::BadFrame => return undecodable(record, &error.fault, turn),
        Err(error) => return turn.send(record.encoding, &Frame::failure(error.id, &error.fault)),
    };
    match request {
        Request::Heartbeat => turn.send(record.encoding, &Frame::HeartbeatAck),
        Request::Identify(identify) if record.phase == Phase::Unidentified => {
            identify::identify(record, identify, Vec::new(), stage, turn);
        }
        Request::Identify(renewal) => identify::renew(record, id, &renewal, stage, turn),
        _ if record.phase == Phase::Unidentified => {
            let fault = Fault::new(ErrorCode::NotIdentified, "identify first");
            turn.send(record.encoding, &Frame::failure(id, &fault));
        }
        request => request::serve(record, id, request, stage, turn),
    }
}

/// The JSON text of a payload of the agreed kind.
pub(crate) fn json(encoding: Encoding, payload: Payload<'_>) -> Result<Cow<'_, str>, Fault> {
    match (encoding, payload) {
        (Encoding::Json, Payload::Text(_)) | (Encoding::Msgpack, Payload::Binary(_)) => json_of(payload),
        (Encoding::Json, Payload::Binary(_)) => {
            Err(Fault::new(ErrorCode::BadFrame, "this connection speaks JSON in text frames, this was a binary frame"))
        }
        (Encoding::Msgpack, Payload::Text(_)) => Err(Fault::new(
            ErrorCode::BadFrame,
            "this connection speaks MessagePack in binary frames, this was a text frame",
        )),
    }
}

/// Answers rubbish, and ends a connection that sends too much of it.
fn undecodable(record: &mut Record, fault: &Fault, turn: &mut Turn<ConnectionActor>) {
    turn.send(record.encoding, &Frame::failure(None, fault));
    // An unidentified connection counts from its opening: it has less than a minute anyway.
    if record.phase != Phase::Unidentified {
        record.roll_minute(turn.now());
    }
    record.bad_frames = record.bad_frames.saturating_add(1);
    if u32::from(record.bad_frames) > turn.settings().bad_frames {
        turn.close(Close::PROTOCOL_VIOLATION);
    }
}
