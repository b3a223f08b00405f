//! A process for each client (`--per-client process`), or a fixed number of them (`--prefork`).
//!
//! The oldest concurrent servers work like this. fork(2) gives the child a copy of everything, including
//! the client's stream. A fault in the child concerns one client alone. The price is a process.
//!
//! Three rules keep it correct. First, the parent has one thread: the child of a threaded parent inherits
//! locks that no thread will ever release. Second, the parent closes its copy of the stream at once: the
//! client sees end of stream only when the last copy is closed. Third, every child is reaped, or it stays
//! as a zombie.
//!
//! Read `select` first: the parent waits with poll(2) and a self-pipe, which are explained there.

use std::collections::HashSet;
use std::fmt::Display;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use echo::{Accepted, Options, Scratch, Shortage, Stop, Tally, Totals};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, setpgid};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::low_level;
use socket2::Socket;

use crate::PerClient;

/// Most children alive at once. Even an idle process costs the kernel several hundred KiB.
const CHILDREN_MAX: usize = 4096;

/// How long the children may take to end after `--drain`. Then they are killed.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Forks a child for each client.
pub(crate) fn serve_each(options: &Options) -> echo::Result<Totals> {
    let stop = Stop::new()?;
    let mut children = Children::new(false)?;
    let mut listener = echo::listen(options, options.max_connections(CHILDREN_MAX)?)?;
    // The accepting process waits in poll(2), for a client, a child or a signal, and never in accept(2).
    listener.set_nonblocking()?;
    let mut client = None;
    while !stop.requested() {
        children.reap()?;
        if client.is_none()
            && let Accepted::Client(stream) = listener.accept(children.alive.len())?
        {
            client = Some(stream);
        }
        match client.take() {
            Some(stream) if listener.is_open(children.alive.len()) => match children.fork()? {
                Forked::Parent => drop(stream),
                Forked::Child(report) => {
                    drop((stop, listener));
                    serve_client(stream, options, report)
                }
                Forked::Exhausted => {
                    // The client waits until a child ends, or for the length of a pause.
                    client = Some(stream);
                    listener.pause(children.alive.len());
                }
            },
            waiting => {
                client = waiting;
                let accepting = client.is_none() && listener.is_open(children.alive.len());
                let listener_fd = accepting.then_some(listener.as_fd());
                children.wait([Some(stop.as_fd()), listener_fd], listener.pause_left())?;
            }
        }
    }
    drop((client, listener));
    Ok(children.stop(options.drain)?)
}

/// Forks `count` children, which accept from one listener and serve one client at a time each.
///
/// For each client the kernel wakes one of the children that block in accept(2). It makes no promise which
/// one. The shares in the totals show how even the distribution is.
pub(crate) fn serve_preforked(options: &Options, count: usize) -> echo::Result<Totals> {
    let stop = Stop::new()?;
    let mut children = Children::new(true)?;
    let max_connections = options.max_connections(usize::MAX)?;
    let count = count.min(max_connections); // Each child serves one client.
    let listener = echo::listen(options, max_connections)?;
    let mut fork_from = Instant::now();
    while !stop.requested() {
        while children.alive.len() < count && fork_from <= Instant::now() {
            match children.fork()? {
                Forked::Parent => {}
                Forked::Child(report) => {
                    drop(stop); // Its handlers would write into the parent's pipe.
                    let stop = lead_a_group().and_then(|()| Stop::new()).and_then(accept_signals);
                    let served = stop.map_err(echo::Error::from).and_then(|stop| {
                        let stop = Arc::new(stop);
                        crate::accept_and_serve(listener, &stop, PerClient::None, options)
                    });
                    leave(report, served)
                }
                Forked::Exhausted => fork_from = Instant::now() + echo::ACCEPT_PAUSE,
            }
        }
        let missing = children.alive.len() < count;
        let pause = missing.then(|| fork_from.saturating_duration_since(Instant::now()));
        children.wait([Some(stop.as_fd()), None], pause)?;
        if children.reap()? > 0 {
            // A dead child is replaced after a pause: its successor may die too.
            fork_from = Instant::now() + echo::ACCEPT_PAUSE;
        }
        if children.left && !stop.requested() {
            // A child that leaves has shut down the listener, which all children share.
            children.stop(options.drain)?;
            return Err(io::Error::other("a child has left, so the others were stopped too").into());
        }
    }
    drop(listener);
    Ok(children.stop(options.drain)?)
}

