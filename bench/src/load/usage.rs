//! What the generator itself cost.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::Serialize;

/// Share of one core from which on a generator thread counts as saturated: then the figures say
/// what the generator can do, not what the server can.
pub const SATURATED: f64 = 0.95;

/// CPU time of the generator's threads, and how often they left the processor (getrusage(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ClientCpu {
    /// CPU time in user space.
    #[serde(skip)]
    pub user: Duration,
    /// CPU time in the kernel. On loopback this includes the receive processing of the server's
    /// side.
    #[serde(skip)]
    pub system: Duration,
    /// Context switches because a thread had to wait.
    pub voluntary_switches: u64,
    /// Context switches because another thread wanted the core.
    pub involuntary_switches: u64,
    /// Share of one core that the busiest thread used, from 0 to 1. At [`SATURATED`] or above the
    /// generator was the limit.
    pub busiest_thread: f64,
}

impl ClientCpu {
    /// User and system time together.
    pub fn total(&self) -> Duration {
        self.user + self.system
    }

    /// Whether a generator thread had no time left.
    pub fn saturated(&self) -> bool {
        self.busiest_thread >= SATURATED
    }
}

impl AddAssign for ClientCpu {
    fn add_assign(&mut self, other: ClientCpu) {
        self.user += other.user;
        self.system += other.system;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.busiest_thread = self.busiest_thread.max(other.busiest_thread);
    }
}

/// What the calling thread has used when a run begins.
pub(super) struct Meter {
    began: Instant,
    before: ClientCpu,
}

impl Meter {
    pub(super) fn start() -> Meter {
        Meter { began: Instant::now(), before: thread_usage() }
    }

    /// What the calling thread, which must be the one that started the meter, has used since.
    pub(super) fn stop(self) -> ClientCpu {
        let now = thread_usage();
        let mut used = ClientCpu {
            user: now.user.saturating_sub(self.before.user),
            system: now.system.saturating_sub(self.before.system),
            voluntary_switches: now.voluntary_switches - self.before.voluntary_switches,
            involuntary_switches: now.involuntary_switches - self.before.involuntary_switches,
            busiest_thread: 0.0,
        };
        let elapsed = self.began.elapsed().as_secs_f64();
        if elapsed > 0.0 {
            used.busiest_thread = (used.total().as_secs_f64() / elapsed).min(1.0);
        }
        used
    }
}

fn thread_usage() -> ClientCpu {
    // Fails only for an unknown `who`.
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return ClientCpu::default() };
    ClientCpu {
        user: duration(usage.user_time()),
        system: duration(usage.system_time()),
        voluntary_switches: usage.voluntary_context_switches().unsigned_abs(),
        involuntary_switches: usage.involuntary_context_switches().unsigned_abs(),
        busiest_thread: 0.0,
    }
}

fn duration(time: TimeVal) -> Duration {
    Duration::new(time.tv_sec().unsigned_abs(), time.tv_usec().unsigned_abs() as u32 * 1000)
}
