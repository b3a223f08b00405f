//! # select: ask the kernel about all sockets, on every turn
//!
//! **What blocks, and where.** Only select(2), until one of the sockets is ready. Reads and writes are
//! made on sockets that are ready; they are non-blocking all the same, since select's word is a hint.
//!
//! **What the kernel tells us.** Which sockets are ready *now* (level-triggered: what is left unread is
//! reported again). It forgets the question with the answer: the whole set is handed over on each turn.
//!
//! **What it costs.** Three system calls for one message: select, read, write; the select is shared when
//! several clients are ready. But building the set, and the kernel's walk over it, grow with the clients
//! *connected*, on every turn. And it ends at descriptor number 1023 (FD_SETSIZE). `--call poll` asks
//! with poll(2) instead: a list in place of the set, no such end, and the same walk.
//!
//! **How it differs from the model before.** `nonblocking` asks each socket, and never sleeps. Here one
//! call asks about them all, and sleeps until there is an answer.
//!
//! ```console
//! $ cargo run --release -p select
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! Not here: a question that the kernel remembers; that is `epoll-selector`.
#![forbid(unsafe_code)]

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use echo::{
    ACCEPTS_PER_TURN, Connection, IdleClock, Listener, Options, Scratch, Stop, Tally, Totals, Wants,
};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::select::{FD_SETSIZE, FdSet, select};
use nix::sys::time::{TimeVal, TimeValLike};
use socket2::Socket;

/// TCP echo server: one thread asks the kernel about all sockets, on every turn.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// The system call that asks
    #[arg(long, value_enum, default_value_t = Call::Select)]
    call: Call,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Call {
    /// select(2): sets of descriptors, none of them above 1023
    Select,
    /// poll(2): a list of descriptors
    Poll,
}

fn main() -> ExitCode {
    echo::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> io::Result<Totals> {
    let options = &args.options;
    let stop = Stop::new()?;
    let mut listener = echo::listen(options, options.max_connections(args.call.most_clients())?)?;
    listener.set_nonblocking()?;
    args.call.check(listener.as_fd())?;
    let mut clients: Vec<Connection<Socket>> = Vec::new();
    let mut scratch = Scratch::new(options);
    let mut tally = Tally::new(options);
    let mut idle = IdleClock::new(options);
    let mut ready = Vec::new();
    let mut deadline = None;
    loop {
        if stop.requested() && deadline.is_none() {
            deadline = Some(Instant::now() + options.drain);
            // Each client has sent all it will: what has arrived is echoed, then end of stream is found.
            for client in &clients {
                let _ = client.stream().shutdown(Shutdown::Read);
            }
        }
        if deadline.is_some_and(|deadline| clients.is_empty() || deadline <= Instant::now()) {
            tally.cut_off(clients.iter().map(Connection::stream));
            return Ok(tally.totals());
        }
        if idle.ticked() {
            for client in clients.iter_mut().filter_map(|client| client.tick().then_some(client)) {
                let _ = client.stream().shutdown(Shutdown::Both);
            }
        }

        let accepting = deadline.is_none() && listener.is_open(clients.len());
        let others = [
            Watched { fd: deadline.is_none().then_some(stop.as_fd()), to_write: false },
            Watched { fd: accepting.then_some(listener.as_fd()), to_write: false },
        ];
        let watched = others.into_iter().chain(clients.iter().map(|client| Watched {
            fd: Some(client.stream().as_fd()),
            to_write: client.wants_to_write(),
        }));
        let drain_left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        // A pause in accepting is of no interest any more once nobody is accepted.
        let limits = [drain_left.or(listener.patience()), idle.patience()];
        let timeout = limits.into_iter().flatten().min();
        match args.call.ask(watched, timeout, &mut ready) {
            Ok(()) => {}
            // A signal came first, and the answer says nothing: ask again.
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }

        let mut answers = ready.iter().copied();
        answers.next(); // The stop pipe: the flag is looked at above.
        let somebody_connects = answers.next() == Some(true);
        clients.retain_mut(|client| {
            if answers.next() != Some(true) {
                return true;
            }
            // Neither a stop nor the end of its drain waits for the rest of a turn.
            if deadline.map_or(stop.requested(), |deadline| deadline <= Instant::now()) {
                return true;
            }
            let step = tally.step(client.step(&mut scratch), client.stream());
            if step.wants == Wants::Close {
                listener.resume();
            }
            step.wants != Wants::Close
        });
        if somebody_connects {
            accept(&mut listener, args.call, &mut clients, &mut tally)?;
        }
    }
}

/// Accepts who waits, up to a bound.
fn accept(
    listener: &mut Listener,
    call: Call,
    clients: &mut Vec<Connection<Socket>>,
    tally: &mut Tally,
) -> io::Result<()> {
    for _ in 0..ACCEPTS_PER_TURN {
        let Some(stream) = listener.accept(clients.len())? else { return Ok(()) };
        if let Err(error) = call.check(stream.as_fd()) {
            // Others in this process hold the low numbers: this client cannot be served, nor the next.
            echo::report(error);
            listener.pause();
            return Ok(());
        }
        tally.opened(&stream);
        clients.push(Connection::new(stream));
    }
    Ok(())
}

/// A descriptor, or none this time, and what to ask about it: readable, or writable?
#[derive(Clone, Copy)]
struct Watched<'fd> {
    fd: Option<BorrowedFd<'fd>>,
    to_write: bool,
}

