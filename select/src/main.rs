//! # select: ask the kernel about all sockets, on every turn
//!
//! **What blocks, and where.** Only select(2), until one of the sockets is ready. Reads and writes are
//! made on sockets that are ready. They are non-blocking all the same: select's answer is a hint.
//!
//! **What the kernel tells us.** Which sockets are ready *now* (level-triggered: what is left unread is
//! reported again). It forgets the question with the answer, so every turn hands the whole set over.
//!
//! **What it costs.** Three system calls for one message: select, read, write. Clients that are ready in
//! the same turn share the select. But building the set, and the kernel's walk over it, grow with the
//! clients *connected*, on every turn. The set ends at descriptor 1023 (FD_SETSIZE). `--call poll` asks
//! with poll(2) instead: a list in place of the set, without that end, and the same walk.
//!
//! **How it differs from the model before.** `nonblocking` asks each socket, and never sleeps. Here one
//! call asks about all sockets, and sleeps until there is an answer.
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

mod call;

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::Parser;
use echo::{
    ACCEPTS_PER_TURN, Accepted, Connection, Lifecycle, Listener, Options, Scratch, Tally, Totals,
    Wants,
};
use nix::errno::Errno;
use socket2::Socket;

use crate::call::{Call, Watched};

/// TCP echo server: one thread asks the kernel about all sockets, on every turn
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// The system call that asks
    #[arg(long, value_enum, default_value_t = Call::Select)]
    call: Call,
}

fn main() -> ExitCode {
    echo::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<Totals> {
    let options = &args.options;
    let mut life = Lifecycle::new(options)?;
    let mut listener = echo::listen(options, options.max_connections(args.call.most_clients())?)?;
    listener.set_nonblocking()?;
    args.call.check(listener.as_fd())?;
    let mut clients: Vec<Connection<Socket>> = Vec::new();
    let mut scratch = Scratch::new(options);
    let mut ready = Vec::new();
    while !life.is_over(clients.iter_mut()) {
        let accepts = life.accepts(&mut listener, clients.len());
        let others = [life.stop_fd(), accepts.then_some(listener.as_fd())];
        let watched = others.into_iter().map(|fd| Watched { fd, to_write: false });
        let watched = watched.chain(clients.iter().map(|client| Watched {
            fd: Some(client.stream().as_fd()),
            to_write: client.wants_to_write(),
        }));
        match args.call.ask(watched, life.longest_wait(&listener), &mut ready) {
            Ok(()) => {}
            // A signal came first, and the answer says nothing.
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }

        let mut answers = ready.iter().copied().skip(1); // `is_over` looks at the stop.
        let somebody_connects = answers.next() == Some(true);
        clients.retain_mut(|client| {
            if answers.next() != Some(true) || life.must_hurry() {
                return true;
            }
            let step = life.tally.step(client.step(&mut scratch), client.stream());
            step.wants != Wants::Close
        });
        if somebody_connects {
            accept(&mut listener, args.call, &mut clients, &mut life.tally)?;
        }
    }
    Ok(life.totals())
}

/// Accepts clients that wait, up to a bound.
fn accept(
    listener: &mut Listener,
    call: Call,
    clients: &mut Vec<Connection<Socket>>,
    tally: &mut Tally,
) -> io::Result<()> {
    for _ in 0..ACCEPTS_PER_TURN {
        match listener.accept(clients.len())? {
            Accepted::Client(stream) => {
                if let Err(error) = call.check(stream.as_fd()) {
                    // Other files of this process hold the low numbers: the next client would fail too.
                    echo::report(error);
                    listener.pause(clients.len());
                    return Ok(());
                }
                tally.opened(&stream);
                clients.push(Connection::new(stream));
            }
            Accepted::Nobody | Accepted::Full => return Ok(()),
        }
    }
    Ok(())
}
