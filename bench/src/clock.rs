//! The only place of the load generator that reads a clock, so that the lints that keep clocks out of other code hold
//! here too. Every module that measures time calls it.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The present moment, monotonic.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Lets time pass on this thread.
pub(crate) fn rest(time: Duration) {
    let until = now() + time;
    loop {
        let left = until.saturating_duration_since(now());
        if left.is_zero() {
            return;
        }
        // May wake early for no reason.
        thread::park_timeout(left);
    }
}

/// Today's date (UTC) as year, month and day.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = date(seconds / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// The date that lies so many days after 1970-01-01. Counts in years that begin in March, whose leap day comes last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (19_722, (2023, 12, 31)),
            (19_782, (2024, 2, 29)),
        ] {
            assert_eq!(date(days), expected, "{days} days");
        }
    }
}
