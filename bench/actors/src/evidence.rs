//! Crashes that are all written down. A server files one of each place in a second, so this is what the first of a storm
//! cost, and what a crash in an hour costs; the rest of a storm goes without.

use std::{env, fs, process, thread, time::Duration};

use actix_rt::{Arbiter, System};
use anyhow::{Result, ensure};
use dormouse::{
    clock::Clock,
    supervision::{Children, Counters, CrashFiles, Crashes, Folder, trace_for},
    telemetry::Metrics,
};

use crate::{company::Company, gateway::PANIC, series::Series, stopwatch::thread_time};

/// Crashes at once: fewer than may wait for their files.
const BATCH: u32 = 64;
/// Batches of a wave.
const BATCHES: u32 = 8;

/// Restarts of actors whose crashes each leave their evidence.
///
/// # Errors
/// A crash has no file.
pub(crate) fn restarts(clock: Clock, waves: usize) -> Result<Series> {
    let folder = env::temp_dir().join(format!("dormouse-actors-{}", process::id()));
    let series = System::new().block_on(async {
        let (scribe, metrics) = (Arbiter::new(), Metrics::new()?);
        let count = |result| metrics.crash_files.with_label_values(&[result]);
        let counters = Counters { written: count("written"), skipped: count("skipped"), failed: count("failed") };
        let files = Folder { path: folder.clone(), most: 10, payloads: false, program: None };
        let outbox = CrashFiles::start(&scribe.handle(), &Children::new(clock, 7), files, counters.clone());
        // As many at once as there will be.
        let crashes = Crashes::with_files(clock, outbox, waves * (BATCH * BATCHES) as usize);
        let series = measure(clock, crashes, &counters, waves);
        // This thread remembers whom to ask whether a crash deserves a file: not for longer than he lives.
        trace_for(&Crashes::default());
        series
    });
    let _ = fs::remove_dir_all(folder);
    series
}

fn measure(clock: Clock, crashes: Crashes, counters: &Counters, waves: usize) -> Result<Series> {
    let mut company = Company::new(&Company::config(), 1, clock, crashes)?;
    let openings = company.openings(waves * (BATCH * BATCHES) as usize, true);
    company.open(openings);
    company.say(PANIC);
    let (mut series, mut crashed) = (Series::default(), 0);
    for _ in 0..waves {
        let mut took = Duration::ZERO;
        for _ in 0..BATCHES {
            let began = thread_time();
            company.speak(crashed..crashed + BATCH)?;
            took += thread_time() - began;
            crashed += BATCH;
            while counters.written.get() < u64::from(crashed) {
                ensure!(counters.skipped.get() + counters.failed.get() == 0, "a crash has no file");
                thread::park_timeout(Duration::from_millis(1));
            }
        }
        series.add((BATCH * BATCHES) as usize, took);
    }
    Ok(series)
}
