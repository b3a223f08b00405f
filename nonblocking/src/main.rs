//! # nonblocking: never wait, ask every socket again and again
//!
//! **What blocks, and where.** Nothing. With O_NONBLOCK (fcntl(2)) accept, read and write answer EAGAIN
//! where they would sleep. One thread serves many clients, but must find out by itself who has sent.
//!
//! **What the kernel tells us.** Only what we ask, one socket at a time: `WouldBlock`, or bytes.
//!
//! **What it costs.** Two system calls for each message. In addition, every pass makes one call for each
//! silent client, and one for the listener. So the cost grows with the clients *connected*, not with
//! those that speak. Without work, the loop costs a whole CPU, unless `--wait` says otherwise.
//!
//! **How it differs from the model before.** `blocking` leaves the waiting to the kernel, with one thread
//! for each client. Here one thread serves all clients, and the loop does the waiting.
//!
//! ```console
//! $ cargo run --release -p nonblocking -- --wait sleep:50us
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! Not here: one question about all sockets at once; that is `select`.
#![forbid(unsafe_code)]

mod wait;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use echo::{
    ACCEPTS_PER_TURN, Accepted, Connection, Lifecycle, Listener, Options, Scratch, Tally, Totals,
    Wants,
};
use socket2::Socket;

use crate::wait::Wait;

/// TCP echo server: one thread asks every socket in turn, and never blocks
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// What to do after a pass that found nothing to do: spin, yield (sched_yield), or sleep:DURATION
    #[arg(long, value_name = "WAIT", default_value = "spin")]
    wait: Wait,
}

fn main() -> ExitCode {
    echo::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<Totals> {
    let options = &args.options;
    let mut life = Lifecycle::new(options)?;
    let mut listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    listener.set_nonblocking()?;
    let mut clients: Vec<Connection<Socket>> = Vec::new();
    let mut scratch = Scratch::new(options);
    while !life.is_over(clients.iter_mut()) {
        let mut progress = false;
        clients.retain_mut(|client| {
            if life.must_hurry() {
                return true;
            }
            let step = life.tally.step(client.step(&mut scratch), client.stream());
            progress |= !step.would_block;
            step.wants != Wants::Close
        });
        if life.accepts(&mut listener, clients.len()) {
            progress |= accept(&mut listener, &mut clients, &mut life.tally)?;
        }
        if !progress {
            args.wait.pass_time();
        }
    }
    Ok(life.totals())
}

/// Accepts clients that wait, up to a bound. Returns whether there was one.
fn accept(
    listener: &mut Listener,
    clients: &mut Vec<Connection<Socket>>,
    tally: &mut Tally,
) -> io::Result<bool> {
    for accepted in 0..ACCEPTS_PER_TURN {
        match listener.accept(clients.len())? {
            Accepted::Client(stream) => {
                tally.opened(&stream);
                clients.push(Connection::new(stream));
            }
            Accepted::Nobody | Accepted::Full => return Ok(accepted > 0),
        }
    }
    Ok(true)
}
