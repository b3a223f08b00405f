//! Threads that share one CPU for a while.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Threads that may run on one CPU only. Dropping the value lets them run again where they might before.
#[derive(Debug)]
pub(crate) struct Pinned {
    before: Vec<(Pid, CpuSet)>,
}

/// sched_setaffinity(2) takes this id for the calling thread.
const THIS_THREAD: Pid = Pid::from_raw(0);

impl Pinned {
    /// Pins `threads` and the calling thread to the first CPU on which the calling thread may run. Passes
    /// over threads that have ended.
    ///
    /// # Errors
    ///
    /// Those of sched_setaffinity(2) for the calling thread.
    pub(crate) fn to_one_cpu(threads: impl Iterator<Item = Pid>) -> io::Result<Pinned> {
        let allowed = sched_getaffinity(THIS_THREAD)?;
        let cpu = (0..CpuSet::count()).find(|&cpu| allowed.is_set(cpu).unwrap_or(false));
        let mut one = CpuSet::new();
        one.set(cpu.unwrap_or(0))?;
        sched_setaffinity(THIS_THREAD, &one)?;
        let mut pinned = Pinned { before: vec![(THIS_THREAD, allowed)] };
        for thread in threads {
            if let Ok(allowed) = sched_getaffinity(thread)
                && sched_setaffinity(thread, &one).is_ok()
            {
                pinned.before.push((thread, allowed));
            }
        }
        Ok(pinned)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        for (thread, allowed) in &self.before {
            // The thread may have ended meanwhile.
            let _ = sched_setaffinity(*thread, allowed);
        }
    }
}
