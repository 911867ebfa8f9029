//! What a home gives to those who come back, and to those who look back: the replay before live events, pages for who is far
//! behind, and history. Where the store has more than the home holds, it says so and the store is read.
//!
//! Pure, like `home.rs`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    channel::home::{Event, Home},
    clock::Now,
    id::Epoch,
    protocol::frame::GapReason,
    store::Range,
};

/// Events given at once to one subscriber.
pub(super) const PAGE: usize = 128;
/// Bytes of a page of history: with more, the answer to one question would hold up everything else on its socket. The
/// first event comes in any case.
const PAGE_BYTES: usize = 1 << 20;

/// From where a subscriber wants events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// From now on.
    Head,
    /// After this; the epoch as the client gave it.
    Cursor {
        /// `None`: no epoch of ours.
        epoch: Option<Epoch>,
        /// Exclusive.
        offset: u64,
    },
    /// The newest so many first.
    Last(u64),
    /// From now on, but what passed after this, while the session was parked, is told as a gap.
    Parked {
        /// Of the offset.
        epoch: Epoch,
        /// What the shard had seen when the socket was lost.
        offset: u64,
        /// So many events that were offered before had not reached the client.
        undelivered: u64,
    },
}

/// Events that will not arrive, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// First.
    pub from: u64,
    /// Last.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// What a new subscriber gets before live events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CatchUp {
    /// Life of the numbering.
    pub epoch: Epoch,
    /// The newest offset given out.
    pub head: u64,
    /// Nothing asked for is missing.
    pub recovered: bool,
    /// Told first.
    pub gap: Option<Gap>,
    /// Then these, rising.
    pub missed: Vec<Arc<Event>>,
    /// There are more than are given at once: what comes after this offset, live events too, comes page by page.
    #[serde(default)]
    pub behind: Option<u64>,
}

/// What a subscriber who is behind gets next.
#[derive(Clone, Debug)]
pub struct Page {
    /// What he has had before.
    pub after: u64,
    /// Told first.
    pub gap: Option<Gap>,
    /// Then these, rising.
    pub events: Vec<Arc<Event>>,
    /// Nothing is missing any more: he hears live events from now on.
    pub is_last: bool,
}

/// Where to find something.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// Here it is.
    Here(T),
    /// The store has it.
    Stored(Range),
}

impl Home {
    /// What a subscriber who wants events since `since` gets first.
    pub(super) fn catch_up(&mut self, since: &Since, now: Now) -> CatchUp {
        self.forget(now);
        self.used_at = now.unix_ms;
        let (epoch, head, limit) = (self.epoch, self.head, self.settings().catch_up_limit as u64);
        let from_now = CatchUp { epoch, head, recovered: true, gap: None, missed: Vec::new(), behind: None };
        match *since {
            Since::Head => from_now,
            Since::Last(n) => {
                // What is not dense is counted where it is held.
                let (missed, behind) = match self.backlog {
                    Some(_) => self.replay((head + 1).saturating_sub(n.min(limit)).max(self.first_kept())),
                    None => (self.newest(n.min(limit)), None),
                };
                CatchUp { missed, behind, ..from_now }
            }
            Since::Parked { epoch, offset, undelivered } => {
                let passed = epoch != self.epoch || offset < head || undelivered > 0;
                let from = if epoch == self.epoch { (offset + 1).saturating_sub(undelivered).max(1) } else { 1 };
                let gap = Gap { from: from.min(head), to: head, reason: GapReason::Overflow };
                CatchUp { recovered: !passed, gap: passed.then_some(gap), ..from_now }
            }
            Since::Cursor { epoch, offset } => {
                let known = epoch == Some(self.epoch);
                // Another epoch's offsets mean nothing here: everything kept is news, what came before it is lost.
                let after = if known { offset.min(head) } else { 0 };
                let kept_from = self.first_kept();
                let limited_from = (head + 1).saturating_sub(limit);
                let replay_from = kept_from.max(limited_from).max(after + 1);
                let complete = known && replay_from == after + 1;
                let reason = if limited_from > kept_from { GapReason::CatchUpLimit } else { GapReason::Retention };
                let gap = Gap { from: (after + 1).min(replay_from - 1), to: replay_from - 1, reason };
                let (missed, behind) = self.replay(replay_from);
                CatchUp { recovered: complete, gap: (!complete).then_some(gap), missed, behind, ..from_now }
            }
        }
    }

