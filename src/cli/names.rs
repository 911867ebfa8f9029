//! `dormouse names`: what a server starts to have the calls of a crash named, for that takes memory which never comes back.
//! Not for people: it reads distances between functions of this very program.

use std::io::Read as _;

use crate::{
    cli::{Answer, Failure},
    supervision::Trace,
};

/// Name the calls that led to a crash (for the server itself)
#[derive(clap::Args)]
#[command(hide = true)]
pub(super) struct Args {}

pub(super) fn run(_: &Args) -> Result<Answer, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let trace = Trace::of_text(&text).ok_or_else(|| Failure::new("standard input holds no trace of this program"))?;
    Ok(Answer::new(trace.names().join("\n")))
}
