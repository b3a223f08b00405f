//! The memory that every read of one loop, or one thread, goes into.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::Options;

/// Size of the scratch buffer in bytes: the most that one read takes, and the most that one connection
/// can hold. At this size a system call's fixed cost is small beside the copying, and the buffer fits
/// into the second-level cache.
pub const SCRATCH_BYTES: usize = 64 * 1024;

/// One loop's, or one thread's, working memory.
///
/// A loop has one however many connections it serves: an idle connection costs no buffer.
pub struct Scratch {
    pub(crate) buffer: Vec<u8>,
    work: Duration,
}

impl Scratch {
    /// A buffer of [`SCRATCH_BYTES`], and the work of `--work`.
    pub fn new(options: &Options) -> Scratch {
        Scratch::with(SCRATCH_BYTES, options.work)
    }

    /// A buffer of `bytes` bytes, and `work` of CPU time to burn for each read.
    pub fn with(bytes: usize, work: Duration) -> Scratch {
        Scratch { buffer: vec![0; bytes], work }
    }

    /// Size of the buffer in bytes. A read that returned fewer bytes has emptied the socket, unless the
    /// peer has closed its side.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Burns the CPU time of `--work`, which stands for a handler that computes.
    ///
    /// The clock is the thread's own (`CLOCK_THREAD_CPUTIME_ID`, clock_gettime(2)): time spent waiting for
    /// a processor does not count as work.
    pub fn work(&self) {
        if self.work.is_zero() {
            return;
        }
        let cpu_time = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
        let Ok(start) = cpu_time() else { return };
        while cpu_time().is_ok_and(|now| now.saturating_sub(start) < self.work) {
            // About a microsecond: each look at this clock is a system call.
            for _ in 0..100 {
                std::hint::spin_loop();
            }
        }
    }
}
