//! Layers the configuration: defaults, then the file, then `DORMOUSE__TABLE__KEY` variables, then flags; the later one wins.
//!
//! Settings are applied one at a time, so that each refusal has one culprit. A bad setting is told and left out, and the rest
//! is checked all the same: one run tells everything. Called by the command line; a test hands in its own environment.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    Config, conflicts,
    file::{Entry, File},
    key::{Key, Origin, Setting},
    rules::{self, Rule},
};

/// What every variable that is meant for the configuration begins with, in any case. Two underscores, so that
/// `DORMOUSE_URL` of the client commands is none of them.
const PREFIX: &str = "DORMOUSE__";

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`
    pub file: Option<PathBuf>,
    /// The environment; variables without the prefix are passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// Each `--set`, as `key=value`.
    pub set: Vec<String>,
    /// `--listen`: short for `--set listen.addr=…`.
    pub listen: Option<String>,
}

/// A configuration and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Who set what, in the order of the layers: of two for one key the later is in force.
    pub settings: Vec<Setting>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub struct LoadError {
    /// Every refusal, in the order of the layers and of the file's lines; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// One refusal, printed as `origin: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Who is to blame.
    pub origin: Origin,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// Reads and checks all sources.
///
/// # Errors
/// Anything in them that is unknown, of the wrong type, impossible or contradictory.
pub fn load(sources: &Sources) -> Result<Loaded, LoadError> {
    let mut loader = Loader::default();
    if let Some(path) = &sources.file {
        loader.file(path);
    }
    let mut environment: Vec<_> = sources.environment.iter().filter(|(name, _)| has_prefix(name)).collect();
    environment.sort();
    for (name, value) in environment {
        loader.variable(&name.to_string_lossy(), value.to_str());
    }
    for set in &sources.set {
        loader.set(set);
    }
    if let Some(addr) = &sources.listen {
        loader.text(&["listen", "addr"], addr, Origin::Flag("--listen".to_owned()));
    }
    loader.finish()
}

fn has_prefix(name: &OsString) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.len() >= PREFIX.len() && bytes[..PREFIX.len()].eq_ignore_ascii_case(PREFIX.as_bytes())
}

/// The layers so far.
#[derive(Default)]
struct Loader {
    table: Table,
    config: Config,
    settings: Vec<Setting>,
    problems: Vec<Problem>,
}

