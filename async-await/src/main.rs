//! # async-await: a task for each client, and an executor that polls the tasks that are woken
//!
//! **What blocks, and where.** Only epoll_wait(2), in [`Executor::block_on`]. A task that cannot go on
//! returns to the executor from its `.await`; what it needs to go on stays in its future.
//!
//! **What the kernel tells us.** Which sockets are ready, as in `epoll-selector`. For each, the executor
//! calls the waker that a task has left there. The waker puts the task into a queue. The executor takes
//! it from the queue and polls it.
//!
//! **What it costs.** Two system calls for a message, and five for each wait, which all clients that are
//! ready share: the crate polling makes the five. A silent client costs the future of its task, and the
//! future contains the buffer: 17 KB. With `--buffer shared` the task owns no buffer: 496 bytes.
//!
//! **How it differs from the model before.** In `epoll-selector` the loop calls a handler back, which
//! keeps its state in a struct between two calls. Here the loop polls a future. [`echo`] reads like the
//! blocking echo, a loop with two waits, and the compiler writes the struct.
//!
//! ```console
//! $ cargo run --release -p async-await
//! listening on 127.0.0.1:7000
//! $ echo hello | nc -N 127.0.0.1 7000
//! hello
//! ```
//!
//! # What the compiler makes of `echo`
//!
//! An enum with a variant for each place where the function can stop. A poll goes on from there:
//!
//! | state | the function | what it holds |
//! | --- | --- | --- |
//! | `Unresumed` | has not begun | `client` |
//! | `Suspend0` | is at `read(…).await` | `client`, `buffer`, the future of `read` |
//! | `Suspend1` | is at `write_all(…).await` | `client`, `buffer`, the future of `write_all` |
//! | `Returned` | has returned | nothing |
//! | `Panicked` | has panicked | nothing |
//!
//! A nightly compiler prints this, with sizes: `cargo +nightly rustc -p async-await --bin async-await --
//! -Zprint-type-sizes`. `received` is not in it, because no wait comes between its first and its last use.
//!
//! # Where the state of `epoll-selector`'s `Client` is
//!
//! | there | here |
//! | --- | --- |
//! | `Connection::pending` and `sent` | `buffer`, and the slice of it that `write_all` holds |
//! | whether it wants to read or to write | the state: `Suspend0` or `Suspend1` |
//! | the token, and the interest that the reactor registers | the waker, and `Interest` in `io.rs` |
//! | the ticks of its idle clock | a loop with a timer: [`Client::idle`] |
//!
//! With `--buffer shared` some of it comes back: in [`echo_shared`] no wait may come between a read and
//! its write, so a [`Connection`] keeps what the peer did not take.
//!
//! # What `Pin` is for
//!
//! In `Suspend0` the future of `read` holds a slice of `buffer`, and both are fields of the future of
//! `echo`. If that future moved to another address, the slice would point to the old one. So a future is
//! polled through a `Pin`, which is a promise: the future does not move until it is dropped. A box keeps
//! the promise, because its content stays where it is when the box moves: the executor boxes the future
//! of a task. The macro `pin!` keeps the promise for a local variable, which [`race`] asks for.
//!
//! # What a real runtime has beyond this
//!
//! A queue for each thread, and work stealing between them, where this one has one queue and one lock.
//! A selector of its own, with one system call for a wait. Several tasks that wait for one socket. A limit
//! to what a task may do in one poll, whatever it does. Cancelling by the handle of a task. Threads for
//! calls that block, such as those to files. A timer wheel, channels, locks that wait, tracing.
//!
//! Read on in `task.rs`, `executor.rs` and `io.rs`: the executor. `server.rs` and `client.rs` have what
//! the contract asks for besides the echo.
//!
//! Not here: datagrams. One task for all clients is a loop around `recv_from(…).await`.
#![forbid(unsafe_code)]

mod client;
mod server;

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use async_await::{Direction, Either, Sleep, Source, race};
use clap::{Parser, ValueEnum};
use echo::{ACCEPTS_PER_TURN, Accepted, Connection, Listener, Options, Scratch, Totals, Wants};
use socket2::Socket;

use crate::client::Client;
use crate::server::{Place, Server};

/// Size of the buffer that a task owns, in bytes. It is smaller than [`echo::SCRATCH_BYTES`], because
/// every client has one, even a silent client.
const TASK_BUFFER_BYTES: usize = 16 * 1024;

/// TCP echo server: a task for each client, on a small executor
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// Which buffer a task reads into
    #[arg(long, value_enum, default_value_t = Buffer::Task)]
    buffer: Buffer,

    /// Number of threads that poll the tasks; they share one queue
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Buffer {
    /// Its own, as a thread does: the future of each client contains one
    Task,
    /// One that all tasks share, as a loop does: no wait may come between a read and its write
    Shared,
}

