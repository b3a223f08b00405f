//! A server process seen from outside: what it holds and what it burns, its children included.
//!
//! Read from /proc (proc(5)), so Linux only; cases that need it say so.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;

/// What a server and its children hold at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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
/// When `pid` has ended. A descendant that ends meanwhile is passed over.
pub(crate) fn holds(pid: Pid) -> io::Result<Holds> {
    let mut sum = Holds::default();
    for process in tree(pid)? {
        sum.processes += 1;
        match of_process(process) {
            Ok(one) => {
                sum.descriptors += one.descriptors;
                sum.threads += one.threads;
                sum.memory += one.memory;
            }
            Err(error) if process == pid => return Err(error),
            Err(_) => {}
        }
    }
    Ok(sum)
}

fn of_process(pid: Pid) -> io::Result<Holds> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(Holds {
        // A zombie's are gone, and may not be looked at.
        descriptors: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
        threads: fs::read_dir(format!("/proc/{pid}/task"))?.count(),
        processes: 1,
        memory: field(&status, "RssAnon:").unwrap_or(0) * 1024,
    })
}

/// The number of open descriptors of `pid` and of each of its descendants.
///
/// # Errors
///
/// When `pid` has ended.
pub(crate) fn descriptors(pid: Pid) -> io::Result<Vec<(Pid, usize)>> {
    let count = |pid| (pid, fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count));
    Ok(tree(pid)?.into_iter().map(count).collect())
}

/// `pid` and all its descendants.
fn tree(pid: Pid) -> io::Result<Vec<Pid>> {
    let (mut parents, mut is_alive) = (Vec::new(), false);
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(Ok(process)) = name.to_str().map(str::parse) else { continue };
        // It may have ended since.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        let mut fields = stat_fields(&stat);
        let is_zombie = fields.next() == Some("Z");
        is_alive |= process == pid.as_raw() && !is_zombie;
        if let Some(parent) = fields.next().and_then(|field| field.parse().ok()) {
            parents.push((Pid::from_raw(process), Pid::from_raw(parent)));
        }
    }
    if !is_alive {
        return Err(io::Error::new(ErrorKind::NotFound, "the server has ended"));
    }
    let mut tree = vec![pid];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(parents.iter().filter(|&&(_, of)| of == parent).map(|&(process, _)| process));
        next += 1;
    }
    Ok(tree)
}

/// CPU time that `pid`, its threads and its living descendants have used so far.
///
/// # Errors
///
/// When it has ended, or on a system that has no clock for another process (clock_getcpuclockid(3)).
pub(crate) fn cpu_time(pid: Pid) -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for process in tree(pid)? {
        match ClockId::pid_cpu_clock_id(process).and_then(clock_gettime) {
            Ok(time) => sum += Duration::from(time),
            Err(error) if process == pid => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(sum)
}

/// What a thread has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ran {
    /// Time that it ran.
    pub(crate) on_cpu: Duration,
    /// Time that it waited for a CPU though it had something to do.
    pub(crate) waiting: Duration,
}

/// What each living thread of `pid` and its descendants has done so far: schedstat of proc(5).
///
/// # Errors
///
/// When it has ended.
pub(crate) fn threads_ran(pid: Pid) -> io::Result<HashMap<OsString, Ran>> {
    let mut threads = HashMap::new();
    for_each_thread(pid, |thread, path| {
        let schedstat = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        let mut fields = schedstat.split_ascii_whitespace().map(str::parse);
        let mut time = || Duration::from_nanos(fields.next().and_then(Result::ok).unwrap_or(0));
        threads.insert(thread, Ran { on_cpu: time(), waiting: time() });
    })?;
    Ok(threads)
}

/// Whether no thread of it runs or could run.
///
/// # Errors
///
/// When it has ended.
pub(crate) fn is_asleep(pid: Pid) -> io::Result<bool> {
    let mut asleep = true;
    for_each_thread(pid, |_, path| {
        let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
        asleep &= stat_fields(&stat).next() != Some("R");
    })?;
    Ok(asleep)
}

fn for_each_thread(pid: Pid, mut look: impl FnMut(OsString, &Path)) -> io::Result<()> {
    for process in tree(pid)? {
        // A descendant may have ended since.
        let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for task in tasks.flatten() {
            look(task.file_name(), &task.path());
        }
    }
    Ok(())
}

/// Whether SIGSTOP has stopped it.
///
/// # Errors
///
/// When it has ended.
pub(crate) fn is_stopped(pid: Pid) -> io::Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(stat_fields(&stat).next() == Some("T"))
}

/// Whether a signal waits to be taken by it: ShdPnd of proc(5), what was sent to the whole process.
///
/// # Errors
///
/// When it has ended.
pub(crate) fn has_signal_pending(pid: Pid) -> io::Result<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap_or("0");
    Ok(mask.trim().bytes().any(|digit| digit != b'0'))
}

/// The fields of /proc/PID/stat from the third on, the state. The second, the program's name, may hold
/// anything, a `)` included.
fn stat_fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace()
}

/// The number behind `name` in /proc/PID/status.
fn field(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}
