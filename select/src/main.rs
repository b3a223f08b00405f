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
//! *connected*, on every turn. And it ends at descriptor number 1023 (FD_SETSIZE).
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

use clap::Parser;
use echo::{ACCEPTS_PER_TURN, Connection, Listener, Options, Scratch, Stop, Tally, Totals, Wants};
use nix::errno::Errno;
use nix::sys::select::{FD_SETSIZE, FdSet, select};
use nix::sys::time::{TimeVal, TimeValLike};
use socket2::Socket;

/// TCP echo server: one thread asks the kernel about all sockets, on every turn.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    echo::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> io::Result<Totals> {
    let options = &args.options;
    let stop = Stop::new()?;
    let ceiling = FD_SETSIZE - echo::DESCRIPTOR_RESERVE;
    let mut listener = echo::listen(options, options.max_connections(ceiling)?)?;
    listener.set_nonblocking()?;
    if listener.as_fd().as_raw_fd() as usize >= ceiling {
        return Err(io::Error::other("too many inherited descriptors: select ends at 1023"));
    }
    let mut clients: Vec<Connection<Socket>> = Vec::new();
    let mut scratch = Scratch::new(options);
    let mut tally = Tally::new(options);
    let mut ready = Vec::new();
    let mut deadline: Option<Instant> = None;
    loop {
        if stop.requested() && deadline.is_none() {
            deadline = Some(Instant::now() + options.drain);
            // Each client has sent all it will: what has arrived is echoed, then end of stream is found.
            for client in &clients {
                let _ = client.stream().shutdown(Shutdown::Read);
            }
        }
        if deadline.is_some_and(|deadline| clients.is_empty() || deadline <= Instant::now()) {
            return Ok(tally.totals());
        }

        let accepting = deadline.is_none() && listener.is_open(clients.len());
        let (mut readable, mut writable) = (FdSet::new(), FdSet::new());
        if deadline.is_none() {
            readable.insert(stop.as_fd());
        }
        if accepting {
            readable.insert(listener.as_fd());
        }
        for client in &clients {
            let set = if client.wants_to_write() { &mut writable } else { &mut readable };
            set.insert(client.stream().as_fd());
        }
        let watched = clients.iter().map(|client| client.stream().as_raw_fd());
        let highest = watched.chain([stop.as_fd().as_raw_fd(), listener.as_fd().as_raw_fd()]).max();
        let nfds = highest.map(|highest| highest + 1);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let mut timeout = left.or(listener.patience()).map(timeval);
        match select(nfds, &mut readable, &mut writable, None, timeout.as_mut()) {
            Ok(_) => {}
            // A signal came first, and the sets say nothing: ask again.
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        // The sets borrow the descriptors, so the answer is copied out before any is closed.
        let is_ready = |fd: BorrowedFd| readable.contains(fd) || writable.contains(fd);
        ready.clear();
        ready.extend(clients.iter().map(|client| is_ready(client.stream().as_fd())));
        let listener_is_ready = accepting && is_ready(listener.as_fd());

        let mut ready = ready.iter();
        clients.retain_mut(|client| {
            if ready.next() != Some(&true) {
                return true;
            }
            let step = tally.step(client.step(&mut scratch), client.stream());
            if step.wants == Wants::Close {
                listener.resume();
            }
            step.wants != Wants::Close
        });
        if listener_is_ready {
            accept(&mut listener, &mut clients, &mut tally)?;
        }
    }
}

/// Accepts who waits, up to a bound.
fn accept(
    listener: &mut Listener,
    clients: &mut Vec<Connection<Socket>>,
    tally: &mut Tally,
) -> io::Result<()> {
    for _ in 0..ACCEPTS_PER_TURN {
        let Some(stream) = listener.accept(clients.len())? else { return Ok(()) };
        if stream.as_raw_fd() as usize >= FD_SETSIZE {
            // Others in this process hold the low numbers. FdSet::insert would panic: refuse the client.
            echo::report(format_args!("refused fd {}: select ends at 1023", stream.as_raw_fd()));
            listener.pause();
            return Ok(());
        }
        tally.opened(&stream);
        clients.push(Connection::new(stream));
    }
    Ok(())
}

/// Rounds up, so that the deadline has passed when select returns for it.
fn timeval(duration: Duration) -> TimeVal {
    let microseconds = duration.as_nanos().div_ceil(1_000);
    TimeVal::microseconds(i64::try_from(microseconds).unwrap_or(i64::MAX))
}
