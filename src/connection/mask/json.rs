//! JSON text, value by value, copied or filled. Strict about what it must understand and deaf to the rest: what a parser
//! would refuse within a string or a number is filled as it stands.

use super::{DEEPEST, Rule, secret};
use crate::shard::filler;

/// `None`: it is not JSON.
pub(super) fn mask(text: &str, rule: Rule) -> Option<String> {
    let mut walk = Walk { rest: text, out: String::with_capacity(text.len()), depth: 0 };
    walk.value(rule)?;
    walk.space();
    walk.rest.is_empty().then_some(walk.out)
}

struct Walk<'a> {
    rest: &'a str,
    out: String,
    depth: usize,
}

impl<'a> Walk<'a> {
    fn space(&mut self) {
        let after = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.copy(self.rest.len() - after.len());
    }

    fn copy(&mut self, bytes: usize) {
        let (copied, rest) = self.rest.split_at(bytes);
        self.out.push_str(copied);
        self.rest = rest;
    }

    /// Copies the sign that must come now.
    fn sign(&mut self, sign: char) -> Option<()> {
        self.rest.starts_with(sign).then(|| self.copy(1))
    }

    fn value(&mut self, rule: Rule) -> Option<()> {
        self.space();
        match self.rest.bytes().next()? {
            b'{' => self.list('}', |walk| walk.field(rule)),
            b'[' => self.list(']', |walk| walk.value(rule.item())),
            b'"' => self.string(rule),
            b'-' | b'0'..=b'9' => {
                let number = |c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E');
                let end = self.rest.find(number).unwrap_or(self.rest.len());
                let (number, rest) = self.rest.split_at(end);
                let digit = |c: char| if c.is_ascii_digit() && !rule.shows_numbers() { '1' } else { c };
                self.out.extend(number.chars().map(digit));
                self.rest = rest;
                Some(())
            }
            _ => {
                let literal = ["true", "false", "null"].into_iter().find(|literal| self.rest.starts_with(literal))?;
                self.copy(literal.len());
                Some(())
            }
        }
    }

    /// What stands between a bracket and its `end`.
    fn list(&mut self, end: char, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        self.copy(1);
        self.space();
        if !self.rest.starts_with(end) {
            loop {
                item(self)?;
                self.space();
                if self.rest.starts_with(end) {
                    break;
                }
                self.sign(',')?;
            }
        }
        self.depth -= 1;
        self.sign(end)
    }

    fn field(&mut self, rule: Rule) -> Option<()> {
        self.space();
        let raw = self.take_string()?;
        // As the decoder will read it: `"\u0074oken"` is a token too.
        let key: String = serde_json::from_str(raw).ok()?;
        let of_field = rule.field(&key);
        if of_field == Rule::Hidden {
            self.fill(raw)
        } else {
            self.out.push_str(raw)
        }
        self.space();
        self.sign(':')?;
        self.value(of_field)
    }

    fn string(&mut self, rule: Rule) -> Option<()> {
        let raw = self.take_string()?;
        let inner = &raw[1..raw.len() - 1];
        match serde_json::from_str::<String>(raw) {
            Ok(text) if rule.shows_text(&text) => self.out.push_str(raw),
            _ if rule == Rule::Secret && !inner.contains('\\') => {
                self.out.push('"');
                self.out.push_str(&secret(inner));
                self.out.push('"');
            }
            _ => self.fill(raw),
        }
        Some(())
    }

    /// Takes a string with its quotes and its escapes.
    fn take_string(&mut self) -> Option<&'a str> {
        if !self.rest.starts_with('"') {
            return None;
        }
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        while *bytes.get(at)? != b'"' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        let (raw, rest) = self.rest.split_at_checked(at + 1)?;
        self.rest = rest;
        Some(raw)
    }

    /// Filler for a string with its quotes: an escape for an escape, a letter for a letter.
    fn fill(&mut self, raw: &str) {
        self.out.push('"');
        let mut rest = &raw[1..raw.len() - 1];
        while let Some(at) = rest.find('\\') {
            self.out.push_str(&filler(&rest[..at]));
            rest = &rest[at..];
            let taken = match code(rest) {
                Some(0xd800..0xdc00) if code(&rest[6..]).is_some_and(|low| (0xdc00..0xe000).contains(&low)) => {
                    self.out.push_str("\\ud83d\\udc2d");
                    12
                }
                Some(code) => {
                    self.out.push_str(match code {
                        ..0x80 => "\\u0078",
                        0x80..0x800 => "\\u00e9",
                        0xd800..0xe000 => "\\ud800",
                        _ => "\\u20ac",
                    });
                    6
                }
                // An escape that there is, or one that there is not.
                None => {
                    let escaped = rest[1..].chars().next().unwrap_or('\\');
                    let known = matches!(escaped, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't');
                    self.out.push('\\');
                    if known {
                        self.out.push('n')
                    } else {
                        self.out.push_str(&filler(escaped.encode_utf8(&mut [0; 4])))
                    }
                    1 + escaped.len_utf8()
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.out.push_str(&filler(rest));
        self.out.push('"');
    }
}

/// What `\uXXXX` at the beginning stands for.
fn code(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}