    /// The next page for a subscriber who has had everything up to `after`.
    pub(super) fn page(&mut self, after: u64, now: Now) -> Found<Page> {
        self.forget(now);
        self.used_at = now.unix_ms;
        let from = after + 1;
        if from > self.head {
            return Found::Here(Page { after, gap: None, events: Vec::new(), is_last: true });
        }
        // Held from there on, or kept nowhere.
        if self.held_from() > from.max(self.first_kept()) {
            return Found::Stored(Range::After(after));
        }
        let start = self.events.partition_point(|event| event.offset < from);
        let events: Vec<_> = self.events.range(start..).take(PAGE).cloned().collect();
        let is_last = start + events.len() == self.events.len();
        Found::Here(self.paged(after, events, is_last))
    }

    /// A page of events that the store has, or of none of those it should have.
    pub(super) fn stored_page(&self, after: u64, mut events: Vec<Arc<Event>>) -> Page {
        // The store may be ahead of what the home has told to anybody.
        events.retain(|event| event.offset <= self.head);
        let is_last = events.is_empty();
        self.paged(after, events, is_last)
    }

    /// With what is missing before the first of `events`, or up to the head when there are none.
    fn paged(&self, after: u64, events: Vec<Arc<Event>>, is_last: bool) -> Page {
        let next = events.first().map_or(self.head + 1, |event| event.offset);
        let gap = Gap { from: after + 1, to: next.saturating_sub(1), reason: GapReason::Retention };
        Page { after, gap: (gap.from <= gap.to).then_some(gap), events, is_last }
    }

    /// Kept events for `history`: the oldest after `after`, else the newest before `before`, rising; and whether there is
    /// more in that direction.
    pub(super) fn history(
        &mut self,
        after: Option<u64>,
        before: Option<u64>,
        limit: usize,
        now: Now,
    ) -> Found<(Vec<Arc<Event>>, bool)> {
        self.forget(now);
        let (held_from, first) = (self.held_from(), self.first_kept());
        let older = held_from > first;
        let start = after.map_or(0, |after| self.events.partition_point(|event| event.offset <= after));
        let end = before.map_or(self.events.len(), |before| self.events.partition_point(|event| event.offset < before));
        let end = end.max(start);
        if let Some(after) = after {
            if older && after + 1 < held_from && before.is_none_or(|before| before > first) {
                return Found::Stored(Range::After(after));
            }
            let range = start..end.min(start.saturating_add(limit));
            let more = range.len() < end - start;
            return Found::Here(fit(self.events.range(range).cloned().collect(), more, Keep::Oldest));
        }
        if older && end < limit && before.is_none_or(|before| before > first) {
            return Found::Stored(before.map_or(Range::Newest, Range::Before));
        }
        let range = end.saturating_sub(limit)..end;
        let more = range.len() < end || (older && before.is_none_or(|before| before > first));
        Found::Here(fit(self.events.range(range).cloned().collect(), more, Keep::Newest))
    }

    /// The same from what the store has given.
    pub(super) fn stored_history(
        &self,
        range: Range,
        before: Option<u64>,
        mut events: Vec<Arc<Event>>,
        more: bool,
    ) -> (Vec<Arc<Event>>, bool) {
        let head = self.head;
        let count = events.len();
        events.retain(|event| event.offset <= head);
        let unheard = events.len() < count;
        match range {
            Range::After(_) => {
                let within = events.len();
                events.retain(|event| before.is_none_or(|before| event.offset < before));
                let more = more && !unheard && events.len() == within;
                fit(events, more, Keep::Oldest)
            }
            Range::Before(_) | Range::Newest => fit(events, more, Keep::Newest),
        }
    }

    /// Events from `from` to the head: here, or from where on they come page by page.
    fn replay(&self, from: u64) -> (Vec<Arc<Event>>, Option<u64>) {
        let count = self.head + 1 - from.min(self.head + 1);
        if self.backlog.is_some() && (count > PAGE as u64 || (count > 0 && self.held_from() > from)) {
            return (Vec::new(), Some(from - 1));
        }
        let start = self.events.partition_point(|event| event.offset < from);
        (self.events.range(start..).cloned().collect(), None)
    }

    /// The oldest offset that is kept anywhere.
    fn first_kept(&self) -> u64 {
        if self.backlog.is_some() { self.first } else { self.held_from() }
    }

    /// The oldest offset that is held here.
    fn held_from(&self) -> u64 {
        self.events.front().map_or(self.head + 1, |event| event.offset)
    }

    fn newest(&self, n: u64) -> Vec<Arc<Event>> {
        let skip = self.events.len().saturating_sub(n as usize);
        self.events.range(skip..).cloned().collect()
    }
}

