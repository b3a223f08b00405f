//! # signal-driven: the kernel sends a signal that names the socket
//!
//! **What blocks, and where.** Only sigtimedwait(2), until a signal is queued (or read(2) of a
//! signalfd(2), with `--take signalfd`). Every socket is non-blocking. The signals are blocked, which
//! means that no handler runs: they queue up until this thread takes them.
//!
//! **What the kernel tells us.** One signal for each event: bytes have arrived, a peer has closed, a full
//! socket has room again. si_fd names the descriptor, si_band says what happened. An event is told once, as
//! under edge triggering: what is left unread sends no second signal. So the loop remembers it.
//!
//! **What it costs.** Three system calls for a message: sigtimedwait, read, write. Echoing adds none: only
//! a socket that refused bytes sends a signal when it has room. A silent client costs nothing. But a client
//! that sends in pieces costs a signal for each piece, even when one read takes them all. A signalfd hands
//! out up to 64 signals at once: three calls with one busy client, and near two with many.
//!
//! **How it differs from the model before.** `nonblocking` asks every socket, again and again. Here the
//! kernel says whom to ask, and the loop sleeps until then.
//!
//! **Why epoll has replaced it.** It is as fast as epoll, and scales as well. But:
//! - A signal belongs to the whole process. Two libraries that choose the same number steal each other's
//!   events. A thread that does not block it is killed by it.
//! - The queue has an end (RLIMIT_SIGPENDING), and all processes of a user share it. On overflow the kernel
//!   sends a plain SIGIO, which names nobody. Then this loop asks every socket, as `nonblocking` does.
//! - A queued signal is never taken back: it can name a descriptor that was closed and is another client
//!   by now. epoll forgets a closed socket, and hands back a token of ours.
//! - One signal for each event, not for each ready socket: one client that sends fast fills the queue.
//! - Each socket is watched for everything at once. There is no interest in reading alone.
//!
//! ```console
//! $ cargo run --release -p signal-driven
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! Not here: handlers that do the work. Little is allowed in a handler (signal-safety(7)). The system calls
//! are in `signals.rs`.
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
        signals.watch(stop)?; // SIGINT and SIGTERM write to a pipe: a stop wakes the loop like a client.
    }
    let mut listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    listener.set_nonblocking()?;
    let listener_fd = listener.as_fd().as_raw_fd();
    signals.watch(listener.as_fd())?;
    let mut clients: HashMap<RawFd, Connection<Socket>> = HashMap::new();
    let mut scratch = Scratch::new(options);
    // What no signal will tell: whether clients wait to be accepted, and which clients to ask.
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
            // A late signal names a client that has gone, or the next one with the same descriptor. The
            // number is all that we know, so ask the socket: at worst, the read answers `WouldBlock`.
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
/// This is so when the socket answers `WouldBlock`. It is also so after a short read, which has emptied the
/// socket: what comes later sends a signal of its own, a FIN too. But a signal that came while bytes were
/// pending was taken without a read. So only a client that was waiting to read may stop here.
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
            // A Unix socket that refuses bytes may have room again before it has noted to send a signal
            // for it. So a write that blocks is tried twice: after the read, and alone.
            Wants::Write if step.would_block && step.received == 0 => return Next::Signal,
            Wants::Read | Wants::Write => {}
        }
    }
    Next::Turn
}
