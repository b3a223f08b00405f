//! A server process from outside: what it holds and what it uses, including its descendants.
//!
//! The source is /proc (proc(5)), so this works on Linux only. A descendant that ends meanwhile does not
//! count.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use nix::unistd::Pid;
use server_process::proc::{self, Scheduled};

/// What a server and its descendants hold at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads, at least one for each process.
    pub threads: usize,
    /// Processes, including children that have ended and that the server has not waited for.
    pub processes: usize,
    /// Memory that the processes do not share with files (RssAnon), in bytes.
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
        // A process that has ended has closed its descriptors and freed its memory.
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

/// The CPU time that `pid` and its living descendants have used so far.
///
/// # Errors
///
/// When `pid` has ended, or where no process has a clock (clock_getcpuclockid(3)).
pub(crate) fn cpu_time(pid: Pid) -> io::Result<Duration> {
    let mut sum = proc::cpu_time(pid)?;
    for child in proc::processes(pid)?.into_iter().skip(1) {
        sum += proc::cpu_time(child).unwrap_or_default();
    }
    Ok(sum)
}

/// The time in the scheduler of each living thread of `pid` and its descendants.
///
/// # Errors
///
/// When `pid` has ended.
pub(crate) fn scheduled(pid: Pid) -> io::Result<HashMap<Pid, Scheduled>> {
    let threads = threads(pid)?.into_iter();
    Ok(threads.filter_map(|(pid, task)| Some((task, proc::scheduled(pid, task).ok()?))).collect())
}

/// Whether no thread of `pid` and its descendants runs or could run.
///
/// # Errors
///
/// When `pid` has ended.
pub(crate) fn is_asleep(pid: Pid) -> io::Result<bool> {
    let runs = |(pid, task)| matches!(proc::task_state(pid, task), Ok('R'));
    Ok(!threads(pid)?.into_iter().any(runs))
}

/// The threads of `pid` and its descendants, each with its process.
///
/// # Errors
///
/// When `pid` has ended.
pub(crate) fn threads(pid: Pid) -> io::Result<Vec<(Pid, Pid)>> {
    let mut threads = Vec::new();
    for process in proc::processes(pid)? {
        threads.extend(proc::tasks(process)?.into_iter().map(|task| (process, task)));
    }
    Ok(threads)
}
