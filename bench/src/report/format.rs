//! Numbers as text for people: three significant digits, and a unit on every number.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use loadgen::report::group_digits;

/// The text in place of a number that was not measured.
pub(super) const UNAVAILABLE: &str = "unavailable";

/// The kind of a number, which decides how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A pure number, such as messages per second: "12.3k".
    Number,
    /// A count, such as connections: "10 000".
    Count,
    /// A share of 1: "25 %".
    Share,
    /// A ratio: "1.05×".
    Ratio,
    /// Nanoseconds: "12.3 µs".
    Nanoseconds,
    /// Bytes, in powers of 1024: "4 KiB".
    Bytes,
    /// Bytes per second, in powers of 1000: "1.2 GB/s".
    BytesPerSecond,
    /// A share of samples, 0 to 1: "p99.9".
    Quantile,
}

impl Unit {
    /// Returns `value` with its unit, or "unavailable" if `value` is not finite.
    pub(super) fn format(self, value: f64) -> String {
        if !value.is_finite() {
            return UNAVAILABLE.to_owned();
        }
        match self {
            Unit::Number => {
                let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];
                scaled(value, &steps, "")
            }
            Unit::Count => grouped(value),
            Unit::Share => format!("{}\u{a0}%", digits(value * 100.0)),
            Unit::Ratio => format!("{}×", Unit::Number.format(value)),
            Unit::Nanoseconds => {
                scaled(value, &[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")], "\u{a0}")
            }
            Unit::Bytes => {
                let steps = [(30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "B")];
                scaled(value, &steps.map(|(power, unit)| (2f64.powi(power), unit)), "\u{a0}")
            }
            Unit::BytesPerSecond => scaled(
                value,
                &[(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")],
                "\u{a0}",
            ),
            Unit::Quantile => format!("p{}", trimmed(value.clamp(0.0, 1.0) * 100.0, 5)),
        }
    }
}

/// Returns `value` in the largest of `steps` in which it is at least 1. `steps` descend.
fn scaled(value: f64, steps: &[(f64, &str)], space: &str) -> String {
    let fits = |(size, _): &&(f64, &str)| significant(value / size).abs() >= 1.0;
    match steps.iter().find(fits).or(steps.last()) {
        Some((size, unit)) => format!("{}{space}{unit}", digits(value / size)),
        None => digits(value),
    }
}

/// Returns `value` with three significant digits and without trailing zeros.
pub(super) fn digits(value: f64) -> String {
    if !value.is_finite() {
        return UNAVAILABLE.to_owned();
    }
    let value = significant(value);
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..15.0).contains(&magnitude) {
        return format!("{value:.1e}");
    }
    trimmed(value, (2.0 - magnitude).max(0.0) as usize)
}

/// Returns `value` with at most `decimals` decimal places and without trailing zeros.
fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Rounds `value` to three significant decimal digits: 0.3, not 0.30000000000000004.
fn significant(value: f64) -> f64 {
    let rounded = format!("{value:.2e}").parse().unwrap_or(value);
    if f64::is_finite(rounded) { rounded } else { value }
}

/// Returns an integer with its digits in groups of three, and another number with three significant
/// digits.
fn grouped(value: f64) -> String {
    if value.fract() != 0.0 || value.abs() >= 1e15 {
        return digits(value);
    }
    group_digits(value, '\u{a0}')
}

/// Returns seconds as minutes and seconds: "3 min 20 s".
pub(super) fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return UNAVAILABLE.to_owned();
    }
    if seconds < 60.0 {
        return format!("{} s", digits(seconds));
    }
    let whole = seconds.round() as u64;
    format!("{} min {} s", whole / 60, whole % 60)
}

/// Returns a time as "2026-01-31 12:00 UTC". After the year 9999, it is "unavailable".
pub(super) fn utc(unix_s: u64) -> String {
    const YEAR_10000: u64 = 253_402_300_800;
    if unix_s >= YEAR_10000 {
        return UNAVAILABLE.to_owned();
    }
    let time = UNIX_EPOCH + Duration::from_secs(unix_s);
    let rfc_3339 = humantime::format_rfc3339_seconds(time).to_string();
    let (minutes, _) = rfc_3339.split_at("2026-01-31T12:00".len());
    format!("{} UTC", minutes.replace('T', " "))
}

/// Returns "a", "a and b", or "a, b and c".
pub(super) fn list<T: AsRef<str>>(items: &[T]) -> String {
    let mut text = String::new();
    for (index, item) in items.iter().enumerate() {
        let joint = match items.len() - index {
            _ if index == 0 => "",
            1 => " and ",
            _ => ", ",
        };
        let _ = write!(text, "{joint}{}", item.as_ref());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_the_unit_of_their_size() {
        let cases = [
            (Unit::Number, 0.0, "0"),
            (Unit::Number, 0.3, "0.3"),
            (Unit::Number, 12_345.0, "12.3k"),
            (Unit::Number, 999.6, "1k"),
            (Unit::Number, 2_000_000.0, "2M"),
            (Unit::Number, 0.000_001_2, "1.2e-6"),
            (Unit::Count, 10_000.0, "10\u{a0}000"),
            (Unit::Count, 900.0, "900"),
            (Unit::Share, 0.25, "25\u{a0}%"),
            (Unit::Ratio, 1.054, "1.05×"),
            (Unit::Nanoseconds, 12_345.0, "12.3\u{a0}µs"),
            (Unit::Nanoseconds, 999_999.0, "1\u{a0}ms"),
            (Unit::Nanoseconds, 0.5, "0.5\u{a0}ns"),
            (Unit::Bytes, 4096.0, "4\u{a0}KiB"),
            (Unit::Bytes, 512.0, "512\u{a0}B"),
            (Unit::BytesPerSecond, 1.25e9, "1.25\u{a0}GB/s"),
            (Unit::Quantile, 0.999, "p99.9"),
            (Unit::Quantile, 0.5, "p50"),
        ];
        for (unit, value, text) in cases {
            assert_eq!(unit.format(value), text);
        }
    }

    #[test]
    fn a_value_that_is_not_finite_is_unavailable_in_every_unit() {
        use Unit::*;
        for unit in [Number, Count, Share, Ratio, Nanoseconds, Bytes, BytesPerSecond, Quantile] {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                assert_eq!(unit.format(value), "unavailable");
            }
            for value in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -0.0] {
                let text = unit.format(value);
                assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
            }
        }
        assert_eq!(seconds(f64::NAN), "unavailable");
    }

    #[test]
    fn moments_are_in_the_gregorian_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(utc(1_767_225_599), "2025-12-31 23:59 UTC");
        assert_eq!(utc(253_402_300_799), "9999-12-31 23:59 UTC");
        assert_eq!([utc(253_402_300_800), utc(u64::MAX)], ["unavailable", "unavailable"]);
    }

    #[test]
    fn lists_and_times_read_as_english() {
        assert_eq!(list::<&str>(&[]), "");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(seconds(200.4), "3 min 20 s");
        assert_eq!(seconds(1.5), "1.5 s");
    }
}