impl Call {
    /// Asks the kernel about all of `watched`, and sleeps until one is ready or for `timeout`. `ready`
    /// becomes the answer: one for each, in order. (The question borrows the descriptors, so the answer
    /// is copied out of it before any is closed.)
    fn ask<'fd>(
        self,
        watched: impl Iterator<Item = Watched<'fd>> + Clone,
        timeout: Option<Duration>,
        ready: &mut Vec<bool>,
    ) -> nix::Result<()> {
        ready.clear();
        match self {
            Call::Select => {
                let (mut readable, mut writable) = (FdSet::new(), FdSet::new());
                let mut highest = -1;
                for Watched { fd, to_write } in watched.clone() {
                    let Some(fd) = fd else { continue };
                    if to_write {
                        writable.insert(fd)
                    } else {
                        readable.insert(fd)
                    }
                    highest = highest.max(fd.as_raw_fd());
                }
                let mut timeout = timeout.map(|timeout| {
                    TimeVal::microseconds(rounded_up(timeout, Duration::from_micros(1)))
                });
                select(highest + 1, &mut readable, &mut writable, None, timeout.as_mut())?;
                let is_ready = |fd| readable.contains(fd) || writable.contains(fd);
                ready.extend(watched.map(|watched| watched.fd.is_some_and(is_ready)));
            }
            Call::Poll => {
                let mut fds = Vec::new();
                for Watched { fd, to_write } in watched.clone() {
                    let Some(fd) = fd else { continue };
                    let flags = if to_write { PollFlags::POLLOUT } else { PollFlags::POLLIN };
                    fds.push(PollFd::new(fd, flags));
                }
                let timeout = timeout.map(|timeout| rounded_up(timeout, Duration::from_millis(1)));
                let timeout = timeout.and_then(|timeout| PollTimeout::try_from(timeout).ok());
                poll(&mut fds, timeout.unwrap_or(PollTimeout::NONE))?;
                let mut answers = fds.iter().map(|fd| fd.any() != Some(false));
                ready.extend(
                    watched.map(|watched| watched.fd.is_some() && answers.next() == Some(true)),
                );
            }
        }
        Ok(())
    }

    /// The most clients that one question can be asked about.
    fn most_clients(self) -> usize {
        match self {
            Call::Select => FD_SETSIZE - echo::DESCRIPTOR_RESERVE,
            Call::Poll => usize::MAX,
        }
    }

    /// Whether a descriptor can be asked about. What goes wrong otherwise: in C, a write past the end of
    /// the set; here, a panic in [`FdSet::insert`].
    fn check(self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let number = fd.as_raw_fd();
        if self == Call::Select && usize::try_from(number).is_ok_and(|number| number >= FD_SETSIZE)
        {
            return Err(io::Error::other(format!(
                "descriptor {number} is past select's last, 1023; start with fewer open, or --call poll"
            )));
        }
        Ok(())
    }
}

/// A timeout in units of the call. Rounded up, so that the time has come when the call returns.
fn rounded_up(timeout: Duration, unit: Duration) -> i64 {
    i64::try_from(timeout.as_nanos().div_ceil(unit.as_nanos())).unwrap_or(i64::MAX)
}
