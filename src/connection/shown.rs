//! How mails and records look in logs and panics: tokens and session secrets never, only that there is one. Whoever holds
//! one of those is somebody. Used by whatever formats with `{:?}`.

use std::fmt;

use crate::{
    channel::{Notice, Purpose},
    connection::{
        actor::ConnectionActor,
        frame,
        opening::{Opening, Ticket},
        record::{Identity, Rare, Record},
    },
    id::{ConnectionId, SessionToken},
    protocol::request::peek_id,
    shard::{Mail, Subject},
};

/// What logs call a turn of this connection.
pub(crate) fn subject(connection: ConnectionId, record: &Record, mail: &Mail<'_, ConnectionActor>) -> Subject {
    let request = match mail {
        Mail::Frame(payload) => frame::json(record.encoding, *payload).ok().and_then(|json| peek_id(&json)),
        Mail::Message(Notice::Answer(answer)) => match answer.tag.purpose {
            Purpose::Request(request) | Purpose::Subscription(request) => request,
            Purpose::Welcome | Purpose::Entry => None,
        },
        Mail::Job(Ok(Some(asked))) => asked.json().and_then(peek_id),
        _ => None,
    };
    let session = record.identity.as_ref().map(|identity| SessionToken { connection, secret: identity.secret }.mark());
    Subject { session, request }
}

/// Stands for a secret.
const HIDDEN: &str = "(not shown)";

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("encoding", &self.encoding)
            .field("token", &self.token.as_ref().map(|_| HIDDEN))
            .field("subscribe", &self.subscribe)
            .finish()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("secret", &HIDDEN)
            .field("asked_at", &self.asked_at)
            .field("claims", &self.claims)
            .field("encoding", &self.encoding)
            .field("status", &self.status)
            .field("cursors", &self.cursors)
            .field("subscribe", &self.subscribe)
            .finish()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user", &self.user)
            .field("secret", &HIDDEN)
            .field("subscriptions", &self.subscriptions)
            .field("rare", &self.rare)
            .finish()
    }
}

impl fmt::Debug for Rare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rare")
            .field("previous", &self.previous.as_ref().map(|_| HIDDEN))
            .field("claimed_at", &self.claimed_at)
            .field("grants", &self.grants)
            .field("welcome", &self.welcome)
            .field("entering", &self.entering)
            .field("changes", &self.changes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        protocol::{encoding::Encoding, request::Identify},
        token::Claims,
    };

    const SECRET: [u8; 16] = [171; 16];

    #[test]
    fn neither_tokens_nor_session_secrets_show() {
        let claims = Claims { user: "ann".to_owned(), expires: None, grants: None };
        let session = SessionToken { connection: ConnectionId::new(0, 7, 3), secret: SECRET };
        let rare = Rare { previous: Some(SECRET), claimed_at: 1, grants: Some(Rc::new([])), ..Rare::default() };
        let identity = Identity {
            user: "ann".into(),
            secret: SECRET,
            subscriptions: Default::default(),
            rare: Some(Box::new(rare)),
        };
        let (encoding, token) = (Encoding::Json, "hush".to_owned());
        let resume = Some(session.to_string());
        let told = [
            format!("{:?}", Opening { encoding: Some(encoding), token: Some(token.clone()), subscribe: Vec::new() }),
            format!(
                "{:?}",
                Ticket {
                    secret: SECRET,
                    asked_at: 1,
                    claims,
                    encoding,
                    status: None,
                    cursors: Vec::new(),
                    subscribe: Vec::new()
                }
            ),
            format!("{identity:?}"),
            format!("{session:?}"),
            format!("{:?}", Identify { token, resume, cursors: None, status: None }),
        ];
        for told in told {
            let shows = ["hush", "171", "abab", &session.to_string()].iter().any(|secret| told.contains(secret));
            assert!(!shows, "{told}");
        }
    }
}
