//! # signal-driven: the kernel sends a signal that names the socket
//!
//! **What blocks, and where.** Only sigtimedwait(2), or read(2) of a signalfd(2), until a signal is
//! queued. Every socket is non-blocking. The signals are blocked, which means that they interrupt
//! nothing: each waits in a queue until this thread takes it.
//!
//! **What the kernel tells us.** One signal for each event of a watched socket: bytes or a FIN have
//! arrived, a full socket has room again, an error. si_fd names the descriptor, si_band says what
//! happened. As under edge triggering, each event is told once, and what is left unread sends no
//! second signal.
//!
//! **What it costs.** Three system calls for a message: sigtimedwait, read, write. strace(1)
//! counted 3.00 with one client and with 64. A signalfd returns many signals at once: 3.00 with one
//! client, 2.02 with 64. The echo itself adds no signal: a socket that has room again (POLLOUT)
//! sends one only if it has refused a write before. A silent client costs nothing. But a message in
//! ten pieces sends ten signals.
//!
//! **How it differs from the model before.** `nonblocking` asks every socket, again and again. Here
//! the kernel says whom to ask, and the loop sleeps until then.
//!
//! **Why epoll(7) has replaced it.** Not because of its speed: the cost does not grow with the
//! clients connected. The reasons are these:
//! - Signals belong to the whole process. Two libraries that choose the same number take each
//!   other's events, and a thread that does not block the signal gets its default action: the
//!   process ends.
//! - The queue is bounded (RLIMIT_SIGPENDING), and all processes of a user share the bound. An
//!   overflow loses signals. A plain SIGIO tells so, without a name, and this loop must ask every
//!   socket.
//! - The queue grows with the events, and not with the sockets that are ready. One fast client can
//!   fill it.
//! - A queued signal is not taken back. It may name a descriptor that was closed, and that is
//!   another client's by now. epoll drops a closed socket, and returns a token that the program has
//!   chosen.
//! - There is no choice of interest: a socket that is watched sends signals for all its events.
//!
//! ```console
//! $ cargo run --release -p signal-driven
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! Not here: a handler that does the work; signal-safety(7) says how little a handler may do.
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod signals;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use echo::{
    ACCEPTS_PER_TURN, Accepted, Connection, Lifecycle, Listener, Options, Scratch, Tally, Totals,
    Wants,
};
use socket2::Socket;

use crate::signals::{Signal, Signals, Take};

/// Signals to take in one turn while there are clients to ask: neither may keep the other waiting.
const SIGNALS_PER_TURN: usize = 64;

/// Steps of one client in one turn. A step moves at most 64 KiB, and burns `--work` once.
const STEPS_PER_TURN: usize = 4;

/// TCP echo server: one thread waits for signals, each of which names a socket
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// The system call that takes the signals
    #[arg(long, value_enum, default_value_t = Take::Sigtimedwait)]
    take: Take,
}

