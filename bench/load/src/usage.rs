//! The CPU time of the generator.

use std::fs::File;
use std::io::Read;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::Serialize;

/// Share of one core at which a generator thread counts as saturated. Then the figures can be the
/// limit of the generator, and not of the server.
pub const SATURATED: f64 = 0.95;

/// Share of the time at which a generator thread counts as starved: the thread was ready to run, and
/// another one had the core. Then the generator sent and received messages late.
pub const STARVED: f64 = 0.05;

/// CPU time and context switches of the generator's threads (getrusage(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ClientCpu {
    /// CPU time in user space.
    #[serde(skip)]
    pub user: Duration,
    /// CPU time in the kernel. On loopback this includes the receive processing for the server.
    #[serde(skip)]
    pub system: Duration,
    /// Context switches because a thread waited.
    pub voluntary_switches: u64,
    /// Context switches because another thread wanted the core.
    pub involuntary_switches: u64,
    /// Share of one core that the busiest thread used, from 0 to 1.
    pub busiest_thread: f64,
    /// Share of the time that a thread was ready to run and waited for a core, from 0 to 1: the
    /// largest share of all threads (proc(5), schedstat). `None` is unavailable.
    pub waited: Option<f64>,
}

impl ClientCpu {
    /// User and system time together.
    pub fn total(&self) -> Duration {
        self.user + self.system
    }

    /// Whether a generator thread ran, or waited for a core, for [`SATURATED`] of the time.
    pub fn saturated(&self) -> bool {
        self.busiest_thread + self.waited.unwrap_or(0.0) >= SATURATED
    }

    /// Whether a generator thread waited for a core for [`STARVED`] of the time.
    pub fn starved(&self) -> bool {
        self.waited.is_some_and(|waited| waited >= STARVED)
    }
}

impl AddAssign for ClientCpu {
    fn add_assign(&mut self, other: ClientCpu) {
        self.user += other.user;
        self.system += other.system;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.busiest_thread = self.busiest_thread.max(other.busiest_thread);
        self.waited = match (self.waited, other.waited) {
            (Some(one), Some(another)) => Some(one.max(another)),
            (one, another) => one.or(another),
        };
    }
}

/// The usage of the calling thread at the start of a run.
pub(crate) struct Meter {
    began: Instant,
    before: ClientCpu,
    waited_before: Option<u64>,
}

impl Meter {
    pub(crate) fn start() -> Meter {
        Meter { began: Instant::now(), before: thread_usage(), waited_before: nanoseconds_waited() }
    }

    /// The usage since the start. The caller must be the thread that started the meter.
    pub(crate) fn stop(self) -> ClientCpu {
        let now = thread_usage();
        let mut used = ClientCpu {
            user: now.user.saturating_sub(self.before.user),
            system: now.system.saturating_sub(self.before.system),
            voluntary_switches: now.voluntary_switches - self.before.voluntary_switches,
            involuntary_switches: now.involuntary_switches - self.before.involuntary_switches,
            busiest_thread: 0.0,
            waited: None,
        };
        let elapsed = self.began.elapsed().as_secs_f64();
        if elapsed > 0.0 {
            used.busiest_thread = (used.total().as_secs_f64() / elapsed).min(1.0);
            used.waited = self
                .waited_before
                .zip(nanoseconds_waited())
                .map(|(before, now)| (now.saturating_sub(before) as f64 / 1e9 / elapsed).min(1.0));
        }
        used
    }
}

fn thread_usage() -> ClientCpu {
    // getrusage(2) fails only for an unknown `who`.
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return ClientCpu::default() };
    ClientCpu {
        user: duration(usage.user_time()),
        system: duration(usage.system_time()),
        voluntary_switches: usage.voluntary_context_switches().unsigned_abs(),
        involuntary_switches: usage.involuntary_context_switches().unsigned_abs(),
        busiest_thread: 0.0,
        waited: None,
    }
}

/// The time that the calling thread has waited for a core, since its start. The buffer is on the
/// stack, because a run allocates nothing.
fn nanoseconds_waited() -> Option<u64> {
    let mut bytes = [0; 64];
    let length = File::open("/proc/thread-self/schedstat").ok()?.read(&mut bytes).ok()?;
    let text = std::str::from_utf8(&bytes[..length]).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

fn duration(time: TimeVal) -> Duration {
    Duration::new(time.tv_sec().unsigned_abs(), time.tv_usec().unsigned_abs() as u32 * 1000)
}
