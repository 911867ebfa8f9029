//! What sockets cost outside the process: kernel objects (slab) and socket buffers, as growth between two moments.
//!
//! The whole machine is counted, so both ends of a loopback connection and anything else that runs; the tables say so.
//! Reads /proc and nothing else; called by the measurements of memory.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};

use crate::process::kilobytes;

/// A socket buffer page as /proc/net/sockstat counts it.
const PAGE: f64 = 4096.0;

/// The machine's memory at a moment, in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) slab: f64,
    /// All of it, whoever uses it.
    pub(crate) total: f64,
    pub(crate) available: f64,
    pub(crate) socket_buffers: f64,
    /// What maps the memory of processes, and the stacks their threads have in the kernel.
    pub(crate) page_tables: f64,
    pub(crate) stacks: f64,
    /// TCP sockets in use, of both ends.
    pub(crate) sockets: f64,
    /// Bytes in use by kind of object; empty where only root may read it and we are not.
    kinds: BTreeMap<String, f64>,
}

impl Kernel {
    pub(crate) fn now() -> Result<Self> {
        let slabs = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
        Ok(Self { kinds: slabs.lines().filter_map(kind).collect(), ..Self::glance()? })
    }

    /// Without the kinds of objects, which take longest to count.
    pub(crate) fn glance() -> Result<Self> {
        let memory = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
        let field = |name| kilobytes(&memory, name).unwrap_or_default() * 1024.0;
        let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        Ok(Self {
            slab: field("Slab"),
            total: field("MemTotal"),
            available: field("MemAvailable"),
            socket_buffers: of_tcp(&sockets, "mem").unwrap_or_default() * PAGE,
            page_tables: field("PageTables"),
            stacks: field("KernelStack"),
            sockets: of_tcp(&sockets, "inuse").unwrap_or_default(),
            kinds: BTreeMap::new(),
        })
    }

    /// The kinds of objects that grew most since `earlier`, as "name bytes" for each of `sockets`.
    pub(crate) fn grown(&self, earlier: &Self, sockets: f64) -> String {
        let mut grown: Vec<(&str, f64)> = self
            .kinds
            .iter()
            .map(|(name, bytes)| (name.as_str(), (bytes - earlier.kinds.get(name).unwrap_or(&0.0)) / sockets))
            .filter(|(_, bytes)| *bytes >= 20.0)
            .collect();
        grown.sort_by(|one, other| other.1.total_cmp(&one.1));
        grown.iter().take(6).map(|(name, bytes)| format!("{name} {bytes:.0}")).collect::<Vec<_>>().join(" + ")
    }
}

/// "TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 131", mem → 131: pages.
fn of_tcp(sockstat: &str, name: &str) -> Option<f64> {
    let line = sockstat.lines().find(|line| line.starts_with("TCP:"))?;
    line.split_whitespace().skip_while(|word| *word != name).nth(1)?.parse().ok()
}

/// "TCP 12 26 2368 13 8 : …" → TCP, objects in use × size.
fn kind(line: &str) -> Option<(String, f64)> {
    let mut words = line.split_whitespace();
    let (name, active, _, size) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some((name.to_owned(), active.parse::<f64>().ok()? * size.parse::<f64>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_buffers_and_objects_are_read() {
        let sockstat = "sockets: used 18\nTCP: inuse 7 orphan 0 tw 0 alloc 1 mem 131\n";
        assert_eq!((of_tcp(sockstat, "mem"), of_tcp(sockstat, "inuse")), (Some(131.0), Some(7.0)));
        assert_eq!(kind("TCP   12  26  2368   13    8 : tunables 0"), Some(("TCP".to_owned(), 28_416.0)));
        assert_eq!(kind("slabinfo - version: 2.1"), None);
    }

    #[test]
    fn growth_names_the_largest_kinds_first() {
        let of = |tcp: f64, inode: f64| Kernel {
            kinds: BTreeMap::from([("TCP".to_owned(), tcp), ("inode".to_owned(), inode), ("idle".to_owned(), 5.0)]),
            ..Kernel::default()
        };
        assert_eq!(of(5_000.0, 3_000.0).grown(&of(1_000.0, 1_000.0), 2.0), "TCP 2000 + inode 1000");
    }
}
