//! The clock, the counters and the histograms of one generator thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::latency::{Latency, Stamp};
use crate::series::Series;
use crate::usage::Meter;
use crate::{Control, Fault, Faults, Plan, Result, Sample, Slice, Until};

/// The clock, the counters and the histograms of one thread.
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
    /// The start, in nanoseconds of the clock.
    began: u64,
    /// The measured time, in nanoseconds of the clock. Messages that come back from `from` until
    /// `to` count.
    from: u64,
    to: u64,
    last_answer: u64,
    answered: u64,
    published: u64,
}

impl Run {
    /// Whether the message was due inside the measured time.
    fn is_due(&self, stamp: Stamp) -> bool {
        stamp.intended >= self.from && stamp.intended < self.to
    }
}

impl Recorder {
    pub(crate) fn new(plan: &Plan) -> Result<Recorder> {
        Ok(Recorder {
            epoch: Instant::now(),
            latency: Latency::new()?,
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
        let began = self.now();
        let from = began + slice.warmup.as_nanos() as u64;
        let to = match slice.until {
            Until::Elapsed(duration) => from + duration.as_nanos() as u64,
            Until::Messages(_) => u64::MAX,
        };
        let open_loop = slice.rate.is_some();
        if let Some(series) = &mut self.series {
            series.begin(from);
        }
        let meter = Some(Meter::start());
        self.run = Run { meter, open_loop, began, from, to, last_answer: from, ..Run::default() };
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
        sample.answered = self.run.answered;
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

    /// The start of the slice, in nanoseconds of the clock.
    pub(crate) fn began(&self) -> u64 {
        self.run.began
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
        if run.is_due(stamp) {
            run.sample.due += 1;
            self.latency.sending(stamp);
            if let Some(series) = &mut self.series {
                series.sending(stamp);
            }
        }
    }

    /// Records a message that has come back whole.
    ///
    /// The rate counts the messages that come back inside the measured time. The latency of a closed
    /// loop also counts those of the drain: without them, the slowest messages would be missing. The
    /// latency of an open loop counts the messages that are due inside the measured time.
    pub(crate) fn answered(&mut self, now: u64, stamp: Stamp) {
        let run = &mut self.run;
        run.answered += 1;
        run.last_answer = now;
        let counts = now >= run.from && now <= run.to;
        run.sample.messages += u64::from(counts);
        if counts && let Some(series) = &mut self.series {
            series.count_message();
        }
        if if run.open_loop { run.is_due(stamp) } else { now >= run.from } {
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

    /// Counts `count` messages that were due at `intended` and not sent until `end`, the end of the
    /// measured time. A user would have waited at least until then.
    pub(crate) fn unsent(&mut self, intended: u64, end: u64, count: u64) {
        if intended < self.run.from {
            return;
        }
        self.run.sample.due += count;
        self.run.sample.unsent += count;
        let waited = end - intended;
        self.latency.unsent(waited, count);
        if let Some(series) = &mut self.series {
            series.unsent(waited, count);
        }
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
