//! The open loop: the clock decides when a message is due, whatever the server does.
//!
//! The schedule is absolute, and a stall of the server does not delay it. A message that is due
//! during the stall is sent late, when its connection has room. Its response time counts from the
//! time at which it was due: that is the time that a user would have waited. A closed loop leaves
//! this time out ("coordinated omission", G. Tene).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use nix::sys::epoll::EpollTimeout;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::content::mix;
use crate::engine::Engine;
use crate::latency::Stamp;
use crate::plan::WAIT_MAX;
use crate::recorder::Recorder;
use crate::{Error, Plan, Result, Slice, Until};

/// For a wait shorter than this, in nanoseconds, the loop polls epoll. Setting a timer would take
/// as long.
const TOO_SHORT: u64 = 3_000;

/// Highest rate. Counts of messages at this rate cannot overflow.
const RATE_MAX: f64 = 1e9;

/// Most unsent messages that are counted one by one.
const UNSENT_MAX: f64 = 1e6;

/// When the messages of an open loop are due.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Messages per second, all connections together.
    pub per_second: f64,
    /// The distribution of the times between two messages.
    pub arrivals: Arrivals,
    /// Poll epoll instead of sleeping until the next message is due. Messages leave more
    /// punctually, and each thread uses a whole core.
    pub spin: bool,
}

/// The distribution of the times between two messages of an open loop. Each connection has its own
/// schedule, and the seed of the plan fixes all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Equal times. The connections take turns. Messages hardly queue, so the latency is lower than
    /// the latency of independent users.
    Uniform,
    /// Random times, with an exponential distribution: the arrivals of many independent users. The
    /// connections are independent of each other.
    Poisson,
}

impl Rate {
    /// `per_second` messages per second at random times, without spinning.
    pub fn poisson(per_second: f64) -> Rate {
        Rate { per_second, arrivals: Arrivals::Poisson, spin: false }
    }

    /// `per_second` messages per second at equal times, without spinning.
    pub fn uniform(per_second: f64) -> Rate {
        Rate { per_second, arrivals: Arrivals::Uniform, spin: false }
    }

    /// Checks that the rate sends at least one message in a year, and at most [`RATE_MAX`] in a second.
    ///
    /// # Errors
    ///
    /// [`Error::BadPlan`] for any other rate.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = if self.per_second > RATE_MAX {
            "a rate is 1 000 000 000 messages per second at most"
        } else if self.per_second.is_finite() && self.per_second * WAIT_MAX.as_secs_f64() >= 1.0 {
            return Ok(());
        } else {
            "a rate of 0 never sends: give messages per second above 0, or no rate for a closed \
             loop"
        };
        Err(Error::BadPlan(wrong.to_owned()))
    }
}

/// Runs one slice on the connections of thread number `thread`.
pub(crate) fn run(
    engine: &mut Engine,
    plan: &Plan,
    slice: &Slice,
    rate: &Rate,
    thread: usize,
) -> Result<()> {
    let mut schedule = Schedule::new(engine, plan, rate, thread);
    if let Until::Messages(count) = slice.until {
        schedule.budget = count;
    }
    let mut timer = Timer::new(engine)?;
    engine.check_silence()?;
    let mut now = engine.tick();
    while !engine.recorder.is_over(now) && !engine.is_dead() && schedule.budget > 0 {
        schedule.send_due(engine);
        let timeout = match schedule.next_due() {
            Some(due) if rate.spin || due < engine.now() + TOO_SHORT => EpollTimeout::ZERO,
            Some(due) => {
                timer.arm(due, engine.read_clock())?;
                engine.timeout_until(engine.recorder.window_end())
            }
            None if rate.spin => EpollTimeout::ZERO,
            None => engine.timeout_until(engine.recorder.window_end()),
        };
        for event in 0..engine.wait(timeout)? {
            if let Some((index, answered)) = engine.handle(event) {
                schedule.freed(engine, index, answered);
                schedule.send_due(engine);
            }
        }
        now = engine.tick();
    }
    schedule.count_unsent(&mut engine.recorder, now);
    engine.drain()
}

/// The due times of all connections of a thread.
struct Schedule {
    /// The start of the slice, in nanoseconds of the recorder's clock. All other times here are in
    /// nanoseconds since then, so that the seed alone fixes them.
    began: u64,
    /// The due time and the number of each connection that has room; the earliest first.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    connections: Vec<Course>,
    /// The mean time between two messages of one connection.
    period: f64,
    arrivals: Arrivals,
    /// Messages that can still be sent.
    budget: u64,
}

