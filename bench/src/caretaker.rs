//! A process that undoes what a run has begun, however the run ends: also by Ctrl-C, by a panic, by SIGKILL. It is told each
//! thing when it begins, and acts when its input ends, which nobody can forget.
//!
//! In a process group of its own, so that a Ctrl-C for the run does not reach it. Knows no measurement; `million` employs it.

use std::{
    fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{process::began, team::Orders};

/// What is to be undone; the last first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Duty {
    /// A process to be killed, unless its number has gone to another since.
    Process { pid: u32, began: u64 },
    /// A folder to be removed with all that is in it.
    Folder(PathBuf),
    /// A file that gets its old content back.
    Content { path: PathBuf, text: String },
}

/// The run's side: it lets go of the caretaker when it is dropped, and waits until all is undone.
#[derive(Debug)]
pub(crate) struct Caretaker {
    child: Child,
    duties: Option<ChildStdin>,
}

impl Caretaker {
    /// Starts the process.
    pub(crate) fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("caretaker")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start the caretaker")?;
        let duties = child.stdin.take();
        Ok(Self { child, duties })
    }

    /// From now on it will undo this too.
    pub(crate) fn charge(&mut self, duty: &Duty) -> Result<()> {
        let mut line = serde_json::to_string(duty)?;
        line.push('\n');
        let duties = self.duties.as_mut().context("the caretaker was dismissed")?;
        duties.write_all(line.as_bytes()).context("the caretaker is gone")
    }

    /// Kills the process at the end. One that has ended already is nothing to care about.
    pub(crate) fn charge_process(&mut self, pid: u32) -> Result<()> {
        began(pid).map_or(Ok(()), |began| self.charge(&Duty::Process { pid, began }))
    }
}

impl Drop for Caretaker {
    fn drop(&mut self) {
        drop(self.duties.take());
        // Fails only when it is gone, and then nobody can be waited for.
        let _ = self.child.wait();
    }
}

/// The hidden command.
pub(crate) fn serve() -> Result<bool> {
    let orders = Orders::listen();
    let mut duties: Vec<Duty> = Vec::new();
    while let Ok(duty) = orders.wait() {
        duties.push(duty);
    }
    Ok(undo(duties))
}

/// Processes first, together, whatever the order: they use the rest. `false` when something could not be undone.
fn undo(mut duties: Vec<Duty>) -> bool {
    let mut doomed = Vec::new();
    for duty in &duties {
        if let Duty::Process { pid, began: since } = duty
            && began(*pid) == Some(*since)
        {
            doomed.push(pid.to_string());
        }
    }
    if !doomed.is_empty() {
        // One that has ended meanwhile is as wanted.
        let script = r#"kill -KILL "$@""#;
        let _ = Command::new("/bin/sh").args(["-c", script, "kill"]).args(&doomed).stderr(Stdio::null()).status();
    }
    let mut done = true;
    while let Some(duty) = duties.pop() {
        let undone = match &duty {
            Duty::Process { .. } => Ok(()),
            Duty::Folder(path) if !path.exists() => Ok(()),
            Duty::Folder(path) => fs::remove_dir_all(path),
            Duty::Content { path, text } => fs::write(path, text),
        };
        if let Err(error) = undone {
            eprintln!("cannot undo {duty:?}: {error}");
            done = false;
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_folders_and_contents_are_undone_and_a_number_that_changed_hands_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("dormouse-caretaker-{}", std::process::id()));
        fs::create_dir_all(folder.join("inner")).unwrap();
        let file = std::env::temp_dir().join(format!("dormouse-caretaker-{}.txt", std::process::id()));
        fs::write(&file, "new").unwrap();
        let sleep = || Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let (mut doomed, mut other) = (sleep(), sleep());
        let since = |child: &Child| began(child.id()).unwrap();
        assert!(undo(vec![
            Duty::Content { path: file.clone(), text: "first".to_owned() },
            Duty::Content { path: file.clone(), text: "second".to_owned() },
            Duty::Folder(folder.clone()),
            Duty::Process { pid: doomed.id(), began: since(&doomed) },
            Duty::Process { pid: other.id(), began: since(&other) + 1 },
        ]));
        assert!(!doomed.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!folder.exists());
        assert_eq!(fs::read_to_string(&file).unwrap(), "first");
        fs::remove_file(&file).unwrap();
    }
}
