//! The listener's side of a channel: asked for with [`Subscribe`], taken from as a stream, ended by dropping it.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt, future::BoxFuture};
use tokio::sync::mpsc;

use crate::{
    client::{
        error::ClientError,
        event::{Event, Subscribed},
        exchange::Command,
        handle::Client,
        place::Wanted,
        queue::Queue,
    },
    protocol::request::Cursor,
};

/// A `subscribe` before it is awaited; made by [`Client::subscribe`].
#[must_use = "nothing is asked before this is awaited"]
#[derive(Debug)]
pub struct Subscribe<'a> {
    client: &'a Client,
    channel: String,
    wanted: Wanted,
}

impl<'a> Subscribe<'a> {
    pub(super) fn new(client: &'a Client, channel: String) -> Self {
        Self { client, channel, wanted: Wanted::default() }
    }

    /// Begin with the newest `events`.
    pub fn last(mut self, events: u64) -> Self {
        self.wanted.last = Some(events);
        self
    }

    /// Go on after a place that was kept, for instance over a restart of this process.
    pub fn from(mut self, cursor: Cursor) -> Self {
        self.wanted.from = Some(cursor);
        self
    }

    /// Also tell who is there and who comes and goes, as [`Notice`](crate::client::Notice)s.
    pub fn presence(mut self) -> Self {
        self.wanted.presence = true;
        self
    }
}

impl<'a> IntoFuture for Subscribe<'a> {
    type Output = Result<Subscription, ClientError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { client, channel, wanted } = self;
            let queue = client.queue();
            // From here on: whoever gives this up has unsubscribed.
            let mut subscription = Subscription {
                queue: Arc::clone(&queue),
                first: None,
                channel: channel.clone(),
                _connection: client.commands().clone(),
            };
            let ask = |answer| Command::Subscribe { channel, wanted, queue, answer };
            subscription.first = Some(client.exchange(ask).await?);
            Ok(subscription)
        })
    }
}

/// One channel's events, each once and in order, over as many sockets, sessions and servers as that takes. A [`Stream`] that
/// ends with the connection, or when the channel is refused after all; [`ended`](Self::ended) says why. Dropping it
/// unsubscribes. As long as it lives, so does the connection.
pub struct Subscription {
    queue: Arc<Queue>,
    channel: String,
    first: Option<Subscribed>,
    _connection: mpsc::Sender<Command>,
}

impl Subscription {
    /// Which.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The server's first answer: epoch, head, whether anything was missing, who is there.
    #[must_use]
    pub fn first(&self) -> Option<&Subscribed> {
        self.first.as_ref()
    }

    /// The next event; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Event> {
        StreamExt::next(self).await
    }

    /// After the last event that was taken: worth keeping for [`Subscribe::from`]. `None` before the first.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.queue.cursor(&self.channel)
    }

    /// Why there are no more events, once that is so.
    #[must_use]
    pub fn ended(&self) -> Option<ClientError> {
        self.queue.ended()
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.queue.poll(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.channel).finish()
    }
}

/// The events of all channels that a membership subscribes and nobody here does: in each channel once and in order. A
/// [`Stream`] that ends with the connection.
pub struct Inbox {
    queue: Arc<Queue>,
    _connection: mpsc::Sender<Command>,
}

impl Inbox {
    pub(super) fn new(queue: Arc<Queue>, connection: mpsc::Sender<Command>) -> Self {
        Self { queue, _connection: connection }
    }

    /// The next event; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Event> {
        StreamExt::next(self).await
    }
}

impl Stream for Inbox {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.queue.poll(context)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox")
    }
}
