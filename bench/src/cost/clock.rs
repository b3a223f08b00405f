//! The CPU time of a process tree, read often.

use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use server_process::proc;

/// CPU time of a process and of the children it has now: one clock_gettime(2) for each, where a
/// [`Meter`](super::Meter) reads dozens of files. Children that come later are not counted.
#[derive(Clone, Debug)]
pub struct CpuClock {
    clocks: Vec<ClockId>,
}

impl CpuClock {
    /// The clocks of `root` and its descendants.
    ///
    /// # Errors
    ///
    /// When the process is gone or /proc is not there.
    pub fn of(root: Pid) -> io::Result<CpuClock> {
        let clocks = proc::processes(root)?.into_iter().map(clock_getcpuclockid);
        Ok(CpuClock { clocks: clocks.collect::<Result<_, _>>()? })
    }

    /// CPU time used so far, user and system, threads that have ended included.
    ///
    /// # Errors
    ///
    /// When one of the processes is gone.
    pub fn now(&self) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for clock in &self.clocks {
            total += Duration::from(clock_gettime(*clock)?);
        }
        Ok(total)
    }
}
