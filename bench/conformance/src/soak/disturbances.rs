//! What disturbs the server of a soak: signals, stops, and shortages of descriptors.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use server_process::catalogue::PerClient;
use server_process::process::Process;

use crate::observe;
use crate::server::Server;
use crate::signals::HARMLESS;
use crate::verdict::Verdict;

/// The longest time between two disturbances.
const INTERVAL_MAX: Duration = Duration::from_millis(300);

/// The longest time for which the server is stopped, or cannot open a descriptor.
const DURATION_MAX: Duration = Duration::from_millis(100);

/// How often a server was disturbed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disturbances {
    /// Harmless signals sent.
    pub signals: u64,
    /// Times that the server was stopped and continued.
    pub stops: u64,
    /// Times that the server could not open a descriptor for a while.
    pub shortages: u64,
}

impl AddAssign for Disturbances {
    fn add_assign(&mut self, other: Disturbances) {
        self.signals += other.signals;
        self.stops += other.stops;
        self.shortages += other.shortages;
    }
}

/// Disturbs the server of one soak.
pub(super) struct Disturber<'a> {
    process: &'a Process,
    /// Not for a server with a process for each client: a new process inherits the low limit, and needs
    /// descriptors at its start.
    has_shortages: bool,
    seed: u64,
    stop: &'a AtomicBool,
    signals: AtomicU64,
    stops: AtomicU64,
    shortages: AtomicU64,
}

impl<'a> Disturber<'a> {
    /// `None` when the suite has not started the server.
    pub(super) fn new(server: &'a Server, stop: &'a AtomicBool) -> Option<Disturber<'a>> {
        let process = server.process().ok()?;
        let zero = || AtomicU64::new(0);
        let has_shortages = server.subject().traits.per_client != PerClient::Process;
        Some(Disturber {
            process,
            has_shortages,
            seed: server.subject().seed,
            stop,
            signals: zero(),
            stops: zero(),
            shortages: zero(),
        })
    }

    pub(super) fn so_far(&self) -> Disturbances {
        Disturbances {
            signals: self.signals.load(Ordering::Relaxed),
            stops: self.stops.load(Ordering::Relaxed),
            shortages: self.shortages.load(Ordering::Relaxed),
        }
    }

    /// Disturbs the server at random until `stop` is set. Leaves it running, with its descriptor limit.
    pub(super) fn run(&self) -> Verdict {
        // Other random numbers than those of the clients.
        let mut random = StdRng::seed_from_u64(!self.seed);
        while !self.stop.load(Ordering::Relaxed) {
            thread::sleep(random.random_range(Duration::ZERO..=INTERVAL_MAX));
            let duration = random.random_range(Duration::ZERO..=DURATION_MAX);
            match random.random_range(0..4) {
                0 => self.stop_for(duration)?,
                1 if self.has_shortages => self.limit_descriptors_for(duration)?,
                _ => self.signal(random.random_range(1..=20))?,
            }
        }
        Ok(())
    }

    fn signal(&self, count: u64) -> Verdict {
        for signal in HARMLESS.into_iter().cycle().take(usize::try_from(count).unwrap_or(1)) {
            self.process.signal(signal)?;
        }
        self.signals.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    fn stop_for(&self, duration: Duration) -> Verdict {
        self.process.signal(Signal::SIGSTOP)?;
        thread::sleep(duration);
        self.process.signal(Signal::SIGCONT)?;
        self.stops.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Lowers the soft RLIMIT_NOFILE of all processes of the server to the number of their open
    /// descriptors (prlimit(2)). accept(2) then fails with EMFILE. Raises the limits again after
    /// `duration`.
    fn limit_descriptors_for(&self, duration: Duration) -> Verdict {
        let pid = self.process.pid();
        for (process, open) in observe::descriptors(pid)? {
            set_descriptor_limit(process, Some(open as u64));
        }
        thread::sleep(duration);
        // Processes that were forked meanwhile have inherited the low limit.
        for (process, _) in observe::descriptors(pid)? {
            set_descriptor_limit(process, None);
        }
        self.shortages.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Sets the soft limit of another process, or raises it to the hard limit. Does nothing for a process
/// that has ended meanwhile.
fn set_descriptor_limit(pid: Pid, soft: Option<u64>) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes to `limit`, which outlives the call, and reads nothing.
    let read = unsafe {
        libc::prlimit(pid.as_raw(), libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit)
    };
    if read == 0 {
        limit.rlim_cur = soft.unwrap_or(limit.rlim_max).min(limit.rlim_max);
        // SAFETY: the kernel reads `limit`, which outlives the call, and writes nothing.
        unsafe {
            libc::prlimit(pid.as_raw(), libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut())
        };
    }
}