/// The schedule of one connection.
struct Course {
    /// The due time of the next message.
    next: f64,
    random: SmallRng,
    /// When the connection last got room for a message, or would have got room from a punctual
    /// generator.
    room_since: u64,
}

impl Schedule {
    fn new(engine: &Engine, plan: &Plan, rate: &Rate, thread: usize) -> Schedule {
        let gap = 1e9 / rate.per_second;
        let mut schedule = Schedule {
            began: engine.recorder.began(),
            due: BinaryHeap::with_capacity(engine.count()),
            connections: Vec::with_capacity(engine.count()),
            period: gap * plan.connections as f64,
            arrivals: rate.arrivals,
            budget: u64::MAX,
        };
        for index in 0..engine.count() {
            // The connections of all threads take turns.
            let number = (index * plan.threads + thread) as u64;
            let random = SmallRng::seed_from_u64(mix(mix(plan.seed) ^ number));
            schedule.connections.push(Course { next: gap * number as f64, random, room_since: 0 });
            if rate.arrivals == Arrivals::Poisson {
                schedule.connections[index].next = 0.0;
                schedule.advance(index);
            }
            if engine.room(index) > 0 {
                schedule.enter(index);
            }
        }
        schedule
    }

    /// Sends the due messages of the connections that have room.
    fn send_due(&mut self, engine: &mut Engine) {
        let now = engine.read_clock() - self.began;
        while self.budget > 0
            && let Some(&Reverse((due, index))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            self.budget -= 1;
            let ready = due.max(self.connections[index].room_since);
            let stamp = Stamp {
                intended: self.began + due,
                ready: self.began + ready,
                sent: engine.read_clock(),
            };
            engine.send(index, stamp, 1);
            self.advance(index);
            if engine.room(index) > 0 {
                self.enter(index);
            }
        }
    }

    /// Enters a connection whose answers have just made room.
    fn freed(&mut self, engine: &Engine, index: usize, answered: usize) {
        if answered > 0 && engine.room(index) == answered {
            self.connections[index].room_since = engine.punctual(index).saturating_sub(self.began);
            self.enter(index);
        }
    }

    fn enter(&mut self, index: usize) {
        self.due.push(Reverse((self.connections[index].next as u64, index)));
    }

    fn advance(&mut self, index: usize) {
        let Course { next, random, .. } = &mut self.connections[index];
        *next += match self.arrivals {
            Arrivals::Uniform => self.period,
            // The times between events of a Poisson process have an exponential distribution.
            Arrivals::Poisson => -self.period * (1.0 - random.random::<f64>()).ln(),
        };
    }

    /// The next due time, in nanoseconds of the recorder's clock.
    fn next_due(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due, _))| self.began + *due)
    }

    /// Counts the messages that were due by `now` and not sent. Each one would have waited at least
    /// until the end of the measured time, so it counts with that time.
    fn count_unsent(&mut self, recorder: &mut Recorder, now: u64) {
        if self.budget == 0 {
            return;
        }
        let end = recorder.window_end().min(now) - self.began;
        let left = |course: &Course| (end as f64 - course.next).max(0.0) / self.period;
        let expected: f64 = self.connections.iter().map(left).sum();
        // With very many messages, one stands for several.
        let step = (expected / UNSENT_MAX) as u64 + 1;
        for index in 0..self.connections.len() {
            loop {
                let due = self.connections[index].next as u64;
                if due >= end {
                    break;
                }
                recorder.unsent(self.began + due, self.began + end, step);
                match step {
                    1 => self.advance(index),
                    _ => self.connections[index].next += self.period * step as f64,
                }
            }
        }
    }
}

/// Wakes an engine more exactly than the milliseconds of epoll_wait(2).
struct Timer {
    timer: TimerFd,
    armed: u64,
}

impl Timer {
    fn new(engine: &Engine) -> Result<Timer> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)
            .map_err(Error::generator("timerfd_create(2)"))?;
        engine.watch(&timer)?;
        Ok(Timer { timer, armed: 0 })
    }

    /// Sets the timer to `due`. Nobody reads an expired timer: setting the timer clears it, and its
    /// registration is edge-triggered.
    fn arm(&mut self, due: u64, now: u64) -> Result<()> {
        if self.armed != due {
            self.armed = due;
            let left = Duration::from_nanos(due.saturating_sub(now).max(1));
            let once = Expiration::OneShot(TimeSpec::from_duration(left));
            let set = self.timer.set(once, TimerSetTimeFlags::empty());
            set.map_err(Error::generator("timerfd_settime(2)"))?;
        }
        Ok(())
    }
}
