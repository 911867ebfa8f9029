//! What the kernel says about this process, without walking over what it has: a list of a million descriptors costs half a
//! second.

use std::fs;

/// See the module's text. `None`: this kernel does not say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    /// Open descriptors (from Linux 6.2 on the size of their folder).
    pub(super) descriptors: Option<u64>,
    /// How many it may have.
    pub(super) descriptors_most: Option<u64>,
}

impl Process {
    pub(super) fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            resident_bytes: resident(&status),
            descriptors: fs::metadata("/proc/self/fd").ok().map(|folder| folder.len()).filter(|&count| count > 0),
            descriptors_most: rlimit::Resource::NOFILE.get_soft().ok(),
        }
    }
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_descriptors() {
        let process = Process::look();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{process:?}");
        assert!(process.descriptors.is_none_or(|count| count >= 3), "{process:?}");
        assert!(process.descriptors_most.is_some_and(|most| most >= 3), "{process:?}");
    }

    #[test]
    fn a_status_without_memory_says_nothing() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t  12 kB\n"), Some(12_288));
        assert_eq!(resident("Name:\tkthreadd\n"), None);
    }
}
