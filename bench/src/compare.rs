//! `compare`: Dormouse, its peers and the floor under all of them, measured in turn in the same run on the same machine;
//! prints tables, keeps every trial in a JSON file, draws plots, and writes the tables into the README.

use std::{cell::Cell, fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    clock,
    contest::{Contest, Size},
    contestant::{Contestant, DORMOUSE, FLOOR, MODELS, Site},
    figures::Section,
    goals,
    peer::Peer,
    plot,
    results::Results,
    table,
};

/// Everyone, in the order of the tables.
const PEERS: [&str; 9] =
    ["bun", "cowboy", "nchan", "ws", "socketio", "actix-web-actors", "actix-ws", "axum", "fastwebsockets"];

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    Actors,
    Density,
    Idle,
    Fanout,
    Echo,
    Storm,
    All,
}

impl Bench {
    fn sections(self) -> Vec<Section> {
        use Section::{Actors, Burst, Density, Echo, Idle, Latency, Saturated, Single, Storm};
        match self {
            Self::Actors => vec![Actors],
            Self::Density => vec![Density, Idle, Burst],
            Self::Idle => vec![Density, Idle],
            Self::Fanout => vec![Single, Saturated, Latency],
            Self::Echo => vec![Echo],
            Self::Storm => vec![Storm],
            Self::All => Section::ALL.to_vec(),
        }
    }
}

/// Options of `compare`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    bench: Bench,
    /// Small and once, to see that everything works; changes neither the results nor the README
    #[arg(long)]
    quick: bool,
    /// Trials of each server [default: 5, quick 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// Only these servers: `dormouse`, `raw`, names of folders in --peers
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Dormouse
    #[arg(long, default_value = "target/release/dormouse")]
    bin: PathBuf,
    /// Where the other servers are
    #[arg(long, default_value = "bench/peers")]
    peers: PathBuf,
    /// Where JSON and plots go [default: bench/results, quick target/bench]
    #[arg(long)]
    results: Option<PathBuf>,
    /// Gets the tables, between its markers
    #[arg(long, default_value = "README.md")]
    readme: PathBuf,
}

/// Runs it. What Dormouse does not lead is told and is no failure; a trial that failed is one, whoever it was.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut size = if options.quick { Size::quick() } else { Size::full() };
    size.rounds = options.rounds.unwrap_or(size.rounds).max(1);
    let directory = options
        .results
        .clone()
        .unwrap_or_else(|| PathBuf::from(if options.quick { "target/bench" } else { "bench/results" }));
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let contestants = contestants(options)?;
    let date = clock::today();
    let path = directory.join(format!("{date}.json"));
    let mut results = Results::load(&path)?;
    results.present(&contestants);
    let scratch = std::env::temp_dir().join(format!("dormouse-compare-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let site = Site {
        bin: options.bin.clone(),
        peers: options.peers.clone(),
        scratch: scratch.clone(),
        counter: Cell::new(0),
    };
    let command = command(options);
    let sections = options.bench.sections();
    for section in sections.iter().filter(|section| section.source() == **section) {
        let mut contest =
            Contest { site: &site, contestants: &contestants, size, command: &command, results: &mut results };
        contest.run(*section)?;
        // Each section is kept and shown at once: a run takes long.
        results.store(&path)?;
        for shown in sections.iter().filter(|shown| shown.source() == *section) {
            if let Some(text) = table::section(&results, *shown) {
                println!("{text}");
                plot::draw(&results, *shown, &directory.join(format!("{date}-{}.svg", shown.name())))?;
                put(options, shown.name(), &text)?;
            }
        }
        let head = format!("Measured {date} on {}.\n\n{}", results.machine, table::contestants(&results));
        put(options, "servers", &head)?;
        if let Some(text) = goals::table(&results) {
            put(options, "goals", &text)?;
        }
    }
    fs::remove_dir_all(&scratch)?;
    println!("{}\n{}", results.machine, table::contestants(&results));
    if let Some(text) = goals::table(&results) {
        println!("{text}");
    }
    let behind = table::behind(&results);
    if !behind.is_empty() {
        println!("Dormouse is not first in:\n{behind}");
    }
    println!("{}", path.display());
    Ok(sections.iter().filter_map(|section| results.trials(*section)).all(|trials| trials.failures.is_empty()))
}

/// Into the README, unless this is a quick look.
fn put(options: &Options, name: &str, text: &str) -> Result<()> {
    if options.quick { Ok(()) } else { table::put(&options.readme, name, text) }
}

/// Installs the peers that take part.
fn contestants(options: &Options) -> Result<Vec<Contestant>> {
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let known = |name: &str| name == DORMOUSE || name == FLOOR || PEERS.contains(&name) || MODELS.contains(&name);
    if let Some(unknown) = options.only.iter().find(|name| !known(name)) {
        bail!("no server {unknown}; there are {DORMOUSE}, {FLOOR}, {}", PEERS.join(", "));
    }
    let mut contestants = Vec::new();
    if wanted(DORMOUSE) {
        contestants.push(Contestant::dormouse());
    }
    if matches!(options.bench, Bench::Actors | Bench::All) {
        contestants.extend(MODELS.into_iter().filter(|name| wanted(name)).map(Contestant::model));
    }
    // No server takes part: nothing is installed.
    if options.bench == Bench::Actors {
        return Ok(contestants);
    }
    for name in PEERS.into_iter().filter(|name| wanted(name)) {
        eprintln!("{name}: installing what is missing …");
        let peer = Peer::open(&options.peers.join(name))?;
        peer.install()?;
        contestants.push(Contestant::peer(name, &peer)?);
    }
    if wanted(FLOOR) {
        contestants.push(Contestant::floor());
    }
    Ok(contestants)
}

fn command(options: &Options) -> String {
    let bench = options.bench.to_possible_value().map(|bench| bench.get_name().to_owned()).unwrap_or_default();
    let only = if options.only.is_empty() { String::new() } else { format!(" --only {}", options.only.join(",")) };
    let rounds = options.rounds.map(|rounds| format!(" --rounds {rounds}")).unwrap_or_default();
    format!("bench/run {bench}{}{rounds}{only}", if options.quick { " --quick" } else { "" })
}
