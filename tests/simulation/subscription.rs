//! A channel as one client follows it: which offset comes next. Knows when an event is a double, a hole, or told as lost.

use std::collections::BTreeMap;

pub(crate) struct Subscription {
    pub(crate) epoch: String,
    /// The next offset that has not come and was not told as lost.
    pub(crate) next: u64,
    /// A reply or `ready` has announced a gap.
    gap_due: bool,
    /// The first event of a replay by count may lie further back.
    replay: bool,
    /// Doubles may come: it was subscribed again while events were on their way.
    doubles: bool,
    /// Who is here, if he watches.
    pub(crate) roster: Option<BTreeMap<String, String>>,
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Head,
    Cursor { epoch: String, offset: u64 },
    Last(u64),
}

impl Subscription {
    /// What the server answered to a subscription.
    pub(crate) fn begin(
        before: Option<Self>,
        from: &From,
        epoch: &str,
        head: u64,
        recovered: bool,
    ) -> Result<Self, String> {
        let again = before.is_some();
        let mut new = before.unwrap_or(Self {
            epoch: epoch.to_owned(),
            next: head + 1,
            gap_due: false,
            replay: false,
            doubles: false,
            roster: None,
        });
        if new.epoch != epoch {
            return Err(format!("the epoch changed from {} to {epoch} under a subscription", new.epoch));
        }
        match from {
            From::Head if again => {}
            From::Head => new.gap_due = !recovered,
            From::Last(_) => {
                new.replay = !again;
                new.doubles |= again;
                if !recovered {
                    return Err("a replay by count was not recovered".to_owned());
                }
            }
            From::Cursor { epoch: of, offset } if of == epoch => {
                new.next = (*offset).min(head) + 1;
                new.gap_due = !recovered;
            }
            From::Cursor { .. } => {
                if recovered {
                    return Err("a cursor of another epoch was recovered".to_owned());
                }
                new.gap_due = true;
            }
        }
        Ok(new)
    }

    /// May get twice what it has.
    pub(crate) fn expect_doubles(&mut self) {
        self.doubles = true;
    }

    /// An event came. `Ok(false)`: the client has it already.
    pub(crate) fn event(&mut self, offset: u64) -> Result<bool, String> {
        if self.gap_due {
            return Err(format!("event {offset} came before the gap that was announced"));
        }
        if self.replay && offset < self.next {
            self.next = offset;
        }
        self.replay = false;
        match offset.cmp(&self.next) {
            std::cmp::Ordering::Equal => {
                self.next += 1;
                Ok(true)
            }
            std::cmp::Ordering::Less if self.doubles => Ok(false),
            std::cmp::Ordering::Less => {
                Err(format!("event {offset} came twice or out of order, {} is next", self.next))
            }
            std::cmp::Ordering::Greater => Err(format!("a hole: event {offset} came where {} is next", self.next)),
        }
    }

    /// Events were told as lost.
    pub(crate) fn gap(&mut self, from: u64, to: u64) -> Result<(), String> {
        let due = std::mem::take(&mut self.gap_due) || std::mem::take(&mut self.replay);
        if from > to || (from > self.next && !due) || (from < self.next && !due && !self.doubles) {
            return Err(format!("a gap from {from} to {to} where {} is next", self.next));
        }
        self.next = if due { to + 1 } else { self.next.max(to + 1) };
        Ok(())
    }

    /// Nothing more comes: all up to `head` has come or was told as lost.
    pub(crate) fn end(&self, head: u64) -> Result<(), String> {
        if self.gap_due {
            return Err("the announced gap never came".to_owned());
        }
        if self.next != head + 1 {
            return Err(format!("the channel is at {head}, {} is next", self.next));
        }
        Ok(())
    }
}
