//! How a histogram's values lie, and percentiles of what was added to it within an interval: `dormouse_*_seconds` count
//! since the start, a night operator asks about now.

use prometheus::{Histogram, core::Metric as _};

/// Counts by bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spread {
    /// Upper bounds, rising; what lies above the last one is counted behind it.
    bounds: Vec<f64>,
    /// One more than there are bounds.
    counts: Vec<u64>,
}

impl Spread {
    /// Of all values since the start.
    pub(super) fn of(histogram: &Histogram) -> Self {
        let metric = histogram.metric();
        let histogram = metric.get_histogram();
        let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
        for bucket in histogram.get_bucket() {
            bounds.push(bucket.upper_bound());
            counts.push(bucket.cumulative_count().saturating_sub(below));
            below = bucket.cumulative_count();
        }
        counts.push(histogram.get_sample_count().saturating_sub(below));
        Self { bounds, counts }
    }

    /// Of the values that have come since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts.clone();
        for (count, before) in counts.iter_mut().zip(&earlier.counts) {
            *count = count.saturating_sub(*before);
        }
        Self { bounds: self.bounds.clone(), counts }
    }

    /// How many.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The value that this part of all does not exceed, taking those of a bucket as evenly spread in it; the last bound
    /// for what lies above it. `None` when there are none.
    pub(super) fn quantile(&self, part: f64) -> Option<f64> {
        let rank = part * self.count() as f64;
        let (mut below, mut lower) = (0, 0.0);
        for (&count, &upper) in self.counts.iter().zip(&self.bounds) {
            if count > 0 && (below + count) as f64 >= rank {
                let within = ((rank - below as f64) / count as f64).clamp(0.0, 1.0);
                return Some(lower + (upper - lower) * within);
            }
            (below, lower) = (below + count, upper);
        }
        (self.count() > 0).then_some(lower)
    }

    /// The upper bound of the highest bucket that holds anything: nothing was longer, unless it is the last bound.
    pub(super) fn most(&self) -> Option<f64> {
        let highest = self.counts.iter().rposition(|&count| count > 0)?;
        self.bounds.get(highest).or(self.bounds.last()).copied()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;

    use super::*;

    fn histogram(bounds: &[f64]) -> Histogram {
        Histogram::with_opts(HistogramOpts::new("a", "b").buckets(bounds.to_vec())).expect("a histogram")
    }

    #[test]
    fn percentiles_are_those_of_the_interval_alone() {
        let histogram = histogram(&[1.0, 2.0, 4.0, 8.0]);
        (0..1_000).for_each(|_| histogram.observe(7.0));
        let before = Spread::of(&histogram);
        assert!(before.quantile(0.5).is_some_and(|median| median > 4.0));
        (0..10).for_each(|_| histogram.observe(0.5));
        (0..10).for_each(|_| histogram.observe(1.5));
        let interval = Spread::of(&histogram).since(&before);
        assert_eq!(interval.count(), 20);
        assert_eq!(interval.quantile(0.25), Some(0.5));
        assert_eq!(interval.quantile(0.5), Some(1.0));
        assert_eq!(interval.quantile(0.75), Some(1.5));
        assert_eq!((interval.quantile(1.0), interval.most()), (Some(2.0), Some(2.0)));
    }

    #[test]
    fn nothing_has_no_percentile() {
        let histogram = histogram(&[1.0, 2.0]);
        histogram.observe(1.0);
        let before = Spread::of(&histogram);
        let interval = before.since(&before);
        assert_eq!((interval.count(), interval.quantile(0.99), interval.most()), (0, None, None));
        assert_eq!(Spread::default().quantile(0.5), None);
    }

    #[test]
    fn what_is_above_the_last_bound_is_told_by_it() {
        let histogram = histogram(&[1.0, 2.0]);
        histogram.observe(0.1);
        (0..99).for_each(|_| histogram.observe(100.0));
        let all = Spread::of(&histogram);
        assert_eq!((all.count(), all.quantile(0.99), all.most()), (100, Some(2.0), Some(2.0)));
    }

    #[test]
    fn a_percentile_never_passes_an_empty_bucket() {
        let histogram = histogram(&[1.0, 2.0, 4.0]);
        histogram.observe(0.5);
        histogram.observe(3.0);
        let all = Spread::of(&histogram);
        assert_eq!((all.quantile(0.0), all.quantile(0.5)), (Some(0.0), Some(1.0)));
        assert!(all.quantile(0.51).is_some_and(|value| value > 2.0));
    }
}
