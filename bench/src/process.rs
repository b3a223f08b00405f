//! A server as a child process: started, signalled, stopped, and never orphaned.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// How long a server may take from its start to its line `listening on ADDR`.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The most that is kept of a server's stdout and of its stderr, in bytes.
const OUTPUT_MAX: u64 = 1 << 20;

/// A running server. Dropping it kills it, and whatever else runs in its process group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    addr: SocketAddr,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    ended: Option<ExitStatus>,
}

/// How a server ended, and everything it said.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit status, or the signal that ended it.
    pub status: ExitStatus,
    /// Everything it wrote to stdout, up to a bound of 1 MiB.
    pub stdout: String,
    /// Everything it wrote to stderr, up to the same bound.
    pub stderr: String,
}

impl Process {
    /// Starts `command` and waits until it prints `listening on ADDR`.
    ///
    /// The child leads a process group of its own, so that a Ctrl-C meant for us does not reach it, and
    /// the kernel kills it should the starting thread end first (PR_SET_PDEATHSIG, prctl(2)).
    ///
    /// # Errors
    ///
    /// When it cannot be started, ends before it listens (the message quotes its stderr), prints
    /// something else, or says nothing for [`START_TIMEOUT`]. It is not left running.
    pub fn start(command: &mut Command) -> io::Result<Process> {
        let program = command.get_program().to_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        // SAFETY: prctl(2) is async-signal-safe, and the closure does nothing else.
        unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display()))
        })?;
        let stderr = child.stderr.take().map(|pipe| thread::spawn(|| read_bounded(pipe)));
        let (first_line, announced) = mpsc::sync_channel(1);
        let stdout = child.stdout.take().map(|pipe| {
            thread::spawn(move || {
                let mut pipe = BufReader::new(pipe);
                let mut text = String::new();
                let _ = pipe.by_ref().take(OUTPUT_MAX).read_line(&mut text);
                let _ = first_line.send(text.clone());
                text + &read_bounded(pipe)
            })
        });
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut process = Process { child, addr: unknown, stdout, stderr, ended: None };
        process.addr = process.announced(&program, announced.recv_timeout(START_TIMEOUT))?;
        Ok(process)
    }

    /// The address out of the first line of stdout.
    fn announced(
        &mut self,
        program: &OsStr,
        line: Result<String, RecvTimeoutError>,
    ) -> io::Result<SocketAddr> {
        let program = program.display();
        let complaint = match line {
            Ok(line) if line.is_empty() => {
                let ended = self.kill()?;
                format!("{program} ended before it listened ({}): {}", ended.status, ended.stderr)
            }
            Ok(line) => match line.strip_prefix("listening on ").map(|addr| addr.trim().parse()) {
                Some(Ok(addr)) => return Ok(addr),
                _ => format!("{program} printed {line:?}, not \"listening on ADDR\""),
            },
            Err(_) => format!("{program} did not listen within {START_TIMEOUT:?}"),
        };
        Err(io::Error::other(complaint.trim_end().to_owned()))
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends it a signal. To one that has ended already this does nothing.
    ///
    /// # Errors
    ///
    /// Those of kill(2); none is expected for a child of ours.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // A child that has not been waited for keeps its id, so this cannot reach a stranger.
        if self.ended.is_none() { Ok(kill(self.pid(), signal)?) } else { Ok(()) }
    }

    /// Waits for it to end by itself, for `limit` at most; `None` when it is still running then.
    ///
    /// # Errors
    ///
    /// Those of waitpid(2); none is expected.
    pub fn wait(&mut self, limit: Duration) -> io::Result<Option<Ended>> {
        let deadline = Instant::now() + limit;
        while self.poll()?.is_none() {
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.collect().map(Some)
    }

    /// Asks it to stop with SIGTERM, and kills it if it has not after `limit`.
    ///
    /// # Errors
    ///
    /// Those of kill(2) and waitpid(2); none is expected.
    pub fn stop(mut self, limit: Duration) -> io::Result<Ended> {
        self.signal(Signal::SIGTERM)?;
        self.signal(Signal::SIGCONT)?;
        match self.wait(limit)? {
            Some(ended) => Ok(ended),
            None => self.kill(),
        }
    }

    /// Kills it, its process group included.
    fn kill(&mut self) -> io::Result<Ended> {
        // It may have ended in this moment, which is what we want.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        self.collect()
    }

    /// The exit status, if it has ended.
    pub fn poll(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    fn collect(&mut self) -> io::Result<Ended> {
        let status = match self.ended {
            Some(status) => status,
            None => *self.ended.insert(self.child.wait()?),
        };
        let text = |reader: Option<JoinHandle<String>>| {
            reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
        };
        Ok(Ended { status, stdout: text(self.stdout.take()), stderr: text(self.stderr.take()) })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.kill();
        }
    }
}

impl Ended {
    /// Whether it left by itself with exit status 0.
    pub fn is_success(&self) -> bool {
        self.status.success() && self.status.signal().is_none()
    }
}

/// Reads to the end, and keeps at most [`OUTPUT_MAX`] bytes.
fn read_bounded(mut pipe: impl Read) -> String {
    let mut kept = Vec::new();
    let _ = pipe.by_ref().take(OUTPUT_MAX).read_to_end(&mut kept);
    let _ = io::copy(&mut pipe, &mut io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}
