//! Echo servers that are wrong on purpose: one `--fault` each.
//!
//! They test the conformance suite. A server with a fault must fail the cases that protect what the
//! fault breaks, and pass all others. The server without a fault must pass all cases. The server has a
//! thread for each client, and the command line of the contract.
//!
//! ```console
//! $ cargo run -p conformance --example wrong -- --fault drops-the-last-byte
//! $ cargo run -p conformance --bin check -- --contract -- target/debug/examples/wrong --fault prints-twice
//! ```

mod client;
mod fault;

use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use echo::{Options, Stop, Totals};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, signal};
use socket2::{Socket, Type};

use client::Shared;
use fault::Fault;

/// The pause of the accepting loop while the server is full or out of descriptors.
const PAUSE: Duration = Duration::from_millis(20);

/// The interval at which a drain checks whether all clients have left.
const DRAIN_INTERVAL: Duration = Duration::from_millis(1);

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    options: Options,

    /// What to do wrong
    #[arg(long, value_enum, default_value_t = Fault::None)]
    fault: Fault,
}

fn main() -> ExitCode {
    echo::finish(serve(&Args::parse()))
}

fn serve(args: &Args) -> echo::Result<Totals> {
    let (fault, options) = (args.fault, &args.options);
    let stop = Stop::new()?;
    if fault == Fault::IgnoresSigterm {
        // SAFETY: SIG_IGN runs no code of ours.
        unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn)? };
    }
    if fault == Fault::EndsOnEintr {
        // A signal with a handler interrupts poll(2). SA_RESTART does not restart poll(2).
        signal_hook::flag::register(Signal::SIGURG as i32, Arc::new(AtomicBool::new(false)))?;
    }
    let most = options.max_connections(usize::MAX)?;
    let shared = Arc::new(Shared::new(fault, options.work));
    let listener = listen(args)?;
    let mut paused = false;
    while !stop.requested() {
        let full = shared.clients().len() >= most;
        let open = !paused && (!full || fault == Fault::TurnsAwayWhenFull);
        if !wait_for_client(&stop, open.then_some(&listener), fault)? {
            paused = false;
            continue;
        }
        match listener.accept() {
            Ok((stream, _)) if full => drop(stream),
            Ok((stream, _)) => enter(&shared, stream)?,
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EMFILE) if fault == Fault::EndsOnEmfile => return Err(error.into()),
                Some(Errno::EMFILE) => paused = fault != Fault::SpinsOnEmfile,
                _ => {}
            },
        }
    }
    match fault {
        Fault::AcceptsWhileItDrains => go_on_accepting(&shared, listener)?,
        _ => drop(listener),
    }
    if fault == Fault::EndsOnSigtermAtOnce {
        process::exit(0);
    }
    drain(&shared, options.drain);
    Ok(shared.totals())
}

fn listen(args: &Args) -> io::Result<TcpListener> {
    let addr = &args.options.addr;
    let socket = Socket::new(addr.domain(), Type::STREAM, None)?;
    socket.set_reuse_address(args.fault != Fault::KeepsThePort)?;
    if let Err(error) = socket.bind(&addr.to_sockaddr()?) {
        if args.fault == Fault::PanicsWhenTheAddressIsInUse {
            #[expect(clippy::panic, reason = "this is the fault")]
            std::panic::panic_any("address in use");
        }
        return Err(io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}")));
    }
    socket.listen(args.options.backlog)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {}", listener.local_addr()?)?;
    if args.fault == Fault::PrintsTwice {
        writeln!(stdout, "ready")?;
    }
    stdout.flush()?;
    Ok(listener)
}

/// Sleeps until a client can be accepted or a stop is requested. Returns whether a client can be
/// accepted. `listener` is `None` while the server is full or out of descriptors: then this sleeps for
/// [`PAUSE`] at most.
fn wait_for_client(stop: &Stop, listener: Option<&TcpListener>, fault: Fault) -> io::Result<bool> {
    let mut fds = vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    fds.extend(listener.map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
    let timeout = match listener {
        _ if fault == Fault::SpinsWhenIdle => PollTimeout::ZERO,
        None if fault == Fault::SpinsWhenFull => PollTimeout::ZERO,
        None => PollTimeout::try_from(PAUSE).unwrap_or(PollTimeout::ZERO),
        Some(_) => PollTimeout::NONE,
    };
    match poll(&mut fds, timeout) {
        Err(Errno::EINTR) if fault != Fault::EndsOnEintr || stop.requested() => Ok(false),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(fds.get(1).and_then(PollFd::any).unwrap_or(false)),
    }
}

/// Serves a client on a new thread. With the fault `serves-one-at-a-time`, serves it on this thread.
fn enter(shared: &Arc<Shared>, stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    // This fails after a reset by the peer. The client's thread finds the reset too.
    let _ = stream.set_nodelay(true);
    let stream = Arc::new(stream);
    let number = shared.enter(&stream);
    if shared.fault == Fault::ServesOneAtATime {
        shared.serve(number, stream);
        return Ok(());
    }
    let shared = Arc::clone(shared);
    thread::Builder::new().spawn(move || shared.serve(number, stream)).map(drop)
}

fn go_on_accepting(shared: &Arc<Shared>, listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(false)?;
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let _ = enter(&shared, stream);
        }
    });
    Ok(())
}

/// Echoes what has arrived from every client, for `limit` at most, and closes all connections.
fn drain(shared: &Shared, limit: Duration) {
    let wait = |limit: Option<Duration>| {
        let start = Instant::now();
        while !shared.clients().is_empty() && limit.is_none_or(|limit| start.elapsed() < limit) {
            thread::sleep(DRAIN_INTERVAL);
        }
    };
    shared.stop_reading();
    wait((shared.fault != Fault::WaitsForStuckPeers).then_some(limit));
    for stream in shared.clients().values() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    wait(Some(Duration::from_secs(1)));
}
