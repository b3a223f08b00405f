//! A server as a child process: started, signalled, stopped, and never orphaned.
//!
//! Two kinds of servers can be started. The servers of this workspace say where they listen
//! ([`Process::start`]). Any other server is told where to listen ([`Process::start_at`]).

use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::address::Address;
use crate::guard::Guard;
use crate::witness::{Witness, Written};
use crate::{Error, Result, signals};

/// The longest time from the start of a server until it listens.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes that are kept of a server's stdout, and of its stderr.
pub(crate) const OUTPUT_MAX: u64 = 1 << 20;

/// The longest wait for the end of a pipe after the server has ended. A process that left the server's
/// group may still hold the pipe.
const PIPE_TIMEOUT: Duration = Duration::from_secs(1);

/// A running server. Dropping it kills the server and all other processes of its group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    addr: Address,
    stdout: Option<JoinHandle<String>>,
    stderr: Arc<Written>,
    ended: Option<ExitStatus>,
    /// `None` once the process group has been killed.
    guard: Option<Guard>,
}

/// How a server ended, and everything it wrote.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit status, or the signal that ended the server.
    pub status: ExitStatus,
    /// What the server wrote to stdout, at most 1 MiB.
    pub stdout: String,
    /// What the server wrote to stderr, at most 1 MiB.
    pub stderr: String,
    /// Whether children of the server were still running. They have been killed.
    pub left_children: bool,
}

impl Process {
    /// Starts `command` and waits until it prints `listening on ADDR`.
    ///
    /// The child leads a process group of its own, so that a Ctrl-C in the terminal does not reach it.
    /// SIGINT and the other [signals that end a process](signals::reset) have their default action in it.
    ///
    /// The kernel kills the child when the thread that started it ends (PR_SET_PDEATHSIG, prctl(2)). The
    /// rest of the group, and the file of a Unix-domain socket, go when this process ends.
    ///
    /// # Errors
    ///
    /// When the child cannot be started, ends before it listens, prints another line, or prints nothing
    /// for [`START_TIMEOUT`]. Then it is killed.
    pub fn start(command: &mut Command) -> Result<Process> {
        let program = program_of(command);
        let (mut process, first_line) = Process::spawn(command)?;
        let Ok(line) = first_line.recv_timeout(START_TIMEOUT) else {
            return Err(Error::Silent { program });
        };
        if line.is_empty() {
            return Err(process.ended_early(program)?);
        }
        let announced = line.strip_prefix("listening on ").map(|addr| addr.trim().parse());
        let Some(Ok(addr)) = announced else { return Err(Error::FirstLine { program, line }) };
        if let (Address::Unix(path), Some(guard)) = (&addr, &mut process.guard) {
            guard.remove(path)?;
        }
        process.addr = addr;
        Ok(process)
    }

    /// Starts `command`, which was told to listen on `addr`, and waits until a connection to `addr`
    /// succeeds. The server sees one client that sends nothing and leaves.
    ///
    /// # Errors
    ///
    /// When the child cannot be started, ends before it listens, or does not listen within
    /// [`START_TIMEOUT`]. Then it is killed.
    pub fn start_at(command: &mut Command, addr: SocketAddr) -> Result<Process> {
        Process::start_until(command, Address::Tcp(addr), || {
            TcpStream::connect_timeout(&addr, START_TIMEOUT).map(drop)
        })
    }

    /// Starts `command`, which was told to echo datagrams at `addr`, and waits until it echoes one. The
    /// server receives several datagrams of one byte.
    ///
    /// # Errors
    ///
    /// Those of [`start_at`](Process::start_at).
    pub fn start_datagrams_at(command: &mut Command, addr: SocketAddr) -> Result<Process> {
        let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(addr)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        Process::start_until(command, Address::Udp(addr), || {
            socket.send(b"?")?;
            socket.recv(&mut [0; 1]).map(drop)
        })
    }

    /// Starts `command` and waits until `is_reached`, which tries to reach `addr`, succeeds.
    fn start_until(
        command: &mut Command,
        addr: Address,
        is_reached: impl Fn() -> io::Result<()>,
    ) -> Result<Process> {
        let program = program_of(command);
        let (mut process, _) = Process::spawn(command)?;
        let deadline = Instant::now() + START_TIMEOUT;
        while let Err(source) = is_reached() {
            if process.poll()?.is_some() {
                return Err(process.ended_early(program)?);
            }
            if Instant::now() >= deadline {
                return Err(Error::NotListening { program, addr, source });
            }
            thread::sleep(Duration::from_millis(5));
        }
        process.addr = addr;
        Ok(process)
    }

    /// Runs `command`, a program that ends by itself, and waits for its end.
    ///
    /// # Errors
    ///
    /// When the child cannot be started, or still runs after `limit`. Then it is killed.
    pub fn run_to_end(command: &mut Command, limit: Duration) -> Result<Ended> {
        let program = program_of(command);
        let (mut process, _) = Process::spawn(command)?;
        process.wait(limit)?.ok_or(Error::StillRunning { program, limit })
    }

