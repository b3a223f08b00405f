//! A typical echo server with smol: a task for each client, on one thread.
//!
//! A yardstick for `cargo bench --bench compare -- --yardsticks`. The command line is the same as
//! that of all servers. Internally, smol waits with `polling` in oneshot mode, on its own thread.
//! Compare this server with `epoll-selector --selector polling --trigger oneshot`.
//!
//! ```console
//! $ cargo run --release -p bench --example smol_echo
//! listening on 127.0.0.1:7000
//! ```
#![forbid(unsafe_code)]

use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use clap::Parser;
use echo::{ACCEPT_PAUSE, Options, SCRATCH_BYTES, Scratch, Stop, Totals};
use smol::channel::Receiver;
use smol::future::or;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::lock::{Semaphore, SemaphoreGuardArc};
use smol::net::TcpStream;
use smol::{Async, LocalExecutor, Timer};

/// TCP echo server: a task for each client, on one thread of smol's executor
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    options: Options,
}

/// The state that all tasks share.
struct Shared {
    options: Options,
    connections: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
    active: AtomicU64,
    /// A channel that is closed when the server must stop.
    stopped: Receiver<()>,
}

fn main() -> ExitCode {
    echo::finish(serve(Args::parse().options))
}

fn serve(options: Options) -> echo::Result<Totals> {
    let stop = Stop::new()?;
    let places = options.max_connections(usize::MAX >> 1)?;
    let mut listener = echo::listen(&options, places)?;
    listener.set_nonblocking()?;
    let listener = TcpListener::from(listener.as_fd().try_clone_to_owned()?);
    let (stopping, stopped) = smol::channel::bounded::<()>(1);
    let shared = Arc::new(Shared {
        options,
        connections: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        errors: AtomicU64::new(0),
        active: AtomicU64::new(0),
        stopped,
    });
    let (done, wait_until_done) = mpsc::channel::<()>();
    // Stop::wait blocks its thread, so a task must not call it.
    std::thread::spawn(move || {
        let _ = stop.wait();
        drop(stopping);
        // Stop must live until the drain ends, so that a second signal ends the process at once.
        let _ = wait_until_done.recv();
    });
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = Async::new(listener)?;
        let places = Arc::new(Semaphore::new(places));
        let until_stopped = async {
            let _ = shared.stopped.recv().await;
        };
        or(accept(&listener, &executor, places, &shared), until_stopped).await;
        drop(listener);
        // The connected clients may finish until the deadline.
        let deadline = Instant::now() + shared.options.drain;
        while shared.active.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            Timer::after(std::time::Duration::from_millis(1)).await;
        }
        io::Result::Ok(())
    }))?;
    drop(done);
    Ok(Totals {
        connections: shared.connections.load(Ordering::Relaxed),
        bytes: shared.bytes.load(Ordering::Relaxed),
        errors: shared.errors.load(Ordering::Relaxed),
        ..Totals::default()
    })
}

/// Accepts clients and spawns a task for each. Never returns.
async fn accept(
    listener: &Async<TcpListener>,
    executor: &LocalExecutor<'_>,
    places: Arc<Semaphore>,
    shared: &Arc<Shared>,
) {
    loop {
        let place = places.acquire_arc().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                shared.active.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(shared);
                executor.spawn(client(stream.into(), place, shared)).detach();
            }
            // A peer has closed the connection, or no descriptor is left. The server pauses and
            // continues; without the pause, the loop would spin.
            Err(_) => drop(Timer::after(ACCEPT_PAUSE).await),
        }
    }
}

/// Serves one client, counts its error, and frees its place.
async fn client(stream: TcpStream, place: SemaphoreGuardArc, shared: Arc<Shared>) {
    if echo_until_eof(stream, &shared).await.is_err() {
        shared.errors.fetch_add(1, Ordering::Relaxed);
    }
    shared.active.fetch_sub(1, Ordering::Relaxed);
    drop(place);
}

/// Echoes until end of stream. Fails on an I/O error or the idle timeout.
async fn echo_until_eof(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let work = Scratch::with(0, shared.options.work);
    let mut buffer = vec![0; SCRATCH_BYTES];
    let mut drained = false;
    loop {
        let stopped = async {
            match drained {
                false => drop(shared.stopped.recv().await),
                true => smol::future::pending().await,
            }
            Ok(None)
        };
        let read = async { read(&mut stream, &mut buffer, shared).await.map(Some) };
        let Some(received) = or(read, stopped).await? else {
            // The task still echoes the bytes that have arrived, and then reads end of stream.
            drained = true;
            stream.shutdown(Shutdown::Read)?;
            continue;
        };
        if received == 0 {
            return Ok(());
        }
        work.work();
        stream.write_all(&buffer[..received]).await?;
        shared.bytes.fetch_add(received as u64, Ordering::Relaxed);
    }
}

/// Reads once. Fails with `TimedOut` after the idle timeout.
async fn read(stream: &mut TcpStream, buffer: &mut [u8], shared: &Shared) -> io::Result<usize> {
    let Some(limit) = shared.options.idle_timeout else { return stream.read(buffer).await };
    let too_long = async {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    or(stream.read(buffer), too_long).await
}
