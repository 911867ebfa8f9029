//! Counts what is heard on a swarm, by kind, and keeps the first complaint in words. The listener of every phase in which
//! nothing more than numbers matters.

use anyhow::{Result, bail};

use crate::{
    client::Happening,
    message::{Op, op},
    swarm::Key,
};

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct Census {
    pub(crate) events: u64,
    pub(crate) acks: u64,
    pub(crate) gaps: u64,
    pub(crate) closed: u64,
    pub(crate) errors: u64,
    /// The first close reason, gap or error frame.
    pub(crate) complaint: Option<String>,
}

impl Census {
    /// Counts one happening.
    pub(crate) fn hear(&mut self, key: Key, happening: &Happening<'_>) {
        let counter = match happening {
            Happening::Opened => return,
            Happening::Pong => {
                self.acks += 1;
                return;
            }
            Happening::Closed(_) => &mut self.closed,
            Happening::Message(message) => match op(message) {
                Op::Event => {
                    self.events += 1;
                    return;
                }
                Op::HeartbeatAck => {
                    self.acks += 1;
                    return;
                }
                Op::Gap => &mut self.gaps,
                Op::Error => &mut self.errors,
                _ => return,
            },
        };
        *counter += 1;
        self.complaint.get_or_insert_with(|| match happening {
            Happening::Closed(ending) => format!("connection {key}: {ending}"),
            Happening::Message(message) => format!("connection {key}: {}", String::from_utf8_lossy(message)),
            Happening::Opened | Happening::Pong => String::new(),
        });
    }

    /// An error when anything but what was hoped for was heard.
    pub(crate) fn content(&self) -> Result<()> {
        match &self.complaint {
            Some(complaint) => bail!(
                "{} closed, {} gaps, {} error frames; the first: {complaint}",
                self.closed,
                self.gaps,
                self.errors
            ),
            None => Ok(()),
        }
    }

    /// The first complaint, for a note in a table.
    pub(crate) fn first(&self) -> String {
        self.complaint.clone().unwrap_or_default()
    }
}