/// The child of one client: serves it, reports, and ends.
fn serve_client(stream: Socket, options: &Options, report: PipeWriter) -> ! {
    let mut tally = Tally::new(options);
    tally.opened(&stream);
    let fd = stream.as_raw_fd();
    let mut bytes = 0;
    let served = end_reading_when_asked(fd)
        .and_then(accept_signals)
        .and_then(|()| stream.set_nonblocking(false))
        .and_then(|()| echo::set_timeouts(&stream, options.idle_timeout))
        .and_then(|()| echo::echo_until_eof(&stream, &mut Scratch::new(options), &mut bytes));
    tally.sent(bytes);
    tally.closed(&stream, &served);
    drop(stream);
    leave(report, Ok(tally.totals()))
}

/// Reports to the parent and ends. The exit handlers are the parent's and do not run (_exit(2)).
fn leave(mut report: PipeWriter, served: echo::Result<Totals>) -> ! {
    let status = match served {
        Ok(Totals { connections, bytes, errors, .. }) => {
            let numbers = [connections, bytes, errors].map(u64::to_ne_bytes).concat();
            // Fewer bytes than PIPE_BUF, so they arrive in one piece (pipe(7)).
            i32::from(report.write_all(&numbers).is_err())
        }
        Err(error) => {
            echo::report(format_args!("error in child {}: {error}", getpid()));
            1
        }
    };
    low_level::exit(status)
}

/// Makes SIGINT and SIGTERM shut down the reading half of `fd`. The read(2) in which the child sleeps then
/// finds end of stream behind what has arrived. A flag would not wake the child.
#[allow(unsafe_code)]
fn end_reading_when_asked(fd: RawFd) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        let handler = move || {
            let errno = Errno::last();
            let _ = shutdown(fd, Shutdown::Read);
            errno.set();
        };
        // SAFETY: the handler calls shutdown(2), which signal-safety(7) lists, and keeps errno.
        unsafe { low_level::register(signal, handler) }?;
    }
    Ok(())
}

/// Leaves the parent's process group. A signal that a terminal, or `kill -TERM -GROUP`, sends to the group
/// then reaches the parent alone, which passes it on. A child that got both would end at once.
fn lead_a_group() -> io::Result<()> {
    Ok(setpgid(Pid::from_raw(0), Pid::from_raw(0))?)
}

/// Blocks or unblocks SIGINT and SIGTERM. Between fork and the installation of its own handlers, a child
/// has the parent's handlers, which would tell the wrong process.
fn hold_signals(how: SigmaskHow) -> io::Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    Ok(sigprocmask(how, Some(&signals), None)?)
}

/// Unblocks in a child the signals that [`Children::fork`] has blocked, and passes `ready` on.
fn accept_signals<T>(ready: T) -> io::Result<T> {
    hold_signals(SigmaskHow::SIG_UNBLOCK)?;
    Ok(ready)
}

/// The children, as the parent knows them.
struct Children {
    alive: HashSet<Pid>,
    /// Readable after SIGCHLD: a child has ended.
    ended: UnixStream,
    /// Here the children write their totals before they end.
    reports: PipeReader,
    report: PipeWriter,
    totals: Totals,
    shortage: Shortage,
    /// Whether the children accept by themselves. Then the totals show the share of each.
    preforked: bool,
    /// A child has ended by itself, not by a signal.
    left: bool,
}

enum Forked {
    Parent,
    Child(PipeWriter),
    /// The system has no process left.
    Exhausted,
}

impl Children {
    fn new(preforked: bool) -> io::Result<Children> {
        let (ended, signalled) = UnixStream::pair()?;
        ended.set_nonblocking(true)?;
        low_level::pipe::register(SIGCHLD, signalled)?;
        let (reports, report) = io::pipe()?;
        let (alive, totals) = (HashSet::new(), Totals::default());
        let shortage = Shortage::default();
        Ok(Children { alive, ended, reports, report, totals, shortage, preforked, left: false })
    }

