//! The command line (CONTRACT §3): parses arguments, runs one command, turns its outcome into text and an exit code.
//!
//! Exit codes: 0 done; 1 it failed, with one sentence on stderr; 2 the arguments or the configuration are wrong, with the
//! place of each mistake; others where a command's help says so. Commands return what to print: only this file writes to
//! stdout. Called by `main`; calls the node for `serve` and `replay`, the HTTP API of a running server for `publish`,
//! `history`, `connections`, `inspect`, `top`, `kill` and `chaos`.

mod api;
mod chaos;
mod check;
mod connections;
mod copy;
mod history;
mod inspect;
mod kill;
mod names;
mod publish;
mod replay;
mod serve;
mod settings;
mod table;
mod token;
mod top;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::config::LoadError;

/// A WebSocket server in which every connection is a supervised, sleeping actor.
#[derive(Parser)]
#[command(name = "dormouse", version, max_term_width = 120, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  dormouse serve                                       run on 127.0.0.1:8080; the token is the user name
  dormouse serve --config dormouse.toml --set chaos.enabled=true
  dormouse check --config dormouse.toml                is this file good? exit 2 and file:line if not
  dormouse publish chat:lobby '{\"text\":\"hello\"}'       send an event to a running server
  dormouse connections --sort outbox                   who is slow?
  dormouse top                                         how is the node?
  dormouse chaos --rate 1000/s --for 60s               does it survive?

`dormouse COMMAND --help` tells more about each.";

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Check(check::Args),
    Token(token::Args),
    Publish(publish::Args),
    History(history::Args),
    Connections(connections::Args),
    Inspect(inspect::Args),
    Top(top::Args),
    Kill(kill::Args),
    Chaos(chaos::Args),
    Replay(replay::Args),
    Export(copy::Export),
    Import(copy::Import),
    #[command(hide = true)]
    Names(names::Args),
}

/// Runs the command that the arguments name (the first is the program itself), and says how it went.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        // Also `--help` and `--version`, which go to stdout and end with 0.
        Err(usage) => {
            let _ = usage.print();
            return if usage.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Token(args) => token::run(args),
        Command::Publish(args) => publish::run(&args),
        Command::History(args) => history::run(&args),
        Command::Export(args) => copy::export(args),
        Command::Import(args) => copy::import(args),
        Command::Connections(args) => connections::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Top(args) => top::run(args),
        Command::Kill(args) => kill::run(&args),
        Command::Chaos(args) => chaos::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Names(args) => names::run(&args),
    };
    match outcome.and_then(|answer| answer.print().map(|()| answer.code).map_err(Failure::from)) {
        Ok(code) => ExitCode::from(code),
        Err(Failure { message, code }) => {
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::from(code)
        }
    }
}

/// What a command has to say.
#[derive(Debug, Default)]
struct Answer {
    /// The result, for stdout; a line each, the last one without its newline.
    result: String,
    /// What the user should know besides, for stderr, so that a pipe gets the result alone.
    note: Option<String>,
    /// The exit code: a result may be a bad one.
    code: u8,
}

impl Answer {
    fn new(result: impl Into<String>) -> Self {
        Self { result: result.into(), note: None, code: 0 }
    }

    fn print(&self) -> io::Result<()> {
        if let Some(note) = &self.note {
            let _ = writeln!(io::stderr(), "{note}");
        }
        if self.result.is_empty() {
            return Ok(());
        }
        match writeln!(io::stdout(), "{}", self.result) {
            // `dormouse connections | head` has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// The command could not do what it was asked.
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// What it was asked makes no sense.
    fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(format!("cannot write the result: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    /// Two arguments of one name and the like are found only when a command is parsed.
    #[test]
    fn the_arguments_of_every_command_fit_together() {
        super::Cli::command().debug_assert();
    }
}
