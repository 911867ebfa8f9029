//! Kernel settings that a very large run needs: read, raised where they are too low and we may, told in the table, and put
//! back by the caretaker. Only ever raised, never lowered.

use std::{fs, path::PathBuf};

use anyhow::Result;

use crate::caretaker::{Caretaker, Duty};

/// Where ports of clients begin when the range is too narrow: each of a server's clients needs one of every second port,
/// because the kernel searches the other half only when the first is full, step by step.
const FIRST_PORT: u64 = 16_384;
const LAST_PORT: u64 = 65_535;

/// A setting and what it should at least be. The range of ports is the only one whose first number should be low.
struct Wish {
    name: &'static str,
    least: Vec<u64>,
}

/// Raises what `connections` with both ends here need, `each` at most in a process; what was done, a line for each.
pub(crate) fn raise(connections: usize, each: usize, caretaker: &mut Caretaker) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for wish in wishes(connections as u64, each as u64) {
        let path = PathBuf::from("/proc/sys").join(wish.name.replace('.', "/"));
        // Not there: the kernel has no such limit.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let old: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let Some(new) = raised(&wish, &old) else { continue };
        let shown = format!("{} {} → {}", wish.name, words(&old), words(&new));
        // Before the change: a run that is killed in between must not leave it.
        caretaker.charge(&Duty::Content { path: path.clone(), text: words(&old) })?;
        lines.push(match fs::write(&path, words(&new)) {
            Ok(()) => shown,
            Err(error) => format!("{shown} would be better: {error}"),
        });
    }
    Ok(lines)
}

fn wishes(connections: u64, each: u64) -> Vec<Wish> {
    let sockets = 2 * connections;
    let wish = |name, least: &[u64]| Wish { name, least: least.to_vec() };
    let mut wishes = vec![
        wish("net.core.somaxconn", &[4096]),
        // Descriptors and watches of both ends, and room for everybody else.
        wish("fs.file-max", &[sockets + 400_000]),
        wish("fs.epoll.max_user_watches", &[sockets + 400_000]),
        // Pages that may be promised to sockets: one each is promised whenever something is on its way.
        wish("net.ipv4.tcp_mem", &[sockets / 4, sockets / 2, sockets]),
        wish("net.netfilter.nf_conntrack_max", &[connections + 100_000]),
    ];
    // A run that stays in the first half of the usual ports needs no more of them.
    if each > 12_000 {
        wishes.push(wish("net.ipv4.ip_local_port_range", &[FIRST_PORT, LAST_PORT]));
    }
    wishes
}

/// What to write; nothing when it is enough as it is, or nothing we know.
fn raised(wish: &Wish, old: &[u64]) -> Option<Vec<u64>> {
    let range = wish.name.ends_with("port_range");
    let better = |(at, (least, old)): (usize, (&u64, &u64))| {
        if range && at == 0 { *least.min(old) } else { *least.max(old) }
    };
    let new: Vec<u64> = wish.least.iter().zip(old).enumerate().map(better).collect();
    (new.len() == old.len() && new != old).then_some(new)
}

fn words(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_raised_and_never_lowered_and_the_range_grows_to_both_sides() {
        let of = |name, least: &[u64], old: &[u64]| raised(&Wish { name, least: least.to_vec() }, old);
        assert_eq!(of("fs.file-max", &[10], &[5]), Some(vec![10]));
        assert_eq!(of("fs.file-max", &[10], &[50]), None);
        assert_eq!(of("net.ipv4.tcp_mem", &[1, 5, 9], &[2, 4, 9]), Some(vec![2, 5, 9]));
        let range = "net.ipv4.ip_local_port_range";
        assert_eq!(of(range, &[16_384, 65_535], &[32_768, 60_999]), Some(vec![16_384, 65_535]));
        assert_eq!(of(range, &[16_384, 65_535], &[1_024, 60_999]), Some(vec![1_024, 65_535]));
        assert_eq!(of(range, &[16_384, 65_535], &[1_024, 65_535]), None);
        assert_eq!(of(range, &[16_384, 65_535], &[7]), None);
    }
}
