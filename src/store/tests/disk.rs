//! Disks that are full or fail: nothing acknowledged is lost, nothing else appears, and the store goes on when the disk does.

use std::fs;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{super::StoreError, Bench, Kind, append};

#[test]
fn a_full_disk_costs_the_writes_it_refuses_and_nothing_else() {
    let mut bench = Bench::new(Kind::Embedded);
    bench.append("chat:a", "alice", None, "1");
    for room in [0, 1, 20, 60, 200] {
        bench.faults.disk_full_after(room);
        let now = bench.now;
        for _ in 0..3 {
            let error = bench.engine().commit(&[append("chat:a", "alice", None, &"x".repeat(400))], now).unwrap_err();
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        }
        assert_eq!(bench.texts("chat:a"), ["1"], "{room} bytes of room");
        // The process may end here, too.
        bench.faults.end();
        bench.reopen();
        assert_eq!(bench.texts("chat:a"), ["1"], "{room} bytes of room, after a restart");
    }
    assert_eq!(bench.append("chat:a", "alice", None, "2").offset, 2);
    bench.reopen();
    assert_eq!(bench.texts("chat:a"), ["1", "2"]);
}

#[test]
fn what_a_failing_disk_acknowledged_is_there_and_what_it_refused_is_not() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut bench, mut acknowledged) = (Bench::new(Kind::Embedded), Vec::new());
    for n in 0..400 {
        match random.random_range(0..10) {
            0 => drop(bench.faults.fail()),
            1 => bench.faults.disk_full_after(random.random_range(0..600)),
            2 | 3 => bench.faults.end(),
            4 => {
                bench.faults.end();
                bench.reopen();
            }
            _ => {}
        }
        let (now, text) = (bench.now, format!("{n} {}", "x".repeat(random.random_range(0..300))));
        if bench.engine().commit(&[append("chat:a", "alice", None, &text)], now).is_ok() {
            acknowledged.push(text);
        }
        assert_eq!(bench.texts("chat:a"), acknowledged);
    }
    assert!((50..400).contains(&acknowledged.len()), "{} acknowledged", acknowledged.len());
}

#[test]
fn after_a_failed_sync_the_store_goes_on_in_a_new_file_and_what_is_left_in_the_old_one_does_not_count() {
    let mut bench = Bench::new(Kind::Embedded);
    bench.append("chat:a", "alice", None, "1");
    let file = |n: u32| bench.folder.path().join(format!("{n:08}.log"));
    let (first, second, third) = (file(1), file(2), file(3));
    let good = fs::read(&first).unwrap();
    bench.faults.fail();
    let now = bench.now;
    bench.engine().commit(&[append("chat:a", "alice", None, "lost")], now).unwrap_err();
    bench.faults.end();
    bench.append("chat:a", "alice", None, "2");
    // A system that says "failed" once and "done" the next time may have kept nothing: that file takes no more.
    assert!(second.exists());
    assert_eq!(fs::read(&first).unwrap(), good);
    // As if the end of the failed write could not be cut off: a whole group, which a start must not take for kept.
    let mut tail = good.clone();
    tail.extend_from_slice(&good[36..]);
    fs::write(&first, &tail).unwrap();
    bench.reopen();
    assert_eq!(bench.texts("chat:a"), ["1", "2"]);
    assert_eq!(fs::read(&first).unwrap(), good, "what nobody was promised is cut off");
    assert!(!third.exists());
}
