//! When to close a connection on which nothing moves.

use std::time::{Duration, Instant};

use crate::Options;

/// Ticks in one `--idle-timeout`.
const TICKS: u32 = 4;

/// Ticks in a row without a byte after which a connection has been idle for the whole timeout: the first
/// may have come right after the last byte.
pub const IDLE_TICKS: u8 = TICKS as u8 + 1;

/// Ticks four times in each `--idle-timeout`, or never when there is none.
///
/// A loop passes each tick on to its connections ([`Connection::tick`](crate::Connection::tick)), which
/// only count. So a message costs no look at the clock.
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

    /// Whether it has ticked since it was asked last.
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

    /// How long to wait at most: until the next tick, or for ever.
    pub fn patience(&self) -> Option<Duration> {
        self.next.map(|next| next.saturating_duration_since(Instant::now()))
    }
}
