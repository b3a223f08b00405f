//! A view of a running server for other threads: how it ended, and what it has written to stderr.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::process::OUTPUT_MAX;

/// How often a wait checks for the end of the process or of its stderr.
const CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// A view of a [`Process`](crate::process::Process). Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Witness {
    pid: Pid,
    stderr: Arc<Written>,
}

impl Witness {
    pub(crate) fn new(pid: Pid, stderr: Arc<Written>) -> Witness {
        Witness { pid, stderr }
    }

    /// The process id of the server.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// How the server ended, or `None` when it still runs after `limit`. When the server has ended, this
    /// waits until its stderr is complete too, at most for `limit`.
    ///
    /// This must not be called after the process was waited for: its id may be another's then.
    pub fn ended_within(&self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            // WNOWAIT leaves the status for the owner of the process.
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            let status = match waitid(Id::Pid(self.pid), flags) {
                Ok(WaitStatus::Exited(_, code)) => Some(ExitStatus::from_raw(code << 8)),
                Ok(WaitStatus::Signaled(_, signal, _)) => Some(ExitStatus::from_raw(signal as i32)),
                Ok(_) | Err(Errno::EINTR) => None,
                Err(_) => return None,
            };
            if status.is_some() {
                self.stderr.wait_until_finished(deadline.saturating_duration_since(Instant::now()));
                return status;
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(CHECK_INTERVAL);
        }
    }

    /// What the server has written to stderr so far, at most 1 MiB.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }
}

/// What has come through a pipe so far.
#[derive(Debug, Default)]
pub(crate) struct Written {
    bytes: Mutex<Vec<u8>>,
    finished: AtomicBool,
}

impl Written {
    /// Reads `pipe` to its end, and keeps at most [`OUTPUT_MAX`] bytes.
    pub(crate) fn collect(&self, mut pipe: impl Read) {
        let mut kept = self;
        let _ = io::copy(&mut pipe, &mut kept);
        self.finish();
    }

    /// Nothing more comes.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }

    /// Waits for the end of the pipe, at most for `limit`: another process may hold the pipe open.
    pub(crate) fn wait_until_finished(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.finished.load(Ordering::Acquire) && Instant::now() < deadline {
            thread::sleep(CHECK_INTERVAL);
        }
    }

    pub(crate) fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for &Written {
    fn write(&mut self, new: &[u8]) -> io::Result<usize> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let room = usize::try_from(OUTPUT_MAX).unwrap_or(usize::MAX) - bytes.len();
        bytes.extend_from_slice(&new[..new.len().min(room)]);
        Ok(new.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use crate::process::Process;

    use super::*;

    /// A server that says that it listens, and runs until its script ends.
    fn server(script: &str) -> Process {
        let script = format!("echo 'listening on 127.0.0.1:1'; {script}");
        Process::start(Command::new("sh").args(["-c", &script])).unwrap()
    }

    #[test]
    fn a_witness_sees_the_end_and_the_last_words_and_leaves_them_to_the_owner() {
        let mut process = server("echo 'no more' >&2; exit 3");
        let witness = process.witness();
        let status = witness.ended_within(Duration::from_secs(20)).unwrap();
        assert_eq!((status.code(), witness.stderr().as_str()), (Some(3), "no more\n"));
        let ended = process.wait(Duration::from_secs(20)).unwrap().unwrap();
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(3), "no more\n"));
    }

    #[test]
    fn a_witness_reads_what_a_running_server_has_written() {
        let process = server("echo complaint >&2; exec sleep 20");
        let witness = process.witness();
        let deadline = Instant::now() + Duration::from_secs(20);
        while witness.stderr() != "complaint\n" {
            assert!(Instant::now() < deadline, "{:?}", witness.stderr());
            thread::sleep(CHECK_INTERVAL);
        }
        assert_eq!(witness.ended_within(Duration::ZERO), None);
        process.kill().unwrap();
    }
}
