//! A server process that belongs to a run: started in an empty directory, its address read from its log (or told to it,
//! for servers that do not log one), killed with SIGKILL and all its descendants at the end at the latest. Also starts the
//! generator's own floors, which announce themselves the same way.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{clock, process::family};

/// A start that takes longer has failed.
const START: Duration = Duration::from_secs(20);

/// Last lines of the log, kept for the error message when something goes wrong.
const LOG_LINES: usize = 20;

type Log = Arc<Mutex<VecDeque<String>>>;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    directory: PathBuf,
    log: Log,
}

impl Server {
    /// `BIN serve --listen LISTEN --set …` in a directory of its own.
    pub(crate) fn serve(bin: &Path, listen: &str, sets: &[String]) -> Result<Self> {
        let mut arguments = vec!["serve".to_owned(), "--listen".to_owned(), listen.to_owned()];
        for set in sets {
            arguments.extend(["--set".to_owned(), set.clone()]);
        }
        Self::start(bin, &arguments)
    }

    /// Any program that logs a line with `listening` and `addr=…` on stderr.
    pub(crate) fn start(bin: &Path, arguments: &[String]) -> Result<Self> {
        let (mut server, address) = Self::spawn(bin, arguments)?;
        match address.recv_timeout(START) {
            Ok(address) => server.address = address,
            Err(_) => bail!("the server did not say where it listens; its log:\n{}", server.last_words()),
        }
        Ok(server)
    }

    /// Any program that listens on the loopback port it is given; it is ready when it accepts.
    pub(crate) fn on_a_free_port(bin: &Path) -> Result<Self> {
        // Free a moment ago, and the system gives out others first.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (mut server, _) = Self::spawn(bin, &[address.port().to_string()])?;
        server.address = address;
        let deadline = clock::now() + START;
        while TcpStream::connect(address).is_err() {
            if server.child.try_wait()?.is_some() || clock::now() > deadline {
                bail!("{} does not listen; its log:\n{}", bin.display(), server.last_words());
            }
            thread::park_timeout(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn spawn(bin: &Path, arguments: &[String]) -> Result<(Self, Receiver<SocketAddr>)> {
        let bin = bin.canonicalize().with_context(|| format!("no server at {}", bin.display()))?;
        let directory = empty_directory()?;
        let mut child = Command::new(&bin)
            .args(arguments)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", bin.display()))?;
        let stderr = child.stderr.take().context("no stderr")?;
        let log = Log::default();
        let (found, address) = sync_channel(1);
        let kept = Arc::clone(&log);
        thread::spawn(move || follow(stderr, &kept, &found));
        Ok((Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), directory, log }, address))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it keeps its files.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its last log lines.
    pub(crate) fn last_words(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// SIGTERM, after which it takes its leave by itself.
    pub(crate) fn ask_to_end(&self) -> Result<()> {
        // The library can only kill.
        let asked =
            Command::new("/bin/sh").args(["-c", r#"kill -TERM "$1""#, "kill", &self.pid().to_string()]).status();
        if !asked.context("cannot run kill")?.success() {
            bail!("the server was gone before it was asked to end; its log:\n{}", self.last_words());
        }
        Ok(())
    }

    /// How it ended, once it has.
    pub(crate) fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// SIGKILL, and wait for nothing: others are to end at the same time.
    pub(crate) fn strike(&mut self) {
        // Fails only when it is gone already.
        let _ = self.child.kill();
    }

    /// SIGKILL, and wait until it is gone.
    pub(crate) fn kill(&mut self) {
        let descendants: Vec<String> = family(self.pid()).iter().skip(1).map(u32::to_string).collect();
        // The ancestor first: it would start others in their place. Fails only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !descendants.is_empty() {
            // The library has no way to signal a process that is not a child of ours; failing means that they are gone.
            let script = r#"kill -KILL "$@""#;
            let _ =
                Command::new("/bin/sh").args(["-c", script, "kill"]).args(&descendants).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn empty_directory() -> Result<PathBuf> {
    let base = std::env::temp_dir();
    for number in 0..1000 {
        let directory = base.join(format!("dormouse-bench-{}-{number}", std::process::id()));
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create {}", directory.display())),
        }
    }
    bail!("no free directory name below {}", base.display())
}

/// Reads the log to its end, so that the server never blocks on a full pipe.
fn follow(stderr: impl Read, log: &Log, found: &SyncSender<SocketAddr>) {
    for line in BufReader::new(stderr).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(address) = address_in(&line) {
            // Full when it was said before: the first one counts.
            let _ = found.try_send(address);
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }
}

/// The address in a line like `INFO listening addr=127.0.0.1:4711`, with or without colours.
fn address_in(line: &str) -> Option<SocketAddr> {
    let plain = without_colours(line);
    let (_, rest) = plain.split_once("listening")?;
    let (_, rest) = rest.split_once("addr=")?;
    rest.split([' ', ',', '"']).next()?.trim().parse().ok()
}

/// Drops terminal escapes of the form `ESC [ … letter`.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().skip(1).find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_plain_and_coloured_lines() {
        let expected = Some(SocketAddr::from(([127, 0, 0, 1], 4711)));
        assert_eq!(address_in("2025-11-22T19:00:00Z  INFO dormouse: listening addr=127.0.0.1:4711 shards=2"), expected);
        assert_eq!(
            address_in("\u{1b}[32m INFO\u{1b}[0m listening \u{1b}[3maddr\u{1b}[0m\u{1b}[2m=\u{1b}[0m127.0.0.1:4711"),
            expected
        );
        assert_eq!(address_in("addr=127.0.0.1:4711 accepted"), None);
    }

    #[test]
    fn a_program_that_says_nothing_is_an_error_and_leaves_nothing_behind() {
        let arguments = ["-c".to_owned(), "echo broken >&2".to_owned()];
        let error = Server::start(Path::new("/bin/sh"), &arguments).unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
    }
}
