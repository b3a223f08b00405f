//! `--start-at`: several clients, on one or several machines, start at the same time.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loadgen::{Error, Result};

/// Longest time to wait: a time farther away is a mistake, such as milliseconds for seconds.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest sleep. After each sleep the clock is read again, because it may have been set.
const SLEEP: Duration = Duration::from_millis(100);

const EXAMPLES: &str =
    "give UTC, as 2026-11-21T17:00:00Z, or seconds since 1970, as date +%s prints";

/// A time in UTC as RFC 3339 writes it, or in seconds since 1970.
pub(crate) fn parse(text: &str) -> std::result::Result<SystemTime, String> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        let since = Duration::try_from_secs_f64(seconds).ok();
        return since.and_then(|since| UNIX_EPOCH.checked_add(since)).ok_or(EXAMPLES.to_owned());
    }
    humantime::parse_rfc3339(text).map_err(|_| EXAMPLES.to_owned())
}

/// Checks, before the connections are opened, that the time is in the future.
///
/// # Errors
///
/// [`Error::BadPlan`] for a time in the past, and for one more than a day away.
pub(crate) fn check(at: SystemTime) -> Result<()> {
    let wrong = match at.duration_since(SystemTime::now()) {
        Ok(left) if left <= LONGEST => return Ok(()),
        Ok(left) => format!("{} away, and a day is the longest wait", rounded(left)),
        Err(past) => format!("{} in the past", rounded(past.duration())),
    };
    let text = format!("--start-at is {wrong}; this machine's clock says {}", now());
    Err(Error::BadPlan(text))
}

/// Waits until the time has come.
///
/// # Errors
///
/// [`Error::Late`] if the time is over already.
pub(crate) fn wait(at: SystemTime) -> Result<()> {
    if let Err(past) = at.duration_since(SystemTime::now()) {
        return Err(Error::Late(past.duration()));
    }
    while let Ok(left) = at.duration_since(SystemTime::now())
        && !left.is_zero()
    {
        thread::sleep(left.min(SLEEP));
    }
    Ok(())
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now().max(UNIX_EPOCH)).to_string()
}

/// In whole seconds: more digits would hide the number.
fn rounded(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs().max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_utc_or_seconds_since_1970() {
        let expected = UNIX_EPOCH + Duration::from_secs(1_795_280_400);
        assert_eq!(parse("2026-11-21T17:00:00Z"), Ok(expected));
        assert_eq!(parse("1795280400"), Ok(expected));
        let half = expected + Duration::from_millis(500);
        assert_eq!(parse("2026-11-21T17:00:00.5Z"), Ok(half));
        assert_eq!(parse("1795280400.5"), Ok(half));
        for wrong in ["", "soon", "17:00", "2026-11-21T17:00:00+01:00", "-5", "1e300", "nan"] {
            assert_eq!(parse(wrong), Err(EXAMPLES.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_wait_ends_at_the_time_and_not_before() {
        let at = SystemTime::now() + Duration::from_millis(250);
        check(at).unwrap();
        wait(at).unwrap();
        assert!(SystemTime::now() >= at);
        assert!(matches!(wait(at), Err(Error::Late(_))));
    }

    #[test]
    fn the_past_and_the_far_future_are_refused() {
        let now = SystemTime::now();
        let past = check(now - Duration::from_secs(90)).unwrap_err().to_string();
        assert!(past.contains("1m 30s in the past"), "{past}");
        let far = check(now + Duration::from_secs(3_000_000)).unwrap_err().to_string();
        assert!(far.contains("a day is the longest wait"), "{far}");
    }
}
