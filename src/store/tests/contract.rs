//! What every engine promises.

use std::time::Duration;

use super::{
    super::{Cursors, KEY_LIFE, Keep, Outcome, Range, Write},
    Bench, Kind, append, append_keeping, for_every_engine, offsets,
};

for_every_engine! {
    offsets_rise_by_one_within_a_channel_and_its_epoch
    an_event_reads_back_as_it_was_given
    pages_go_both_ways_and_say_whether_there_is_more
    a_key_gives_its_first_offset_in_its_group_later_and_after_a_restart
    a_key_counts_for_its_sender_and_channel_alone
    a_key_outlives_its_event_and_ends_with_its_time
    retention_by_count_and_by_age_forgets_the_oldest
    a_trimmed_channel_stays_trimmed_and_keeps_its_numbering
    members_and_memberships_are_one_truth
    cursors_move_forward_only_and_never_pass_the_head
    unread_counts_what_others_sent
    a_failed_group_has_not_happened_and_the_next_one_succeeds
    cleaning_changes_nothing_that_can_be_read
}

fn offsets_rise_by_one_within_a_channel_and_its_epoch(kind: Kind) {
    let mut bench = Bench::new(kind);
    let a = bench.append("chat:a", "alice", None, "1");
    let b = bench.append("chat:b", "alice", None, "1");
    assert_eq!((a.offset, b.offset), (1, 1));
    assert_ne!(a.epoch, b.epoch);
    let group =
        [append("chat:a", "bob", None, "2"), append("chat:b", "bob", None, "2"), append("chat:a", "bob", None, "3")];
    let outcomes = bench.commit(&group);
    let places: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Appended(appended) => (appended.epoch, appended.offset),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(places, [(a.epoch, 2), (b.epoch, 2), (a.epoch, 3)]);
    bench.reopen();
    let next = bench.append("chat:a", "alice", None, "4");
    assert_eq!((next.epoch, next.offset, next.duplicate), (a.epoch, 4, false));
    assert_eq!(bench.texts("chat:a"), ["1", "2", "3", "4"]);
    let opened = bench.commit(&[Write::Open { channel: "chat:a".into() }, Write::Open { channel: "chat:c".into() }]);
    let [Outcome::Opened(known), Outcome::Opened(new)] = opened[..] else { panic!("{opened:?}") };
    assert_eq!((known.epoch, known.first, known.head), (a.epoch, 1, 4));
    assert_eq!((new.first, new.head), (1, 0));
    assert_eq!(bench.archive().channels("chat:", 10), ["chat:a", "chat:b", "chat:c"]);
    assert_eq!(bench.archive().channels("chat:b", 10), ["chat:b"]);
}

fn an_event_reads_back_as_it_was_given(kind: Kind) {
    let mut bench = Bench::new(kind);
    let data = "\u{0}ü{\"a\":1}".repeat(3000);
    bench.append("chat:a", "alice", Some(""), &data);
    bench.append("chat:a", "bob", None, "");
    for _ in 0..2 {
        let page = bench.read("chat:a", Range::After(0), 10);
        let [first, second] = &page.events[..] else { panic!("{page:?}") };
        assert_eq!((&*first.from, first.key.as_deref(), &*first.data), ("alice", Some(""), data.as_bytes()));
        assert_eq!((first.offset, first.at), (1, bench.now));
        assert_eq!((&*second.from, second.key.as_deref(), &*second.data), ("bob", None, &b""[..]));
        bench.reopen();
    }
}