fn main() -> ExitCode {
    echo::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<Totals> {
    let options = &args.options;
    let mut life = Lifecycle::new(options)?;
    let mut signals = Signals::new(args.take)?;
    if let Some(stop) = life.stop_fd() {
        signals.watch(stop)?; // A pipe, readable at a stop: one more signal ends the wait.
    }
    let mut listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    listener.set_nonblocking()?;
    let listener_fd = listener.as_fd().as_raw_fd();
    signals.watch(listener.as_fd())?;
    let mut clients: HashMap<RawFd, Connection<Socket>> = HashMap::new();
    let mut scratch = Scratch::new(options);
    // What no signal will tell: whether clients wait in the backlog, and which clients to ask.
    let mut somebody_connects = true;
    let mut to_ask = BTreeSet::new();
    let mut ready = Vec::new();
    let mut overflows = 0;
    loop {
        let over = life.is_over_for(clients.len(), |_, tell| {
            for (&fd, client) in &mut clients {
                tell(client);
                to_ask.insert(fd); // It may be shut down now, and our own shutdown sends no signal.
            }
        });
        if over {
            return Ok(Totals { overflows, ..life.totals() });
        }

        // Sleep only when there is nothing left to do.
        let accepts = life.accepts(&mut listener, clients.len());
        let (most, wait) = if accepts && somebody_connects || !to_ask.is_empty() {
            (SIGNALS_PER_TURN, Some(Duration::ZERO))
        } else {
            (1, life.longest_wait(&listener))
        };
        for _ in 0..most {
            match signals.take(wait)? {
                None => break,
                Some(Signal::Socket { fd, .. }) if fd == listener_fd => somebody_connects = true,
                Some(Signal::Socket { fd, only_readable }) => ready.push((fd, only_readable)),
                Some(Signal::Overflow) => {
                    overflows += 1;
                    signals.discard()?; // Every socket is asked now: they would only ask again.
                    somebody_connects = true;
                    to_ask.extend(clients.keys());
                }
            }
        }

        if accepts && somebody_connects {
            somebody_connects =
                accept(&mut listener, &signals, &mut clients, &mut to_ask, &mut life.tally)?;
        }

        ready.extend(mem::take(&mut to_ask).into_iter().map(|fd| (fd, false)));
        for (fd, only_readable) in ready.drain(..) {
            if to_ask.contains(&fd) {
                continue; // It has had its steps, and is asked in the next turn.
            }
            // A late signal names a client that has gone, or the next one with the same descriptor.
            // The number is all that we know, so ask the socket: at worst, the read answers
            // `WouldBlock`.
            let Some(client) = clients.get_mut(&fd) else { continue };
            match advance(client, only_readable, &mut scratch, &mut life) {
                Next::Signal => {}
                Next::Turn => _ = to_ask.insert(fd),
                Next::Close => _ = clients.remove(&fd),
            }
        }
    }
}

/// Accepts clients that wait, up to a bound. Returns whether more may wait.
fn accept(
    listener: &mut Listener,
    signals: &Signals,
    clients: &mut HashMap<RawFd, Connection<Socket>>,
    to_ask: &mut BTreeSet<RawFd>,
    tally: &mut Tally,
) -> io::Result<bool> {
    for _ in 0..ACCEPTS_PER_TURN {
        match listener.accept(clients.len())? {
            Accepted::Client(stream) => {
                if let Err(error) = signals.watch(stream.as_fd()) {
                    listener.pause_after(error, clients.len())?;
                    return Ok(true);
                }
                tally.opened(&stream);
                // What arrived before the socket was watched has sent no signal.
                to_ask.insert(stream.as_raw_fd());
                clients.insert(stream.as_raw_fd(), Connection::new(stream));
            }
            Accepted::Nobody => return Ok(false),
            Accepted::Full => return Ok(true),
        }
    }
    Ok(true)
}

/// What a client waits for.
enum Next {
    /// The next signal that names it.
    Signal,
    /// The next turn: no signal will come for what is left.
    Turn,
    /// Nothing more.
    Close,
}

/// Lets a client take its steps of one turn, until a signal will tell when there is more to do.
///
/// This is so when the socket answers `WouldBlock`. It is also so after a short read, which has
/// emptied the socket: what comes later sends a signal of its own, a FIN too. But a signal that
/// came while bytes were pending was taken without a read. So only a client that was waiting to
/// read may stop here.
fn advance(
    client: &mut Connection<Socket>,
    only_readable: bool,
    scratch: &mut Scratch,
    life: &mut Lifecycle,
) -> Next {
    let short_read_ends = only_readable && !client.wants_to_write();
    for _ in 0..STEPS_PER_TURN {
        if life.must_hurry() {
            break;
        }
        let step = life.tally.step(client.step(scratch), client.stream());
        let short_read = (1..scratch.size()).contains(&step.received);
        match step.wants {
            Wants::Close => return Next::Close,
            Wants::Read if step.would_block || short_read && short_read_ends => {
                return Next::Signal;
            }
            // A Unix socket that refuses bytes may have room again before it has noted to send a
            // signal for it. So a write that blocks is tried twice: after the read, and alone.
            Wants::Write if step.would_block && step.received == 0 => return Next::Signal,
            Wants::Read | Wants::Write => {}
        }
    }
    Next::Turn
}
