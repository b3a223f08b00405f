//! A process for each client (`--per-client process`), or a fixed number of them (`--prefork`).
//!
//! The oldest concurrent servers worked so: fork(2) gives the child a copy of everything, the client's
//! stream included, and what goes wrong in it goes wrong for one client alone. The price is a process.
//!
//! Three rules keep it sound. The parent has one thread: the child of a threaded parent inherits locks
//! that nobody will ever release. The parent closes its copy of the stream at once: the client sees end
//! of stream only when the last copy is gone. And every child is reaped, or it stays as a zombie.

use std::collections::HashSet;
use std::fmt::Display;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use echo::{Options, Scratch, Shortage, Stop, Tally, Totals};
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

/// Most children alive at once. Even an idle process costs the kernel some hundred KiB.
const CHILDREN_MAX: usize = 4096;

/// How long after `--drain` the children may take to end before they are killed.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Forks a child for each client.
pub(crate) fn serve_each(options: &Options) -> io::Result<Totals> {
    let stop = Stop::new()?;
    let mut children = Children::new(false)?;
    let mut listener = echo::listen(options, options.max_connections(CHILDREN_MAX)?)?;
    // The accepting process waits in poll(2), for a client, a child or a signal, and never in accept(2).
    listener.set_nonblocking()?;
    let mut client = None;
    while !stop.requested() {
        if children.reap()? > 0 {
            listener.resume();
        }
        if client.is_none() {
            client = listener.accept(children.alive.len())?;
        }
        match client.take() {
            Some(stream) if listener.is_open(children.alive.len()) => match children.fork()? {
                Forked::Parent => drop(stream),
                Forked::Child(report) => {
                    drop((stop, listener));
                    serve_client(stream, options, report)
                }
                Forked::Exhausted => {
                    // No process to be had: the client waits with us for a child to end.
                    client = Some(stream);
                    listener.pause();
                }
            },
            waiting => {
                client = waiting;
                let accepting = client.is_none() && listener.is_open(children.alive.len());
                let listener_fd = accepting.then_some(listener.as_fd());
                children.wait([Some(stop.as_fd()), listener_fd], listener.patience())?;
            }
        }
    }
    drop((client, listener));
    children.stop(options.drain)
}

/// Forks `count` children, which accept from one listener and serve one client at a time each.
///
/// The kernel wakes one of those that block in accept(2) for each client: the one that has slept longest
/// or the one that is at hand, as it likes. The shares in the totals show how even that is.
pub(crate) fn serve_preforked(options: &Options, count: usize) -> io::Result<Totals> {
    let stop = Stop::new()?;
    let mut children = Children::new(true)?;
    let max_connections = options.max_connections(usize::MAX)?;
    let count = count.min(max_connections); // Each serves one.
    let listener = echo::listen(options, max_connections)?;
    let mut fork_from = Instant::now();
    while !stop.requested() {
        while children.alive.len() < count && fork_from <= Instant::now() {
            match children.fork()? {
                Forked::Parent => {}
                Forked::Child(report) => {
                    drop(stop); // It would write into the parent's pipe.
                    let served = lead_a_group().and_then(|()| Stop::new()).and_then(accept_signals);
                    leave(
                        report,
                        served.and_then(|stop| {
                            crate::accept_and_serve(
                                listener,
                                &Arc::new(stop),
                                PerClient::None,
                                options,
                            )
                        }),
                    )
                }
                Forked::Exhausted => fork_from = Instant::now() + echo::ACCEPT_PAUSE,
            }
        }
        let missing = children.alive.len() < count;
        let pause = missing.then(|| fork_from.saturating_duration_since(Instant::now()));
        children.wait([Some(stop.as_fd()), None], pause)?;
        if children.reap()? > 0 {
            // Whoever has died is replaced, and not at once: it may be a habit.
            fork_from = Instant::now() + echo::ACCEPT_PAUSE;
        }
        if children.left && !stop.requested() {
            // Whoever leaves shuts the listener down, and that is everybody's.
            children.stop(options.drain)?;
            return Err(io::Error::other("a child has left, so the others were stopped too"));
        }
    }
    drop(listener);
    children.stop(options.drain)
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

/// Reports to the parent and ends, without the exit handlers that belong to the parent (_exit(2)).
fn leave(mut report: PipeWriter, served: io::Result<Totals>) -> ! {
    let status = match served {
        Ok(Totals { connections, bytes, errors, .. }) => {
            let numbers = [connections, bytes, errors].map(u64::to_ne_bytes).concat();
            // Fewer bytes than PIPE_BUF: they arrive in one piece (pipe(7)).
            i32::from(report.write_all(&numbers).is_err())
        }
        Err(error) => {
            echo::report(format_args!("error in child {}: {error}", getpid()));
            1
        }
    };
    low_level::exit(status)
}

/// Makes SIGINT and SIGTERM shut the reading half of `fd` down: the read(2) that the child sleeps in
/// then finds end of stream behind what has arrived. A flag would not wake it.
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

/// Leaves the parent's process group: what a terminal, or `kill -TERM -GROUP`, sends to all reaches the
/// parent alone, which passes it on. Twice would mean: at once.
fn lead_a_group() -> io::Result<()> {
    Ok(setpgid(Pid::from_raw(0), Pid::from_raw(0))?)
}

/// Holds SIGINT and SIGTERM back, or lets them through again: between fork and its own handlers a child
/// has the parent's, which would tell the wrong process.
fn hold_signals(how: SigmaskHow) -> io::Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    Ok(sigprocmask(how, Some(&signals), None)?)
}

/// Ends in a child what [`Children::fork`] has begun, and passes on what was made ready for signals.
fn accept_signals<T>(ready: T) -> io::Result<T> {
    hold_signals(SigmaskHow::SIG_UNBLOCK)?;
    Ok(ready)
}

/// The children, as the parent knows them.
struct Children {
    alive: HashSet<Pid>,
    /// SIGCHLD makes it readable: a child has ended.
    ended: UnixStream,
    /// Where they write what they have done, before they end.
    reports: PipeReader,
    report: PipeWriter,
    totals: Totals,
    shortage: Shortage,
    /// Whether each accepts for itself, so that its share of the connections is of interest.
    preforked: bool,
    /// A child has ended by itself, and was not killed.
    left: bool,
}

enum Forked {
    Parent,
    Child(PipeWriter),
    /// The system has no process to give.
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

    /// Forks. The child is to call [`accept_signals`] once it has handlers of its own.
    #[allow(unsafe_code)]
    fn fork(&mut self) -> io::Result<Forked> {
        let parent = getpid();
        let report = match self.report.try_clone() {
            Ok(report) => report,
            Err(error) => return Ok(self.exhausted(error)),
        };
        hold_signals(SigmaskHow::SIG_BLOCK)?;
        // SAFETY: this process has one thread, so the child may do all that the parent could.
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
                // A parent that is killed takes its children with it.
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
        let limit = limit.map(|limit| limit + Duration::from_millis(1)); // Whole ones, rounded down.
        let timeout = limit.and_then(|limit| PollTimeout::try_from(limit).ok());
        match poll(&mut fds, timeout.unwrap_or(PollTimeout::NONE)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Signals coalesce, so their number says nothing: it is enough that there were any.
        match (&self.ended).read(&mut [0; 64]) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes note of all that have ended. Returns how many there were.
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
                        self.totals += Totals { connections, bytes, errors, shares };
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

    /// Asks all to finish what is pending, and kills those that have not ended after `drain`. Those that
    /// keep this deadline themselves get a moment longer.
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