/// Which end of a page is cut off.
#[derive(Clone, Copy)]
enum Keep {
    Oldest,
    Newest,
}

/// Cuts a page to what one answer may hold.
fn fit(mut events: Vec<Arc<Event>>, more: bool, keep: Keep) -> (Vec<Arc<Event>>, bool) {
    let mut room = PAGE_BYTES;
    let mut fits = |event: &Arc<Event>| {
        let size = event.frame.json().len();
        let fits = size <= room || room == PAGE_BYTES;
        room = room.saturating_sub(size);
        fits
    };
    let count = events.len();
    let fitting = match keep {
        Keep::Oldest => events.iter().take_while(|event| fits(event)).count(),
        Keep::Newest => events.iter().rev().take_while(|event| fits(event)).count(),
    };
    match keep {
        Keep::Oldest => events.truncate(fitting),
        Keep::Newest => drop(events.drain(..count - fitting)),
    }
    (events, more || fitting < count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::home::tests::{at, filled};

    fn offsets(events: &[Arc<Event>]) -> Vec<u64> {
        events.iter().map(|event| event.offset).collect()
    }

    #[test]
    fn a_cursor_gets_what_it_missed_or_a_gap_that_says_what_not() {
        use GapReason::{CatchUpLimit, Retention};
        let ours = Some(Epoch::new(7));
        let gap = |from, to, reason| Some(Gap { from, to, reason });
        // (published, kept, limit), cursor → recovered, gap, replayed
        let cases = [
            ((5, 10, 10), (ours, 5), true, None, vec![]),
            ((5, 10, 10), (ours, 3), true, None, vec![4, 5]),
            ((5, 10, 10), (ours, 99), true, None, vec![]),
            ((9, 4, 10), (ours, 5), true, None, vec![6, 7, 8, 9]),
            ((9, 4, 10), (ours, 2), false, gap(3, 5, Retention), vec![6, 7, 8, 9]),
            ((9, 10, 3), (ours, 2), false, gap(3, 6, CatchUpLimit), vec![7, 8, 9]),
            ((9, 0, 10), (ours, 2), false, gap(3, 9, Retention), vec![]),
            ((3, 10, 10), (None, 2), false, gap(0, 0, Retention), vec![1, 2, 3]),
            ((9, 4, 10), (Some(Epoch::new(8)), 8), false, gap(1, 5, Retention), vec![6, 7, 8, 9]),
        ];
        for ((published, kept, limit), (epoch, offset), recovered, gap, replayed) in cases {
            let mut home = filled(published, kept, limit);
            let got = home.catch_up(&Since::Cursor { epoch, offset }, at(2));
            let case = (published, kept, limit, epoch, offset);
            assert_eq!((got.recovered, got.gap, offsets(&got.missed)), (recovered, gap, replayed), "{case:?}");
            assert_eq!(got.head, published);
        }
    }

    #[test]
    fn last_replays_at_most_what_is_kept_and_allowed() {
        assert_eq!(offsets(&filled(9, 10, 100).catch_up(&Since::Last(3), at(2)).missed), [7, 8, 9]);
        assert_eq!(offsets(&filled(9, 2, 100).catch_up(&Since::Last(3), at(2)).missed), [8, 9]);
        assert_eq!(offsets(&filled(9, 10, 1).catch_up(&Since::Last(3), at(2)).missed), [9]);
    }

    #[test]
    fn a_parked_session_without_a_cursor_is_told_what_passed() {
        let parked = |offset, undelivered| Since::Parked { epoch: Epoch::new(7), offset, undelivered };
        let mut home = filled(9, 10, 10);
        assert!(home.catch_up(&parked(9, 0), at(2)).recovered);
        let got = home.catch_up(&parked(6, 0), at(2));
        assert_eq!(got.gap, Some(Gap { from: 7, to: 9, reason: GapReason::Overflow }));
        assert!(got.missed.is_empty());
        let got = home.catch_up(&parked(8, 3), at(2));
        assert_eq!(got.gap, Some(Gap { from: 6, to: 9, reason: GapReason::Overflow }));
    }

    #[test]
    fn history_pages_both_ways() {
        let mut home = filled(9, 10, 10);
        let mut page = |after, before, limit| {
            let Found::Here((events, more)) = home.history(after, before, limit, at(2)) else { panic!("stored") };
            (offsets(&events), more)
        };
        assert_eq!(page(Some(2), None, 3), (vec![3, 4, 5], true));
        assert_eq!(page(Some(7), None, 3), (vec![8, 9], false));
        assert_eq!(page(None, Some(4), 2), (vec![2, 3], true));
        assert_eq!(page(None, Some(4), 5), (vec![1, 2, 3], false));
        assert_eq!(page(None, None, 2), (vec![8, 9], true));
        assert_eq!(page(Some(9), Some(3), 2), (vec![], false));
    }

    /// A home of the store's: so many events, the newest of them at hand.
    fn durable(head: u64, first: u64) -> Home {
        let mut home = filled(head, usize::MAX, usize::MAX);
        let _ = home.backlog();
        home.first = first;
        while home.events.len() > 10 {
            home.events.pop_front();
        }
        home
    }

    #[test]
    fn who_is_far_behind_gets_pages_and_who_is_near_gets_all_at_once() {
        let since = |offset| Since::Cursor { epoch: Some(Epoch::new(7)), offset };
        let mut home = durable(5_000, 5);
        let near = home.catch_up(&since(4_993), at(2));
        assert_eq!((near.behind, offsets(&near.missed).len(), near.recovered), (None, 7, true));
        let far = home.catch_up(&since(17), at(2));
        assert_eq!((far.behind, far.missed.len(), far.recovered, far.gap), (Some(17), 0, true, None));
        let older = home.catch_up(&since(1), at(2));
        let gap = Gap { from: 2, to: 4, reason: GapReason::Retention };
        assert_eq!((older.behind, older.recovered, older.gap), (Some(4), false, Some(gap)));
        let last = home.catch_up(&Since::Last(300), at(2));
        assert_eq!((last.behind, last.recovered), (Some(4_700), true));
    }

    #[test]
    fn pages_lead_from_the_store_to_what_is_at_hand_and_end_at_the_head() {
        let mut home = durable(1000, 1);
        assert!(matches!(home.page(17, at(2)), Found::Stored(Range::After(17))));
        let Found::Here(page) = home.page(992, at(2)) else { panic!("it is here") };
        assert_eq!((offsets(&page.events).len(), page.gap, page.is_last), (8, None, true));
        let Found::Here(page) = home.page(1000, at(2)) else { panic!("it is here") };
        assert!(page.is_last && page.events.is_empty() && page.gap.is_none());
        // What the store lost meanwhile is told, and what nobody has heard yet is left for later.
        let Found::Here(kept) = home.history(Some(990), None, 100, at(2)) else { panic!("it is here") };
        home.head = 995;
        let page = home.stored_page(17, kept.0);
        let gap = Gap { from: 18, to: 990, reason: GapReason::Retention };
        assert_eq!((page.gap, offsets(&page.events), page.is_last), (Some(gap), vec![991, 992, 993, 994, 995], false));
        let nothing = home.stored_page(17, Vec::new());
        assert_eq!((nothing.gap.map(|gap| (gap.from, gap.to)), nothing.is_last), (Some((18, 995)), true));
    }

    #[test]
    fn history_is_read_from_the_store_where_the_home_does_not_hold_it() {
        let mut home = durable(1000, 5);
        let stored = |found| match found {
            Found::Stored(range) => Some(range),
            Found::Here(_) => None,
        };
        let mut ask = |after, before, limit| stored(home.history(after, before, limit, at(2)));
        assert_eq!(ask(Some(3), None, 10), Some(Range::After(3)));
        assert_eq!(ask(Some(990), None, 10), None);
        assert_eq!(ask(None, None, 11), Some(Range::Newest));
        assert_eq!(ask(None, None, 10), None);
        assert_eq!(ask(None, Some(995), 5), Some(Range::Before(995)));
        assert_eq!(ask(None, Some(995), 4), None);
        assert_eq!(ask(None, Some(5), 4), None, "there is nothing before the first");
        let Found::Here((events, more)) = home.history(None, None, 10, at(2)) else { panic!("it is here") };
        assert_eq!((events.len(), more), (10, true), "the store has more");
    }

    #[test]
    fn a_page_of_history_is_cut_where_it_would_be_too_large() {
        let home = filled(10, 10, 10);
        let all: Vec<_> = home.events.iter().cloned().collect();
        let size = all[0].frame.json().len();
        let many: Vec<_> = all.iter().cycle().take(PAGE_BYTES / size * 2).cloned().collect();
        let (oldest, more) = fit(many.clone(), false, Keep::Oldest);
        assert!(more && oldest.len() < many.len() && Arc::ptr_eq(&oldest[0], &many[0]));
        let (newest, more) = fit(many.clone(), false, Keep::Newest);
        assert!(more && Arc::ptr_eq(&newest[newest.len() - 1], &many[many.len() - 1]));
        assert_eq!(fit(all, false, Keep::Oldest).0.len(), 10);
    }
}
