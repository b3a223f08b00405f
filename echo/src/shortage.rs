//! What the system has run out of, said once.

use std::fmt;
use std::time::{Duration, Instant};

use crate::{ACCEPT_PAUSE, report};

/// Failures closer together than this are one shortage: while it lasts, the next try comes after
/// [`ACCEPT_PAUSE`].
const SAME_SHORTAGE: Duration = ACCEPT_PAUSE.saturating_mul(10);

/// Reports a shortage once for as long as it lasts, however often it is met meanwhile.
#[derive(Debug, Default)]
pub struct Shortage {
    last: Option<Instant>,
}

impl Shortage {
    /// Something has failed for want of a thread or a process: writes `line` to stderr, if it is the
    /// first time in a while.
    pub fn report(&mut self, line: impl fmt::Display) {
        if self.is_new() {
            report(line);
        }
    }

    fn is_new(&mut self) -> bool {
        let now = Instant::now();
        let last = self.last.replace(now);
        last.is_none_or(|last| now.saturating_duration_since(last) > SAME_SHORTAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_news_once_and_the_next_one_again() {
        let mut shortage = Shortage::default();
        let mut is_new_after = |time| {
            shortage.last = shortage.last.and_then(|last| last.checked_sub(time));
            shortage.is_new()
        };
        assert!(is_new_after(Duration::ZERO));
        // However long it lasts: the time since the last failure counts, and not since the first.
        assert!((0..3).all(|_| !is_new_after(SAME_SHORTAGE * 2 / 3)));
        assert!(is_new_after(SAME_SHORTAGE * 2));
    }
}
