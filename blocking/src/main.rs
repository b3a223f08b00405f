//! # blocking: a thread waits for one client
//!
//! **What blocks, and where.** accept(2) until a client connects, read(2) until it has sent something,
//! write(2) until it has taken it. A thread that waits for one client can do nothing else: so either
//! there is one client at a time (`--per-client none`), or a thread for each (`--per-client thread`).
//!
//! **What the kernel tells us.** Nothing. It puts us to sleep, and wakes us when the call has its answer.
//!
//! **What it costs.** Two system calls for each message and no third: no model needs fewer without
//! handing the kernel a batch. A client costs a thread: a stack, a kernel stack, and a switch to it for
//! each message.
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
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use clap::{Parser, ValueEnum};
use echo::{Client, Clients, Options, Scratch, Stop, Totals};

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
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PerClient {
    /// Nothing of its own: the accepting thread serves one client at a time, the others wait
    None,
    /// A thread of its own
    Thread,
}

fn main() -> ExitCode {
    echo::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> io::Result<Totals> {
    let options = &args.options;
    let stop = Arc::new(Stop::new()?);
    let mut listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    let clients = Clients::new(options);
    let drain = clients.drain_when(&stop, &listener, options.drain)?;
    while !stop.requested() {
        clients.wait_for_place(&mut listener);
        match listener.accept(clients.active()) {
            Ok(Some(stream)) => {
                let client = Arc::new(clients.enter(stream));
                match args.per_client {
                    PerClient::None => serve_client(&client, options),
                    PerClient::Thread => {
                        while let Err(error) = spawn(&client, options) {
                            // No thread to be had: the client waits with us for another to leave.
                            echo::report(format_args!("cannot start a thread: {error}"));
                            listener.pause();
                            clients.wait_for_place(&mut listener);
                            if stop.requested() {
                                break;
                            }
                        }
                    }
                }
            }
            // Accepting is paused for want of descriptors.
            Ok(None) => {}
            // The listener was shut down under us, to wake us.
            Err(_) if stop.requested() => break,
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
