//! Connections that have something to do, in the order they got it. One that used up its budget goes to the back, so a
//! chatty client cannot starve others.
//!
//! Two lanes. Whose socket has just brought something goes before those who only have deliveries waiting: what publishers
//! say while a broadcast is on its way then joins the same writes, instead of making every subscriber's write twice, each
//! half as long. Only once in a pass (in which everybody in the other lane is served once), so that publishers cannot
//! outrun subscribers.

use std::collections::VecDeque;

/// Room for so many entries outlives a burst.
const KEEP: usize = 64;

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The socket has brought something.
    Heard,
    /// Everything else.
    Ready,
}

impl Lane {
    /// In the order they are served.
    pub(super) const ALL: [Self; 2] = [Self::Heard, Self::Ready];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Indexes of ready connections, at most once in each lane.
#[derive(Debug, Default)]
pub(super) struct RunQueue {
    heard: VecDeque<u32>,
    ready: VecDeque<u32>,
    /// Wraps: a connection that is mistaken about it waits for its turn once.
    pass: u8,
    /// Entries of `ready` that belong to this pass.
    left: usize,
}

/// What a slot keeps of its place in the queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// It has not been served since it was added; else its entries are left over and are passed over.
    wanted: bool,
    /// The lanes in which it has an entry: bits, since a slot has not one byte to spare.
    lanes: u8,
    /// The last pass in which it went before others.
    pass: u8,
}

impl Place {
    /// Its entry in `lane` has come up; whether it is to be served.
    pub(super) fn take(&mut self, lane: Lane) -> bool {
        self.lanes &= !lane.bit();
        std::mem::take(&mut self.wanted)
    }
}

impl RunQueue {
    /// Adds a connection unless it is there already.
    pub(super) fn push(&mut self, index: u32, place: &mut Place) {
        place.wanted = true;
        if place.lanes == 0 {
            place.lanes = Lane::Ready.bit();
            self.ready.push_back(index);
        }
    }

    /// Adds a connection whose socket has brought something.
    pub(super) fn push_heard(&mut self, index: u32, place: &mut Place) {
        let is_heard = place.lanes & Lane::Heard.bit() != 0;
        if is_heard || place.pass == self.pass {
            return self.push(index, place);
        }
        (place.wanted, place.pass) = (true, self.pass);
        place.lanes |= Lane::Heard.bit();
        self.heard.push_back(index);
    }

    /// The next entry; its slot says whether it counts ([`Place::take`]).
    pub(super) fn pop(&mut self, lane: Lane) -> Option<u32> {
        if lane == Lane::Heard {
            return self.heard.pop_front();
        }
        let next = self.ready.pop_front();
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            (self.pass, self.left) = (self.pass.wrapping_add(1), self.ready.len());
        }
        next
    }

    /// The next so many of a lane, which stay.
    pub(super) fn first(&self, lane: Lane, count: usize) -> impl Iterator<Item = u32> + '_ {
        self.lane(lane).iter().take(count).copied()
    }

    pub(super) fn len(&self, lane: Lane) -> usize {
        self.lane(lane).len()
    }

    fn lane(&self, lane: Lane) -> &VecDeque<u32> {
        match lane {
            Lane::Heard => &self.heard,
            Lane::Ready => &self.ready,
        }
    }

    /// Gives the memory of a past burst back; called when nobody waits.
    pub(super) fn shrink(&mut self) {
        self.heard.shrink_to(KEEP);
        self.ready.shrink_to(KEEP);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heard.is_empty() && self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves so many entries of a lane and says whose counted.
    fn serve(queue: &mut RunQueue, places: &mut [Place], lane: Lane, count: usize) -> Vec<u32> {
        let popped = std::iter::from_fn(|| queue.pop(lane)).take(count);
        popped.filter(|&index| places[index as usize].take(lane)).collect()
    }

    #[test]
    fn who_has_been_heard_goes_first_but_only_once_in_a_pass() {
        let (mut queue, mut places) = (RunQueue::default(), [Place::default(); 4]);
        for index in 0..3 {
            queue.push(index, &mut places[index as usize]);
        }
        assert_eq!(serve(&mut queue, &mut places, Lane::Ready, 1), [0], "a pass has begun");
        queue.push_heard(3, &mut places[3]);
        assert_eq!(serve(&mut queue, &mut places, Lane::Heard, 9), [3]);
        queue.push_heard(3, &mut places[3]);
        assert_eq!(
            serve(&mut queue, &mut places, Lane::Heard, 9),
            Vec::<u32>::new(),
            "its second time waits behind the others"
        );
        assert_eq!(serve(&mut queue, &mut places, Lane::Ready, 2), [1, 2]);
        queue.push_heard(0, &mut places[0]);
        assert_eq!(serve(&mut queue, &mut places, Lane::Heard, 9), [0], "another pass");
        assert_eq!(serve(&mut queue, &mut places, Lane::Ready, 9), [3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn nobody_is_served_twice_for_one_reason() {
        let (mut queue, mut places) = (RunQueue::default(), [Place::default(); 2]);
        queue.push(0, &mut places[0]);
        queue.push(0, &mut places[0]);
        queue.push(1, &mut places[1]);
        assert_eq!(serve(&mut queue, &mut places, Lane::Ready, 1), [0]);
        queue.push_heard(1, &mut places[1]);
        assert_eq!(serve(&mut queue, &mut places, Lane::Heard, 9), [1]);
        assert_eq!(
            serve(&mut queue, &mut places, Lane::Ready, 9),
            Vec::<u32>::new(),
            "the entry left behind is passed over"
        );
        assert!(queue.is_empty());
    }
}
