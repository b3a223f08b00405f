//! Numbers with units on the command line.

/// Multipliers of counts and rates.
const COUNTS: &[(&str, u64)] =
    &[("", 1), ("k", 1_000), ("K", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];

/// Multipliers of sizes. `K` has none, because it can mean 1000 or 1024.
const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("k", 1_000),
    ("kB", 1_000),
    ("M", 1_000_000),
    ("MB", 1_000_000),
    ("G", 1_000_000_000),
    ("GB", 1_000_000_000),
    ("Ki", 1 << 10),
    ("KiB", 1 << 10),
    ("Mi", 1 << 20),
    ("MiB", 1 << 20),
    ("Gi", 1 << 30),
    ("GiB", 1 << 30),
];

const COUNT_EXAMPLES: &str = "give for example 200, 20k or 1.5M";
const SIZE_EXAMPLES: &str = "give for example 64, 1k (1000 bytes), 16KiB (16384 bytes) or 1MiB";

/// A whole number such as 200, 20k or 1.5M.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    whole(text, COUNTS).ok_or_else(|| COUNT_EXAMPLES.to_owned())
}

/// A whole number of things in memory.
pub(crate) fn length(text: &str) -> Result<usize, String> {
    count(text).and_then(fit)
}

/// A number of bytes such as 64, 1k or 16KiB.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    whole(text, SIZES).ok_or_else(|| SIZE_EXAMPLES.to_owned()).and_then(fit)
}

/// A rate such as 0.5, 200 or 20k.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let (number, factor) = split(text, COUNTS).ok_or(COUNT_EXAMPLES)?;
    let number: f64 = number.parse().map_err(|_| COUNT_EXAMPLES)?;
    Ok(number * factor as f64)
}

fn fit(number: u64) -> Result<usize, String> {
    usize::try_from(number).map_err(|_| format!("{number} is too large for this machine"))
}

/// The number, if it is whole and fits into 64 bits.
fn whole(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, factor) = split(text, units)?;
    let Some((before, after)) = number.split_once('.') else {
        return number.parse::<u64>().ok()?.checked_mul(factor);
    };
    // The digits after the point are parts of the unit.
    let scale = 10_u64.checked_pow(u32::try_from(after.len()).ok()?)?;
    let parts = after.parse::<u64>().ok()?.checked_mul(factor)?;
    let whole = before.parse::<u64>().ok()?.checked_mul(factor)?;
    parts.is_multiple_of(scale).then_some(parts / scale).and_then(|parts| whole.checked_add(parts))
}

/// Splits a number from its unit, and returns the number and the multiplier.
fn split<'a>(text: &'a str, units: &[(&str, u64)]) -> Option<(&'a str, u64)> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic() || c == ' ').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    Some((number, *factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_multiply() {
        assert_eq!(count("200"), Ok(200));
        assert_eq!(count("20k"), Ok(20_000));
        assert_eq!(count("1.5M"), Ok(1_500_000));
        assert_eq!(count("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(bytes("1k"), Ok(1000));
        assert_eq!(bytes("16 KiB"), Ok(16_384));
        assert_eq!(bytes("0.5Mi"), Ok(524_288));
        assert_eq!(rate("0.5"), Ok(0.5));
        assert_eq!(rate("20k"), Ok(20_000.0));
        assert_eq!(rate("1e3"), Err(COUNT_EXAMPLES.to_owned()));
    }

    #[test]
    fn what_is_not_a_number_is_refused_with_examples() {
        for text in ["", "k", "ten", "-1", "1.5", "1.0001k", "1 k k", "20x", "1.", ".5", "1..5k"] {
            assert_eq!(count(text), Err(COUNT_EXAMPLES.to_owned()), "{text}");
        }
        for text in ["18446744073709551616", "18446744073709551615k"] {
            assert!(count(text).is_err(), "{text}");
        }
        // K can be 1000 or 1024 bytes.
        for text in ["1K", "1KB", "1kib"] {
            assert_eq!(bytes(text), Err(SIZE_EXAMPLES.to_owned()), "{text}");
        }
    }
}
