//! # threadpool: a fixed number of threads, each waiting for one client
//!
//! **What blocks, and where.** The accepting thread in accept(2), and in handing a client over while the
//! queue is full. A worker in read(2) and write(2), for as long as its client stays.
//!
//! **What the kernel tells us.** Nothing, as in `blocking`.
//!
//! **What it costs.** Two system calls for each message, and no thread to be made for a client: there are
//! as many as `--workers` says. The price is that no more clients are served than there are workers,
//! however idle they are: the next one waits for one of them to leave.
//!
//! **How it differs from the model before.** `blocking --per-client thread` starts a thread for each
//! client. Here [`ThreadPool::execute`] hands the client to one that is there already. With
//! `--hand-off readiness` what is handed over is not a client but its readiness, so that only clients that
//! have something to say hold a worker: see `readiness.rs`.
//!
//! ```console
//! $ cargo run --release -p threadpool -- --workers 4
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
#![deny(unsafe_code)] // Except for the promise that polling's `add` asks for.

mod readiness;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use echo::{Client, Clients, Options, Scratch, Stop, Totals};
use threadpool::ThreadPool;

/// TCP echo server: a fixed number of threads, each serving one client at a time.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// Number of threads; with --hand-off connection also of clients served at once
    #[arg(long, value_name = "COUNT", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,

    /// What a worker takes
    #[arg(long, value_enum, default_value_t = HandOff::Connection)]
    hand_off: HandOff,

    /// With --hand-off connection: most clients accepted that wait for a worker; more wait in the backlog
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    queue: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum HandOff {
    /// A client, which it serves until that leaves
    Connection,
    /// A client that has something to say, which it serves once
    Readiness,
}

fn main() -> ExitCode {
    let args = Args::parse();
    echo::finish(match args.hand_off {
        HandOff::Connection => serve(&args),
        HandOff::Readiness => readiness::serve(&args.options, args.workers.into()),
    })
}

fn serve(args: &Args) -> io::Result<Totals> {
    let options = &args.options;
    let stop = Arc::new(Stop::new()?);
    let pool = ThreadPool::new(args.workers.into(), args.queue.into())?;
    let mut listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    let clients = Clients::new(options);
    let drain = clients.drain_when(&stop, &listener, options.drain)?;
    while !stop.requested() {
        clients.wait_for_place(&mut listener);
        match listener.accept(clients.active()) {
            Ok(Some(stream)) => {
                let (client, options) = (clients.enter(stream), options.clone());
                pool.execute(move || serve_client(&client, &options));
            }
            // Accepting is paused for want of descriptors.
            Ok(None) => {}
            // The listener was shut down to wake us: it is of no other use any more (EINVAL).
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
            Err(error) => return Err(error),
        }
    }
    let _ = drain.join();
    Ok(clients.totals())
}

fn serve_client(client: &Client, options: &Options) {
    let mut bytes = 0;
    let result = echo::echo_until_eof(&**client, &mut Scratch::new(options), &mut bytes);
    client.served(bytes, &result);
}