fn main() -> ExitCode {
    echo::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<Totals> {
    let options = &args.options;
    let server = Server::new(options)?;
    let mut listener = echo::listen(options, options.max_connections(usize::MAX)?)?;
    listener.set_nonblocking()?;
    if options.verbose {
        let bytes = match args.buffer {
            Buffer::Task => size_of_future(|place, socket| serve_client(place, socket, echo)),
            Buffer::Shared => {
                size_of_future(|place, socket| serve_client(place, socket, echo_shared))
            }
        };
        echo::report(format_args!("the future of a client's task has {bytes} bytes"));
    }
    let main = serve_until_stop(Arc::clone(&server), listener, args.buffer);
    server.executor.block_on(args.threads.into(), main)??;
    let totals = server.tally().totals();
    Ok(totals)
}

/// The first task: accepts clients until a stop is requested, then waits until all have left.
async fn serve_until_stop(
    server: Arc<Server>,
    listener: Listener,
    buffer: Buffer,
) -> io::Result<()> {
    {
        let stop = server.stop_source()?;
        let accept = pin!(accept(&server, listener, buffer));
        if let Either::Right(failed) = race(stop.ready(Direction::Read), accept).await {
            return failed;
        }
    }
    server.wake_stopping();
    let deadline = server.stopping().await;
    race(server.fewer_than(1), Sleep::until(&server.executor, deadline)).await;
    Ok(())
}

/// Accepts clients, and makes a task for each. Returns only with an error.
async fn accept(server: &Arc<Server>, mut listener: Listener, buffer: Buffer) -> io::Result<()> {
    let source = Source::new(&server.executor, listener.handle()?);
    loop {
        for _ in 0..ACCEPTS_PER_TURN {
            let active = server.active();
            let Accepted::Client(socket) = listener.accept(active)? else { break };
            let place = Place::new(server, &socket);
            match buffer {
                Buffer::Task => _ = server.executor.spawn(serve_client(place, socket, echo)),
                Buffer::Shared => {
                    _ = server.executor.spawn(serve_client(place, socket, echo_shared));
                }
            }
        }
        let active = server.active();
        if listener.is_open(active) {
            let waited = source.ready(Direction::Read).await;
            waited.or_else(|error| listener.pause_after(error, active))?;
        } else {
            // Full, or out of descriptors: the backlog holds the clients until one leaves, or for a time.
            let place = server.fewer_than(active);
            match listener.pause_left().map(|left| Instant::now() + left) {
                Some(until) => _ = race(place, Sleep::until(&server.executor, until)).await,
                None => place.await,
            }
        }
    }
}

/// One client's task: the echo, until it ends, or the client is idle for too long, or the time of a drain
/// is over. The time is looked at first, because the echo may compute.
async fn serve_client(place: Place, socket: Socket, echo: impl AsyncFn(&Client) -> io::Result<()>) {
    let client = Client::new(place, socket);
    let (drained, echo, idle) = (pin!(client.drained()), pin!(echo(&client)), pin!(client.idle()));
    match race(drained, race(echo, idle)).await {
        Either::Left(()) => {} // Dropped without an end: it is cut off.
        Either::Right(Either::Left(result)) => client.ended(&result),
        Either::Right(Either::Right(())) => client.ended_idle(),
    }
}

/// Echoes until end of stream. The buffer is alive at both waits, so it is a part of the future.
async fn echo(client: &Client) -> io::Result<()> {
    let mut buffer = [0; TASK_BUFFER_BYTES];
    loop {
        let received = client.source.read(&mut buffer).await?;
        if received == 0 {
            return Ok(());
        }
        client.server().work.work();
        client.write_all(&buffer[..received]).await?;
    }
}

thread_local! {
    /// The buffer that all tasks share which this thread polls.
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

/// Echoes until end of stream. Another task may use the scratch buffer during a wait, so nothing is left
/// in it: the connection copies what the peer did not take.
async fn echo_shared(client: &Client) -> io::Result<()> {
    let mut connection = Connection::new(client.source.socket());
    loop {
        let step = SCRATCH.with_borrow_mut(|scratch| {
            connection.step(scratch.get_or_insert_with(|| Scratch::new(&client.server().options)))
        })?;
        client.moved(step.received, step.sent);
        match step.wants {
            Wants::Read => client.source.ready(Direction::Read).await?,
            Wants::Write => client.source.ready(Direction::Write).await?,
            Wants::Close => return Ok(()),
        }
    }
}

/// The size of the future that a function returns.
fn size_of_future<F: Future>(_: impl FnOnce(Place, Socket) -> F) -> usize {
    size_of::<F>()
}
