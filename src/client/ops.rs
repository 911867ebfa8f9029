//! One method for each request of the protocol (CONTRACT §1): its fields, and what is safe to repeat.

use std::time::Duration;

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{json, value::RawValue};

use crate::{
    client::{
        error::ClientError,
        event::{Joined, Page, Published, Range, Whoami},
        handle::Client,
        request::Kind,
    },
    protocol::{
        frame::{Members, Roster, Standing},
        request::{ChaosFault, Status},
    },
};

impl Client {
    /// Says something in a channel. On a durable channel the answer means that it is on disk. Safe over lost sockets: all tries
    /// carry the same key.
    ///
    /// # Errors
    /// The server's, or of this side of the wire.
    pub async fn publish<T: Serialize + ?Sized>(&self, channel: &str, data: &T) -> Result<Published, ClientError> {
        self.publish_keyed(channel, data, &self.new_key()).await
    }

    /// As [`publish`](Self::publish), with a key of the application's own: the same key a second time gives the first offset,
    /// also after this process has been started again (for ten minutes).
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_keyed<T: Serialize + ?Sized>(
        &self,
        channel: &str,
        data: &T,
        key: &str,
    ) -> Result<Published, ClientError> {
        #[derive(Serialize)]
        struct Fields<'a, T: Serialize + ?Sized> {
            channel: &'a str,
            data: &'a T,
            key: &'a str,
        }
        self.ask("publish", &Fields { channel, data, key }, Kind::Plain).await
    }

    /// Makes the user a member: all his sessions get the channel's events from now on, also those that pass while he is away.
    ///
    /// # Errors
    /// The server's, or of this side of the wire.
    pub async fn join(&self, channel: &str) -> Result<Joined, ClientError> {
        self.ask("join", &json!({ "channel": channel }), Kind::Join).await
    }

    /// Ends that, for all his sessions; a subscription to the channel ends with it.
    ///
    /// # Errors
    /// The server's, or of this side of the wire.
    pub async fn leave(&self, channel: &str) -> Result<(), ClientError> {
        let kind = Kind::Leave(channel.to_owned());
        self.ask("leave", &json!({ "channel": channel }), kind).await.map(|IgnoredAny| ())
    }

    /// Everything up to `offset` has arrived. Needed only where [`Connect::acknowledge`](crate::client::Connect::acknowledge) is false.
    ///
    /// # Errors
    /// The server's, or of this side of the wire.
    pub async fn ack(&self, channel: &str, offset: u64) -> Result<Standing, ClientError> {
        let kind = Kind::Ack(channel.to_owned());
        self.ask("ack", &json!({ "channel": channel, "delivered": offset }), kind).await
    }

    /// The user has seen everything up to `offset`. Never moves back.
    ///
    /// # Errors
    /// The server's, or of this side of the wire.
    pub async fn read(&self, channel: &str, offset: u64) -> Result<Standing, ClientError> {
        let kind = Kind::Ack(channel.to_owned());
        self.ask("ack", &json!({ "channel": channel, "read": offset }), kind).await
    }

    /// At most `limit` events of a channel's past, in rising order.
    ///
    /// # Errors
    /// The server's, or of this side of the wire.
    pub async fn history(&self, channel: &str, range: Range, limit: usize) -> Result<Page, ClientError> {
        let (after, before) = match range {
            Range::Newest => (None, None),
            Range::After(offset) => (Some(offset), None),
            Range::Before(offset) => (None, Some(offset)),
        };
        let fields = json!({ "channel": channel, "after": after, "before": before, "limit": limit });
        self.ask("history", &fields, Kind::Plain).await
    }

    /// Who is there.
    ///
    /// # Errors
    /// The server's, or of this side of the wire.
    pub async fn presence(&self, channel: &str) -> Result<Roster, ClientError> {
        self.ask("presence", &json!({ "channel": channel }), Kind::Plain).await
    }

    /// Who belongs to a channel, and how far they got.
    ///
    /// # Errors
    /// The server's, or of this side of the wire.
    pub async fn members(&self, channel: &str) -> Result<Members, ClientError> {
        self.ask("members", &json!({ "channel": channel }), Kind::Plain).await
    }

    /// Says something that is not kept, to everybody else who is there. Never repeated.
    ///
    /// # Errors
    /// The server's; [`ClientError::ConnectionLost`] when there is no socket, or it was lost on the way.
    pub async fn signal<T: Serialize + ?Sized>(&self, channel: &str, kind: &str, data: &T) -> Result<(), ClientError> {
        #[derive(Serialize)]
        struct Fields<'a, T: Serialize + ?Sized> {
            channel: &'a str,
            kind: &'a str,
            data: &'a T,
        }
        self.ask_once("signal", &Fields { channel, kind, data }).await.map(|IgnoredAny| ())
    }

    /// How the user wants to be seen from now on, also on later sockets.
    ///
    /// # Errors
    /// The server's, or of this side of the wire.
    pub async fn status(&self, status: Status) -> Result<(), ClientError> {
        self.ask("status", &json!({ "status": status }), Kind::Status(status)).await.map(|IgnoredAny| ())
    }

    /// What the server knows of us.
    ///
    /// # Errors
    /// The server's, or of this side of the wire.
    pub async fn whoami(&self) -> Result<Whoami, ClientError> {
        self.ask("whoami", &json!({}), Kind::Plain).await
    }

    /// Calls the application's own backend and gives what it answers. Never repeated: what a call does there, nobody here knows.
    ///
    /// # Errors
    /// The backend's or the server's (`not_found` without a backend); [`ClientError::ConnectionLost`] as for
    /// [`signal`](Self::signal).
    pub async fn rpc<T: Serialize + ?Sized, R: DeserializeOwned>(
        &self,
        method: &str,
        data: &T,
    ) -> Result<R, ClientError> {
        #[derive(Serialize)]
        struct Fields<'a, T: Serialize + ?Sized> {
            method: &'a str,
            data: &'a T,
        }
        #[derive(Deserialize)]
        struct Called {
            data: Option<Box<RawValue>>,
        }
        let called: Called = self.ask_once("rpc", &Fields { method, data }).await?;
        Ok(serde_json::from_str(called.data.as_deref().unwrap_or(RawValue::NULL).get())?)
    }

    /// Harms our own actor, where the server allows it. A panic is answered with `crashed`, by the actor that came back. Never
    /// repeated.
    ///
    /// # Errors
    /// The server's, or of this side of the wire.
    pub async fn chaos(&self, fault: ChaosFault, lasts: Option<Duration>) -> Result<(), ClientError> {
        let fault = match fault {
            ChaosFault::Panic => "panic",
            ChaosFault::Stall => "stall",
        };
        let ms = lasts.map(|lasts| lasts.as_millis() as u64);
        self.ask_once("chaos", &json!({ "fault": fault, "ms": ms })).await.map(|IgnoredAny| ())
    }
}
