//! # threadpool: a fixed number of threads, each waiting for one client
//!
//! **What blocks, and where.** The accepting thread blocks in accept(2), and in handing a client over
//! while the queue is full. A worker blocks in read(2) and write(2) until its client leaves.
//!
//! **What the kernel tells us.** Nothing, as in `blocking`.
//!
//! **What it costs.** Two system calls for each message, and no new thread for a client: `--workers` says
//! how many threads there are. In return, no more clients are served than there are workers, even if
//! these clients are idle. The next client waits until another leaves.
//!
//! **How it differs from the model before.** `blocking --per-client thread` starts a thread for each
//! client. Here [`ThreadPool::execute`] hands the client to a thread that exists already. With
//! `--hand-off readiness` a worker takes a client's readiness instead of the client. Then only clients
//! that have sent something hold a worker: see `readiness.rs`.
//!
//! ```console
//! $ cargo run --release -p threadpool -- --workers 4
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! Not here: a pool that grows, or jobs that compute; see `lib.rs`.
#![deny(unsafe_code)] // Except for polling's `add`.

mod readiness;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use echo::{Accepted, Client, Clients, Error, Options, Scratch, Stop, Totals};
use threadpool::ThreadPool;

/// Clients that wait for a worker by default: enough for a burst, few enough to be served within seconds.
const QUEUE: u16 = 64;

/// TCP echo server: a fixed number of threads, each serving one client at a time
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// Number of threads; with --hand-off connection also the clients served at once
    #[arg(long, value_name = "COUNT", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    workers: u16,

    /// What a worker takes
    #[arg(long, value_enum, default_value_t = HandOff::Connection)]
    hand_off: HandOff,

    /// Only with --hand-off connection: most accepted clients that wait for a worker; the others wait in
    /// the backlog [default: 64]
    #[arg(long, value_name = "COUNT")]
    queue: Option<u16>,
}

#[derive(Clone, Copy, ValueEnum)]
enum HandOff {
    /// A client, until that client leaves
    Connection,
    /// A client that has sent something, for one step
    Readiness,
}

fn main() -> ExitCode {
    let args = Args::parse();
    echo::finish(match args.hand_off {
        HandOff::Connection => serve(&args),
        HandOff::Readiness if args.queue.is_some() => {
            Err(Error::bad_arguments("--queue needs --hand-off connection"))
        }
        HandOff::Readiness => readiness::serve(&args.options, args.workers.into()),
    })
}

fn serve(args: &Args) -> echo::Result<Totals> {
    let options = &args.options;
    let stop = Arc::new(Stop::new()?);
    let pool = ThreadPool::new(args.workers.into(), args.queue.unwrap_or(QUEUE).into())?;
    let mut listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    let clients = Clients::new(options);
    let drain = clients.drain_when(&stop, &listener, options.drain)?;
    while !stop.requested() {
        clients.wait_for_place(&mut listener);
        match listener.accept(clients.active()) {
            Ok(Accepted::Client(stream)) => {
                let (client, options) = (clients.enter(stream), options.clone());
                pool.execute(move || serve_client(&client, &options));
            }
            // `wait_for_place` waits.
            Ok(Accepted::Nobody | Accepted::Full) => {}
            // The drain has shut the listener down to wake this thread (EINVAL).
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
            Err(error) => return Err(error.into()),
        }
    }
    let _ = drain.join();
    if clients.active() > 0 {
        // Do not wait for a worker that still computes: it ends with the process.
        std::mem::forget(pool);
    }
    Ok(clients.totals())
}

fn serve_client(client: &Client, options: &Options) {
    let mut bytes = 0;
    let result = echo::echo_until_eof(&**client, &mut Scratch::new(options), &mut bytes);
    client.served(bytes, &result);
}
