//! What this process, the load generator, used of the processors, and the machine as a whole.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use server_process::proc;

use super::Reading;

/// Processor time of this process and of the machine: at one moment, or between two
/// ([`Usage::since`]).
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// The moment.
    at: Instant,
    /// Wall-clock time; zero for a moment.
    pub(crate) elapsed: Duration,
    /// CPU time of this process, all threads, user and system.
    pub(crate) client_cpu: Reading<Duration>,
    /// The machine's time in soft interrupts, over all processors. The kernel counts it in ticks of
    /// 10 ms, and only what it does outside a process's own system call.
    pub(crate) softirq: Reading<Duration>,
    /// What the hypervisor kept for other machines, over all processors.
    pub(crate) steal: Reading<Duration>,
    /// All time there was, over all processors, idle included.
    pub(crate) total: Reading<Duration>,
}

impl Usage {
    /// The counters now.
    pub(crate) fn now() -> Usage {
        let machine = proc::machine_times();
        let column = |get: fn(&[Duration]) -> Option<Duration>| match &machine {
            Ok(times) => match get(times) {
                Some(time) => Reading::Measured(time),
                None => Reading::unavailable("this kernel's /proc/stat has no such column"),
            },
            Err(error) => Reading::unavailable(error),
        };
        Usage {
            at: Instant::now(),
            elapsed: Duration::ZERO,
            client_cpu: clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from).into(),
            softirq: column(|times| times.get(6).copied()),
            steal: column(|times| times.get(7).copied()),
            // The columns after steal, guest times, are contained in the first two.
            total: column(|times| Some(times.iter().take(8).sum())),
        }
    }

    /// What was used from `before` to this.
    pub(crate) fn since(&self, before: &Usage) -> Usage {
        let less = |now: &Reading<Duration>, before: &Reading<Duration>| {
            now.clone().zip_with(before.clone(), Duration::saturating_sub)
        };
        Usage {
            at: self.at,
            elapsed: self.at.saturating_duration_since(before.at),
            client_cpu: less(&self.client_cpu, &before.client_cpu),
            softirq: less(&self.softirq, &before.softirq),
            steal: less(&self.steal, &before.steal),
            total: less(&self.total, &before.total),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint;

    use super::*;

    #[test]
    fn our_own_cpu_time_is_counted_and_lies_within_the_machines() {
        let before = Usage::now();
        while before.at.elapsed() < Duration::from_millis(100) {
            hint::spin_loop();
        }
        let used = Usage::now().since(&before);
        let client = *used.client_cpu.value().unwrap();
        assert!(client > Duration::from_millis(5), "{used:?}");
        assert!(used.steal.value().is_some() && used.softirq.value().is_some());
        assert!(*used.total.value().unwrap() > Duration::from_millis(20), "{used:?}");
    }
}
