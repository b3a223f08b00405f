//! # blocking: a thread waits for one client
//!
//! **What blocks, and where.** accept(2) until a client connects, read(2) until the client has sent
//! something, write(2) until the client takes it. A thread that waits for one client can do nothing else.
//! So either there is one client at a time (`--per-client none`), or each client has a thread (`thread`)
//! or a process (`process`).
//!
//! **What the kernel tells us.** Nothing. It puts the thread to sleep, and wakes it when the call has its
//! answer.
//!
//! **What it costs.** Two system calls for each message: the minimum, unless the kernel is handed several
//! messages at once. A client costs a thread: a stack, a kernel stack, and a switch to the thread for
//! each message. Or it costs a process: the same, and an address space.
//!
//! **How it differs from the model before.** It is the first. The loop of this model, with its read and
//! its write, is [`echo::echo_until_eof`] in `echo/src/blocking.rs`: read that file first.
//!
//! ```console
//! $ cargo run --release -p blocking
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! The library in `src/socketserver/` has the same three ways to serve a client behind an interface. It says
//! why this server does not use it.
//!
//! Not here: a fixed number of threads; that is `threadpool`.
#![deny(unsafe_code)] // Except for fork(2) and a signal handler.

mod process;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use echo::{
    Accepted, Client, Clients, DatagramSocket, Error, Listener, Options, Scratch, Shortage, Stop,
    Tally, Totals,
};

/// Stack of a client's thread in bytes. A stack is virtual memory until it is touched, but ten thousand
/// threads with std's 2 MiB would take 20 GB of it.
const STACK_BYTES: usize = 64 * 1024;

/// TCP echo server: a thread blocks in accept, read and write
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// What serves a client
    #[arg(long, value_enum, default_value_t = PerClient::Thread)]
    per_client: PerClient,

    /// Only with --per-client process: fork this many processes at the start, which serve one client at
    /// a time each, instead of one process for each client
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    prefork: Option<u16>,

    /// Echo datagrams instead, over UDP or with unix:PATH: one thread serves all clients, because datagrams
    /// have no connections
    #[arg(long, conflicts_with_all = ["per_client", "prefork"])]
    udp: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PerClient {
    /// The accepting thread, one client at a time; the others wait
    None,
    /// A thread for each client
    Thread,
    /// A process for each client
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
        (_, Some(_)) => Err(Error::bad_arguments("--prefork needs --per-client process")),
    })
}

fn serve(per_client: PerClient, options: &Options) -> echo::Result<Totals> {
    let stop = Arc::new(Stop::new()?);
    let listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    accept_and_serve(listener, &stop, per_client, options)
}

fn accept_and_serve(
    mut listener: Listener,
    stop: &Arc<Stop>,
    per_client: PerClient,
    options: &Options,
) -> echo::Result<Totals> {
    let clients = Clients::new(options);
    let drain = clients.drain_when(stop, &listener, options.drain)?;
    let mut shortage = Shortage::default();
    while !stop.requested() {
        clients.wait_for_place(&mut listener);
        match listener.accept(clients.active()) {
            Ok(Accepted::Client(stream)) => {
                let client = Arc::new(clients.enter(stream));
                if per_client == PerClient::None {
                    serve_client(&client, options);
                    continue;
                }
                while let Err(error) = spawn(&client, options) {
                    // The client waits until another client leaves, or for the length of a pause.
                    shortage.report(format_args!("cannot start a thread: {error}"));
                    listener.pause(clients.active());
                    clients.wait_for_pause(&mut listener);
                    if stop.requested() {
                        break;
                    }
                }
            }
            // `wait_for_place` waits.
            Ok(Accepted::Nobody | Accepted::Full) => {}
            // The drain has shut the listener down to wake this thread (EINVAL).
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
            Err(error) => return Err(error.into()),
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

/// Every datagram names its sender, so one thread that blocks in recvfrom(2) serves all clients.
fn serve_datagrams(options: &Options) -> echo::Result<Totals> {
    let stop = Stop::new()?;
    let socket = echo::bind_datagrams(options)?;
    thread::scope(|scope| {
        let end = || {
            let _ = stop.wait();
            socket.end(); // Wakes recvfrom(2).
        };
        thread::Builder::new().spawn_scoped(scope, end)?;
        let totals = echo_datagrams(&socket, &stop, options);
        stop.request(); // After an error, the thread above must end too.
        totals
    })
}

fn echo_datagrams(socket: &DatagramSocket, stop: &Stop, options: &Options) -> echo::Result<Totals> {
    let mut scratch = Scratch::new(options);
    let mut tally = Tally::new(options);
    let mut deadline = None;
    loop {
        if stop.requested() {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + options.drain);
            if deadline <= Instant::now() {
                return Ok(tally.totals()); // A peer may send without end.
            }
        }
        match echo::echo_datagram(socket, &mut scratch, &mut tally) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The socket is empty: all that had arrived before the stop was echoed.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(tally.totals()),
            Err(error) => return Err(error.into()),
        }
    }
}
