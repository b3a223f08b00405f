//! CPU time, context switches, memory and threads of a process tree.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use nix::unistd::Pid;
use server_process::proc;

use super::Reading;

/// The least CPU time that is split into user and system time: 20 ticks of 10 ms. The sampled split
/// of a shorter time is too inaccurate.
const SPLIT_MIN: Duration = Duration::from_millis(200);

/// Measures a process and its descendants from [`start`](Meter::start) to [`stop`](Meter::stop).
#[derive(Debug)]
pub(crate) struct Meter {
    root: Pid,
    before: Reading<Snapshot>,
}

/// The cost of a process and its descendants between a [`Meter`]'s start and stop. Memory, threads
/// and processes are the values at the stop.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    /// CPU time: the sum of user and system time, including ended threads. The resolution is 1 ns
    /// for processes that are alive at the stop, and 10 ms for children that ended.
    pub(crate) cpu: Reading<Duration>,
    /// CPU time in user mode: `cpu` multiplied by the share of user ticks in all ticks of proc(5).
    pub(crate) user: Reading<Duration>,
    /// Voluntary context switches: a thread went to sleep.
    pub(crate) voluntary_switches: Reading<u64>,
    /// Involuntary context switches: the kernel took a thread off its processor.
    pub(crate) involuntary_switches: Reading<u64>,
    /// Resident memory at the stop, in bytes. A page that several processes share counts once for
    /// each of them.
    pub(crate) rss: Reading<u64>,
    /// The sum of the peak resident memory of each process, in bytes.
    pub(crate) peak_rss: Reading<u64>,
    /// Growth of the resident anonymous memory (stacks and heap) from start to stop, in bytes. A
    /// page that several processes share counts once (Pss_Anon, proc_pid_smaps(5)). The growth can
    /// be negative. The growth excludes the kernel's socket buffers and kernel stacks of threads.
    pub(crate) growth: Reading<i64>,
    /// Threads at the stop.
    pub(crate) threads: Reading<u64>,
    /// Processes at the stop.
    pub(crate) processes: Reading<u64>,
}

/// The counters of the tree at one moment.
#[derive(Clone, Debug)]
struct Snapshot {
    cpu: Duration,
    user: Duration,
    system: Duration,
    /// Voluntary and involuntary context switches of each live thread.
    switches: BTreeMap<Pid, (u64, u64)>,
    rss: u64,
    peak_rss: u64,
    own: u64,
    processes: u64,
}

impl Meter {
    /// Begins to measure `root` and its descendants. This function never fails: a value that cannot
    /// be read is unavailable in the [`Cost`].
    pub(crate) fn start(root: Pid) -> Meter {
        let before = Reading::from(Snapshot::take(root));
        Meter { root, before }
    }

    /// Ends the measurement and returns the cost.
    pub(crate) fn stop(self) -> Cost {
        let after = Reading::from(Snapshot::take(self.root));
        let held = |get: fn(&Snapshot) -> u64| after.clone().map(|after| get(&after));
        let (rss, peak_rss) = (held(|after| after.rss), held(|after| after.peak_rss));
        let threads = held(|after| after.switches.len() as u64);
        let processes = held(|after| after.processes);
        let both = self.before.zip_with(after, |before, after| (before, after));
        let used = |get: fn(&Snapshot) -> Duration| {
            both.clone().map(|(before, after)| get(&after).saturating_sub(get(&before)))
        };
        let (cpu, user, system) = (used(|s| s.cpu), used(|s| s.user), used(|s| s.system));
        let user = user_part(&cpu, &user, &system);
        let switches = match &both {
            Reading::Measured((before, after)) => switches(before, after),
            Reading::Unavailable { unavailable } => Reading::unavailable(unavailable),
        };
        Cost {
            cpu,
            user,
            voluntary_switches: switches.clone().map(|(voluntary, _)| voluntary),
            involuntary_switches: switches.map(|(_, involuntary)| involuntary),
            rss,
            peak_rss,
            growth: both.map(|(before, after)| after.own as i64 - before.own as i64),
            threads,
            processes,
        }
    }
}

