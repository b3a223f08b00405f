//! A server as a child process: started, signalled, stopped, and never orphaned.
//!
//! Two kinds can be started: one that says where it listens, as every server here does
//! ([`Process::start`]), and any other that is told where to listen ([`Process::start_at`]).

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::address::Address;
use crate::guard::Guard;

/// How long a server may take from its start until it listens.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The most that is kept of a server's stdout and of its stderr, in bytes.
const OUTPUT_MAX: u64 = 1 << 20;

/// How long the pipes of a server that has ended may stay open: a process that left its group may still
/// hold them.
const PIPE_TIMEOUT: Duration = Duration::from_secs(1);

/// A running server. Dropping it kills it, and whatever else runs in its process group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    addr: Address,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    ended: Option<ExitStatus>,
    /// Until its group has been killed.
    guard: Option<Guard>,
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
    /// Children of it were still running. They have been killed.
    pub left_children: bool,
}

impl Process {
    /// Starts `command` and waits until it prints `listening on ADDR`.
    ///
    /// The child leads a process group of its own, so that a Ctrl-C meant for us does not reach it. The
    /// kernel kills it should the starting thread end first (PR_SET_PDEATHSIG, prctl(2)); its group, and
    /// the file of its Unix-domain socket, go too, should this process end without stopping it.
    ///
    /// # Errors
    ///
    /// When it cannot be started, ends before it listens (the message quotes its stderr), prints
    /// something else, or says nothing for [`START_TIMEOUT`]. It is not left running.
    pub fn start(command: &mut Command) -> io::Result<Process> {
        let program = command.get_program().display().to_string();
        let (mut process, first_line) = Process::spawn(command)?;
        let Ok(line) = first_line.recv_timeout(START_TIMEOUT) else {
            let complaint = format!("{program} did not listen within {START_TIMEOUT:?}");
            return Err(io::Error::new(ErrorKind::TimedOut, complaint));
        };
        if line.is_empty() {
            return Err(process.ended_early(&program)?);
        }
        let announced = line.strip_prefix("listening on ").map(|addr| addr.trim().parse());
        let Some(Ok(addr)) = announced else {
            let complaint = format!("{program} printed {line:?}, not \"listening on ADDR\"");
            return Err(io::Error::other(complaint));
        };
        if let (Address::Unix(path), Some(guard)) = (&addr, &mut process.guard) {
            guard.remove(path)?;
        }
        process.addr = addr;
        Ok(process)
    }

    /// Starts `command`, which was told to listen on `addr`, and waits until it takes a connection
    /// there. It sees one client that says nothing and leaves.
    ///
    /// # Errors
    ///
    /// When it cannot be started, ends before it listens, or does not listen for [`START_TIMEOUT`].
    /// It is not left running.
    pub fn start_at(command: &mut Command, addr: SocketAddr) -> io::Result<Process> {
        Process::start_until(command, Address::Tcp(addr), || {
            TcpStream::connect_timeout(&addr, START_TIMEOUT).map(drop)
        })
    }

    /// Starts `command`, which was told to echo datagrams at `addr`, and waits until it does. It
    /// receives some of one byte.
    ///
    /// # Errors
    ///
    /// Those of [`start_at`](Process::start_at).
    pub fn start_datagrams_at(command: &mut Command, addr: SocketAddr) -> io::Result<Process> {
        let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(addr)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        Process::start_until(command, Address::Udp(addr), || {
            socket.send(b"?")?;
            socket.recv(&mut [0; 1]).map(drop)
        })
    }

    /// Starts `command`, which listens on `addr` as soon as `answers` finds that it does.
    fn start_until(
        command: &mut Command,
        addr: Address,
        answers: impl Fn() -> io::Result<()>,
    ) -> io::Result<Process> {
        let program = command.get_program().display().to_string();
        let (mut process, _) = Process::spawn(command)?;
        let deadline = Instant::now() + START_TIMEOUT;
        while let Err(error) = answers() {
            if process.poll()?.is_some() {
                return Err(process.ended_early(&program)?);
            }
            if Instant::now() >= deadline {
                let complaint =
                    format!("{program} did not listen on {addr} within {START_TIMEOUT:?}: {error}");
                return Err(io::Error::new(ErrorKind::TimedOut, complaint));
            }
            thread::sleep(Duration::from_millis(5));
        }
        process.addr = addr;
        Ok(process)
    }

