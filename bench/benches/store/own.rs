//! Dormouse's log as a candidate: the engine alone, without its queue and thread.

use std::path::Path;

use dormouse::{
    clock::unix_ms,
    store::{Append, Engine as _, Faults, Keep, Log, Range, Write},
};

use super::candidate::{Candidate, Event};

/// Nothing is forgotten while it is measured.
pub(crate) const KEEP: Keep = Keep { events: u64::MAX, age: std::time::Duration::from_secs(365 * 24 * 60 * 60) };

pub(crate) struct Own(Log);

impl Own {
    pub(crate) fn open(path: &Path) -> Self {
        Self(Log::open(path, Faults::default(), unix_ms()).expect("opens"))
    }
}

impl Candidate for Own {
    fn append(&mut self, events: &[Event]) {
        let writes: Vec<Write> = events.iter().map(write).collect();
        self.0.commit(&writes, unix_ms()).expect("committed");
        self.0.tidy(unix_ms()).expect("tidied");
    }

    fn read(&self, channel: &str, after: u64, limit: usize) -> usize {
        self.0.archive().read(channel, Range::After(after), limit).expect("read").events.len()
    }
}

fn write(event: &Event) -> Write {
    Write::Append(Append {
        channel: event.channel.as_str().into(),
        from: event.from.as_str().into(),
        key: None,
        data: event.data.as_slice().into(),
        keep: KEEP,
    })
}
