//! The memory of a whole machine by part, at a moment: servers, clients, and what the kernel keeps for them. Of processes it is
//! the proportional share, so a program that runs a hundred times counts once. Called by `million`.

use anyhow::Result;
use serde::Serialize;

use crate::{
    kernel::Kernel,
    process::{memory, own_memory},
};

/// The parts, in the order of every table and plot.
pub(crate) const PARTS: [&str; 6] = [
    "servers, user space",
    "clients, user space",
    "kernel objects of sockets (slab)",
    "kernel socket buffers",
    "page tables",
    "kernel stacks",
];

/// Bytes of each of [`PARTS`].
pub(crate) type ByPart = [f64; PARTS.len()];

/// See the file's head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moment {
    pub(crate) parts: ByPart,
    pub(crate) kernel: Kernel,
}

/// A moment in the course of a run, relative to its beginning.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    pub(crate) connections: f64,
    pub(crate) parts: ByPart,
    /// Of MemAvailable, not relative.
    pub(crate) available: f64,
}

impl Moment {
    /// With the kinds of kernel objects.
    pub(crate) fn now(servers: &[u32], clients: &[u32]) -> Result<Self> {
        Self::with(Kernel::now()?, servers, clients)
    }

    /// Without them.
    pub(crate) fn glance(servers: &[u32], clients: &[u32]) -> Result<Self> {
        Self::with(Kernel::glance()?, servers, clients)
    }

    fn with(kernel: Kernel, servers: &[u32], clients: &[u32]) -> Result<Self> {
        let sum = |pids: &[u32]| pids.iter().map(|pid| Ok(memory(*pid)?.pss)).sum::<Result<f64>>();
        // This process orders the clients about and counts as one of them.
        let clients = sum(clients)? + own_memory()?.pss;
        let parts = [sum(servers)?, clients, kernel.slab, kernel.socket_buffers, kernel.page_tables, kernel.stacks];
        Ok(Self { parts, kernel })
    }

    /// What each part has grown by since `earlier`.
    pub(crate) fn grown(&self, earlier: &Self) -> ByPart {
        std::array::from_fn(|part| self.parts[part] - earlier.parts[part])
    }

    /// By how much less is left at `later`.
    pub(crate) fn taken_until(&self, later: &Self) -> f64 {
        self.kernel.available - later.kernel.available
    }

    /// As a point of a course that began with `start`.
    pub(crate) fn sample(&self, start: &Self, seconds: f64) -> Sample {
        let connections = ((self.kernel.sockets - start.kernel.sockets) / 2.0).max(0.0);
        let parts = self.grown(start).map(|grown| grown.max(0.0));
        Sample { seconds, connections, parts, available: self.kernel.available }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_this_process_alone_has_all_parts_and_grows_from_itself_by_nothing() {
        let moment = Moment::now(&[std::process::id()], &[]).unwrap();
        assert!(moment.parts[0] > 100_000.0 && moment.parts[1] > 100_000.0 && moment.kernel.total > 1e8);
        assert_eq!(moment.grown(&moment), [0.0; PARTS.len()]);
        assert_eq!(moment.taken_until(&moment), 0.0);
    }
}
