//! # blocking: a thread waits for one client
//!
//! **What blocks, and where.** accept(2) until a client connects, read(2) until it has sent something,
//! write(2) until it has taken it. A thread that waits for one client can do nothing else: so either
//! there is one client at a time (`--per-client none`), or a thread (`thread`) or a process (`process`)
//! for each.
//!
//! **What the kernel tells us.** Nothing. It puts us to sleep, and wakes us when the call has its answer.
//!
//! **What it costs.** Two system calls for each message and no third: no model needs fewer without
//! handing the kernel a batch. A client costs a thread: a stack, a kernel stack, and a switch to it for
//! each message. Or a process: the same, and an address space.
//!
//! **How it differs from the model before.** It is the first. Read the loop of [`echo::echo_until_eof`].
//!
//! ```console
//! $ cargo run --release -p blocking
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! Not here: a fixed number of threads; that is `threadpool`.
#![deny(unsafe_code)] // Except for fork(2) and the handler of a signal.

mod process;

use std::io;
use std::net::Shutdown;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use echo::{Client, Clients, Listener, Options, Scratch, Shortage, Stop, Tally, Totals};
use socket2::Socket;

/// Stack of a client's thread in bytes: virtual memory until it is touched, but ten thousand threads
/// with std's 2 MiB would take 20 GB of it.
const STACK_BYTES: usize = 64 * 1024;

/// TCP echo server: a thread blocks in accept, read and write.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// What serves a client
    #[arg(long, value_enum, default_value_t = PerClient::Thread)]
    per_client: PerClient,

    /// With --per-client process: fork this many at the start, each of which serves one client at a
    /// time, instead of one for each client
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    prefork: Option<u16>,

    /// Echo datagrams instead: one thread serves all clients, for there is nothing to accept
    #[arg(long, conflicts_with_all = ["per_client", "prefork"])]
    udp: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PerClient {
    /// Nothing of its own: the accepting thread serves one client at a time, the others wait
    None,
    /// A thread of its own
    Thread,
    /// A process of its own
    Process,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.udp {
        return echo::finish(serve_datagrams(&args.options));
    }
    echo::finish(match (args.per_client, args.prefork) {
        (PerClient::Process, None) => process::serve_each(&args.options),
        (PerClient::Process, Some(count)) => process::serve_preforked(&args.options, count.into()),
        (per_client, None) => serve(per_client, &args.options),
        (_, Some(_)) => Err(echo::bad_arguments("--prefork needs --per-client process")),
    })
}

fn serve(per_client: PerClient, options: &Options) -> io::Result<Totals> {
    let stop = Arc::new(Stop::new()?);
    let listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    accept_and_serve(listener, &stop, per_client, options)
}

fn accept_and_serve(
    mut listener: Listener,
    stop: &Arc<Stop>,
    per_client: PerClient,
    options: &Options,
) -> io::Result<Totals> {
    let clients = Clients::new(options);
    let drain = clients.drain_when(stop, &listener, options.drain)?;
    let mut shortage = Shortage::default();
    while !stop.requested() {
        clients.wait_for_place(&mut listener);
        match listener.accept(clients.active()) {
            Ok(Some(stream)) => {
                let client = Arc::new(clients.enter(stream));
                if per_client == PerClient::None {
                    serve_client(&client, options);
                    continue;
                }
                while let Err(error) = spawn(&client, options) {
                    // No thread to be had: the client waits with us for another to leave.
                    shortage.report(format_args!("cannot start a thread: {error}"));
                    listener.pause();
                    clients.wait_for_pause(&mut listener);
                    if stop.requested() {
                        break;
                    }
                }
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

/// Starts a thread that serves `client` and ends with it.
fn spawn(client: &Arc<Client>, options: &Options) -> io::Result<()> {
    let (client, options) = (Arc::clone(client), options.clone());
    let thread = thread::Builder::new().stack_size(STACK_BYTES);
    thread.spawn(move || serve_client(&client, &options))?;
    Ok(())
}

fn serve_client(client: &Client, options: &Options) {
    let mut bytes = 0;
    let result = echo::echo_until_eof(&**client, &mut Scratch::new(options), &mut bytes);
    client.served(bytes, &result);
}

/// A datagram names its sender, so one thread that blocks in recvfrom(2) serves every client.
fn serve_datagrams(options: &Options) -> io::Result<Totals> {
    let stop = Arc::new(Stop::new()?);
    let socket = echo::bind_datagrams(options)?;
    let (doorbell, asked) = (Socket::from(socket.try_clone()?), Arc::clone(&stop));
    thread::Builder::new().spawn(move || {
        let _ = asked.wait();
        // Says ENOTCONN, and wakes recvfrom(2) all the same.
        let _ = doorbell.shutdown(Shutdown::Read);
    })?;
    let mut scratch = Scratch::new(options);
    let mut tally = Tally::new(options);
    let mut deadline = None;
    loop {
        if stop.requested() {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + options.drain);
            if deadline <= Instant::now() {
                return Ok(tally.totals()); // Whoever sends without end is not waited for.
            }
        }
        match echo::echo_datagram(&socket, &mut scratch, &mut tally) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Nothing is left of what had arrived before the stop.
            Err(_) if stop.requested() => return Ok(tally.totals()),
            Err(error) => return Err(error),
        }
    }
}
