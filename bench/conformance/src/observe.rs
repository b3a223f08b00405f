//! A server process seen from outside: what it holds and what it burns, its children included.
//!
//! Read from /proc (proc(5)), so Linux only; cases that need it say so. What a descendant says that ends
//! meanwhile is left out.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use nix::unistd::Pid;
use server_process::proc::{self, Scheduled};

/// What a server and its children hold at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads, one for each process at least.
    pub threads: usize,
    /// Processes, its children included that have ended and that it did not wait for.
    pub processes: usize,
    /// Memory that is the processes' own (RssAnon), in bytes.
    pub memory: u64,
}

/// What `pid` and its descendants hold.
///
/// # Errors
///
/// When `pid` has ended.
pub(crate) fn holds(pid: Pid) -> io::Result<Holds> {
    let mut sum = Holds::default();
    for process in proc::processes(pid)? {
        sum.processes += 1;
        // A process that has ended has closed its descriptors, and its memory is gone.
        sum.descriptors += proc::descriptors(process).unwrap_or(0);
        sum.threads += proc::tasks(process)?.len();
        sum.memory += proc::field(process, "status", "RssAnon").unwrap_or(0) * 1024;
    }
    Ok(sum)
}

/// The number of open descriptors of `pid` and of each of its descendants.
///
/// # Errors
///
/// When `pid` has ended.
pub(crate) fn descriptors(pid: Pid) -> io::Result<Vec<(Pid, usize)>> {
    let count = |pid| (pid, proc::descriptors(pid).unwrap_or(0));
    Ok(proc::processes(pid)?.into_iter().map(count).collect())
}

/// CPU time that `pid`, its threads and its living descendants have used so far.
///
/// # Errors
///
/// When it has ended, or on a system that has no clock for another process (clock_getcpuclockid(3)).
pub(crate) fn cpu_time(pid: Pid) -> io::Result<Duration> {
    let mut sum = proc::cpu_time(pid)?;
    for child in proc::processes(pid)?.into_iter().skip(1) {
        sum += proc::cpu_time(child).unwrap_or_default();
    }
    Ok(sum)
}

/// What the scheduler has given each living thread of `pid` and its descendants so far.
///
/// # Errors
///
/// When it has ended.
pub(crate) fn scheduled(pid: Pid) -> io::Result<HashMap<Pid, Scheduled>> {
    let threads = threads(pid)?.into_iter();
    Ok(threads.filter_map(|(pid, task)| Some((task, proc::scheduled(pid, task).ok()?))).collect())
}

/// Whether no thread of it runs or could run.
///
/// # Errors
///
/// When it has ended.
pub(crate) fn is_asleep(pid: Pid) -> io::Result<bool> {
    let runs = |(pid, task)| matches!(proc::task_state(pid, task), Ok('R'));
    Ok(!threads(pid)?.into_iter().any(runs))
}

/// The threads of `pid` and its descendants, each with its process.
fn threads(pid: Pid) -> io::Result<Vec<(Pid, Pid)>> {
    let mut threads = Vec::new();
    for process in proc::processes(pid)? {
        threads.extend(proc::tasks(process)?.into_iter().map(|task| (process, task)));
    }
    Ok(threads)
}
