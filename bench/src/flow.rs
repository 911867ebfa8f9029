//! How many came, and how fast: the moments of arrivals, and the most that fell into any span of a given length, wherever
//! it begins. A rate by the clock's seconds would miss a crowd that comes around the turn of one. Pure counting.

use std::time::{Duration, Instant};

/// See the file's head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flow {
    /// In the order they came.
    moments: Vec<Instant>,
}

impl Flow {
    /// One more, now or later than all before.
    pub(crate) fn note(&mut self, moment: Instant) {
        self.moments.push(moment);
    }

    pub(crate) fn count(&self) -> usize {
        self.moments.len()
    }

    /// From the first to the last.
    pub(crate) fn took(&self) -> Duration {
        self.moments.first().zip(self.moments.last()).map_or(Duration::ZERO, |(first, last)| *last - *first)
    }

    /// The most that came within `span`.
    pub(crate) fn most_within(&self, span: Duration) -> usize {
        let mut first = 0;
        let most = self.moments.iter().enumerate().map(|(last, moment)| {
            while *moment - self.moments[first] >= span {
                first += 1;
            }
            last + 1 - first
        });
        most.max().unwrap_or_default()
    }

    /// How many came in each `span` that follows the first arrival.
    pub(crate) fn by(&self, span: Duration) -> Vec<usize> {
        let Some(first) = self.moments.first() else { return Vec::new() };
        let mut counts = Vec::new();
        for moment in &self.moments {
            let nth = ((*moment - *first).as_nanos() / span.as_nanos().max(1)) as usize;
            counts.resize(counts.len().max(nth + 1), 0);
            counts[nth] += 1;
        }
        counts
    }
}

/// The middle one of some counts.
pub(crate) fn median(counts: &[usize]) -> usize {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn flow(millis: &[u64]) -> Flow {
        let start = clock::now();
        let mut flow = Flow::default();
        millis.iter().for_each(|millis| flow.note(start + Duration::from_millis(*millis)));
        flow
    }

    #[test]
    fn a_crowd_around_the_turn_of_a_second_is_one_crowd() {
        let flow = flow(&[0, 900, 950, 1_000, 1_050, 1_899, 1_900]);
        assert_eq!(flow.most_within(Duration::from_secs(1)), 5, "from 900 up to 1900, which is a second later");
        assert_eq!(flow.by(Duration::from_secs(1)), [3, 4]);
        assert_eq!((flow.count(), flow.took()), (7, Duration::from_millis(1_900)));
    }

    #[test]
    fn spans_in_which_nobody_came_count_too() {
        assert_eq!(flow(&[0, 1, 350]).by(Duration::from_millis(100)), [2, 0, 0, 1]);
        assert_eq!(median(&[2, 0, 0, 1]), 1);
        let nobody = Flow::default();
        assert_eq!((nobody.most_within(Duration::from_secs(1)), nobody.took(), median(&[])), (0, Duration::ZERO, 0));
    }
}
