//! What one generator thread has measured.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::latency::{Latency, Stamp};
use crate::series::Series;
use crate::usage::Meter;
use crate::{Control, Fault, Faults, Plan, Sample, Slice, Until};

/// Clock, counters and histograms of one thread.
pub(crate) struct Recorder {
    epoch: Instant,
    pub(crate) latency: Latency,
    /// Where the first fault happened, in words.
    pub(crate) first_fault: Option<String>,
    /// The time series, if one is wanted.
    pub(crate) series: Option<Box<Series>>,
    control: Arc<Control>,
    run: Run,
}

/// The counters of the slice that is being run.
#[derive(Default)]
struct Run {
    sample: Sample,
    meter: Option<Meter>,
    open_loop: bool,
    /// Nanoseconds of the clock: messages that come back from `from` until `to` count.
    from: u64,
    to: u64,
    last_answer: u64,
    answered: u64,
    published: u64,
}

impl Recorder {
    pub(crate) fn new(plan: &Plan) -> io::Result<Recorder> {
        Ok(Recorder {
            epoch: Instant::now(),
            latency: Latency::new()?,
            first_fault: None,
            series: plan.interval.map(Series::new).transpose()?.map(Box::new),
            control: Arc::clone(&plan.control),
            run: Run::default(),
        })
    }

    /// Nanoseconds since the session was opened.
    pub(crate) fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Begins a slice: sets the window in which messages count.
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

    /// Ends the slice, drained.
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

    /// When the window closes, in nanoseconds of the clock; `u64::MAX` if only a count ends it.
    pub(crate) fn window_end(&self) -> u64 {
        self.run.to
    }

    /// When the window opens and closes, in nanoseconds of the clock.
    pub(crate) fn window(&self) -> (u64, u64) {
        (self.run.from, self.run.to)
    }

    /// Whether sending is over: the window has closed, or someone asked to stop.
    pub(crate) fn is_over(&self, now: u64) -> bool {
        now >= self.run.to || self.control.stopped()
    }

    /// A message is sent: in an open loop, notes how late.
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

    /// A message has come back whole.
    ///
    /// The rate counts what came back inside the window. The latency counts also what came back
    /// after it, in the drain: or the slowest would be left out.
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

    /// A connection ended in a fault; `place` says where.
    pub(crate) fn fault(&mut self, fault: Fault, place: impl FnOnce() -> String) {
        self.run.sample.faults.add(fault);
        if self.first_fault.is_none() {
            self.first_fault = Some(format!("{} on {}", fault.name(), place()));
        }
    }

    /// Faults that were found outside of the slice's loop.
    pub(crate) fn faults(&self) -> Faults {
        self.run.sample.faults
    }

    /// Messages that were due in the window and not sent.
    pub(crate) fn unsent(&mut self, count: u64) {
        self.run.sample.due += count;
        self.run.sample.unsent += count;
    }

    /// Tells the watcher how far the run is, and ends an interval that is over. Once per turn of a
    /// loop, not per message: it is shared.
    pub(crate) fn publish(&mut self, now: u64) {
        if let Some(series) = &mut self.series
            && now >= series.boundary()
        {
            // What comes back during the drain belongs to the last interval.
            series.roll(now.min(self.run.to - 1));
        }
        self.control.add_answered(self.run.answered - self.run.published);
        self.run.published = self.run.answered;
    }
}