fn pages_go_both_ways_and_say_whether_there_is_more(kind: Kind) {
    let mut bench = Bench::new(kind);
    for n in 1..=10 {
        bench.append("chat:a", "alice", None, &n.to_string());
        bench.append("chat:b", "alice", None, &"x".repeat(n * 300));
    }
    for _ in 0..2 {
        let page = |range, limit| {
            let page = bench.read("chat:a", range, limit);
            (offsets(&page), page.more)
        };
        assert_eq!(page(Range::After(0), 3), (vec![1, 2, 3], true));
        assert_eq!(page(Range::After(7), 3), (vec![8, 9, 10], false));
        assert_eq!(page(Range::After(10), 3), (vec![], false));
        assert_eq!(page(Range::After(u64::MAX), 3), (vec![], false));
        assert_eq!(page(Range::Before(5), 3), (vec![2, 3, 4], true));
        assert_eq!(page(Range::Before(4), 3), (vec![1, 2, 3], false));
        assert_eq!(page(Range::Before(0), 3), (vec![], false));
        assert_eq!(page(Range::Before(u64::MAX), 2), (vec![9, 10], true));
        assert_eq!(page(Range::Newest, 4), (vec![7, 8, 9, 10], true));
        assert_eq!(page(Range::Newest, 0), (vec![], true));
        assert!(bench.read("chat:none", Range::Newest, 4).events.is_empty());
        bench.reopen();
    }
}

fn a_key_gives_its_first_offset_in_its_group_later_and_after_a_restart(kind: Kind) {
    let mut bench = Bench::new(kind);
    let first = bench.append("chat:a", "alice", Some("k"), "1");
    assert!(!first.duplicate);
    let group = bench.commit(&[append("chat:a", "bob", Some("x"), "2"), append("chat:a", "bob", Some("x"), "2")]);
    let [Outcome::Appended(one), Outcome::Appended(two)] = group[..] else { panic!("{group:?}") };
    assert_eq!((one.offset, one.duplicate, two.offset, two.duplicate), (2, false, 2, true));
    bench.now += 1000;
    for _ in 0..2 {
        let again = bench.append("chat:a", "alice", Some("k"), "other data");
        assert_eq!((again.offset, again.at, again.epoch, again.duplicate), (1, first.at, first.epoch, true));
        bench.reopen();
    }
    assert_eq!(bench.texts("chat:a"), ["1", "2"]);
}

fn a_key_counts_for_its_sender_and_channel_alone(kind: Kind) {
    let mut bench = Bench::new(kind);
    for (channel, from) in [("chat:a", "alice"), ("chat:a", "bob"), ("chat:b", "alice")] {
        assert!(!bench.append(channel, from, Some("k"), "x").duplicate, "{channel} {from}");
    }
}

fn a_key_outlives_its_event_and_ends_with_its_time(kind: Kind) {
    let mut bench = Bench::new(kind);
    let one = Keep { events: 1, ..super::KEEP_ALL };
    bench.commit(&[append_keeping("chat:a", "alice", Some("k"), "1", one)]);
    for n in 0..300 {
        bench.commit(&[append_keeping("chat:a", "bob", None, &format!("{n} {}", "x".repeat(100)), one)]);
        bench.tidy();
    }
    bench.reopen();
    bench.now += KEY_LIFE.as_millis() as u64 - 1;
    let again = bench.append("chat:a", "alice", Some("k"), "1");
    assert_eq!((again.offset, again.duplicate), (1, true));
    bench.now += 1;
    let new = bench.append("chat:a", "alice", Some("k"), "1");
    assert_eq!((new.offset, new.duplicate), (302, false));
    bench.reopen();
    assert_eq!(bench.append("chat:a", "alice", Some("k"), "1").offset, 302);
}

fn retention_by_count_and_by_age_forgets_the_oldest(kind: Kind) {
    let mut bench = Bench::new(kind);
    let three = Keep { events: 3, ..super::KEEP_ALL };
    let group: Vec<_> = (1..=5).map(|n| append_keeping("chat:a", "alice", None, &n.to_string(), three)).collect();
    bench.commit(&group);
    assert_eq!(bench.texts("chat:a"), ["3", "4", "5"]);
    let minute = Keep { events: 1000, age: Duration::from_secs(60) };
    for n in 1..=4 {
        bench.commit(&[append_keeping("chat:b", "alice", None, &n.to_string(), minute)]);
        bench.now += 30_000;
    }
    // Now 30 s after the fourth: the first is 120 s old, the second 90 s, the third 60 s, which is not older.
    bench.commit(&[Write::Trim { channel: "chat:b".into(), keep: minute }]);
    for _ in 0..2 {
        assert_eq!(bench.texts("chat:a"), ["3", "4", "5"]);
        assert_eq!(bench.texts("chat:b"), ["3", "4"]);
        let extent = bench.archive().extent("chat:b").unwrap();
        assert_eq!((extent.first, extent.head), (3, 4));
        bench.reopen();
    }
}

