//! MessagePack bytes, value by value, copied or filled. Types that JSON does not know end the walk: such a frame is refused
//! by the decoder too.

use super::{DEEPEST, Rule, secret};
use crate::shard::filler;

/// `None`: it is not MessagePack, or more than it.
pub(super) fn mask(bytes: &[u8], rule: Rule) -> Option<Vec<u8>> {
    let mut walk = Walk { rest: bytes, out: Vec::with_capacity(bytes.len()), depth: 0 };
    walk.value(rule)?;
    walk.rest.is_empty().then_some(walk.out)
}

struct Walk<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
    depth: usize,
}

impl<'a> Walk<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    /// Copies a length of so many bytes.
    fn length(&mut self, bytes: usize) -> Option<usize> {
        let taken = self.take(bytes)?;
        self.out.extend_from_slice(taken);
        Some(taken.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn value(&mut self, rule: Rule) -> Option<()> {
        let marker = self.take(1)?[0];
        self.out.push(marker);
        match marker {
            0xc0 | 0xc2 | 0xc3 => Some(()),
            0x00..=0x7f => self.small(rule, 1),
            0xe0..=0xff => self.small(rule, 0xff),
            0xcc | 0xd0 => self.number(rule, 1),
            0xcd | 0xd1 => self.number(rule, 2),
            0xca | 0xce | 0xd2 => self.number(rule, 4),
            0xcb | 0xcf | 0xd3 => self.number(rule, 8),
            0xa0..=0xbf => self.text(rule, usize::from(marker & 0x1f)),
            0xd9..=0xdb => {
                let length = self.length(1 << (marker - 0xd9))?;
                self.text(rule, length)
            }
            0x90..=0x9f => self.items(rule, usize::from(marker & 0x0f)),
            0xdc | 0xdd => {
                let length = self.length(2 << (marker - 0xdc))?;
                self.items(rule, length)
            }
            0x80..=0x8f => self.fields(rule, usize::from(marker & 0x0f)),
            0xde | 0xdf => {
                let length = self.length(2 << (marker - 0xde))?;
                self.fields(rule, length)
            }
            _ => None,
        }
    }

    /// A number within its marker.
    fn small(&mut self, rule: Rule, hidden: u8) -> Option<()> {
        if !rule.shows_numbers() {
            self.out.pop();
            self.out.push(hidden);
        }
        Some(())
    }

    fn number(&mut self, rule: Rule, bytes: usize) -> Option<()> {
        let taken = self.take(bytes)?;
        self.out.extend(taken.iter().map(|byte| if rule.shows_numbers() { *byte } else { 1 }));
        Some(())
    }

    fn text(&mut self, rule: Rule, bytes: usize) -> Option<()> {
        let text = std::str::from_utf8(self.take(bytes)?).ok()?;
        if rule.shows_text(text) {
            self.out.extend_from_slice(text.as_bytes());
        } else if rule == Rule::Secret {
            self.out.extend_from_slice(secret(text).as_bytes());
        } else {
            self.out.extend_from_slice(filler(text).as_bytes());
        }
        Some(())
    }

    fn items(&mut self, rule: Rule, count: usize) -> Option<()> {
        self.deeper(|walk| (0..count).try_for_each(|_| walk.value(rule.item())))
    }

    fn fields(&mut self, rule: Rule, count: usize) -> Option<()> {
        self.deeper(|walk| {
            (0..count).try_for_each(|_| {
                let key = text(walk.rest)?;
                let of_field = rule.field(key);
                walk.value(if of_field == Rule::Hidden { Rule::Hidden } else { Rule::Ours })?;
                walk.value(of_field)
            })
        })
    }

    fn deeper(&mut self, work: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        work(self)?;
        self.depth -= 1;
        Some(())
    }
}

/// The text that some bytes begin with.
fn text(bytes: &[u8]) -> Option<&str> {
    rmp_serde::from_slice(bytes).ok()
}