impl Snapshot {
    fn take(root: Pid) -> io::Result<Snapshot> {
        let processes = proc::processes(root)?;
        let (zero, switches) = (Duration::ZERO, BTreeMap::new());
        let mut all = Snapshot {
            cpu: zero,
            user: zero,
            system: zero,
            switches,
            rss: 0,
            peak_rss: 0,
            own: 0,
            processes: processes.len() as u64,
        };
        for pid in processes {
            match all.add(pid) {
                Ok(()) => {}
                // The child has ended since it was listed. Its parent's times include its CPU time.
                Err(error) if pid != root && proc::has_ended(&error) => all.processes -= 1,
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Adds a process. After an error the snapshot is unchanged.
    fn add(&mut self, pid: Pid) -> io::Result<()> {
        let (times, cpu) = (proc::times(pid)?, proc::cpu_time(pid)?);
        let rss = proc::field(pid, "status", "VmRSS")? * 1024;
        let peak_rss = proc::field(pid, "status", "VmHWM")? * 1024;
        let own = proc::field(pid, "smaps_rollup", "Pss_Anon")? * 1024;
        let tasks = proc::tasks(pid)?;
        self.cpu += cpu + times.reaped_user + times.reaped_system;
        self.user += times.user + times.reaped_user;
        self.system += times.system + times.reaped_system;
        self.rss += rss;
        self.peak_rss += peak_rss;
        self.own += own;
        for task in tasks {
            let count = |name| proc::field(pid, &format!("task/{task}/status"), name);
            // The thread has ended since it was listed. `switches` counts it as ended.
            let Ok(voluntary) = count("voluntary_ctxt_switches") else { continue };
            let Ok(involuntary) = count("nonvoluntary_ctxt_switches") else { continue };
            self.switches.insert(task, (voluntary, involuntary));
        }
        Ok(())
    }
}

/// Returns the part of `cpu` in user mode. `cpu` is exact. The kernel samples the ticks in user and
/// system mode, so their ratio is approximate.
fn user_part(
    cpu: &Reading<Duration>,
    user: &Reading<Duration>,
    system: &Reading<Duration>,
) -> Reading<Duration> {
    let ticks = user.clone().zip_with(system.clone(), |user, system| (user, user + system));
    match ticks {
        Reading::Measured((user, both)) if both >= SPLIT_MIN => {
            cpu.clone().map(|cpu| cpu.mul_f64(user.as_secs_f64() / both.as_secs_f64()))
        }
        Reading::Measured(_) => {
            Reading::unavailable("the CPU time is below 20 ticks of the sampling clock")
        }
        Reading::Unavailable { unavailable } => Reading::Unavailable { unavailable },
    }
}

/// Returns the context switches of all threads between two snapshots. The kernel counts context
/// switches per thread and drops the counts when the thread ends. After the end of a thread, the
/// sum is therefore unavailable.
fn switches(before: &Snapshot, after: &Snapshot) -> Reading<(u64, u64)> {
    let ended = before.switches.keys().filter(|task| !after.switches.contains_key(task)).count();
    if ended > 0 {
        return Reading::unavailable(format!("{ended} threads ended before the second reading"));
    }
    let mut total = (0, 0);
    for (task, (voluntary, involuntary)) in &after.switches {
        let (voluntary_before, involuntary_before) =
            before.switches.get(task).copied().unwrap_or_default();
        total.0 += voluntary.saturating_sub(voluntary_before);
        total.1 += involuntary.saturating_sub(involuntary_before);
    }
    Reading::Measured(total)
}

#[cfg(test)]
mod tests {
    use std::hint;
    use std::process::{Child, Command, Stdio};
    use std::thread;
    use std::time::Instant;

    use super::*;

    struct Reaped(Child);

    impl Drop for Reaped {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn shell(script: &str) -> (Reaped, Pid) {
        let child = Command::new("sh").args(["-c", script]).stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        (Reaped(child), pid)
    }

    #[test]
    fn a_process_that_burns_cpu_is_charged_for_it_and_one_that_sleeps_is_not() {
        let (_burner, burner) = shell("while :; do :; done");
        let (_sleeper, sleeper) = shell("exec sleep 60");
        thread::sleep(Duration::from_millis(50));
        let (burnt, slept) = (Meter::start(burner), Meter::start(sleeper));
        thread::sleep(Duration::from_millis(500));
        let (burnt, slept) = (burnt.stop(), slept.stop());
        assert!(burnt.cpu.value().unwrap() > &Duration::from_millis(20), "{burnt:?}");
        assert!(slept.cpu.value().unwrap() < &Duration::from_millis(20), "{slept:?}");
        assert!(slept.rss.value().unwrap() > &10_000, "{slept:?}");
    }

    #[test]
    fn children_count_while_they_live_and_after_they_were_waited_for() {
        let burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let (mut parent, pid) = shell(&format!("sleep 0.2; ({burn}) & wait; exec sleep 60"));
        let meter = Meter::start(pid);
        let mut cpu = Duration::ZERO;
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline && cpu < Duration::from_millis(30) {
            thread::sleep(Duration::from_millis(20));
            let now = Snapshot::take(pid).unwrap();
            assert!(now.cpu + Duration::from_millis(20) >= cpu, "CPU time went backwards");
            cpu = cpu.max(now.cpu);
        }
        let cost = meter.stop();
        assert!(cost.cpu.value().unwrap() >= &Duration::from_millis(20), "{cost:?}");
        assert!(cost.processes.value().unwrap() >= &2, "{cost:?}");
        parent.0.kill().unwrap();
    }

    #[test]
    fn a_thread_that_ends_makes_the_switches_unavailable_instead_of_too_few() {
        let us = nix::unistd::getpid();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || ended.recv());
        let meter = Meter::start(us);
        end.send(()).unwrap();
        thread.join().unwrap().unwrap();
        // The kernel removes a thread from /proc a moment after it can be joined.
        let ours = Instant::now();
        while ours.elapsed() < Duration::from_millis(50) {
            hint::spin_loop();
        }
        let cost = meter.stop();
        assert!(cost.voluntary_switches.value().is_none(), "{cost:?}");
        assert!(cost.voluntary_switches.to_string().contains("threads ended"));
        assert!(cost.cpu.value().unwrap() >= &Duration::from_millis(5), "{cost:?}");
    }

    #[test]
    fn of_a_process_that_is_not_there_nothing_is_known() {
        let cost = Meter::start(Pid::from_raw(i32::MAX)).stop();
        assert!(cost.cpu.value().is_none(), "{cost:?}");
        assert!(cost.rss.to_string().starts_with("unavailable: "), "{cost:?}");
        assert!(cost.threads.value().is_none());
    }
}
