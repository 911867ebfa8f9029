//! One setting: its key, what was written, and where. Kept after loading so that a conflict between two keys can name the
//! later one, and so that `dormouse check` can tell who set what.

use std::{fmt, path::PathBuf};

use super::rules::quoted;

/// A key that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub(super) table: &'static str,
    /// Only below `channels`: the namespace, or `defaults`.
    pub(super) namespace: Option<String>,
    pub(super) name: &'static str,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}.{}.{}", self.table, quoted(namespace), self.name),
            None => write!(f, "{}.{}", self.table, self.name),
        }
    }
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file as a whole.
    File(PathBuf),
    /// A place in the file; both count from 1, columns in characters.
    Line {
        /// The file as it was named.
        file: PathBuf,
        /// Its line.
        line: usize,
        /// The column in it.
        column: usize,
    },
    /// An environment variable, by name.
    Variable(String),
    /// A flag of the command line, without its value: that might be a secret.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Line { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A value that somebody set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What was set.
    pub key: Key,
    /// To what, as written; secrets are not shown.
    pub written: String,
    /// Where.
    pub origin: Origin,
    /// Whether that made a difference to the layers below.
    pub changes: bool,
}
