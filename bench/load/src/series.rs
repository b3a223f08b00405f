//! The time series of a run: one set of distributions for each interval.

use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

use crate::latency::{Latency, Stamp};
use crate::{Error, Result};

/// Shortest interval. A shorter one holds too few messages, and its end costs too much CPU time.
pub(crate) const SHORTEST: Duration = Duration::from_millis(10);
/// Most intervals of a run. The last one takes everything behind it.
const MOST: usize = 100_000;

/// One interval of a run.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Start, counted from the end of the warm-up.
    pub start: Duration,
    /// Length.
    pub length: Duration,
    /// Messages that came back in the interval.
    pub messages: u64,
    /// The times of those messages.
    pub latency: Latency,
}

/// The intervals of one thread. A finished interval is kept serialised, in a few kilobytes.
pub(crate) struct Series {
    length: u64,
    start: u64,
    boundary: u64,
    messages: u64,
    current: Latency,
    serializer: V2Serializer,
    done: Vec<Packed>,
}

struct Packed {
    start: u64,
    length: u64,
    messages: u64,
    /// Response, service, lateness and own lateness.
    histograms: [Vec<u8>; 4],
}

impl Series {
    pub(crate) fn new(length: Duration) -> Result<Series> {
        Ok(Series {
            length: length.as_nanos() as u64,
            start: 0,
            boundary: u64::MAX,
            messages: 0,
            current: Latency::new()?,
            serializer: V2Serializer::new(),
            done: Vec::new(),
        })
    }

    /// Starts a new series. The first interval starts at `from`, in nanoseconds of the recorder's
    /// clock.
    pub(crate) fn begin(&mut self, from: u64) {
        self.start = from;
        self.boundary = from + self.length;
        self.messages = 0;
        self.current.clear();
        self.done.clear();
    }

    /// The end of the current interval.
    pub(crate) fn boundary(&self) -> u64 {
        self.boundary
    }

    pub(crate) fn sending(&mut self, stamp: Stamp) {
        self.current.sending(stamp);
    }

    pub(crate) fn unsent(&mut self, nanos: u64, count: u64) {
        self.current.unsent(nanos, count);
    }

    /// Counts a message that came back inside the measured time.
    pub(crate) fn count_message(&mut self) {
        self.messages += 1;
    }

    pub(crate) fn answered(&mut self, now: u64, stamp: Stamp, open_loop: bool) {
        self.current.answered(now, stamp, open_loop);
    }

    /// Finishes the intervals whose end is not after `now`.
    pub(crate) fn roll(&mut self, now: u64) {
        while now >= self.boundary && self.done.len() + 1 < MOST {
            self.finish(self.boundary);
            self.boundary += self.length;
        }
    }

    /// Finishes the current interval at `end`, unless it is empty.
    pub(crate) fn end(&mut self, end: u64) {
        if self.messages > 0 || end > self.start {
            self.finish(end.max(self.start));
        }
        self.boundary = u64::MAX;
    }

    fn finish(&mut self, end: u64) {
        let Latency { response, service, lateness, own_lateness } = &self.current;
        let histograms = [response, service, lateness, own_lateness].map(|histogram| {
            let mut bytes = Vec::new();
            // Fails only for a count beyond 2^63.
            let _ = self.serializer.serialize(histogram, &mut bytes);
            bytes
        });
        let length = end - self.start;
        let messages = std::mem::take(&mut self.messages);
        self.done.push(Packed { start: self.start, length, messages, histograms });
        self.current.clear();
        self.start = end;
    }

    /// The number of finished intervals.
    pub(crate) fn count(&self) -> usize {
        self.done.len()
    }

    /// Finished interval number `index`.
    pub(crate) fn unpack(&self, index: usize) -> Result<Interval> {
        let Packed { start, length, messages, histograms } = &self.done[index];
        let [response, service, lateness, own_lateness] = histograms;
        let latency = Latency {
            response: unpack(response)?,
            service: unpack(service)?,
            lateness: unpack(lateness)?,
            own_lateness: unpack(own_lateness)?,
        };
        Ok(Interval {
            start: Duration::from_nanos(start - self.done[0].start),
            length: Duration::from_nanos(*length),
            messages: *messages,
            latency,
        })
    }
}

impl Interval {
    /// An interval without any message.
    pub(crate) fn empty() -> Result<Interval> {
        Ok(Interval {
            start: Duration::ZERO,
            length: Duration::ZERO,
            messages: 0,
            latency: Latency::new()?,
        })
    }

    /// Adds the same interval of another thread.
    pub(crate) fn add(&mut self, other: &Interval) {
        self.start = self.start.max(other.start);
        self.length = self.length.max(other.length);
        self.messages += other.messages;
        self.latency.add(&other.latency);
    }
}

fn unpack(mut bytes: &[u8]) -> Result<Histogram<u64>> {
    let histogram = Deserializer::new().deserialize(&mut bytes);
    histogram.map_err(|error| Error::Generator {
        operation: "unpacking a histogram",
        source: std::io::Error::other(error),
    })
}
