//! What this process weighs: its proportional set size, as Linux counts it. The same figure as for whole servers, so it
//! holds what the allocator wastes too.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result};

/// How long the allocator takes at most to give back what was freed.
const RETURNED: Duration = Duration::from_secs(2);

/// Bytes, once what was freed has been given back.
pub(crate) fn settled() -> Result<f64> {
    thread::park_timeout(RETURNED);
    let path = "/proc/self/smaps_rollup";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kilobytes.context("no Pss")? * 1024.0)
}
