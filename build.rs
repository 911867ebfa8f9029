//! Gives the program a build id that a clean clone gives it too: a hash of what it is made of, no clock and no repository.
//! Crash files carry it, for a turn replays only in the code that ran it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// What the program is made of, as far as it lies here.
const SOURCES: &[&str] = &["src", "Cargo.toml", "Cargo.lock", "build.rs"];

fn main() -> io::Result<()> {
    let mut hash = Fnv::default();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        let mut files = Vec::new();
        list(Path::new(source), &mut files)?;
        files.sort();
        for file in files {
            hash.add(file.to_string_lossy().replace('\\', "/").as_bytes());
            hash.add(&fs::read(&file)?);
        }
    }
    // Debug assertions and overflow checks decide what panics.
    for setting in ["PROFILE", "CARGO_CFG_DEBUG_ASSERTIONS", "TARGET"] {
        hash.add(env::var(setting).unwrap_or_default().as_bytes());
    }
    println!("cargo::rustc-env=DORMOUSE_BUILD={}+{:016x}", env::var("CARGO_PKG_VERSION").unwrap_or_default(), hash.0);
    Ok(())
}

/// All files below a path, or the file it is.
fn list(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        // A lock file need not be there.
        if path.exists() {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        list(&entry?.path(), files)?;
    }
    Ok(())
}

/// FNV-1a: tells builds apart, protects nothing.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        let length = (bytes.len() as u64).to_le_bytes();
        for byte in length.iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
