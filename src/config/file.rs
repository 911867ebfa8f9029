//! Reads a configuration file into paths, values and the place of each. Knows TOML and its spans, nothing of which keys
//! exist. Called by `load`.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned, Value,
    de::{DeTable, DeValue},
};

use super::key::Origin;

/// A file and its text, which turns byte positions into lines.
pub(super) struct File {
    path: PathBuf,
    text: String,
}

/// One `key = value` of the file, wherever its table is written.
pub(super) struct Entry {
    /// The dotted path, each part with its place in the text.
    pub(super) path: Vec<(String, Range<usize>)>,
    /// `None` for a table without a single key: nothing is set, yet its name may be wrong.
    pub(super) value: Option<(Value, Range<usize>)>,
}

impl File {
    /// # Errors
    /// The file cannot be read: a sentence.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|error| format!("is not UTF-8: {}", error.utf8_error()))?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// All that the file sets, in the order of the text.
    ///
    /// # Errors
    /// It is not TOML: each place and what is wrong there.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, Vec<(Origin, String)>> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        if !errors.is_empty() {
            return Err(errors.iter().map(|error| (self.place(error.span()), sentence(error.message()))).collect());
        }
        let mut entries = Vec::new();
        flatten(table.get_ref(), &mut Vec::new(), &mut entries);
        entries.sort_by_key(|entry| entry.path.last().map_or(0, |(_, span)| span.start));
        Ok(entries)
    }

    /// The line and column where a span begins.
    pub(super) fn place(&self, span: Option<Range<usize>>) -> Origin {
        let Some(before) = span.and_then(|span| self.text.get(..span.start)) else {
            return Origin::File(self.path.clone());
        };
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Origin::Line {
            file: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// What stands there, on one line.
    pub(super) fn written(&self, span: Range<usize>) -> String {
        self.text.get(span).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn flatten(table: &DeTable<'_>, above: &mut Vec<(String, Range<usize>)>, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        above.push((key.get_ref().to_string(), key.span()));
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => flatten(inner, above, entries),
            DeValue::Table(_) => entries.push(Entry { path: above.clone(), value: None }),
            _ => entries.push(Entry { path: above.clone(), value: Some((plain(value), value.span())) }),
        }
        above.pop();
    }
}

/// The value without its places. A number beyond 64 bits becomes the largest one, which no rule allows.
fn plain(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            let beyond = if number.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(beyond))
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(list) => Value::Array(list.iter().map(plain).collect()),
        DeValue::Table(table) => {
            Value::Table(table.iter().map(|(key, value)| (key.get_ref().to_string(), plain(value))).collect())
        }
    }
}

/// The parser's message may span lines; a refusal is one.
fn sentence(message: &str) -> String {
    format!("not TOML: {}", message.lines().map(str::trim).collect::<Vec<_>>().join("; "))
}
