//! How often: a number for each stretch of time, as people write it.

use std::{fmt, str::FromStr, time::Duration};

/// Beyond it the command, not the server, would be what is measured.
const MOST_PER_SECOND: f64 = 100_000.0;

/// So many a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate(f64);

impl Rate {
    /// How many have come due after that time.
    pub(super) fn due(self, after: Duration) -> u64 {
        (self.0 * after.as_secs_f64()) as u64
    }

    pub(super) fn per_second(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = String;

    /// `1000/s`, `30/m`, `5/h`, `1/250ms`; a bare number is meant for each second.
    fn from_str(text: &str) -> Result<Self, String> {
        let told =
            || format!("{text:?} is no rate: write a number for each stretch of time, such as 1000/s, 30/m or 1/250ms");
        let (number, each) = text.split_once('/').unwrap_or((text, "s"));
        let number: f64 = number.trim().parse().map_err(|_| told())?;
        let each = each.trim();
        let stretch = if each.starts_with(|c: char| c.is_ascii_digit()) { each.to_owned() } else { format!("1{each}") };
        let stretch = humantime::parse_duration(&stretch).map_err(|_| told())?;
        let rate = number / stretch.as_secs_f64();
        if !(rate > 0.0 && rate.is_finite()) {
            return Err(format!("{text:?} is not more than nothing: write a rate such as 1000/s"));
        }
        if rate > MOST_PER_SECOND {
            return Err(format!("{text:?} is too much: at most {MOST_PER_SECOND}/s"));
        }
        Ok(Self(rate))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", (self.0 * 1000.0).round() / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, per_second) in [("1000/s", 1000.0), ("7", 7.0), ("30/m", 0.5), ("1 / 250ms", 4.0), ("0.5/s", 0.5)] {
            assert_eq!(text.parse(), Ok(Rate(per_second)), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_is_told_with_an_example() {
        for text in ["", "fast", "1000/", "1000/x", "0/s", "-1/s", "nan/s", "inf/s", "1/0s", "1000000/s"] {
            let told = text.parse::<Rate>().expect_err(text);
            assert!(told.contains(&format!("{text:?}")) && told.contains("/s"), "{text}: {told}");
        }
    }

    #[test]
    fn what_is_due_adds_up_whatever_the_steps() {
        let rate = Rate(1000.0);
        assert_eq!((rate.due(Duration::ZERO), rate.due(Duration::from_millis(1500))), (0, 1500));
    }
}
