//! What can go wrong in the store: while it is opened, while it serves, and when its queue is full.
//!
//! Refusals to open are sentences for the operator: which file, where in it, what to do. Built by the engines and the
//! writer; turned into answers for clients by whoever asked.

use std::{io, path::PathBuf, sync::Arc};

use super::Write;

/// A write or a read that could not be served.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full or fails. Nothing of it was kept; later it may succeed.
    #[error("the store cannot write: {0}")]
    Unavailable(Arc<str>),
    /// What is on disk is not what was written. Never served.
    #[error("{} is damaged at byte {position}; stop the server and run `dormouse check --repair`", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        position: u64,
    },
    /// The commit crashed: it may or may not be on disk. A publish with a key can be repeated without harm.
    #[error("the store crashed while it wrote; whether this is kept is not known")]
    Crashed,
    /// The server is ending.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(super) fn unavailable(act: &str, error: &io::Error) -> Self {
        Self::Unavailable(format!("{act}: {error}").into())
    }
}

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two servers on one folder would overwrite each other.
    #[error("{} is in use by another process: one folder belongs to one server; stop that one or set store.path", .0.display())]
    Locked(PathBuf),
    /// Acknowledged data is damaged or missing.
    #[error(
        "{} is damaged at byte {position}: {what}; restore the folder from a copy, or run `dormouse check --repair`, which \
         keeps the damaged file beside it and drops what cannot be read",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong there.
        what: String,
    },
    /// The operating system refuses.
    #[error("cannot {act} {}: {error}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl OpenError {
    pub(super) fn io(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { act, path, error }
    }
}

/// The queue did not take a write, and gives it back.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// So much waits already that this one would wait too long.
    #[error("the store's queue is full")]
    Full(Write),
    /// The store is closed.
    #[error("the store is closed")]
    Closed(Write),
}
