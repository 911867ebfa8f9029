//! Keys of the HTTP API and what each may do (`api.keys`). A key is written as a string that opens everything, or as a table
//! with the key or the file that holds it, and scopes. Must never show a key. The files are read when the configuration is
//! checked, when the node starts, and at a reload.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// What a key may do. Each scope stands for itself: `admin` does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Publish.
    Publish = 1,
    /// Look at channels, connections, the node and its metrics.
    Read = 2,
    /// End connections, change members.
    Admin = 4,
    /// Inject faults, where chaos is enabled.
    Chaos = 8,
}

impl Scope {
    /// All there are, in the order they are listed.
    pub const ALL: [Self; 4] = [Self::Publish, Self::Read, Self::Admin, Self::Chaos];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Admin => "admin",
            Self::Chaos => "chaos",
        }
    }
}

/// One of `api.keys`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct ApiKey {
    source: Source,
    scopes: Vec<Scope>,
}

#[derive(Clone, PartialEq, Eq)]
enum Source {
    Key(String),
    File(PathBuf),
}

/// As it stands in a configuration. The rules have seen to it that a table has either `key` or `file`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Bare(String),
    Key { key: String, scopes: Option<Vec<Scope>> },
    File { file: PathBuf, scopes: Option<Vec<Scope>> },
}

impl From<Written> for ApiKey {
    fn from(written: Written) -> Self {
        let all = || Scope::ALL.to_vec();
        match written {
            Written::Bare(key) => Self { source: Source::Key(key), scopes: all() },
            Written::Key { key, scopes } => Self { source: Source::Key(key), scopes: scopes.unwrap_or_else(all) },
            Written::File { file, scopes } => Self { source: Source::File(file), scopes: scopes.unwrap_or_else(all) },
        }
    }
}

impl From<ApiKey> for Written {
    fn from(key: ApiKey) -> Self {
        let scopes = Some(key.scopes);
        match key.source {
            Source::Key(key) => Self::Key { key, scopes },
            Source::File(file) => Self::File { file, scopes },
        }
    }
}

/// The key stays out of logs and panics; its file and its scopes are no secret.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("ApiKey");
        if let Source::File(file) = &self.source {
            text.field("file", file);
        }
        text.field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

impl ApiKey {
    /// What it may do.
    #[must_use]
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// The key itself; from its file, without the white space around it.
    ///
    /// # Errors
    /// The file cannot be read or holds no key that a header could carry: a sentence that names it.
    pub fn read(&self) -> Result<String, String> {
        let file = match &self.source {
            Source::Key(key) => return Ok(key.clone()),
            Source::File(file) => file,
        };
        let refuse = |problem: String| format!("{}: {problem}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| refuse(format!("cannot be read: {error}")))?;
        let key = text.trim();
        if key.is_empty() {
            return Err(refuse("is empty: it should hold one key".to_owned()));
        }
        if !key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(refuse("should hold one key on one line, of printable ASCII characters".to_owned()));
        }
        Ok(key.to_owned())
    }
}