    /// Starts the child and the threads that read its output. Returns the child, and a channel that
    /// brings the first line of its stdout.
    fn spawn(command: &mut Command) -> Result<(Process, Receiver<String>)> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        signals::reset(command);
        // SAFETY: prctl(2) is async-signal-safe, and the closure does nothing else.
        unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        let mut child = command
            .spawn()
            .map_err(|source| Error::Start { program: program_of(command), source })?;
        let guard = Guard::of_group(Pid::from_raw(child.id().cast_signed()));
        let stderr = Arc::new(Written::default());
        if let Some(pipe) = child.stderr.take() {
            let written = Arc::clone(&stderr);
            thread::spawn(move || written.collect(pipe));
        } else {
            stderr.finish();
        }
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
        process.guard = Some(guard?); // After an error, dropping the process kills the child.
        Ok((process, first_line))
    }

    /// The error for a server that ended before it listened.
    fn ended_early(&mut self, program: String) -> Result<Error> {
        let Ended { status, stderr, .. } = self.end()?;
        Ok(Error::EndedEarly { program, status, stderr: stderr.trim_end().to_owned() })
    }

    /// The address on which the server listens: the address that it printed, which is never a UDP
    /// address, or the address that [`start_at`](Process::start_at) or
    /// [`start_datagrams_at`](Process::start_datagrams_at) was given.
    pub fn addr(&self) -> &Address {
        &self.addr
    }

    /// A view of the server for other threads: how it ended, and what it has written to stderr.
    pub fn witness(&self) -> Witness {
        Witness::new(self.pid(), Arc::clone(&self.stderr))
    }

    /// The process id of the server.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends a signal to the server. Does nothing when the server has ended.
    ///
    /// # Errors
    ///
    /// Those of kill(2), which does not usually fail for a child.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // The kernel keeps the id of a child until wait(2), so the signal cannot reach another process.
        if self.ended.is_none() { Ok(kill(self.pid(), signal)?) } else { Ok(()) }
    }

    /// Waits until the server ends by itself, at most for `limit`. Returns `None` when it still runs.
    ///
    /// # Errors
    ///
    /// Those of waitpid(2), which does not usually fail for a child.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<Ended>> {
        let deadline = Instant::now() + limit;
        while self.poll()?.is_none() {
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.collect().map(Some)
    }

    /// Sends SIGTERM to the server, and kills the server if it still runs after `limit`.
    ///
    /// # Errors
    ///
    /// Those of kill(2) and waitpid(2), which do not usually fail for a child.
    pub fn stop(mut self, limit: Duration) -> Result<Ended> {
        self.signal(Signal::SIGTERM)?;
        self.signal(Signal::SIGCONT)?;
        match self.wait(limit)? {
            Some(ended) => Ok(ended),
            None => self.end(),
        }
    }

    /// Kills the server and its process group with SIGKILL, and returns what the server wrote.
    ///
    /// # Errors
    ///
    /// Those of waitpid(2), which does not usually fail for a child.
    pub fn kill(mut self) -> Result<Ended> {
        self.end()
    }

    fn end(&mut self) -> Result<Ended> {
        // An error means that the server has just ended by itself.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        self.collect()
    }

    /// The exit status of the server, or `None` when it still runs.
    ///
    /// # Errors
    ///
    /// Those of waitpid(2), which does not usually fail for a child.
    pub fn poll(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    fn collect(&mut self) -> Result<Ended> {
        let status = match self.ended {
            Some(status) => status,
            None => *self.ended.insert(self.child.wait()?),
        };
        // The group exists until its last process ends, also after its leader.
        let left_children = killpg(self.pid(), Signal::SIGKILL).is_ok();
        self.guard = None; // From here on, another group may get this id.
        let stdout = text_of(self.stdout.take());
        self.stderr.wait_until_finished(PIPE_TIMEOUT);
        Ok(Ended { status, stdout, stderr: self.stderr.text(), left_children })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.end();
        }
    }
}

impl Ended {
    /// Whether the server ended by itself, with exit status 0.
    pub fn is_success(&self) -> bool {
        self.status.success() && self.status.signal().is_none()
    }
}

fn program_of(command: &Command) -> String {
    command.get_program().display().to_string()
}

/// Reads to the end, and keeps at most [`OUTPUT_MAX`] bytes.
fn read_bounded(mut pipe: impl Read) -> String {
    let mut kept = Vec::new();
    let _ = pipe.by_ref().take(OUTPUT_MAX).read_to_end(&mut kept);
    let _ = io::copy(&mut pipe, &mut io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

/// What a reading thread has collected. Empty when another process holds the pipe open for longer than
/// [`PIPE_TIMEOUT`].
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

/// Raises the soft limit of descriptors of this process to the hard limit, which setrlimit(2) allows
/// every process. The servers that it starts inherit the limit.
///
/// # Errors
///
/// Those of setrlimit(2), which does not usually fail here.
pub fn raise_descriptor_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// A loopback address on which nobody listens, for a server that must be told its port.
///
/// The port is below the ports that the kernel gives to connecting sockets (`ip_local_port_range`,
/// ip(7)). So a client of this process cannot take the port before the server does.
///
/// # Errors
///
/// [`Error::NoFreePort`] when none of 100 random ports can be bound.
pub fn free_addr() -> Result<SocketAddr> {
    const TRIES: usize = 100;
    let ports = rand::random_iter::<u16>().map(|random| 10_000 + random % 20_000).take(TRIES);
    ports
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|addr| TcpListener::bind(addr).is_ok())
        .ok_or(Error::NoFreePort)
}

/// A command from its words, with `{addr}` (HOST:PORT), `{host}` and `{port}` replaced. Returns `None`
/// when there are no words, or when no word holds `{addr}` or `{port}`.
pub fn command_for(words: &[String], addr: SocketAddr) -> Option<Command> {
    let is_place = |word: &String| ["{addr}", "{port}"].iter().any(|place| word.contains(place));
    if !words.iter().any(is_place) {
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