fn a_trimmed_channel_stays_trimmed_and_keeps_its_numbering(kind: Kind) {
    let mut bench = Bench::new(kind);
    let first = bench.append("chat:a", "alice", None, "1");
    bench.append("chat:a", "alice", None, "2");
    let nothing = Keep { events: 0, ..super::KEEP_ALL };
    let trimmed = bench.commit(&[
        Write::Trim { channel: "chat:a".into(), keep: nothing },
        Write::Trim { channel: "chat:none".into(), keep: nothing },
    ]);
    let [Outcome::Trimmed(Some(extent)), Outcome::Trimmed(None)] = trimmed[..] else { panic!("{trimmed:?}") };
    assert_eq!((extent.first, extent.head), (3, 2));
    // Enough for the files that held it to be cleaned away.
    for n in 0..400 {
        bench.commit(&[append_keeping("chat:b", "bob", None, &format!("{n} {}", "x".repeat(100)), nothing)]);
        bench.tidy();
    }
    bench.reopen();
    assert_eq!(bench.archive().extent("chat:a"), Some(extent));
    assert_eq!(bench.archive().extent("chat:b").unwrap().head, 400);
    let next = bench.append("chat:a", "alice", None, "3");
    assert_eq!((next.epoch, next.offset), (first.epoch, 3));
    assert_eq!(bench.texts("chat:a"), ["3"]);
}

fn members_and_memberships_are_one_truth(kind: Kind) {
    let mut bench = Bench::new(kind);
    bench.append("chat:a", "alice", None, "1");
    let join = |channel: &str, user: &str| Write::Join { channel: channel.into(), user: user.into() };
    let leave = |channel: &str, user: &str| Write::Leave { channel: channel.into(), user: user.into() };
    let head = Cursors { delivered: 1, read: 1 };
    let outcomes = bench.commit(&[
        join("chat:a", "bob"),
        join("chat:a", "bob"),
        join("chat:b", "bob"),
        join("chat:a", "alice"),
        leave("chat:b", "bob"),
        leave("chat:b", "carol"),
    ]);
    let none = Cursors::default();
    let expected = [(true, head), (false, head), (true, none), (true, head), (true, none), (false, none)];
    let expected = expected.map(|(changed, cursors)| Outcome::Membership { changed, cursors });
    assert_eq!(outcomes, expected);
    bench.commit(&[join("chat:c", "bob")]);
    for _ in 0..2 {
        let archive = bench.archive();
        assert_eq!(archive.members("chat:a"), [("alice".into(), head), ("bob".into(), head)]);
        assert_eq!(archive.members("chat:b"), []);
        let names: Vec<_> = archive.memberships("bob").into_iter().map(|membership| membership.channel).collect();
        assert_eq!(names, ["chat:a", "chat:c"]);
        assert_eq!(archive.memberships("carol"), []);
        assert!(archive.is_member("chat:a", "bob") && !archive.is_member("chat:b", "bob"));
        bench.reopen();
    }
}