impl Loader {
    fn file(&mut self, path: &Path) {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(message) => return self.refuse(Origin::File(path.to_owned()), message),
        };
        match file.entries() {
            Ok(entries) => entries.into_iter().for_each(|entry| self.entry(&file, entry)),
            Err(errors) => errors.into_iter().for_each(|(origin, message)| self.refuse(origin, message)),
        }
    }

    fn entry(&mut self, file: &File, Entry { path, value }: Entry) {
        let parts: Vec<&str> = path.iter().map(|(part, _)| part.as_str()).collect();
        let Some((value, span)) = value else { return self.empty_table(file, &path, &parts) };
        match rules::find(&parts) {
            Ok((key, rule)) => self.apply(key, rule, value, &file.written(span.clone()), file.place(Some(span))),
            Err(unknown) => {
                let span = path.get(unknown.part).map(|(_, span)| span.clone());
                self.refuse(file.place(span), unknown.message);
            }
        }
    }

    /// A table that sets nothing is fine, unless there is no table of that name.
    fn empty_table(&mut self, file: &File, path: &[(String, std::ops::Range<usize>)], parts: &[&str]) {
        if let Err(unknown) = rules::find_table(parts) {
            let span = path.get(unknown.part).map(|(_, span)| span.clone());
            self.refuse(file.place(span), unknown.message);
        }
    }

    fn variable(&mut self, name: &str, value: Option<&str>) {
        let origin = Origin::Variable(name.to_owned());
        let Some(value) = value else { return self.refuse(origin, "its value is not UTF-8".to_owned()) };
        let lower = name[PREFIX.len()..].to_ascii_lowercase();
        let parts: Vec<&str> = lower.split("__").collect();
        self.text(&parts, value, origin);
    }

    fn set(&mut self, argument: &str) {
        let Some((key, value)) = argument.split_once('=') else {
            let message = "write key=value, such as --set limits.mailbox=2048".to_owned();
            return self.refuse(Origin::Flag(format!("--set {argument}")), message);
        };
        let origin = Origin::Flag(format!("--set {}", key.trim()));
        match dotted(key) {
            Some(parts) => self.text(&parts.iter().map(String::as_str).collect::<Vec<_>>(), value.trim(), origin),
            None => self
                .refuse(origin, "not a dotted key, such as limits.mailbox or channels.\"my.games\".durable".to_owned()),
        }
    }

    fn text(&mut self, parts: &[&str], text: &str, origin: Origin) {
        match rules::find(parts) {
            Ok((key, rule)) => self.apply(key, rule, rule.read(text), text, origin),
            Err(unknown) => self.refuse(origin, unknown.message),
        }
    }

    fn apply(&mut self, key: Key, rule: Rule, value: Value, written: &str, origin: Origin) {
        let written = rule.show(written).to_owned();
        if !rule.allows(&value) {
            let default = default_of(&key);
            return self.refuse(origin, format!("{key}: {written} is not {rule}; the default is {default}"));
        }
        let mut table = self.table.clone();
        put(&mut table, &key, value);
        // The rules let nothing pass that the types refuse (a test holds them to it); should they ever, it is told here.
        match Config::deserialize(table.clone()) {
            Ok(config) => {
                let changes = config != self.config;
                self.table = table;
                self.config = config;
                self.settings.push(Setting { key, written, origin, changes });
            }
            Err(error) => self.refuse(origin, format!("{key}: {}", error.message())),
        }
    }

    fn refuse(&mut self, origin: Origin, message: String) {
        let problem = Problem { origin, message };
        // A wrong table name is met once for every key below it.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn finish(mut self) -> Result<Loaded, LoadError> {
        if self.problems.is_empty() {
            for conflict in conflicts::find(&self.config) {
                let involved = |setting: &&Setting| conflict.keys.contains(&(setting.key.table, setting.key.name));
                let origin = self.settings.iter().rfind(involved).map(|setting| setting.origin.clone());
                self.refuse(origin.unwrap_or(Origin::Flag("defaults".to_owned())), conflict.message);
            }
        }
        if self.problems.is_empty() {
            Ok(Loaded { config: self.config, settings: self.settings })
        } else {
            Err(LoadError { problems: self.problems })
        }
    }
}

/// The parts of a dotted key, quoted or bare, as TOML reads them.
fn dotted(key: &str) -> Option<Vec<String>> {
    if key.contains(['\n', '\r', '#']) {
        return None;
    }
    let mut value = Value::Table(format!("{key} = 0").parse().ok()?);
    let mut parts = Vec::new();
    while let Value::Table(table) = value {
        let (part, inner) = table.into_iter().next()?;
        parts.push(part);
        value = inner;
    }
    Some(parts)
}

fn put(table: &mut Table, key: &Key, value: Value) {
    let mut here = table;
    let (inside, name) = key.name.rsplit_once('.').map_or((None, key.name), |(inside, name)| (Some(inside), name));
    for part in [Some(key.table), key.namespace.as_deref(), inside].into_iter().flatten() {
        let inner = here.entry(part).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = inner else { return };
        here = inner;
    }
    here.insert(name.to_owned(), value);
}

/// The default of a key as TOML; of a namespace without settings of its own, that of all.
fn default_of(key: &Key) -> String {
    let defaults = Value::try_from(Config::default()).ok();
    let value = defaults.as_ref().and_then(|all| {
        let table = all.get(key.table)?;
        let table = match &key.namespace {
            Some(namespace) => table.get(namespace).or_else(|| table.get("defaults"))?,
            None => table,
        };
        rules::parts(key.name).try_fold(table, |inner, part| inner.get(part))
    });
    value.map(Value::to_string).unwrap_or_default()
}
