//! Figures and texts as a reader sees them.

use std::time::Duration;

use crate::cause::last_lines;

/// A duration with three digits and its unit, such as `1.23 s`, `45.6 ms` or `789 us`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match duration.as_nanos() {
        1_000_000_000.. => (seconds, "s"),
        1_000_000.. => (seconds * 1e3, "ms"),
        _ => (seconds * 1e6, "us"),
    };
    let decimals = match value {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    // A duration from a command line is often a whole number.
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {unit}")
}

/// A number of bytes, in words.
pub(crate) fn bytes(count: u64) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}

/// The last lines that a server wrote to stderr.
pub(crate) fn stderr(text: &str) -> String {
    match last_lines(text) {
        lines if lines.is_empty() => "nothing on stderr".to_owned(),
        lines if lines.contains('\n') => format!("on stderr:\n{lines}"),
        line => format!("on stderr: {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let shown = |nanos| duration(Duration::from_nanos(nanos));
        assert_eq!(shown(1_234_567_890), "1.23 s");
        assert_eq!(shown(10_000_000_000), "10 s");
        assert_eq!(shown(123_456_000_000), "123 s");
        assert_eq!(shown(45_678_901), "45.7 ms");
        assert_eq!(shown(500_000_000), "500 ms");
        assert_eq!(shown(100_000), "100 us");
        assert_eq!(shown(1_234), "1.23 us");
        assert_eq!(shown(0), "0 us");
    }
}
