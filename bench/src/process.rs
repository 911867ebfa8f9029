//! What Linux says about a process and all its descendants: memory (`smaps_rollup`), processor time (`schedstat`, `stat`).
//! Some servers are several processes, and all of them count.
//!
//! Reads /proc and nothing else. Called before and after each measured span, for the server and for the generator itself.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result};

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    /// Proportional set size: what the process adds to the machine.
    pub(crate) pss: f64,
    /// Pages only this process has and has written.
    pub(crate) private_dirty: f64,
    pub(crate) rss: f64,
    /// The part of `pss` that is no page of a file: those weigh less while another process has the same program open.
    pub(crate) written: f64,
}

/// A process and its descendants, itself first.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(pid) = family.get(next) {
        next += 1;
        // The list of a thread names the children that this thread has started.
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        let children: Vec<u32> = lists
            .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        family.extend(children);
    }
    family
}

/// The memory of a process and its descendants now.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let mut sum = memory_of_one(pid)?;
    // A descendant may end between the list and the reading.
    for more in family(pid).into_iter().skip(1).filter_map(|pid| memory_of_one(pid).ok()) {
        sum.pss += more.pss;
        sum.private_dirty += more.private_dirty;
        sum.rss += more.rss;
        sum.written += more.written;
    }
    Ok(sum)
}

/// The generator's own memory, without the servers it has started.
pub(crate) fn own_memory() -> Result<Memory> {
    memory_of_one(std::process::id())
}

fn memory_of_one(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(parse_memory(&text))
}

fn parse_memory(text: &str) -> Memory {
    let field = |name: &str| kilobytes(text, name).unwrap_or_default() * 1024.0;
    let written = field("Pss_Anon") + field("Pss_Shmem");
    Memory { pss: field("Pss"), private_dirty: field("Private_Dirty"), rss: field("Rss"), written }
}

/// The number behind `name:` in a file of "Name: 12 kB" lines.
pub(crate) fn kilobytes(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor time that a process has used up to a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    /// User and system time of the whole processes, in whole ticks of 10 ms.
    coarse: Duration,
    /// The same for each live thread in nanoseconds, as an idle server uses a few ticks a minute.
    threads: BTreeMap<u32, Duration>,
}

/// Linux reports process times in ticks of 1/100 s to user space on every architecture we run on (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

impl Cpu {
    /// Of process `pid` and its descendants until now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut sum = Self::of_one(pid)?;
        for more in family(pid).into_iter().skip(1).filter_map(|pid| Self::of_one(pid).ok()) {
            sum.coarse += more.coarse;
            sum.threads.extend(more.threads);
        }
        Ok(sum)
    }

    fn of_one(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let coarse = TICK * u32::try_from(ticks(&stat).context("stat has no times")?).unwrap_or(u32::MAX);
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            let Some(thread) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            let Some(nanos) = text.split(' ').next().and_then(|nanos| nanos.parse().ok()) else { continue };
            threads.insert(thread, Duration::from_nanos(nanos));
        }
        Ok(Self { coarse, threads })
    }

    /// Of the generator itself, without the servers it has started.
    pub(crate) fn own() -> Result<Self> {
        Self::of_one(std::process::id())
    }

    /// Time used between `earlier` and this. Fine when no thread ended meanwhile, else in ticks.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let mut fine = Duration::ZERO;
        for (thread, used) in &self.threads {
            fine += used.saturating_sub(earlier.threads.get(thread).copied().unwrap_or_default());
        }
        let all_live =
            !self.threads.is_empty() && earlier.threads.keys().all(|thread| self.threads.contains_key(thread));
        if all_live { fine } else { self.coarse.saturating_sub(earlier.coarse) }
    }
}

/// When a process began, in ticks since the machine did: with its number it names one process for ever.
pub(crate) fn began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// utime + stime. The name in parentheses may hold blanks and parentheses, so the fields are counted from its end.
fn ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_parentheses() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 9 9 20 0 4 0 100 0 0";
        assert_eq!(ticks(stat), Some(300));
    }

    #[test]
    fn a_rollup_is_read_in_bytes_and_not_by_prefix() {
        let text = "55d0-7ffd ---p 00:00 0  [rollup]\nRss:   1200 kB\nPss:    900 kB\nPss_Dirty: 1 kB\nPss_Anon: 30 kB\nPss_Shmem: 12 kB\nPrivate_Dirty: 800 kB\n";
        let memory = parse_memory(text);
        assert_eq!((memory.pss, memory.private_dirty, memory.rss), (921_600.0, 819_200.0, 1_228_800.0));
        assert_eq!(memory.written, 43_008.0);
    }

    #[test]
    fn fine_times_count_only_while_every_thread_lives() {
        let of = |coarse: u64, threads: &[(u32, u64)]| Cpu {
            coarse: Duration::from_millis(coarse),
            threads: threads.iter().map(|(thread, millis)| (*thread, Duration::from_millis(*millis))).collect(),
        };
        let before = of(100, &[(1, 60), (2, 41)]);
        assert_eq!(of(110, &[(1, 63), (2, 43), (3, 4)]).since(&before), Duration::from_millis(9));
        assert_eq!(of(110, &[(1, 63)]).since(&before), Duration::from_millis(10));
    }

    #[test]
    fn a_descendant_counts_with_its_ancestor_and_not_with_the_generator() {
        let mut shell = std::process::Command::new("/bin/sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut line).unwrap();
        let grandchild: u32 = line.trim().parse().unwrap();
        let family = family(shell.id());
        let together = Cpu::of(shell.id()).unwrap();
        let killed = std::process::Command::new("kill").args([grandchild.to_string()]).status();
        shell.wait().unwrap();
        assert!(killed.unwrap().success());
        assert_eq!(family, [shell.id(), grandchild]);
        assert!(together.threads.contains_key(&grandchild));
        assert!(!Cpu::own().unwrap().threads.contains_key(&shell.id()));
    }

    #[test]
    fn the_own_process_can_be_read() {
        assert!(own_memory().unwrap().rss > 100_000.0);
        assert!(Cpu::own().is_ok());
    }
}
