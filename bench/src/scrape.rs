//! The server's metrics page, as far as measurements read it: counters summed over their labels, and histograms whose
//! growth between two readings has quantiles, interpolated within a bucket as Prometheus does.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};

/// One reading: each sample's name and labels, and its value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scrape(BTreeMap<String, f64>);

/// What a histogram has seen between two readings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) count: f64,
    pub(crate) sum: f64,
    /// Upper bounds, and how many were not above each.
    buckets: Vec<(f64, f64)>,
}

impl Scrape {
    /// Reads the page now.
    pub(crate) fn take(address: SocketAddr) -> Result<Self> {
        let url = format!("http://{address}/metrics");
        let mut response = ureq::get(&url).call().with_context(|| format!("GET {url}"))?;
        Ok(Self::parse(&response.body_mut().read_to_string()?))
    }

    fn parse(page: &str) -> Self {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// All samples of that name together.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let named = |sample: &str| sample.split('{').next() == Some(name);
        self.0.iter().filter(|(sample, _)| named(sample)).map(|(_, value)| value).sum()
    }

    /// One sample, by name and labels as the page has them.
    pub(crate) fn sample(&self, sample: &str) -> f64 {
        self.0.get(sample).copied().unwrap_or_default()
    }

    /// What a histogram without labels has seen since `earlier`.
    pub(crate) fn seen(&self, histogram: &str, earlier: &Self) -> Seen {
        let grown = |sample: &str| {
            let at = |scrape: &Self| scrape.0.get(sample).copied().unwrap_or_default();
            at(self) - at(earlier)
        };
        let bucket = format!("{histogram}_bucket{{le=\"");
        let mut buckets: Vec<(f64, f64)> = self
            .0
            .keys()
            .filter_map(|sample| {
                Some((sample.strip_prefix(&bucket)?.strip_suffix("\"}")?.parse().ok()?, grown(sample)))
            })
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        Seen { count: grown(&format!("{histogram}_count")), sum: grown(&format!("{histogram}_sum")), buckets }
    }
}

impl Seen {
    pub(crate) fn mean(&self) -> Duration {
        Duration::try_from_secs_f64(self.sum / self.count.max(1.0)).unwrap_or_default()
    }

    /// The value that the share `q` of all does not pass, as far as the buckets tell.
    pub(crate) fn quantile(&self, q: f64) -> Duration {
        let wanted = self.count * q;
        let mut below = (0.0, 0.0);
        for &(bound, count) in &self.buckets {
            if count >= wanted && count > below.1 {
                let share = (wanted - below.1) / (count - below.1);
                let upper = if bound.is_finite() { bound } else { below.0 };
                return Duration::try_from_secs_f64(below.0 + share * (upper - below.0)).unwrap_or_default();
            }
            below = (bound, count);
        }
        Duration::ZERO
    }

    /// How many were above `bound`, which must be one of the buckets'.
    pub(crate) fn above(&self, bound: f64) -> f64 {
        let within = self.buckets.iter().rev().find(|(known, _)| *known <= bound * 1.000_001);
        self.count - within.map_or(0.0, |(_, count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP h x\nc{place=\"a b:1\"} 2\nc{place=\"b\"} 3\ncc 7\nh_bucket{le=\"0.00001\"} 50\nh_bucket{le=\"0.0001\"} 99\n\
        h_bucket{le=\"+Inf\"} 100\nh_sum 0.003\nh_count 100\n";

    #[test]
    fn counters_are_summed_over_their_labels_and_no_longer_names() {
        assert_eq!(Scrape::parse(PAGE).sum("c"), 5.0);
        assert_eq!(Scrape::parse(PAGE).sample(r#"c{place="b"}"#), 3.0);
    }

    #[test]
    fn quantiles_of_what_was_seen_lie_within_their_buckets() {
        let seen = Scrape::parse(PAGE).seen("h", &Scrape::default());
        assert_eq!((seen.mean(), seen.above(1e-4)), (Duration::from_micros(30), 1.0));
        assert_eq!((seen.quantile(0.5), seen.quantile(0.99)), (Duration::from_micros(10), Duration::from_micros(100)));
        assert_eq!(seen.quantile(0.25), Duration::from_micros(5));
        let nothing = Scrape::parse(PAGE).seen("h", &Scrape::parse(PAGE));
        assert_eq!((nothing.count, nothing.quantile(0.99)), (0.0, Duration::ZERO));
    }
}