    /// Runs `command`, which is expected to end by itself.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or is still running after `limit`. It is not left running.
    pub fn run_to_end(command: &mut Command, limit: Duration) -> io::Result<Ended> {
        let program = command.get_program().display().to_string();
        let (mut process, _) = Process::spawn(command)?;
        process.wait(limit)?.ok_or_else(|| {
            let complaint = format!("{program} was still running after {limit:?}");
            io::Error::new(ErrorKind::TimedOut, complaint)
        })
    }

    /// The child, and the first line it prints. Threads of ours read what it says.
    fn spawn(command: &mut Command) -> io::Result<(Process, Receiver<String>)> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        // SAFETY: prctl(2) is async-signal-safe, and the closure does nothing else.
        unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        let mut child = command.spawn().map_err(|error| {
            let program = command.get_program().display();
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        let guard = Guard::of_group(Pid::from_raw(child.id().cast_signed()));
        let stderr = child.stderr.take().map(|pipe| thread::spawn(|| read_bounded(pipe)));
        let (announce, first_line) = mpsc::sync_channel(1);
        let stdout = child.stdout.take().map(|pipe| {
            thread::spawn(move || {
                let mut pipe = BufReader::new(pipe);
                let mut text = String::new();
                let _ = pipe.by_ref().take(OUTPUT_MAX).read_line(&mut text);
                let _ = announce.send(text.clone());
                text + &read_bounded(pipe)
            })
        });
        let addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into(); // Until it listens.
        let mut process = Process { child, addr, stdout, stderr, ended: None, guard: None };
        process.guard = Some(guard?); // From here on, dropping the process kills it.
        Ok((process, first_line))
    }

    /// What to say of a server that ended before it listened.
    fn ended_early(&mut self, program: &str) -> io::Result<io::Error> {
        let ended = self.kill()?;
        let stderr = ended.stderr.trim_end();
        Ok(io::Error::other(format!(
            "{program} ended before it listened ({}): {stderr}",
            ended.status
        )))
    }

    /// The address that it listens on: what it printed, which is never a UDP address, or what
    /// [`start_at`](Process::start_at) or [`start_datagrams_at`](Process::start_datagrams_at) was told.
    pub fn addr(&self) -> &Address {
        &self.addr
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
        // The group outlives its leader as long as anyone is in it.
        let left_children = killpg(self.pid(), Signal::SIGKILL).is_ok();
        self.guard = None; // The group's id may be another's from now on.
        let stdout = text_of(self.stdout.take());
        Ok(Ended { status, stdout, stderr: text_of(self.stderr.take()), left_children })
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

/// What a reading thread has collected, or nothing when somebody still holds the other end of its pipe.
fn text_of(reader: Option<JoinHandle<String>>) -> String {
    let deadline = Instant::now() + PIPE_TIMEOUT;
    while reader.as_ref().is_some_and(|reader| !reader.is_finished()) {
        if Instant::now() >= deadline {
            return String::new();
        }
        thread::sleep(Duration::from_millis(1));
    }
    reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
}

/// Raises the soft limit of descriptors of this process to the hard one, as setrlimit(2) allows anyone
/// to. The servers that it starts inherit the limit.
///
/// # Errors
///
/// Those of setrlimit(2); none is expected.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// A loopback address that nobody listens on at present, for a server that must be told its port.
///
/// The port is below those that the kernel gives to connecting sockets (`ip_local_port_range`, ip(7)):
/// one of our own clients cannot take it before the server does.
///
/// # Errors
///
/// When none of many tries can be bound.
pub fn free_addr() -> io::Result<SocketAddr> {
    const TRIES: usize = 100;
    let ports = rand::random_iter::<u16>().map(|random| 10_000 + random % 20_000).take(TRIES);
    for addr in ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port))) {
        if TcpListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    Err(io::Error::new(ErrorKind::AddrInUse, "no free port found on 127.0.0.1"))
}

/// The words of anyone's command with `{addr}` (HOST:PORT), `{host}` and `{port}` filled in; `None` when
/// the command says nowhere where to put them, or has no words.
pub fn command_for(words: &[String], addr: SocketAddr) -> Option<Command> {
    let told = |word: &String| ["{addr}", "{port}"].iter().any(|place| word.contains(place));
    if !words.iter().any(told) {
        return None;
    }
    let mut filled = words.iter().map(|word| {
        word.replace("{addr}", &addr.to_string())
            .replace("{host}", &addr.ip().to_string())
            .replace("{port}", &addr.port().to_string())
    });
    let mut command = Command::new(filled.next()?);
    command.args(filled);
    Some(command)
}
