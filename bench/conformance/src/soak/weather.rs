//! What befalls a server that its clients are not to blame for: signals, being stopped, and a time
//! without descriptors.

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
use crate::signals::HARMLESS;
use crate::stage::Server;
use crate::verdict::Verdict;

/// The longest time between two of them.
const LULL_MAX: Duration = Duration::from_millis(300);

/// The longest that the server is stopped, or without descriptors.
const STORM_MAX: Duration = Duration::from_millis(100);

/// What has befallen a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct WeatherDeeds {
    /// Harmless signals sent.
    pub signals: u64,
    /// Times that it was stopped and continued.
    pub stops: u64,
    /// Times that it could open no descriptor for a while.
    pub famines: u64,
}

impl AddAssign for WeatherDeeds {
    fn add_assign(&mut self, other: WeatherDeeds) {
        self.signals += other.signals;
        self.stops += other.stops;
        self.famines += other.famines;
    }
}

/// The weather of one soak.
pub(super) struct Weather<'a> {
    process: &'a Process,
    /// A process for each client inherits the low limit, and needs descriptors of its own to begin with.
    has_famines: bool,
    seed: u64,
    stop: &'a AtomicBool,
    signals: AtomicU64,
    stops: AtomicU64,
    famines: AtomicU64,
}

impl<'a> Weather<'a> {
    /// None without a process of ours.
    pub(super) fn new(server: &'a Server, stop: &'a AtomicBool) -> Option<Weather<'a>> {
        let process = server.process().ok()?;
        let zero = || AtomicU64::new(0);
        let seed = server.subject().seed;
        let has_famines = server.subject().traits.per_client != PerClient::Process;
        Some(Weather {
            process,
            has_famines,
            seed,
            stop,
            signals: zero(),
            stops: zero(),
            famines: zero(),
        })
    }

    pub(super) fn deeds(&self) -> WeatherDeeds {
        WeatherDeeds {
            signals: self.signals.load(Ordering::Relaxed),
            stops: self.stops.load(Ordering::Relaxed),
            famines: self.famines.load(Ordering::Relaxed),
        }
    }

    /// Storms until it is time to stop, and leaves the server running and with its descriptors.
    pub(super) fn rage(&self) -> Verdict {
        // Not the clients' numbers.
        let mut random = StdRng::seed_from_u64(!self.seed);
        while !self.stop.load(Ordering::Relaxed) {
            thread::sleep(random.random_range(Duration::ZERO..=LULL_MAX));
            let storm = random.random_range(Duration::ZERO..=STORM_MAX);
            match random.random_range(0..4) {
                0 => self.stop_for(storm)?,
                1 if self.has_famines => self.starve_for(storm)?,
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

    /// Lowers the soft RLIMIT_NOFILE of all its processes to what they have open (prlimit(2)), so that
    /// accept fails with EMFILE, and raises it again.
    fn starve_for(&self, duration: Duration) -> Verdict {
        let pid = self.process.pid();
        for (process, open) in observe::descriptors(pid)? {
            set_descriptor_limit(process, Some(open as u64));
        }
        thread::sleep(duration);
        // Those who were forked meanwhile have inherited the low limit.
        for (process, _) in observe::descriptors(pid)? {
            set_descriptor_limit(process, None);
        }
        self.famines.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Sets the soft limit of another process, or raises it to the hard one. One that has ended meanwhile
/// needs none.
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
