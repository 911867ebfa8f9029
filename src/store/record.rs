//! What a store remembers, as records, and their bytes. Each record stands for itself: it names its channel and its user, so
//! it can be moved, skipped or read alone.
//!
//! The bytes of a record, integers in little endian, texts with their length in front (one byte for names, two for keys,
//! the rest of the record for data):
//! ```text
//! event    1, channel, offset u64, first u64, at u64, from, key (0xffff for none), data
//! channel  2, channel, epoch u64, head u64, first u64, holes u64
//! member   3, channel, user, joined u8, delivered u64, read u64
//! ```

use super::Cursors;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// A publication, and from where on the channel keeps its events since then.
    Event { channel: &'a str, offset: u64, first: u64, at: u64, from: &'a str, key: Option<&'a str>, data: &'a [u8] },
    /// A channel. Below `holes` events may be missing: a repair dropped them.
    Channel { channel: &'a str, epoch: u64, head: u64, first: u64, holes: u64 },
    /// Where a user stands in a channel. The newest record counts.
    Member { channel: &'a str, user: &'a str, joined: bool, cursors: Cursors },
}

const EVENT: u8 = 1;
const CHANNEL: u8 = 2;
const MEMBER: u8 = 3;
const NO_KEY: u16 = u16::MAX;

impl<'a> Record<'a> {
    /// Appends its bytes. Names have at most 255 bytes and keys fewer than 65,535: longer ones are cut by nobody, they are
    /// refused where they enter the server; here they would make a record that does not read back.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Event { channel, offset, first, at, from, key, data } => {
                out.push(EVENT);
                name(out, channel);
                numbers(out, [offset, first, at]);
                name(out, from);
                out.extend(key.map_or(NO_KEY, |key| key.len() as u16).to_le_bytes());
                out.extend(key.unwrap_or_default().as_bytes());
                out.extend(data);
            }
            Self::Channel { channel, epoch, head, first, holes } => {
                out.push(CHANNEL);
                name(out, channel);
                numbers(out, [epoch, head, first, holes]);
            }
            Self::Member { channel, user, joined, cursors } => {
                out.push(MEMBER);
                name(out, channel);
                name(out, user);
                out.push(joined.into());
                numbers(out, [cursors.delivered, cursors.read]);
            }
        }
    }

    /// Reads what [`Record::encode`] wrote; `None` for anything else.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        let record = match rest.byte()? {
            EVENT => {
                let channel = rest.name()?;
                let (offset, first, at) = (rest.number()?, rest.number()?, rest.number()?);
                let from = rest.name()?;
                let key = match rest.short()? {
                    NO_KEY => None,
                    length => Some(rest.text(length.into())?),
                };
                Self::Event { channel, offset, first, at, from, key, data: std::mem::take(&mut rest.0) }
            }
            CHANNEL => Self::Channel {
                channel: rest.name()?,
                epoch: rest.number()?,
                head: rest.number()?,
                first: rest.number()?,
                holes: rest.number()?,
            },
            MEMBER => Self::Member {
                channel: rest.name()?,
                user: rest.name()?,
                joined: rest.byte()? != 0,
                cursors: Cursors { delivered: rest.number()?, read: rest.number()? },
            },
            _ => return None,
        };
        rest.0.is_empty().then_some(record)
    }
}

fn name(out: &mut Vec<u8>, name: &str) {
    out.push(name.len() as u8);
    out.extend(name.as_bytes());
}

fn numbers<const N: usize>(out: &mut Vec<u8>, numbers: [u64; N]) {
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn short(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn name(&mut self) -> Option<&'a str> {
        let length = self.byte()?;
        self.text(length.into())
    }
}
