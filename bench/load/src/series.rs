//! The time series of a run: one set of distributions per interval.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

use crate::latency::{Latency, Stamp};

/// Shortest interval: a shorter one would hold too few messages, and its end cost too much.
pub(crate) const SHORTEST: Duration = Duration::from_millis(10);
/// Most intervals that are kept; what comes after goes into the last.
const MOST: usize = 100_000;

/// One interval of a run.
#[derive(Clone, Debug)]
pub struct Interval {
    /// When it begins, counted from the end of the warm-up.
    pub start: Duration,
    /// How long it is.
    pub length: Duration,
    /// Messages that came back in it.
    pub messages: u64,
    /// Their times.
    pub latency: Latency,
}

/// What one thread records of its intervals. A finished one is kept serialised, in a few kilobytes.
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
    /// Response, service and lateness; empty if there was nothing.
    histograms: [Vec<u8>; 3],
}

impl Series {
    pub(crate) fn new(length: Duration) -> io::Result<Series> {
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

    /// Begins anew; the first interval begins at `from`, in nanoseconds of the recorder's clock.
    pub(crate) fn begin(&mut self, from: u64) {
        self.start = from;
        self.boundary = from + self.length;
        self.messages = 0;
        self.current.clear();
        self.done.clear();
    }

    /// When the current interval ends.
    pub(crate) fn boundary(&self) -> u64 {
        self.boundary
    }

    pub(crate) fn sending(&mut self, stamp: Stamp) {
        self.current.sending(stamp);
    }

    /// A message has come back inside the measured time.
    pub(crate) fn count_message(&mut self) {
        self.messages += 1;
    }

    pub(crate) fn answered(&mut self, now: u64, stamp: Stamp, open_loop: bool) {
        self.current.answered(now, stamp, open_loop);
    }

    /// Finishes the intervals that are over at `now`.
    pub(crate) fn roll(&mut self, now: u64) {
        while now >= self.boundary && self.done.len() + 1 < MOST {
            self.finish(self.boundary);
            self.boundary += self.length;
        }
    }

    /// Finishes the current interval at `end`, if anything happened in it.
    pub(crate) fn end(&mut self, end: u64) {
        if self.messages > 0 || end > self.start {
            self.finish(end.max(self.start));
        }
        self.boundary = u64::MAX;
    }

    fn finish(&mut self, end: u64) {
        let Latency { response, service, lateness } = &self.current;
        let histograms = [response, service, lateness].map(|histogram| {
            let mut bytes = Vec::new();
            // Fails only for more counts than a 64-bit platform can hold.
            let _ = self.serializer.serialize(histogram, &mut bytes);
            bytes
        });
        let length = end - self.start;
        let messages = std::mem::take(&mut self.messages);
        self.done.push(Packed { start: self.start, length, messages, histograms });
        self.current.clear();
        self.start = end;
    }

    /// Number of finished intervals.
    pub(crate) fn count(&self) -> usize {
        self.done.len()
    }

    /// Finished interval number `index`; its start is counted from that of the first.
    pub(crate) fn unpack(&self, index: usize) -> io::Result<Interval> {
        let Packed { start, length, messages, histograms } = &self.done[index];
        let [response, service, lateness] = histograms;
        let latency = Latency {
            response: unpack(response)?,
            service: unpack(service)?,
            lateness: unpack(lateness)?,
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
    /// Adds what another thread did at the same time.
    pub(crate) fn add(&mut self, other: &Interval) {
        self.length = self.length.max(other.length);
        self.messages += other.messages;
        self.latency.add(&other.latency);
    }
}

fn unpack(mut bytes: &[u8]) -> io::Result<Histogram<u64>> {
    Deserializer::new().deserialize(&mut bytes).map_err(io::Error::other)
}
