//! Everything but events and answers, as it happens. Bounded: whoever looks too seldom is told how many notices are gone,
//! and holds up nobody.

use tokio::sync::broadcast;

use crate::client::event::Notice;

/// Notices from the moment it was asked for; whoever looks too seldom is told how many he missed.
#[derive(Debug)]
pub struct Notices(broadcast::Receiver<Notice>);

impl Notices {
    pub(super) fn new(receiver: broadcast::Receiver<Notice>) -> Self {
        Self(receiver)
    }

    /// The next one; `None` when the connection and all its handles are gone.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.0.recv().await {
            Ok(notice) => Some(notice),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Notice::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
