//! The processor time of this process (the load generator) and of the whole machine.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use server_process::proc;

use super::Reading;

/// Processor time of this process and of the machine: the counters at one moment, or their
/// difference between two moments ([`Usage::since`]).
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// The moment of the reading; for a difference, the later moment.
    at: Instant,
    /// Wall-clock time between the two moments; zero for a single moment.
    pub(crate) elapsed: Duration,
    /// CPU time of all threads of this process, user and system.
    pub(crate) client_cpu: Reading<Duration>,
    /// The machine's time in soft interrupts, over all processors. The kernel counts this time in
    /// ticks of 10 ms. The kernel excludes soft interrupts within a process's own system call.
    pub(crate) softirq: Reading<Duration>,
    /// Time that the hypervisor gave to other machines (steal), over all processors.
    pub(crate) steal: Reading<Duration>,
    /// All time of all processors, including idle time.
    pub(crate) total: Reading<Duration>,
}

impl Usage {
    /// Returns the current counters.
    pub(crate) fn now() -> Usage {
        let machine = proc::machine_times();
        let column = |get: fn(&[Duration]) -> Option<Duration>| match &machine {
            Ok(times) => match get(times) {
                Some(time) => Reading::Measured(time),
                None => Reading::unavailable("/proc/stat of this kernel lacks the column"),
            },
            Err(error) => Reading::unavailable(error),
        };
        Usage {
            at: Instant::now(),
            elapsed: Duration::ZERO,
            client_cpu: clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from).into(),
            softirq: column(|times| times.get(6).copied()),
            steal: column(|times| times.get(7).copied()),
            // The columns after steal are guest times. The first two columns include guest times.
            total: column(|times| Some(times.iter().take(8).sum())),
        }
    }

    /// Returns the processor time used from `before` to `self`.
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