fn cursors_move_forward_only_and_never_pass_the_head(kind: Kind) {
    let mut bench = Bench::new(kind);
    for n in 1..=5 {
        bench.append("chat:a", "alice", None, &n.to_string());
    }
    let mut ack = |delivered, read| {
        let write = Write::Acknowledge { channel: "chat:a".into(), user: "bob".into(), delivered, read };
        let outcome = bench.commit(&[write]);
        bench.reopen();
        let [Outcome::Acknowledged { moved, cursors }] = outcome[..] else { panic!("{outcome:?}") };
        assert_eq!(bench.archive().cursors("chat:a", "bob"), cursors);
        (moved, cursors.delivered, cursors.read)
    };
    assert_eq!(ack(2, 0), (true, 2, 0));
    assert_eq!(ack(0, 3), (true, 3, 3), "reading implies delivery");
    assert_eq!(ack(1, 1), (false, 3, 3));
    assert_eq!(ack(u64::MAX, 4), (true, 5, 4));
    assert_eq!(ack(5, 4), (false, 5, 4));
    // Who was away while not a member has nothing to catch up.
    let membership = |write: Write, bench: &mut Bench| match bench.commit(&[write])[..] {
        [Outcome::Membership { cursors, .. }] => (cursors.delivered, cursors.read),
        ref other => panic!("{other:?}"),
    };
    assert_eq!(membership(Write::Join { channel: "chat:a".into(), user: "bob".into() }, &mut bench), (5, 5));
    assert_eq!(membership(Write::Leave { channel: "chat:a".into(), user: "bob".into() }, &mut bench), (5, 5));
}

fn unread_counts_what_others_sent(kind: Kind) {
    let mut bench = Bench::new(kind);
    bench.commit(&[Write::Join { channel: "chat:a".into(), user: "bob".into() }]);
    for from in ["alice", "bob", "alice", "carol", "bob"] {
        bench.append("chat:a", from, None, "x");
    }
    for _ in 0..2 {
        let archive = bench.archive();
        assert_eq!(archive.memberships("bob")[0].unread, 3);
        let unread = |user, after| archive.unread("chat:a", user, after);
        assert_eq!([unread("bob", 3), unread("bob", 5), unread("nobody", 0), unread("bob", u64::MAX)], [1, 0, 5, 0]);
        bench.reopen();
    }
}

fn a_failed_group_has_not_happened_and_the_next_one_succeeds(kind: Kind) {
    let mut bench = Bench::new(kind);
    bench.append("chat:a", "alice", Some("k"), "1");
    let before = bench.archive().extent("chat:a");
    bench.faults.fail();
    let group = [
        append("chat:a", "alice", Some("l"), "lost"),
        append("chat:new", "alice", None, "lost"),
        Write::Join { channel: "chat:a".into(), user: "bob".into() },
    ];
    let now = bench.now;
    for _ in 0..3 {
        let error = bench.engine().commit(&group, now).unwrap_err();
        assert!(error.to_string().starts_with("the store cannot write"), "{error}");
        assert_eq!(bench.archive().extent("chat:a"), before);
        assert_eq!(bench.archive().extent("chat:new"), None);
        assert!(!bench.archive().is_member("chat:a", "bob"));
    }
    bench.faults.end();
    let after = bench.append("chat:a", "alice", Some("l"), "2");
    assert_eq!((after.offset, after.duplicate), (2, false));
    bench.reopen();
    assert_eq!(bench.texts("chat:a"), ["1", "2"]);
    assert_eq!(bench.archive().extent("chat:new"), None);
}

fn cleaning_changes_nothing_that_can_be_read(kind: Kind) {
    let mut bench = Bench::new(kind);
    let few = Keep { events: 7, ..super::KEEP_ALL };
    bench.append("chat:old", "alice", None, "kept from the beginning");
    bench.commit(&[Write::Join { channel: "chat:old".into(), user: "bob".into() }]);
    for n in 0..500_u32 {
        let channel = format!("chat:{}", n % 3);
        bench.commit(&[append_keeping(&channel, "bob", None, &n.to_string().repeat(30), few)]);
        bench.tidy();
    }
    let all = |bench: &Bench| {
        let channels = bench.archive().channels("", 10);
        let events: Vec<_> = channels.iter().map(|name| bench.texts(name)).collect();
        (channels, events, bench.archive().memberships("bob"))
    };
    let before = all(&bench);
    assert_eq!(before.1[3], ["kept from the beginning"]);
    assert_eq!(before.1[0].len(), 7);
    if kind == Kind::Embedded {
        let files = std::fs::read_dir(bench.folder.path()).unwrap().count();
        assert!(files < 8, "{files} files are left of about 15");
    }
    bench.reopen();
    assert_eq!(all(&bench), before);
}
