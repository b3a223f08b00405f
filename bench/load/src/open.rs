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

use crate::engine::Engine;
use crate::plan::WAIT_MAX;
use crate::recorder::Stamp;
use crate::{Error, Plan, Result, Slice, Until};

/// For a wait shorter than this, in nanoseconds, the loop polls epoll. Setting a timer would take as
/// long.
const TOO_SHORT: u64 = 3_000;

/// When the messages of an open loop are due.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Messages per second, all connections together.
    pub per_second: f64,
    /// The distribution of the times between two messages.
    pub arrivals: Arrivals,
    /// Poll epoll instead of sleeping until the next message is due. Messages leave more punctually,
    /// and each thread uses a whole core.
    pub spin: bool,
}

/// The distribution of the times between two messages of an open loop. Each connection has its own
/// schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Equal times. The connections take turns.
    Uniform,
    /// Random times, with an exponential distribution: the arrivals of many independent users. The
    /// connections are independent of each other.
    Poisson,
}

impl Rate {
    /// `per_second` messages per second at equal times, without spinning.
    pub fn uniform(per_second: f64) -> Rate {
        Rate { per_second, arrivals: Arrivals::Uniform, spin: false }
    }

    /// Checks that the rate sends at least one message in a year.
    ///
    /// # Errors
    ///
    /// [`Error::BadPlan`] for any other rate.
    pub(crate) fn check(&self) -> Result<()> {
        if self.per_second.is_finite() && self.per_second * WAIT_MAX.as_secs_f64() >= 1.0 {
            return Ok(());
        }
        let text = "a rate of 0 never sends: give messages per second above 0, or no rate for a \
                    closed loop";
        Err(Error::BadPlan(text.to_owned()))
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
    engine.recorder.unsent(schedule.unsent(engine.recorder.window(), now));
    engine.drain()
}

/// The due times of all connections, in nanoseconds of the recorder's clock.
struct Schedule {
    /// The due time of the next message of each connection that has room; the earliest first.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    /// The due time of the next message of each connection.
    next: Vec<f64>,
    /// The mean time between two messages of one connection.
    period: f64,
    arrivals: Arrivals,
    random: SmallRng,
    budget: u64,
}

impl Schedule {
    fn new(engine: &Engine, plan: &Plan, rate: &Rate, thread: usize) -> Schedule {
        let gap = 1e9 / rate.per_second;
        let mut schedule = Schedule {
            due: BinaryHeap::with_capacity(engine.count()),
            next: vec![engine.recorder.now() as f64; engine.count()],
            period: gap * plan.connections as f64,
            arrivals: rate.arrivals,
            random: SmallRng::seed_from_u64(plan.seed.wrapping_add(thread as u64)),
            budget: u64::MAX,
        };
        for index in 0..engine.count() {
            match rate.arrivals {
                // The connections of all threads take turns.
                Arrivals::Uniform => {
                    schedule.next[index] += gap * (index * plan.threads + thread) as f64;
                }
                Arrivals::Poisson => schedule.advance(index),
            }
            if engine.room(index) > 0 {
                schedule.enter(index);
            }
        }
        schedule
    }

    /// Sends the due messages of the connections that have room.
    fn send_due(&mut self, engine: &mut Engine) {
        let now = engine.read_clock();
        while self.budget > 0
            && let Some(&Reverse((due, index))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            self.budget -= 1;
            let stamp = Stamp { intended: due, sent: engine.read_clock() };
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
            self.enter(index);
        }
    }

    fn enter(&mut self, index: usize) {
        self.due.push(Reverse((self.next[index] as u64, index)));
    }

    fn advance(&mut self, index: usize) {
        self.next[index] += match self.arrivals {
            Arrivals::Uniform => self.period,
            // The times between events of a Poisson process have an exponential distribution.
            Arrivals::Poisson => -self.period * (1.0 - self.random.random::<f64>()).ln(),
        };
    }

    fn next_due(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// The number of messages that were due in the measured time by `now` and not sent. For random
    /// arrivals it is the expected number.
    fn unsent(&self, (from, to): (u64, u64), now: u64) -> u64 {
        if self.budget == 0 {
            return 0;
        }
        let (from, to) = (from as f64, to.min(now) as f64);
        let overdue = self.next.iter().map(|next| to - next.max(from)).filter(|late| *late > 0.0);
        overdue.map(|late| (late / self.period) as u64 + 1).sum()
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
