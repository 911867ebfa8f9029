//! One connection's account of the events it received, against the publisher's numbering 1, 2, 3 …: what is missing,
//! what came twice, what came late. Pure counting; the soak keeps one for each connection.

/// See the file's head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    seen: Vec<u64>,
    distinct: u64,
    highest_number: u64,
    highest_offset: u64,
    pub(crate) doubled: u64,
    pub(crate) disordered: u64,
}

impl Tally {
    /// One event, by the number in its data and its offset in the channel.
    pub(crate) fn record(&mut self, number: u64, offset: u64) {
        let (word, bit) = ((number / 64) as usize, 1u64 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.doubled += 1;
            return;
        }
        self.seen[word] |= bit;
        self.distinct += 1;
        // One publisher: its numbers and the offsets must rise together.
        if number < self.highest_number || offset <= self.highest_offset {
            self.disordered += 1;
        }
        self.highest_number = self.highest_number.max(number);
        self.highest_offset = self.highest_offset.max(offset);
    }

    /// Events received, doubles counted too.
    pub(crate) fn received(&self) -> u64 {
        self.distinct + self.doubled
    }

    /// How many of `published` never came.
    pub(crate) fn missed(&self, published: u64) -> u64 {
        published.saturating_sub(self.distinct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(events: &[(u64, u64)]) -> (u64, u64, u64) {
        let mut tally = Tally::default();
        events.iter().for_each(|(number, offset)| tally.record(*number, *offset));
        (tally.missed(4), tally.doubled, tally.disordered)
    }

    #[test]
    fn a_perfect_run_has_nothing_to_tell_even_when_offsets_are_not_dense() {
        assert_eq!(tally(&[(1, 10), (2, 11), (3, 15), (4, 16)]), (0, 0, 0));
    }

    #[test]
    fn missing_doubled_and_late_events_are_told_apart() {
        assert_eq!(tally(&[(1, 1), (2, 2), (4, 4)]), (1, 0, 0));
        assert_eq!(tally(&[(1, 1), (2, 2), (2, 2), (3, 3), (4, 4)]), (0, 1, 0));
        assert_eq!(tally(&[(1, 1), (3, 3), (2, 2), (4, 4)]), (0, 0, 1));
        assert_eq!(tally(&[(1, 1), (2, 2), (3, 2), (4, 3)]), (0, 0, 1));
    }

    #[test]
    fn the_bits_hold_beyond_one_word() {
        let mut tally = Tally::default();
        (1..=1000).for_each(|number| tally.record(number, number));
        assert_eq!((tally.missed(1000), tally.received(), tally.doubled, tally.disordered), (0, 1000, 0, 0));
    }
}