    /// Forks. The child must call [`accept_signals`] when it has its own handlers.
    #[allow(unsafe_code)]
    fn fork(&mut self) -> io::Result<Forked> {
        let parent = getpid();
        let report = match self.report.try_clone() {
            Ok(report) => report,
            Err(error) => return Ok(self.exhausted(error)),
        };
        hold_signals(SigmaskHow::SIG_BLOCK)?;
        // SAFETY: this process has one thread, so the child may do all that the parent may.
        let forked = unsafe { fork() };
        if !matches!(forked, Ok(ForkResult::Child)) {
            hold_signals(SigmaskHow::SIG_UNBLOCK)?;
        }
        match forked {
            Ok(ForkResult::Parent { child }) => {
                self.alive.insert(child);
                Ok(Forked::Parent)
            }
            Ok(ForkResult::Child) => {
                // When the parent is killed, the kernel kills the children.
                #[cfg(target_os = "linux")]
                let tied = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).is_ok();
                #[cfg(not(target_os = "linux"))]
                let tied = true;
                if !tied || getppid() != parent {
                    low_level::exit(1);
                }
                Ok(Forked::Child(report))
            }
            Err(error @ (Errno::EAGAIN | Errno::ENOMEM)) => Ok(self.exhausted(error)),
            Err(error) => Err(error.into()),
        }
    }

    fn exhausted(&mut self, error: impl Display) -> Forked {
        self.shortage.report(format_args!("cannot start a process: {error}"));
        Forked::Exhausted
    }

    /// Sleeps until a child has ended, one of `sources` is readable, or `limit` is over.
    fn wait(
        &mut self,
        sources: [Option<BorrowedFd>; 2],
        limit: Option<Duration>,
    ) -> io::Result<()> {
        let sources = sources.into_iter().flatten().chain([self.ended.as_fd()]);
        let mut fds: Vec<_> = sources.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let limit = limit.map(|limit| limit + Duration::from_millis(1)); // poll(2) counts whole ms.
        let timeout = limit.and_then(|limit| PollTimeout::try_from(limit).ok());
        match poll(&mut fds, timeout.unwrap_or(PollTimeout::NONE)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Signals coalesce, so their number has no meaning.
        match (&self.ended).read(&mut [0; 64]) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Reaps all children that have ended. Returns their number.
    fn reap(&mut self) -> io::Result<usize> {
        let before = self.alive.len();
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => {
                    return Ok(before - self.alive.len());
                }
                Ok(WaitStatus::Exited(child, status)) => {
                    self.alive.remove(&child);
                    self.left = true;
                    if status == 0 {
                        let mut numbers = [[0; 8]; 3];
                        self.reports.read_exact(numbers.as_flattened_mut())?;
                        let [connections, bytes, errors] = numbers.map(u64::from_ne_bytes);
                        let shares = if self.preforked { vec![connections] } else { Vec::new() };
                        let rest = Totals::default();
                        self.totals += Totals { connections, bytes, errors, shares, ..rest };
                    }
                }
                Ok(WaitStatus::Signaled(child, signal, _)) => {
                    self.alive.remove(&child);
                    echo::report(format_args!("child {child} was ended by {signal}"));
                    self.totals.connections += u64::from(!self.preforked); // Its one client.
                    self.totals.errors += 1;
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks all children to finish what is pending, and kills those that have not ended after `drain`.
    /// Preforked children keep this deadline themselves, and get a moment longer.
    fn stop(mut self, drain: Duration) -> io::Result<Totals> {
        let drain = if self.preforked { drain + LAST_MOMENT } else { drain };
        for (signal, limit) in [(Signal::SIGTERM, drain), (Signal::SIGKILL, LAST_MOMENT)] {
            for child in &self.alive {
                let _ = kill(*child, signal);
            }
            let deadline = Instant::now() + limit;
            while !self.alive.is_empty() && Instant::now() < deadline {
                self.wait([None, None], Some(deadline.saturating_duration_since(Instant::now())))?;
                self.reap()?;
            }
        }
        Ok(self.totals)
    }
}
