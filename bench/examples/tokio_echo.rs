//! A typical echo server with tokio: a task for each client.
//!
//! A yardstick for `cargo bench --bench compare -- --yardsticks`. The command line is the same as
//! that of all servers. Internally, tokio has one edge-triggered epoll instance for each runtime. A
//! waiting task is an entry in a table, like a connection of `epoll-selector`. Unlike a connection,
//! the task is written as sequential code.
//!
//! ```console
//! $ cargo run --release -p bench --example tokio_echo -- --threads 1
//! listening on 127.0.0.1:7000
//! ```
#![forbid(unsafe_code)]

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use clap::Parser;
use echo::{ACCEPT_PAUSE, Options, SCRATCH_BYTES, Scratch, Stop, Totals};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// TCP echo server: a task for each client, on the threads of tokio's runtime
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// Threads of the runtime; 1 is the current-thread runtime [default: one for each CPU]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// The state that all tasks share.
struct Shared {
    options: Options,
    /// A permit for each client. The server waits for a permit before it accepts.
    places: Semaphore,
    places_max: u32,
    /// Becomes true when the server must stop.
    stopping: watch::Sender<bool>,
    connections: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
}

fn main() -> ExitCode {
    echo::finish(serve(Args::parse()))
}

fn serve(args: Args) -> echo::Result<Totals> {
    let stop = Stop::new()?;
    let options = args.options;
    let places = options.max_connections(Semaphore::MAX_PERMITS.min(u32::MAX as usize))?;
    let runtime = match args.threads {
        Some(1) => Builder::new_current_thread().enable_all().build()?,
        threads => {
            let mut builder = Builder::new_multi_thread();
            threads.map(|threads| builder.worker_threads(threads.into()));
            builder.enable_all().build()?
        }
    };
    let mut listener = echo::listen(&options, places)?;
    listener.set_nonblocking()?;
    let shared = Arc::new(Shared {
        options,
        places: Semaphore::new(places),
        places_max: places as u32,
        stopping: watch::Sender::new(false),
        connections: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        errors: AtomicU64::new(0),
    });
    let (done, wait_until_done) = mpsc::channel::<()>();
    let tell = Arc::clone(&shared);
    // Stop::wait blocks its thread, so a task must not call it.
    std::thread::spawn(move || {
        let _ = stop.wait();
        tell.stopping.send_replace(true);
        // Stop must live until the drain ends, so that a second signal ends the process at once.
        let _ = wait_until_done.recv();
    });
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener.as_fd().try_clone_to_owned()?.into())?;
        let mut stopping = shared.stopping.subscribe();
        tokio::select! {
            () = accept(listener, &shared) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
        // The connected clients may finish until the deadline. When all clients have disconnected,
        // every permit is free.
        let all = shared.places.acquire_many(shared.places_max);
        let _ = timeout(shared.options.drain, all).await;
        io::Result::Ok(())
    })?;
    drop(done);
    runtime.shutdown_background();
    Ok(Totals {
        connections: shared.connections.load(Ordering::Relaxed),
        bytes: shared.bytes.load(Ordering::Relaxed),
        errors: shared.errors.load(Ordering::Relaxed),
        ..Totals::default()
    })
}

/// Accepts clients and spawns a task for each. Never returns.
async fn accept(listener: TcpListener, shared: &Arc<Shared>) {
    // The semaphore is never closed.
    while let Ok(place) = shared.places.acquire().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                place.forget(); // The task returns the permit.
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(shared);
                tokio::spawn(async move {
                    if echo_until_eof(stream, &shared).await.is_err() {
                        shared.errors.fetch_add(1, Ordering::Relaxed);
                    }
                    shared.places.add_permits(1);
                });
            }
            // A peer has closed the connection, or no descriptor is left. The server pauses and
            // continues; without the pause, the loop would spin.
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Echoes until end of stream. Fails on an I/O error or the idle timeout.
async fn echo_until_eof(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let work = Scratch::with(0, shared.options.work);
    let mut buffer = vec![0; SCRATCH_BYTES];
    let mut stopping = shared.stopping.subscribe();
    let mut drained = false;
    loop {
        let received = tokio::select! {
            received = read(&mut stream, &mut buffer, shared) => received?,
            _ = stopping.wait_for(|stopping| *stopping), if !drained => {
                // The task still echoes the bytes that have arrived, and then reads end of stream.
                drained = true;
                SockRef::from(&stream).shutdown(Shutdown::Read)?;
                continue;
            }
        };
        if received == 0 {
            return Ok(());
        }
        work.work();
        stream.write_all(&buffer[..received]).await?;
        shared.bytes.fetch_add(received as u64, Ordering::Relaxed);
    }
}

/// Reads once. Fails after the idle timeout.
async fn read(stream: &mut TcpStream, buffer: &mut [u8], shared: &Shared) -> io::Result<usize> {
    match shared.options.idle_timeout {
        None => stream.read(buffer).await,
        Some(limit) => timeout(limit, stream.read(buffer)).await?,
    }
}
