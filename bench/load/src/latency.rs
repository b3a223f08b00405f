//! How long messages take: three distributions, and the moments that they are made from.

use std::io;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

/// Longest time that a histogram can hold; anything longer counts as this.
const LONGEST: Duration = Duration::from_secs(3600);
/// Significant decimal digits of a recorded time: an error of at most 0.1 %.
const DIGITS: u8 = 3;

/// The three distributions of a run, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latency {
    /// From the intended send to the last byte back: what a user waits. In a closed loop a message
    /// is intended when it is sent.
    pub response: Histogram<u64>,
    /// From the actual send to the last byte back: what the server and the network take. Recorded
    /// in an open loop only; in a closed loop it is the same as `response`.
    pub service: Histogram<u64>,
    /// From the intended to the actual send. Recorded in an open loop only.
    pub lateness: Histogram<u64>,
}

impl Latency {
    /// Three empty histograms of fixed size: recording never allocates.
    pub fn new() -> io::Result<Latency> {
        let empty = || -> Result<Histogram<u64>, CreationError> {
            Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, DIGITS)
        };
        let latency = || Ok(Latency { response: empty()?, service: empty()?, lateness: empty()? });
        latency().map_err(|error: CreationError| io::Error::other(error))
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Latency) {
        // Fails only if the bounds differed: they are all made by `new`.
        let _ = self.response.add(&other.response);
        let _ = self.service.add(&other.service);
        let _ = self.lateness.add(&other.lateness);
    }

    /// A message is sent: how late?
    pub(crate) fn sending(&mut self, stamp: Stamp) {
        record(&mut self.lateness, stamp.sent.saturating_sub(stamp.intended));
    }

    /// A message has come back: after how long?
    pub(crate) fn answered(&mut self, now: u64, stamp: Stamp, open_loop: bool) {
        record(&mut self.response, now.saturating_sub(stamp.intended));
        if open_loop {
            record(&mut self.service, now.saturating_sub(stamp.sent));
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.response.reset();
        self.service.reset();
        self.lateness.reset();
    }
}

/// When a message was to be sent, and when it was, in nanoseconds of the recorder's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    pub(crate) intended: u64,
    pub(crate) sent: u64,
}

impl Stamp {
    /// A message that is sent when it is meant to be.
    pub(crate) fn at(now: u64) -> Stamp {
        Stamp { intended: now, sent: now }
    }
}

fn record(histogram: &mut Histogram<u64>, nanos: u64) {
    histogram.saturating_record(nanos.max(1));
}
