//! A shortage of something that the system provides, reported once.

use std::fmt;
use std::time::{Duration, Instant};

use crate::{ACCEPT_PAUSE, report};

/// Failures closer together than this are one shortage: during a shortage, a retry follows each
/// [`ACCEPT_PAUSE`].
const SAME_SHORTAGE: Duration = ACCEPT_PAUSE.saturating_mul(10);

/// Reports a shortage once, at its first failure, and not again while failures go on.
#[derive(Debug, Default)]
pub struct Shortage {
    last: Option<Instant>,
}

impl Shortage {
    /// An operation has failed because of a shortage: writes `line` to stderr, unless the shortage was
    /// reported before.
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
        // The time since the last failure counts, not the time since the first.
        assert!((0..3).all(|_| !is_new_after(SAME_SHORTAGE * 2 / 3)));
        assert!(is_new_after(SAME_SHORTAGE * 2));
    }
}
