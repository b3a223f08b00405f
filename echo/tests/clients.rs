//! Which events wake the threads that block.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use echo::{Clients, Listener, Options, Stop, listen};
use socket2::Socket;

/// Far longer than anything here takes: a wait this long is a failure, not a slow machine.
const LONG: Duration = Duration::from_secs(10);

/// Long enough to see that a call does not wait.
const A_MOMENT: Duration = Duration::from_millis(50);

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    options: Options,
}

/// A listener for two clients, and nobody connected.
fn server(name: &str) -> (Arc<Clients>, Listener) {
    let path = std::env::temp_dir().join(format!("echo-{}-{name}", std::process::id()));
    let addr = format!("unix:{}", path.display());
    let options = Args::parse_from(["test", "--addr", &addr]).options;
    (Clients::new(&options), listen(&options, 2).unwrap())
}

/// A client, and its peer, which does not wait for ever.
fn pair() -> (Socket, UnixStream) {
    let (stream, peer) = UnixStream::pair().unwrap();
    peer.set_read_timeout(Some(LONG)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    (Socket::from(OwnedFd::from(stream)), peer)
}

/// Waits for a place on another thread, and does `make_way` here, without which that must not return.
fn waits_until(
    clients: &Arc<Clients>,
    mut listener: Listener,
    make_way: impl FnOnce(),
) -> Listener {
    let (returned, has_returned) = mpsc::channel();
    let clients = Arc::clone(clients);
    thread::spawn(move || {
        clients.wait_for_place(&mut listener);
        returned.send(listener).unwrap();
    });
    assert!(has_returned.recv_timeout(A_MOMENT).is_err(), "it did not wait");
    make_way();
    has_returned.recv_timeout(LONG).unwrap()
}

#[test]
fn a_client_that_leaves_makes_a_place_and_closes_its_stream() {
    let (clients, listener) = server("place");
    let (stream, mut peer) = pair();
    let (leaves, _stays) = (clients.enter(stream), clients.enter(pair().0));
    let mut listener = waits_until(&clients, listener, || drop(leaves));
    assert_eq!(clients.active(), 1);
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    clients.wait_for_place(&mut listener); // There is one: it does not wait.
}

#[test]
fn a_pause_is_slept_through_and_ends_by_itself() {
    let (clients, mut listener) = server("pause");
    let start = Instant::now();
    listener.pause(clients.active());
    clients.wait_for_pause(&mut listener);
    assert!(start.elapsed() >= echo::ACCEPT_PAUSE);
    assert!(listener.is_open(0), "the pause is over");
}

/// The one test that raises a signal: it is this process's, and so every test's.
#[test]
fn a_drain_lets_clients_finish_and_then_cuts_them_off() {
    let (clients, listener) = server("drain");
    let stop = Arc::new(Stop::new().unwrap());
    let limit = 20 * A_MOMENT;
    let (stream, mut peer) = pair();
    peer.write_all(b"arrived").unwrap();
    let client = clients.enter(stream);
    let _other = clients.enter(pair().0);
    let drain = clients.drain_when(&stop, &listener, limit).unwrap();
    let start = Instant::now();
    // Full, and nobody leaves: the drain ends the wait.
    let mut listener = waits_until(&clients, listener, || stop.request());
    assert!(listener.accept(0).is_err(), "the listener was shut down");
    let mut arrived = Vec::new();
    (&*client).read_to_end(&mut arrived).unwrap();
    assert_eq!(arrived, b"arrived");
    (&*client).write_all(&arrived).unwrap();
    let (late, _late_peer) = pair();
    assert_eq!((&*clients.enter(late)).read(&mut [0; 1]).unwrap(), 0, "late, and drained too");
    assert!(start.elapsed() < limit, "late, and not drained before the others are cut off");
    drain.join().unwrap().unwrap();
    assert!(start.elapsed() >= limit);
    assert!((&*client).write_all(b"more").is_err(), "its time is over");
}
