//! The CPU time of a process tree, for frequent readings.

use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use server_process::proc;

/// CPU time of a process and its descendants.
///
/// For a server with a fixed set of processes, a reading is one clock_gettime(2) for each process.
/// A [`Meter`](super::Meter) reads dozens of files instead. For a server that forks, each reading
/// lists the children again. The reading includes the CPU time of children that ended and were
/// waited for. The kernel counts the time of such children in ticks of 10 ms.
#[derive(Clone, Debug)]
pub(crate) struct CpuClock {
    root: Pid,
    /// The clocks of all processes; `None` for a server that forks.
    clocks: Option<Vec<ClockId>>,
}

impl CpuClock {
    /// Returns the clocks of `root` and its descendants. `forks` says that the server starts and
    /// ends children while it runs.
    ///
    /// # Errors
    ///
    /// When `root` has ended or /proc is not mounted.
    pub(crate) fn of(root: Pid, forks: bool) -> io::Result<CpuClock> {
        let clocks = match forks {
            true => None,
            false => {
                let clocks = proc::processes(root)?.into_iter().map(clock_getcpuclockid);
                Some(clocks.collect::<Result<_, _>>()?)
            }
        };
        Ok(CpuClock { root, clocks })
    }

    /// Returns the CPU time used so far: user and system time, including ended threads.
    ///
    /// # Errors
    ///
    /// When one of the processes has ended.
    pub(crate) fn now(&self) -> io::Result<Duration> {
        let Some(clocks) = &self.clocks else { return self.now_with_children() };
        let mut total = Duration::ZERO;
        for clock in clocks {
            total += Duration::from(clock_gettime(*clock)?);
        }
        Ok(total)
    }

    fn now_with_children(&self) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for pid in proc::processes(self.root)? {
            // The parent's reading includes the time of a child that was waited for.
            let used = proc::times(pid).and_then(|times| {
                Ok(proc::cpu_time(pid)? + times.reaped_user + times.reaped_system)
            });
            match used {
                Ok(used) => total += used,
                Err(error) if pid != self.root && proc::has_ended(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn children_that_come_later_are_counted_where_the_server_forks() {
        let burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        let script = format!("sleep 0.2; while :; do ({burn}); done");
        let mut parent =
            Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(parent.id().cast_signed());
        let forks = CpuClock::of(pid, true).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut counted = Duration::ZERO;
        while Instant::now() < deadline && counted < Duration::from_millis(300) {
            thread::sleep(Duration::from_millis(20));
            counted = forks.now().unwrap();
        }
        let parents = proc::cpu_time(pid).unwrap();
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert!(counted >= Duration::from_millis(300), "{counted:?}");
        assert!(parents < counted / 2, "the parent itself used {parents:?} of {counted:?}");
    }
}
