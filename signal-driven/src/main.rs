//! # signal-driven: the kernel sends a signal that names the socket
//!
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

/// Signals to take before the clients that were not finished in the turn before get their next one.
const SIGNALS_PER_TURN: usize = 64;

/// Steps of one client in a turn. One moves at most 64 KiB, and burns `--work` once.
const STEPS_PER_TURN: usize = 4;

/// TCP echo server: one thread waits for signals, each of which names a socket
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// The system call that takes signals
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
    let mut listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    listener.set_nonblocking()?;
    let listener_fd = listener.as_fd().as_raw_fd();
    signals.watch(listener.as_fd())?;
    if let Some(stop) = life.stop_fd() {
        signals.watch(stop)?; // A stop becomes one more signal to wait for.
    }
    let mut clients: HashMap<RawFd, Connection<Socket>> = HashMap::new();
    let mut scratch = Scratch::new(options);
    // Whether clients may wait, and which sockets may have news, that no signal will come for.
    let mut somebody_connects = true;
    let mut unfinished = BTreeSet::new();
    let mut turn = Vec::new();
    let mut overflows = 0;
    while !life.is_over(clients.values_mut()) {
        if life.has_shut_down() {
            unfinished.extend(clients.keys());
        }
        let accepts = somebody_connects && life.accepts(&mut listener, clients.len());
        let (most, wait) = if accepts || !unfinished.is_empty() {
            (SIGNALS_PER_TURN, Some(Duration::ZERO))
        } else {
            (1, life.longest_wait(&listener))
        };
        for _ in 0..most {
            match signals.take(wait)? {
                None => break,
                Some(Signal::Socket { fd, .. }) if fd == listener_fd => somebody_connects = true,
                Some(Signal::Socket { fd, only_readable }) => turn.push((fd, only_readable)),
                Some(Signal::Overflow) => {
                    signals.discard()?;
                    somebody_connects = true;
                    unfinished.extend(clients.keys());
                    overflows += 1;
                }
            }
        }
        if somebody_connects && life.accepts(&mut listener, clients.len()) {
            somebody_connects =
                accept(&mut listener, &signals, &mut clients, &mut unfinished, &mut life.tally)?;
        }
        turn.extend(mem::take(&mut unfinished).into_iter().map(|fd| (fd, false)));
        for (fd, only_readable) in turn.drain(..) {
            if unfinished.contains(&fd) {
                continue; // It has had its steps in this turn.
            }
            // A signal may be late: the client has gone, and another may have its descriptor.
            let Some(client) = clients.get_mut(&fd) else { continue };
            match advance(client, only_readable, &mut scratch, &mut life) {
                Next::Signal => {}
                Next::Turn => _ = unfinished.insert(fd),
                Next::Close => _ = clients.remove(&fd),
            }
        }
    }
    Ok(Totals { overflows, ..life.totals() })
}

/// Accepts clients that wait, up to a bound. Returns whether more may wait.
fn accept(
    listener: &mut Listener,
    signals: &Signals,
    clients: &mut HashMap<RawFd, Connection<Socket>>,
    unfinished: &mut BTreeSet<RawFd>,
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
                // What arrived before it was watched sent no signal: look once.
                unfinished.insert(stream.as_raw_fd());
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
    /// The next turn: it has had its steps, and no signal will come for what is left.
    Turn,
    /// Nothing more.
    Close,
}

/// Lets a client take steps until it would block, or has had its share of the turn.
fn advance(
    client: &mut Connection<Socket>,
    only_readable: bool,
    scratch: &mut Scratch,
    life: &mut Lifecycle,
) -> Next {
    let short_read_is_enough = only_readable && !client.wants_to_write();
    for _ in 0..STEPS_PER_TURN {
        if life.must_hurry() {
            break;
        }
        let step = life.tally.step(client.step(scratch), client.stream());
        if step.wants == Wants::Close {
            return Next::Close;
        }
        if step.would_block && step.received == 0 {
            return Next::Signal;
        }
        let emptied = (1..scratch.size()).contains(&step.received) && step.wants == Wants::Read;
        if emptied && short_read_is_enough {
            return Next::Signal;
        }
    }
    Next::Turn
}
