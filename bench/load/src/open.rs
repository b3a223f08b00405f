//! The open loop: messages are due by the clock, whatever the server does.
//!
//! The schedule is absolute. A server that stalls does not put it off: what was due meanwhile is
//! sent late, as soon as its connection is free, and its response time counts from when it was due.
//! That is what users would have waited, and what a closed loop leaves out ("coordinated omission",
//! G. Tene).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use nix::sys::epoll::EpollTimeout;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::engine::Engine;
use crate::latency::Stamp;
use crate::plan::WAIT_MAX;
use crate::{Plan, Slice, Until};

/// Waits shorter than this, in nanoseconds, are spent asking epoll: setting a timer takes as long.
const TOO_SHORT: u64 = 3_000;

/// When the messages of an open loop are due.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Messages per second, all connections together.
    pub per_second: f64,
    /// How they are spread.
    pub arrivals: Arrivals,
    /// Ask epoll all the time instead of sleeping until the next message is due: a core for
    /// punctuality.
    pub spin: bool,
}

/// How the messages of an open loop are spread over time. Connections take turns or are
/// independent; each has a schedule of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// At equal distances.
    Uniform,
    /// At random: every moment is as likely as any other, as with many independent users.
    Poisson,
}

impl Rate {
    /// So many messages per second, at equal distances, without spinning.
    pub fn uniform(per_second: f64) -> Rate {
        Rate { per_second, arrivals: Arrivals::Uniform, spin: false }
    }

    /// Checks that the rate can be kept at all.
    ///
    /// # Errors
    ///
    /// A rate that is not above 0 or not finite, or so low that nothing is ever sent.
    pub fn check(&self) -> io::Result<()> {
        if self.per_second.is_finite() && self.per_second * WAIT_MAX.as_secs_f64() >= 1.0 {
            return Ok(());
        }
        let text = "a rate of 0 never sends: give messages per second above 0, or no rate at all \
                    for a closed loop";
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }
}

/// Runs one slice on the connections of thread number `thread`.
pub(crate) fn run(
    engine: &mut Engine,
    plan: &Plan,
    slice: &Slice,
    rate: &Rate,
    thread: usize,
) -> io::Result<()> {
    let mut schedule = Schedule::new(engine, plan, rate, thread);
    if let Until::Messages(count) = slice.until {
        schedule.budget = count;
    }
    let mut timer = Timer::new(engine)?;
    engine.look_around()?;
    let mut now = engine.tick();
    while !engine.recorder.is_over(now) && !engine.is_dead() && schedule.budget > 0 {
        schedule.send_due(engine);
        let patience = match schedule.next_due() {
            Some(due) if rate.spin || due < engine.now() + TOO_SHORT => EpollTimeout::ZERO,
            Some(due) => {
                timer.arm(due, engine.look())?;
                engine.patience(engine.recorder.window_end())
            }
            None if rate.spin => EpollTimeout::ZERO,
            None => engine.patience(engine.recorder.window_end()),
        };
        for event in 0..engine.wait(patience)? {
            if let Some((index, answered)) = engine.take_in(event) {
                schedule.freed(engine, index, answered);
                schedule.send_due(engine);
            }
        }
        now = engine.tick();
    }
    engine.recorder.unsent(schedule.unsent(engine.recorder.window(), now));
    engine.drain()
}

/// What is due when, on each connection. Times are nanoseconds of the recorder's clock.
struct Schedule {
    /// The next message of every connection that has room for it; the earliest first.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    /// When the next message of each connection is due; exact over any time a run takes.
    next: Vec<f64>,
    /// Mean time between two messages of one connection.
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
                // The connections take turns, across threads too.
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

    /// Sends what is due on connections that have room.
    fn send_due(&mut self, engine: &mut Engine) {
        let now = engine.look();
        while self.budget > 0
            && let Some(&Reverse((due, index))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            self.budget -= 1;
            let stamp = Stamp { intended: due, sent: engine.look() };
            engine.send(index, stamp, 1);
            self.advance(index);
            if engine.room(index) > 0 {
                self.enter(index);
            }
        }
    }

    /// Some messages of a connection are back: if it had no room it has now.
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
            // The time between two events of a Poisson process is exponentially distributed.
            Arrivals::Poisson => -self.period * (1.0 - self.random.random::<f64>()).ln(),
        };
    }

    fn next_due(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Messages that were due in the window by `now` and not sent; for random arrivals the number
    /// to be expected.
    fn unsent(&self, (from, to): (u64, u64), now: u64) -> u64 {
        if self.budget == 0 {
            return 0;
        }
        let (from, to) = (from as f64, to.min(now) as f64);
        let overdue = self.next.iter().map(|next| to - next.max(from)).filter(|late| *late > 0.0);
        overdue.map(|late| (late / self.period) as u64 + 1).sum()
    }
}

/// Wakes an engine at a time that epoll_wait(2), with its milliseconds, cannot express.
struct Timer {
    timer: TimerFd,
    armed: u64,
}

impl Timer {
    fn new(engine: &Engine) -> io::Result<Timer> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        engine.watch(&timer)?;
        Ok(Timer { timer, armed: 0 })
    }

    /// Sets the timer to `due`. It need not be read after it has gone off: setting it again clears
    /// it, and the registration is edge-triggered.
    fn arm(&mut self, due: u64, now: u64) -> io::Result<()> {
        if self.armed != due {
            self.armed = due;
            let left = std::time::Duration::from_nanos(due.saturating_sub(now).max(1));
            let once = Expiration::OneShot(TimeSpec::from_duration(left));
            self.timer.set(once, TimerSetTimeFlags::empty())?;
        }
        Ok(())
    }
}
