//! System calls by name, counted by ptrace(2).
//!
//! Every system call stops the server twice and wakes the tracer. So no timing is valid while the
//! tracer is attached. The count is exact and needs no root. The count explains *why* one model
//! costs more than another.

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

/// System calls by name since the tracer was attached or last reset.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Counts the system calls of a process, its threads and its children, including threads and
/// children that start later.
///
/// Attach the tracer after the server's warm-up, so that only the steady state is counted. Dropping
/// the tracer detaches it, and the server continues to run.
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
    /// Attaches to every thread of `root` and its descendants, and begins to count. Before this
    /// function returns, each thread has been interrupted once. A waiting system call of the server
    /// has then failed with EINTR, and the server waits again.
    ///
    /// # Errors
    ///
    /// When the process has ended or tracing is forbidden. EPERM has three causes: the process is
    /// already traced, it belongs to another user, or Yama allows only descendants of this process.
    /// ENOSYS means that a sandbox forbids ptrace(2).
    pub(crate) fn attach(root: Pid) -> io::Result<Tracer> {
        let shared = Arc::new(Shared::default());
        let (ready, attached) = mpsc::sync_channel(1);
        let theirs = Arc::clone(&shared);
        // The kernel accepts requests only from the thread that attached. That thread also waits
        // for the tracees, so the tracer needs a thread for itself.
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

    /// Sets all counts to 0.
    pub(crate) fn reset(&self) {
        self.shared.counts().clear();
    }

    /// Returns the system calls entered since the tracer was attached or last reset.
    pub(crate) fn counts(&self) -> Counts {
        let counts = self.shared.counts();
        counts.iter().map(|(number, count)| (name(*number), *count)).collect()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.shared.finish.store(true, Ordering::Relaxed);
        // The tracer thread sleeps until a tracee changes its state. SIGCONT wakes the tracer
        // thread and has no effect on a running process. If the process has ended, the tracer
        // thread has ended already.
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

/// Attaches to all threads without stopping them (PTRACE_SEIZE), then interrupts each thread.
/// Returns the threads.
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
                    // The thread has ended since it was listed.
                    Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        // A thread may have started another thread before it was seized. List the threads again
        // until a pass finds no new thread.
        if seized.len() == before {
            break;
        }
    }
    if seized.is_empty() {
        return Err(Errno::ESRCH);
    }
    for task in &seized {
        // If the thread has ended since it was seized, the next wait reports its end.
        let _ = ptrace::interrupt(*task);
    }
    Ok(seized)
}

/// Lets the tracees run from stop to stop until no tracee is left. The kernel reports the system
/// calls of a thread after the thread's first stop. When every thread of `unseen` has had its first
/// stop, this function sends `Ok` to `ready`.
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
            // All tracees have ended or have been detached.
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
            // An error means that the task has just been killed. The next wait reports its end.
            let _ = ptrace::syscall(task, signal);
        }
    }
}

/// Waits until a tracee changes its state, and returns the new state. Fails with ECHILD when no
/// tracee is left, and when `root` has ended. The exit status of `root` is left for the code that
/// started `root`: this function does not collect the status.
fn next_status(root: Pid) -> Result<WaitStatus, Errno> {
    // __WNOTHREAD: other threads of this process wait for the other children themselves.
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

/// Returns the number of the system call that the task enters. Returns `None` when the task leaves
/// a system call.
fn entered(task: Pid) -> Option<u64> {
    let info = ptrace::syscall_info(task).ok()?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: `op` says that the kernel has filled in the union member `entry`.
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

    /// dd(1) copies its input byte by byte: one read and one write for each byte.
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
        // The reset may come before or after dd enters its next read. The same holds for the
        // reading of the counts. So each count may differ from 100 by 1.
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
