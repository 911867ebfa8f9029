//! `dormouse export` and `dormouse import`: a whole store as lines of JSON, and a store made of them. Both work on the folder
//! itself, so no server may use it.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::PathBuf,
};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Answer, Failure, settings};
use crate::{
    clock::unix_ms,
    config::{self, Engine},
    store::{self, CopyError, Counts, Cursors, Extent, Kept},
};

/// Write a whole store to a file, as lines of JSON: channels, events with their keys, memberships with their cursors
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  dormouse export backup.jsonl                         the store of `dormouse serve` without a configuration
  dormouse export /dev/stdout --config dormouse.toml | gzip > backup.jsonl.gz")]
pub(super) struct Export {
    /// The file to write
    file: PathBuf,
    #[command(flatten)]
    settings: settings::Settings,
}

/// Make a store of a file that `dormouse export` wrote; the folder must hold none yet
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  dormouse import backup.jsonl --set store.path=restored
  gzip -dc backup.jsonl.gz | dormouse import /dev/stdin --config dormouse.toml")]
pub(super) struct Import {
    /// The file to read
    file: PathBuf,
    #[command(flatten)]
    settings: settings::Settings,
}

pub(super) fn export(args: Export) -> Result<Answer, Failure> {
    let folder = folder(args.settings)?;
    if !folder.is_dir() {
        return Err(Failure::new(format!(
            "there is no store in {}: name its folder with store.path",
            folder.display()
        )));
    }
    let named = |error| Failure::new(format!("cannot write {}: {error}", args.file.display()));
    let mut out = BufWriter::new(File::create(&args.file).map_err(named)?);
    let counts = store::export(&folder, unix_ms(), |kept| {
        serde_json::to_writer(&mut out, &Line::of(kept)?)?;
        out.write_all(b"\n")
    });
    let counts = counts.map_err(|error| match error {
        CopyError::Other(error) => named(error),
        error => Failure::new(error.to_string()),
    })?;
    out.flush().map_err(named)?;
    Ok(told("exported", &counts))
}

pub(super) fn import(args: Import) -> Result<Answer, Failure> {
    let folder = folder(args.settings)?;
    let name = args.file.display();
    let file = File::open(&args.file).map_err(|error| Failure::new(format!("cannot read {name}: {error}")))?;
    let lines = BufReader::new(file).lines().enumerate().map(|(nth, line)| {
        let line = line?;
        let at = |error: String| io::Error::other(format!("{name}:{}: {error}", nth + 1));
        serde_json::from_str::<Line<'_>>(&line).map_err(|error| at(error.to_string()))?.kept().map_err(at)
    });
    let counts = store::import(&folder, unix_ms(), lines).map_err(|error| Failure::new(error.to_string()))?;
    Ok(told("imported", &counts))
}

fn folder(settings: settings::Settings) -> Result<PathBuf, Failure> {
    let config = config::load(&settings.sources(None))?.config;
    match config.store.engine {
        Engine::Embedded => Ok(config.store.path),
        Engine::Memory => Err(Failure::usage("store.engine is \"memory\": such a store is nowhere to be copied")),
    }
}

/// To stderr: the lines may go to stdout.
fn told(done: &str, counts: &Counts) -> Answer {
    let Counts { channels, events, members } = counts;
    let note = format!("{done} {channels} channels, {events} events, {members} memberships and cursors");
    Answer { note: Some(note), ..Answer::default() }
}

/// One line of the file: which of the fields there are follows from `kept`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    kept: Kind,
    channel: CompactString,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<CompactString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivered: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<CompactString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<CompactString>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Channel,
    Event,
    Member,
}

impl<'a> Line<'a> {
    fn new(kept: Kind, channel: &CompactString) -> Self {
        let channel = channel.clone();
        let (epoch, first, head, holes) = (None, None, None, None);
        let (user, member, delivered, read) = (None, None, None, None);
        let (offset, at, from, key, data) = (None, None, None, None, None);
        Self { kept, channel, epoch, first, head, holes, user, member, delivered, read, offset, at, from, key, data }
    }

    fn of(kept: &'a Kept) -> io::Result<Self> {
        Ok(match kept {
            Kept::Channel { channel, extent: Extent { epoch, first, head }, holes } => Self {
                epoch: Some(epoch.to_string()),
                first: Some(*first),
                head: Some(*head),
                holes: (*holes > 0).then_some(*holes),
                ..Self::new(Kind::Channel, channel)
            },
            Kept::Event { channel, offset, first, at, from, key, data } => Self {
                offset: Some(*offset),
                first: Some(*first),
                at: Some(*at),
                from: Some(from.clone()),
                key: key.clone(),
                data: Some(serde_json::from_slice(data)?),
                ..Self::new(Kind::Event, channel)
            },
            Kept::Member { channel, user, joined, cursors } => Self {
                user: Some(user.clone()),
                member: Some(*joined),
                delivered: Some(cursors.delivered),
                read: Some(cursors.read),
                ..Self::new(Kind::Member, channel)
            },
        })
    }

    /// # Errors
    /// A field is missing, or no epoch or name that the server could have written.
    fn kept(self) -> Result<Kept, String> {
        fn need<T>(field: Option<T>, name: &str) -> Result<T, String> {
            field.ok_or_else(|| format!("missing field `{name}`"))
        }
        let name = |name: CompactString, field: &str| match name.len() {
            1..=MAX_NAME => Ok(name),
            length => Err(format!("`{field}` has {length} bytes, 1 to {MAX_NAME} are allowed")),
        };
        let channel = name(self.channel, "channel")?;
        Ok(match self.kept {
            Kind::Channel => {
                let epoch = need(self.epoch, "epoch")?.parse().map_err(|_| "`epoch` is none".to_owned())?;
                let extent = Extent { epoch, first: need(self.first, "first")?, head: need(self.head, "head")? };
                if extent.first == 0 || extent.first > extent.head.saturating_add(1) {
                    return Err("`first` is from 1 to one more than `head`".to_owned());
                }
                Kept::Channel { channel, extent, holes: self.holes.unwrap_or(0) }
            }
            Kind::Event => Kept::Event {
                channel,
                offset: need(self.offset, "offset")?,
                first: need(self.first, "first")?,
                at: need(self.at, "at")?,
                from: name(need(self.from, "from")?, "from")?,
                key: self.key.map(|key| name(key, "key")).transpose()?,
                data: need(self.data, "data")?.get().as_bytes().into(),
            },
            Kind::Member => Kept::Member {
                channel,
                user: name(need(self.user, "user")?, "user")?,
                joined: need(self.member, "member")?,
                cursors: Cursors { delivered: need(self.delivered, "delivered")?, read: need(self.read, "read")? },
            },
        })
    }
}

/// Longer names the server does not take.
const MAX_NAME: usize = 255;
