//! The distributions of a run.

use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

use crate::{Error, Result};

/// Longest time that a histogram holds. A longer time counts as this one.
const LONGEST: Duration = Duration::from_secs(3600);
/// Significant decimal digits of a recorded time. The error is at most 0.1 %.
const DIGITS: u8 = 3;
/// Largest share of the median response time that may be the generator's own lateness.
pub const LATE: f64 = 0.1;

/// The distributions of a run, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latency {
    /// From the intended send to the last byte back: the waiting time of a user. In a closed loop the
    /// intended send is the actual send. An unsent message counts with the time from its intended
    /// send to the end of the run.
    pub response: Histogram<u64>,
    /// From the actual send to the last byte back: the time of the server and the network. Recorded
    /// in an open loop only; in a closed loop it is the same as `response`.
    pub service: Histogram<u64>,
    /// From the intended to the actual send. Recorded in an open loop only.
    pub lateness: Histogram<u64>,
    /// The part of the lateness that the generator caused. It counts from the moment when a punctual
    /// generator would have sent the message, with the same service times. Recorded in an open loop
    /// only.
    pub own_lateness: Histogram<u64>,
}

impl Latency {
    /// Empty histograms of fixed size, so that recording allocates nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Generator`] if the library refuses the size.
    pub fn new() -> Result<Latency> {
        let empty = || Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, DIGITS);
        let latency = || -> std::result::Result<Latency, CreationError> {
            Ok(Latency {
                response: empty()?,
                service: empty()?,
                lateness: empty()?,
                own_lateness: empty()?,
            })
        };
        latency().map_err(std::io::Error::other).map_err(Error::generator("making a histogram"))
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Latency) {
        // Fails only if the bounds differ, and `new` gives all histograms the same.
        let _ = self.response.add(&other.response);
        let _ = self.service.add(&other.service);
        let _ = self.lateness.add(&other.lateness);
        let _ = self.own_lateness.add(&other.own_lateness);
    }

    /// Whether the generator was so late that the response times are its own: its median lateness is
    /// more than [`LATE`] of the median response time. `None` in a closed loop.
    pub fn is_late(&self) -> Option<bool> {
        let [own, response] = [&self.own_lateness, &self.response]
            .map(|histogram| histogram.value_at_quantile(0.5) as f64);
        (!self.own_lateness.is_empty()).then_some(own > response * LATE)
    }

    /// Records a message that is sent.
    pub(crate) fn sending(&mut self, stamp: Stamp) {
        record(&mut self.lateness, stamp.sent.saturating_sub(stamp.intended));
        record(&mut self.own_lateness, stamp.sent.saturating_sub(stamp.ready));
    }

    /// Records `count` messages that were due `nanos` before the end of the run, and never sent.
    pub(crate) fn unsent(&mut self, nanos: u64, count: u64) {
        for histogram in [&mut self.response, &mut self.lateness] {
            histogram.saturating_record_n(nanos.max(1), count);
        }
    }

    /// Records a message that has come back.
    pub(crate) fn answered(&mut self, now: u64, stamp: Stamp, open_loop: bool) {
        record(&mut self.response, now.saturating_sub(stamp.intended));
        if open_loop {
            record(&mut self.service, now.saturating_sub(stamp.sent));
        }
    }

    /// Empties the histograms.
    pub fn clear(&mut self) {
        self.response.reset();
        self.service.reset();
        self.lateness.reset();
        self.own_lateness.reset();
    }
}

/// The send times of a message, in nanoseconds of the recorder's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    /// When the message was due.
    pub(crate) intended: u64,
    /// When a punctual generator would have sent the message.
    pub(crate) ready: u64,
    /// When the generator sent the message.
    pub(crate) sent: u64,
}

impl Stamp {
    /// A message that is sent at its intended time.
    pub(crate) fn at(now: u64) -> Stamp {
        Stamp { intended: now, ready: now, sent: now }
    }
}

fn record(histogram: &mut Histogram<u64>, nanos: u64) {
    histogram.saturating_record(nanos.max(1));
}
