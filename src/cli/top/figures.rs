//! Numbers as people read them.

use serde_json::Value;

/// Stands for what there is not.
pub(super) const NOTHING: &str = "–";

/// With thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group));
    groups.collect::<Vec<_>>().join(",")
}

/// A field as a number of things.
pub(super) fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| NOTHING.to_owned(), count)
}

/// A rate: whole where that is exact enough.
pub(super) fn rate(value: &Value) -> String {
    match value.as_f64() {
        None => NOTHING.to_owned(),
        Some(rate) if rate >= 10.0 || rate == 0.0 => count(rate.round() as u64),
        Some(rate) => format!("{rate:.1}"),
    }
}

/// Seconds in the unit that fits.
pub(super) fn time(value: &Value) -> String {
    let Some(seconds) = value.as_f64() else { return NOTHING.to_owned() };
    match seconds {
        seconds if seconds < 1e-3 => format!("{} µs", digits(seconds * 1e6)),
        seconds if seconds < 1.0 => format!("{} ms", digits(seconds * 1e3)),
        seconds => format!("{} s", digits(seconds)),
    }
}

/// Bytes in the unit that fits.
pub(super) fn bytes(value: &Value) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let Some(bytes) = value.as_f64() else { return NOTHING.to_owned() };
    let (mut size, mut unit) = (bytes, "B");
    for larger in UNITS {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    format!("{} {unit}", digits(size))
}

/// Milliseconds as an age, in one unit.
pub(super) fn age(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        seconds @ 3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        seconds => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Three digits at most after rounding, but never fewer than the whole part has.
fn digits(number: f64) -> String {
    match number {
        number if number >= 99.95 => format!("{number:.0}"),
        number if number >= 9.995 => format!("{number:.1}").trim_end_matches(".0").to_owned(),
        number => {
            let text = format!("{number:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_said_with_three_digits_and_a_unit() {
        let times: Vec<_> =
            [0.0, 3e-6, 0.000_999, 0.001_234, 0.099_96, 1.0, 75.25].map(|seconds| time(&json!(seconds))).into();
        assert_eq!(times, ["0 µs", "3 µs", "999 µs", "1.23 ms", "100 ms", "1 s", "75.2 s"]);
        let sizes: Vec<_> =
            [0_u64, 186, 1_024, 1_500, 32_505_856, 17_051_123_712].map(|size| bytes(&json!(size))).into();
        assert_eq!(sizes, ["0 B", "186 B", "1 KiB", "1.46 KiB", "31 MiB", "15.9 GiB"]);
        assert_eq!([count(0), count(999), count(1_000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([rate(&json!(0)), rate(&json!(0.25)), rate(&json!(12_345.6))], ["0", "0.2", "12,346"]);
    }

    #[test]
    fn what_is_absent_is_a_dash() {
        assert_eq!([time(&Value::Null), bytes(&Value::Null), rate(&Value::Null), number(&Value::Null)], [NOTHING; 4]);
    }

    #[test]
    fn an_age_has_two_units_at_most() {
        assert_eq!([age(999), age(61_000), age(7_260_000), age(90_000_000)], ["0s", "1m 1s", "2h 1m", "1d 1h"]);
    }
}
