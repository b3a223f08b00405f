//! System calls by name, counted by ptrace(2).
//!
//! Every call stops the server twice and wakes the tracer, so nothing may be timed meanwhile; but
//! the count is exact, needs no root, and says *why* one model costs more than another.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use server_process::proc;
use syscalls::Sysno;

/// Calls by name since the tracer was attached or last reset.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Counts the system calls of a process, its threads and its children, those that come later
/// included.
///
/// Attach it once the server is warm, so that only the steady state is counted. Dropping it
/// detaches it; the server runs on.
#[derive(Debug)]
pub(crate) struct Tracer {
    root: Pid,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    counts: Mutex<BTreeMap<u64, u64>>,
    finish: AtomicBool,
}

impl Tracer {
    /// Attaches to every thread of `root` and its descendants, and begins to count. Each of them
    /// has been interrupted once when this returns: a server that waits has seen an EINTR and waits
    /// again.
    ///
    /// # Errors
    ///
    /// When the process is gone, or tracing is forbidden (EPERM: it is traced already, another
    /// user's, or no descendant of this process under Yama's restriction; ENOSYS: a sandbox).
    pub(crate) fn attach(root: Pid) -> io::Result<Tracer> {
        let shared = Arc::new(Shared::default());
        let (ready, attached) = mpsc::sync_channel(1);
        let theirs = Arc::clone(&shared);
        // All requests must come from the thread that attached, and that thread must be free to
        // wait.
        let thread = thread::spawn(move || match seize_all(root) {
            Ok(tasks) => count_calls(root, tasks, &theirs, &ready),
            Err(errno) => drop(ready.send(Err(errno))),
        });
        match attached.recv() {
            Ok(Ok(())) => Ok(Tracer { root, shared, thread: Some(thread) }),
            Ok(Err(errno)) => Err(io::Error::other(format!("ptrace: {}", errno.desc()))),
            Err(_) => Err(io::Error::other("the process ended while it was being traced")),
        }
    }

    /// Forgets what was counted so far.
    pub(crate) fn reset(&self) {
        self.shared.counts().clear();
    }

