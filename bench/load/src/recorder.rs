//! The clock, the counters and the histograms of one generator thread.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::{CreationError, Histogram};

use crate::series::Series;
use crate::usage::Meter;
use crate::{Control, Error, Fault, Faults, Plan, Result, Sample, Slice, Until};

/// Longest time that a histogram holds. A longer time counts as this one.
const LONGEST: Duration = Duration::from_secs(3600);
/// Significant decimal digits of a recorded time. The error is at most 0.1 %.
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
        let empty = || -> std::result::Result<Histogram<u64>, CreationError> {
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

/// The intended and the actual send time of a message, in nanoseconds of a [`Recorder`]'s clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    pub(crate) intended: u64,
    pub(crate) sent: u64,
}

impl Stamp {
    /// A message that is sent at its intended time.
    pub(crate) fn at(now: u64) -> Stamp {
        Stamp { intended: now, sent: now }
    }
}

/// Clock, counters and histograms of one thread.
pub(crate) struct Recorder {
    epoch: Instant,
    pub(crate) latency: Latency,
    /// The first fault and its place, in words.
    pub(crate) first_fault: Option<String>,
    /// The time series, if the plan has an interval.
    pub(crate) series: Option<Box<Series>>,
    control: Arc<Control>,
    run: Run,
}

/// The counters of the current slice.
#[derive(Default)]
struct Run {
    sample: Sample,
    meter: Option<Meter>,
    open_loop: bool,
    /// The measured time, in nanoseconds of the clock. Messages that come back from `from` until
    /// `to` count.
    from: u64,
    to: u64,
    last_answer: u64,
    answered: u64,
    published: u64,
}

impl Recorder {
    pub(crate) fn new(plan: &Plan) -> Result<Recorder> {
        Ok(Recorder {
            epoch: Instant::now(),
            latency: Latency::new().map_err(Error::generator("making a histogram"))?,
            first_fault: None,
            series: plan.interval.map(Series::new).transpose()?.map(Box::new),
            control: Arc::clone(&plan.control),
            run: Run::default(),
        })
    }

    /// The clock: nanoseconds since the session was opened.
    pub(crate) fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Starts a slice, and sets its measured time.
    pub(crate) fn begin(&mut self, slice: &Slice) {
        let from = self.now() + slice.warmup.as_nanos() as u64;
        let to = match slice.until {
            Until::Elapsed(duration) => from + duration.as_nanos() as u64,
            Until::Messages(_) => u64::MAX,
        };
        let open_loop = slice.rate.is_some();
        if let Some(series) = &mut self.series {
            series.begin(from);
        }
        let meter = Some(Meter::start());
        self.run = Run { meter, open_loop, from, to, last_answer: from, ..Run::default() };
    }

    /// Ends a drained slice, and returns its counters.
    pub(crate) fn end(&mut self, size: usize) -> Sample {
        let now = self.now();
        self.publish(now);
        let Run { from, to, last_answer, .. } = self.run;
        let end = if to == u64::MAX { last_answer } else { to.min(now) };
        let mut sample = self.run.sample;
        if let Some(series) = &mut self.series {
            series.end(end);
        }
        sample.elapsed = Duration::from_nanos(end.saturating_sub(from));
        sample.bytes = sample.messages * size as u64;
        if let Some(meter) = self.run.meter.take() {
            sample.cpu = meter.stop();
        }
        sample
    }

    /// The end of the measured time, in nanoseconds of the clock; `u64::MAX` if a number of messages
    /// ends the slice.
    pub(crate) fn window_end(&self) -> u64 {
        self.run.to
    }

    /// Start and end of the measured time, in nanoseconds of the clock.
    pub(crate) fn window(&self) -> (u64, u64) {
        (self.run.from, self.run.to)
    }

    /// Whether sending is over: the measured time has ended, or the stop flag is set.
    pub(crate) fn is_over(&self, now: u64) -> bool {
        now >= self.run.to || self.control.stopped()
    }

    /// Records a message that is sent now. An open loop records how late.
    pub(crate) fn sending(&mut self, stamp: Stamp) {
        let run = &mut self.run;
        if !run.open_loop {
            return;
        }
        if stamp.intended >= run.from && stamp.intended <= run.to {
            run.sample.due += 1;
        }
        if stamp.sent >= run.from {
            self.latency.sending(stamp);
            if let Some(series) = &mut self.series {
                series.sending(stamp);
            }
        }
    }

    /// Records a message that has come back whole.
    ///
    /// The rate counts the messages that come back inside the measured time. The latency also counts
    /// those of the drain: without them, the slowest messages would be missing.
    pub(crate) fn answered(&mut self, now: u64, stamp: Stamp) {
        let run = &mut self.run;
        run.answered += 1;
        run.last_answer = now;
        let counts = now >= run.from && now <= run.to;
        run.sample.messages += u64::from(counts);
        if counts && let Some(series) = &mut self.series {
            series.count_message();
        }
        if now >= run.from {
            self.latency.answered(now, stamp, run.open_loop);
            if let Some(series) = &mut self.series {
                series.answered(now, stamp, run.open_loop);
            }
        }
    }

    /// Counts a fault; `place` says where.
    pub(crate) fn fault(&mut self, fault: Fault, place: impl FnOnce() -> String) {
        self.run.sample.faults.add(fault);
        if self.first_fault.is_none() {
            self.first_fault = Some(format!("{} on {}", fault.name(), place()));
        }
    }

    /// The faults of the current slice.
    pub(crate) fn faults(&self) -> Faults {
        self.run.sample.faults
    }

    /// Counts messages that were due in the measured time and not sent.
    pub(crate) fn unsent(&mut self, count: u64) {
        self.run.sample.due += count;
        self.run.sample.unsent += count;
    }

    /// Publishes the progress, and ends the current interval if its time is over. A loop calls this
    /// once in each turn: the counter is shared with other threads.
    pub(crate) fn publish(&mut self, now: u64) {
        if let Some(series) = &mut self.series
            && now >= series.boundary()
        {
            // Messages of the drain belong to the last interval.
            series.roll(now.min(self.run.to - 1));
        }
        self.control.add_answered(self.run.answered - self.run.published);
        self.run.published = self.run.answered;
    }
}

fn record(histogram: &mut Histogram<u64>, nanos: u64) {
    histogram.saturating_record(nanos.max(1));
}
