//! Every kind of child, every way to fail, every state of its budget, with an empty and a full mailbox: what survives.
//! Each cell is run and says what was observed; the table of all cells stands in the README, and a cell that behaves
//! otherwise fails. `DORMOUSE_WRITE_README=1` writes the table anew. Cells that cannot exist say why.
//!
//! Nothing here waits for time to pass, except for a stalled turn to be called stalled.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../readme/block.rs"]
mod block;
#[path = "../engine/client.rs"]
#[expect(dead_code, reason = "the engine's own tests use more of it")]
mod client;
#[path = "../engine/diary.rs"]
#[expect(dead_code, reason = "the engine's own tests use more of it")]
mod diary;
#[path = "../engine/engine.rs"]
#[expect(dead_code, reason = "the engine's own tests use more of it")]
mod engine;

mod actors;
mod connections;
mod shards;

use std::fmt::Write as _;

/// How far the child is with its restarts: the crash that the cell looks at is the first, the last one allowed, or the
/// one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    First,
    Within,
    Beyond,
}

impl Spent {
    const ALL: [Self; 3] = [Self::First, Self::Within, Self::Beyond];

    /// Restarts every child of this test has.
    pub(crate) const ALLOWED: u32 = 2;

    /// Crashes up to the one that is looked at.
    pub(crate) fn crashes(self) -> u32 {
        match self {
            Self::First => 1,
            Self::Within => Self::ALLOWED,
            Self::Beyond => Self::ALLOWED + 1,
        }
    }
}

/// The ways to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Handler,
    Job,
    Spawned,
    Started,
    Restarting,
    Wake,
    Sleep,
    Stall,
    Drop,
}

impl Fault {
    const ALL: [(Self, &str); 9] = [
        (Self::Handler, "panic in a handler"),
        (Self::Job, "panic in a job"),
        (Self::Spawned, "panic in a spawned future"),
        (Self::Started, "panic in `started`"),
        (Self::Restarting, "panic in `restarting`"),
        (Self::Wake, "panic in wake (unpack)"),
        (Self::Sleep, "panic in sleep (pack)"),
        (Self::Stall, "stall"),
        (Self::Drop, "drop"),
    ];
}

/// One line of the table: a kind of child and a fault.
struct Line {
    kind: &'static str,
    fault: &'static str,
    cells: Vec<Cell>,
}

/// What a cell saw, or why there is no such cell.
pub(crate) type Cell = Result<String, &'static str>;

/// Runs a cell with both mailboxes; what both saw is said once, what a full one adds stands behind it.
async fn cell<F: Future<Output = Cell>>(run: impl Fn(bool) -> F) -> Cell {
    match (run(false).await?, run(true).await) {
        (empty, Ok(full)) if full.starts_with(&empty) => Ok(full),
        (empty, Ok(full)) => Ok(format!("{empty}; full: {full}")),
        (empty, Err(_)) => Ok(empty),
    }
}

async fn line<F: Future<Output = Cell>>(
    kind: &'static str,
    (fault, text): (Fault, &'static str),
    run: impl Fn(Fault, Spent, bool) -> F,
) -> Line {
    let mut cells = Vec::new();
    for spent in Spent::ALL {
        cells.push(cell(|full| run(fault, spent, full)).await);
    }
    Line { kind, fault: text, cells }
}

#[actix::test]
async fn the_table_in_the_readme_is_what_happens() {
    let mut lines = Vec::new();
    for fault in Fault::ALL {
        lines.push(line("connection", fault, connections::observe).await);
    }
    for fault in Fault::ALL {
        lines.push(line("shard", fault, shards::observe).await);
    }
    for fault in Fault::ALL {
        lines.push(line("system actor", fault, actors::system).await);
    }
    for fault in Fault::ALL {
        lines.push(line("watchdog", fault, actors::watchdog).await);
    }
    block::check("matrix", &table(&lines));
}

fn table(lines: &[Line]) -> String {
    let mut table =
        String::from("| child | fault | first | within the budget | budget spent |\n|---|---|---|---|---|\n");
    let mut missing = String::from("\nCells that cannot exist:\n\n");
    for Line { kind, fault, cells } in lines {
        if let Some(reason) = cells.iter().all(Result::is_err).then(|| cells[0].as_ref().err()).flatten() {
            writeln!(missing, "- {kind}, {fault}: {reason}").expect("a string takes it");
            continue;
        }
        let mut texts: Vec<String> = Vec::new();
        for (at, cell) in cells.iter().enumerate() {
            texts.push(match cell {
                _ if at > 0 && cells[at - 1] == *cell => "=".to_owned(),
                Ok(text) => text.clone(),
                Err(reason) => format!("– {reason}"),
            });
        }
        writeln!(table, "| {kind} | {fault} | {} |", texts.join(" | ")).expect("a string takes it");
    }
    table + &missing + "\n"
}
