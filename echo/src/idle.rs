//! When to close a connection on which nothing moves.

use std::time::{Duration, Instant};

use crate::Options;

/// Ticks in one `--idle-timeout`.
const TICKS: u32 = 4;

/// Ticks in a row without a byte that prove a whole timeout of idling. The first tick may have come right
/// after the last byte, so there is one more tick than fits into the timeout.
pub const IDLE_TICKS: u8 = TICKS as u8 + 1;

/// Ticks four times in each `--idle-timeout`, or never when there is none.
///
/// A loop passes each tick on to its connections ([`Connection::tick`](crate::Connection::tick)), which
/// only count the ticks. So a message costs no look at the clock.
#[derive(Clone, Copy, Debug)]
pub struct IdleClock {
    interval: Option<Duration>,
    next: Option<Instant>,
}

impl IdleClock {
    /// A clock that starts now.
    pub fn new(options: &Options) -> IdleClock {
        let interval = options.idle_timeout.map(|timeout| timeout / TICKS);
        IdleClock { interval, next: interval.map(|interval| Instant::now() + interval) }
    }

    /// Time between two ticks.
    pub fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Whether it has ticked since the last call.
    pub fn ticked(&mut self) -> bool {
        let now = Instant::now;
        match (self.interval, self.next) {
            (Some(interval), Some(next)) if next <= now() => {
                self.next = Some(now() + interval);
                true
            }
            _ => false,
        }
    }

    /// Time until the next tick; `None` when there is no idle timeout.
    pub fn until_next(&self) -> Option<Duration> {
        self.next.map(|next| next.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn clock(interval: Option<Duration>) -> IdleClock {
        IdleClock { interval, next: interval.map(|interval| Instant::now() + interval) }
    }

    #[test]
    fn without_a_timeout_it_never_ticks() {
        let mut clock = clock(None);
        assert!(!clock.ticked());
        assert_eq!(clock.until_next(), None);
    }

    #[test]
    fn a_late_clock_ticks_once() {
        let interval = Duration::from_millis(20);
        let mut clock = clock(Some(interval));
        thread::sleep(5 * interval);
        assert_eq!(clock.until_next(), Some(Duration::ZERO));
        assert!(clock.ticked());
        // The next interval starts now: a clock that caught up would tick in a burst.
        assert!(clock.next.is_some_and(|next| next > Instant::now() - interval));
    }

    #[test]
    fn it_does_not_tick_before_its_interval_has_passed() {
        let interval = Duration::from_secs(3600);
        let mut clock = clock(Some(interval));
        assert!(!clock.ticked());
        assert!(clock.until_next().is_some_and(|left| left <= interval));
    }
}