    /// The calls entered so far.
    pub(crate) fn counts(&self) -> Counts {
        let counts = self.shared.counts();
        counts.iter().map(|(number, count)| (name(*number), *count)).collect()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.shared.finish.store(true, Ordering::Relaxed);
        // The tracer sleeps until something happens to a tracee. SIGCONT is reported to it, and
        // does nothing to a process that runs. If there is none any more, the tracer has left
        // already.
        let _ = kill(self.root, Signal::SIGCONT);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Attaches to all threads without stopping them (PTRACE_SEIZE), then stops each for the first
/// time.
fn seize_all(root: Pid) -> Result<BTreeSet<Pid>, Errno> {
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC;
    let mut seized = BTreeSet::new();
    loop {
        let before = seized.len();
        for process in proc::processes(root).map_err(errno)? {
            for task in proc::tasks(process).map_err(errno)? {
                if seized.contains(&task) {
                    continue;
                }
                match ptrace::seize(task, options) {
                    Ok(()) => drop(seized.insert(task)),
                    // It ended since it was listed.
                    Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        // A thread that was not seized yet may have started another: look again until none is new.
        if seized.len() == before {
            break;
        }
    }
    if seized.is_empty() {
        return Err(Errno::ESRCH);
    }
    for task in &seized {
        // It may have ended since it was seized; then the next wait reports that.
        let _ = ptrace::interrupt(*task);
    }
    Ok(seized)
}

/// Lets the tracees run from stop to stop until there is none left. `ready` is told once every one
/// of `unseen` has had its first stop, from which on its calls are reported.
fn count_calls(
    root: Pid,
    mut unseen: BTreeSet<Pid>,
    shared: &Shared,
    ready: &SyncSender<Result<(), Errno>>,
) {
    let mut tasks = unseen.clone();
    let mut leaving = false;
    loop {
        let status = match next_status(root) {
            Ok(status) => status,
            Err(Errno::EINTR) => continue,
            // All have ended, or have been let go.
            Err(_) => break,
        };
        let Some(task) = status.pid() else { continue };
        let signal = match status {
            WaitStatus::PtraceSyscall(_) => {
                if let Some(number) = entered(task) {
                    *shared.counts().entry(number).or_default() += 1;
                }
                None
            }
            WaitStatus::Stopped(_, signal) => Some(signal),
            WaitStatus::PtraceEvent(..) => None,
            _ => {
                tasks.remove(&task);
                unseen.remove(&task);
                continue;
            }
        };
        tasks.insert(task);
        if unseen.remove(&task) && unseen.is_empty() {
            let _ = ready.send(Ok(()));
        }
        if shared.finish.load(Ordering::Relaxed) {
            if !leaving {
                leaving = true;
                for task in &tasks {
                    let _ = ptrace::interrupt(*task);
                }
            }
            let _ = ptrace::detach(task, signal);
        } else {
            // An error means that it was killed at this moment; the next wait reports that.
            let _ = ptrace::syscall(task, signal);
        }
    }
}

/// What happened to a tracee, once something has. ECHILD when there is none left, and when `root`
/// has ended: its exit status is for whoever started it, and would be lost if it were collected
/// here.
fn next_status(root: Pid) -> Result<WaitStatus, Errno> {
    // __WNOTHREAD: other children of this process, and their ends, are other threads' business.
    let ours = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    let look = ours | WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
    let seen = waitid(Id::All, look)?;
    match seen {
        WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) if pid == root => {
            Err(Errno::ECHILD)
        }
        _ => waitpid(seen.pid(), Some(ours)),
    }
}

/// The number of the call that the task is about to make; `None` when it comes back from one.
fn entered(task: Pid) -> Option<u64> {
    let info = ptrace::syscall_info(task).ok()?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: `op` says that this is the member of the union that the kernel has filled in.
    Some(unsafe { info.u.entry.nr })
}

fn name(number: u64) -> String {
    let call = usize::try_from(number).ok().and_then(Sysno::new);
    call.map_or_else(|| format!("syscall_{number}"), |call| call.name().to_owned())
}

fn errno(error: io::Error) -> Errno {
    match error.kind() {
        io::ErrorKind::NotFound => Errno::ESRCH,
        _ => Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{ChildStdin, ChildStdout, Command, Stdio};

    use super::*;

    fn exchange(to: &mut ChildStdin, from: &mut ChildStdout, times: usize) {
        for _ in 0..times {
            let mut byte = [0];
            to.write_all(b"x").unwrap();
            from.read_exact(&mut byte).unwrap();
        }
    }

    /// dd(1) copies its input byte by byte: one read and one write for each.
    #[test]
    fn every_call_is_counted_once_and_the_process_runs_on_when_the_tracer_has_left() {
        let mut dd = Command::new("dd");
        dd.args(["bs=1", "status=none"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut dd = dd.spawn().unwrap();
        let (mut to, mut from) = (dd.stdin.take().unwrap(), dd.stdout.take().unwrap());
        let pid = Pid::from_raw(dd.id().cast_signed());
        exchange(&mut to, &mut from, 1);
        let tracer = Tracer::attach(pid).unwrap();
        exchange(&mut to, &mut from, 3);
        tracer.reset();
        exchange(&mut to, &mut from, 100);
        let counts = tracer.counts();
        drop(tracer);
        exchange(&mut to, &mut from, 3);
        drop(to);
        assert!(dd.wait().unwrap().success());
        // The read after the last byte may have been entered before the reset, or not yet at the
        // end.
        assert!((99..=101).contains(&counts["read"]), "{counts:?}");
        assert!((99..=101).contains(&counts["write"]), "{counts:?}");
        assert_eq!(counts.len(), 2, "{counts:?}");
    }

    #[test]
    fn children_are_followed() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read line; (sleep 0; sleep 0); echo done"]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let tracer = Tracer::attach(Pid::from_raw(shell.id().cast_signed())).unwrap();
        shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let mut said = String::new();
        shell.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(shell.wait().unwrap().success());
        assert_eq!(said, "done\n");
        let counts = tracer.counts();
        assert_eq!(counts["execve"], 2, "{counts:?}");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_and_no_count() {
        assert!(Tracer::attach(Pid::from_raw(i32::MAX)).is_err());
    }
}
