//! Which processes and threads a server consists of, and what proc(5) says of each.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::{Pid, SysconfVar, sysconf};

/// The process and all its descendants that are alive, itself first.
pub(super) fn processes(root: Pid) -> io::Result<Vec<Pid>> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        for task in tasks(pid)? {
            // A thread may have ended since; its children have passed to its siblings.
            let children = fs::read_to_string(path(pid, &format!("task/{task}/children")));
            let children = children.unwrap_or_default();
            let pids = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
            found.extend(pids.map(Pid::from_raw));
        }
        next += 1;
    }
    Ok(found)
}

/// The threads of one process. Of one that has ended: none.
pub(super) fn tasks(pid: Pid) -> io::Result<Vec<Pid>> {
    let entries = match fs::read_dir(path(pid, "task")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(names.map(Pid::from_raw).collect())
}

/// A number out of a file of `Name:   value` lines, e.g. `status`; its unit is the file's.
pub(super) fn field(pid: Pid, file: &str, name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(path(pid, file))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = value.and_then(|value| value.split_ascii_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("/proc/PID/{file} has no {name}")))
}

/// CPU times of a process out of `stat`. They are counted in ticks, of 10 ms as a rule.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// In user mode, threads that have ended included.
    pub(super) user: Duration,
    /// In the kernel, likewise.
    pub(super) system: Duration,
    /// Of children that have ended and been waited for, both modes.
    pub(super) reaped_user: Duration,
    /// The kernel's part of that.
    pub(super) reaped_system: Duration,
}

pub(super) fn times(pid: Pid) -> io::Result<Times> {
    let text = fs::read_to_string(path(pid, "stat"))?;
    // The second field is the name in brackets, and may itself hold blanks and brackets.
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = after_name.split_ascii_whitespace().skip(11).map(|field| field.parse().ok());
    let mut next = || {
        let count: Option<u64> = fields.next().flatten();
        count.map(ticks).ok_or_else(|| io::Error::other("/proc/PID/stat is cut short"))
    };
    Ok(Times { user: next()?, system: next()?, reaped_user: next()?, reaped_system: next()? })
}

/// Clock ticks of proc(5) as a duration.
pub(super) fn ticks(count: u64) -> Duration {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    Duration::from_secs(count) / u32::try_from(per_second).unwrap_or(100).max(1)
}

fn path(pid: Pid, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}
