//! Client processes beside the one that measures: copies of this program under a hidden command, told what to do in lines
//! of JSON on their standard input, answering in the same way. For crowds that one thread cannot serve, and for clients
//! that must not share a process.
//!
//! Knows nothing of what is said. A worker ends when its input ends, so none outlives its team. Used by `chaos`,
//! `million` and `attacks`.

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::{Serialize, de::DeserializeOwned};

use crate::process::Cpu;

/// Lines on their way between two processes; both sides read at once, so it is never full for long.
const WAITING_LINES: usize = 16;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Team {
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Team {
    /// Starts `count` processes of this program under `command`.
    pub(crate) fn start(command: &str, count: usize) -> Result<Self> {
        let program = std::env::current_exe()?;
        let workers = (0..count).map(|_| Worker::start(Command::new(&program).arg(command))).collect::<Result<_>>()?;
        Ok(Self { workers })
    }

    /// The same with one process that has only the processor time that nobody else wants, as if it ran on another machine;
    /// also when this one has a real-time priority.
    pub(crate) fn start_aside(command: &str) -> Result<Self> {
        let mut aside = Command::new("chrt");
        // Added to our own; beyond 19 there is nothing.
        aside.args(["--other", "0", "nice", "-n", "39"]).arg(std::env::current_exe()?).arg(command);
        Ok(Self { workers: vec![Worker::start(&mut aside)?] })
    }

    /// Gives an order to each; `order` gets its number.
    pub(crate) fn tell<T: Serialize>(&mut self, order: impl Fn(usize) -> T) -> Result<()> {
        (0..self.workers.len()).try_for_each(|number| self.tell_one(number, &order(number)))
    }

    /// Gives an order to one.
    pub(crate) fn tell_one(&mut self, number: usize, order: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        let worker = self.workers.get_mut(number).with_context(|| format!("there is no client process {number}"))?;
        worker.orders.write_all(line.as_bytes()).with_context(|| format!("client process {number} is gone"))
    }

    /// The next answer of one, if it has answered.
    pub(crate) fn answer_of<T: DeserializeOwned>(&self, number: usize) -> Result<Option<T>> {
        let Some(worker) = self.workers.get(number) else { return Ok(None) };
        match worker.answers.try_recv() {
            Ok(line) => {
                Ok(Some(serde_json::from_str(&line).with_context(|| format!("client process {number} said: {line}"))?))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => bail!("client process {number} has ended"),
        }
    }

    /// Ends all of them at once, and waits for nobody.
    pub(crate) fn strike(&mut self) {
        for worker in &mut self.workers {
            // Fails only when it is gone already.
            let _ = worker.child.kill();
        }
    }

    /// The processes' numbers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.workers.iter().map(|worker| worker.child.id()).collect()
    }

    /// The next answer of each, all within `patience`.
    pub(crate) fn hear<T: DeserializeOwned>(&self, patience: Duration) -> Result<Vec<T>> {
        let hear = |(number, worker): (usize, &Worker)| {
            let line = worker.answers.recv_timeout(patience);
            let line = line.with_context(|| format!("client process {number} did not answer within {patience:?}"))?;
            serde_json::from_str(&line).with_context(|| format!("client process {number} said: {line}"))
        };
        self.workers.iter().enumerate().map(hear).collect()
    }

    /// Processor time of each until now.
    pub(crate) fn cpu(&self) -> Result<Vec<Cpu>> {
        self.workers.iter().map(|worker| Cpu::of(worker.child.id())).collect()
    }
}

impl Worker {
    fn start(program: &mut Command) -> Result<Self> {
        let mut child =
            program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start a client process")?;
        let (orders, answers) = (child.stdin.take().context("no stdin")?, child.stdout.take().context("no stdout")?);
        Ok(Self { child, orders, answers: lines(BufReader::new(answers)) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only when it is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The worker's side.
#[derive(Debug)]
pub(crate) struct Orders(Receiver<String>);

impl Orders {
    /// From this process's standard input.
    pub(crate) fn listen() -> Self {
        Self(lines(BufReader::new(io::stdin())))
    }

    /// Waits for the next one.
    pub(crate) fn wait<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_str(&self.0.recv().context("no more orders")?)?)
    }

    /// The next one, if there is one.
    pub(crate) fn next<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        match self.0.try_recv() {
            Ok(line) => Ok(Some(serde_json::from_str(&line)?)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => bail!("no more orders"),
        }
    }
}

/// The worker's answer.
pub(crate) fn answer(answer: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    Ok(out.flush()?)
}

/// Reads lines on a thread of their own until the input or its reader ends.
fn lines(input: impl BufRead + Send + 'static) -> Receiver<String> {
    let (said, heard) = sync_channel(WAITING_LINES);
    thread::spawn(move || input.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
    heard
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn orders_come_in_their_order_and_their_end_is_an_error() {
        let orders = Orders(lines(Cursor::new("1\n[2,3]\n")));
        assert_eq!(orders.wait::<u8>().unwrap(), 1);
        assert_eq!(orders.wait::<Vec<u8>>().unwrap(), [2, 3]);
        assert!(orders.wait::<u8>().is_err());
    }

    #[test]
    fn an_order_that_is_not_understood_is_an_error() {
        assert!(Orders(lines(Cursor::new("rubbish\n"))).wait::<u8>().is_err());
    }
}
