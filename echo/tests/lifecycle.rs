//! When a loop is over, and what its clients are told before.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use clap::Parser;
use echo::{Connection, Lifecycle, Options, Scratch, Wants};
use nix::sys::signal::{Signal, raise};
use socket2::Socket;

const DRAIN: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_millis(100);

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    options: Options,
}

fn client() -> (Connection<Socket>, UnixStream) {
    let (stream, peer) = UnixStream::pair().unwrap();
    stream.set_nonblocking(true).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (Connection::new(Socket::from(OwnedFd::from(stream))), peer)
}

/// One test, since the signal is for the whole process.
#[test]
fn idle_clients_are_shut_down_and_a_stop_drains_the_others() {
    let path = std::env::temp_dir().join(format!("echo-{}-lifecycle", std::process::id()));
    let addr = format!("unix:{}", path.display());
    let options = Args::parse_from(["test", "--addr", &addr, "--drain", "500ms"]).options;
    let options = Options { idle_timeout: Some(IDLE), ..options };
    let mut listener = echo::listen(&options, 10).unwrap();
    let mut life = Lifecycle::new(&options).unwrap();
    let mut scratch = Scratch::new(&options);

    // No byte moves: the client is shut down after the idle timeout, and not much earlier.
    let (idle, mut idle_peer) = client();
    let mut clients = vec![idle];
    assert!(!life.is_over(clients.iter_mut()));
    assert!(life.longest_wait(&listener).is_some_and(|wait| wait <= IDLE));
    assert_eq!(clients[0].step(&mut scratch).unwrap().wants, Wants::Read);
    let ended = |clients: &mut Vec<Connection<Socket>>, scratch: &mut Scratch| {
        clients[0].step(scratch).unwrap().wants == Wants::Close
    };
    for _ in 0..100 {
        thread::sleep(IDLE / 4);
        assert!(!life.is_over(clients.iter_mut()));
        if ended(&mut clients, &mut scratch) {
            break;
        }
    }
    assert_eq!(idle_peer.read(&mut [0; 1]).unwrap(), 0);

    // A stop: the rest of the turn is skipped, no one is accepted, and a client finds end of stream
    // behind what has arrived.
    let (drained, mut peer) = client();
    peer.write_all(b"arrived").unwrap();
    clients = vec![drained];
    assert!(life.accepts(&mut listener, 1) && life.stop_fd().is_some() && !life.must_hurry());
    raise(Signal::SIGTERM).unwrap();
    assert!(life.must_hurry());
    assert!(!life.is_over(clients.iter_mut()), "the drain begins");
    assert!(!life.accepts(&mut listener, 1) && life.stop_fd().is_none() && !life.must_hurry());
    assert!(life.longest_wait(&listener).is_some_and(|wait| wait <= DRAIN));
    assert_eq!(clients[0].step(&mut scratch).unwrap().received, 7);
    assert_eq!(clients[0].step(&mut scratch).unwrap().wants, Wants::Close);

    // The time of the drain is over: whoever is left is cut off. Without clients it is over at once.
    assert!(life.is_over(Vec::<Connection<Socket>>::new().iter_mut()));
    thread::sleep(DRAIN);
    assert!(life.must_hurry());
    let errors = life.totals().errors;
    assert!(life.is_over(clients.iter_mut()));
    assert_eq!(life.totals().errors, errors + 1);
}
