//! The echo of datagrams over UDP and over Unix-domain sockets.
#![allow(clippy::unwrap_used, clippy::panic)] // In a test a failure is the report.

use std::fs;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use echo::{
    Address, DatagramSocket, Options, SCRATCH_BYTES, Scratch, Tally, Totals, echo_datagram,
};

/// Far longer than anything here takes: a wait this long is a failure, not a slow machine.
const LONG: Duration = Duration::from_secs(10);

/// Long enough to see that a call does not return.
const A_MOMENT: Duration = Duration::from_millis(50);

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    options: Options,
}

/// A server, and what it needs for each datagram.
struct Server {
    socket: DatagramSocket,
    scratch: Scratch,
    tally: Tally,
}

impl Server {
    fn at(addr: &Address) -> Server {
        let options = Args::parse_from(["test"]).options;
        let socket = DatagramSocket::bind(addr).unwrap();
        Server { socket, scratch: Scratch::new(&options), tally: Tally::new(&options) }
    }

    fn echo(&mut self) -> std::io::Result<()> {
        echo_datagram(&self.socket, &mut self.scratch, &mut self.tally)
    }

    /// The bytes echoed and the errors so far.
    fn done(&self) -> (u64, u64) {
        let Totals { bytes, errors, .. } = self.tally.totals();
        (bytes, errors)
    }
}

/// A path of its own for each test, in the directory for temporary files.
fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("echo-{}-datagrams-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

fn unix(path: &Path) -> Address {
    Address::Unix(path.to_owned())
}

/// A client that is bound to a path of its own, so that it can be answered.
fn bound_client(name: &str) -> (UnixDatagram, PathBuf) {
    let path = path(name);
    let client = UnixDatagram::bind(&path).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    (client, path)
}

#[test]
fn a_unix_datagram_goes_back_to_the_path_of_its_sender() {
    let server_path = path("server");
    let mut server = Server::at(&unix(&server_path));
    assert_eq!(server.socket.local_addr().unwrap(), unix(&server_path));
    let (one, one_path) = bound_client("one");
    let (other, other_path) = bound_client("other");
    one.send_to(b"from one", &server_path).unwrap();
    other.send_to(b"other", &server_path).unwrap();
    one.send_to(b"", &server_path).unwrap();
    for _ in 0..3 {
        server.echo().unwrap();
    }
    let mut buffer = [0; 64];
    for (client, sent) in [(&one, &b"from one"[..]), (&one, b""), (&other, b"other")] {
        let (received, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..received], sent);
        assert_eq!(from.as_pathname(), Some(server_path.as_path()));
    }
    assert_eq!(server.done(), (13, 0));
    fs::remove_file(one_path).unwrap();
    fs::remove_file(other_path).unwrap();
}

#[test]
fn a_sender_without_an_address_is_lost_and_nothing_else() {
    let server_path = path("nameless");
    let mut server = Server::at(&unix(&server_path));
    let nameless = UnixDatagram::unbound().unwrap();
    let (client, client_path) = bound_client("named");
    nameless.send_to(b"to nobody", &server_path).unwrap();
    nameless.send_to(b"", &server_path).unwrap(); // Not the end of the socket.
    client.send_to(b"to me", &server_path).unwrap();
    for _ in 0..3 {
        server.echo().unwrap();
    }
    assert_eq!(client.recv(&mut [0; 64]).unwrap(), 5);
    assert_eq!(server.done(), (5, 2));
    fs::remove_file(client_path).unwrap();
}

#[test]
fn a_sender_that_is_gone_is_lost_and_nothing_else() {
    let server_path = path("gone");
    let mut server = Server::at(&unix(&server_path));
    let (client, client_path) = bound_client("leaves");
    client.send_to(b"from me", &server_path).unwrap();
    drop(client);
    fs::remove_file(client_path).unwrap();
    server.echo().unwrap();
    assert_eq!(server.done(), (0, 1));
}

/// A Unix-domain socket makes its sender wait for room, so a peer could stop the server for all
/// others.
#[test]
fn a_peer_that_does_not_read_does_not_stop_the_server() {
    let server_path = path("patient");
    let mut server = Server::at(&unix(&server_path));
    let (greedy, greedy_path) = bound_client("greedy");
    let (returned, has_returned) = mpsc::channel();
    let to = server_path.clone();
    let sender = thread::spawn(move || {
        for _ in 0..2000 {
            greedy.send_to(b"more", &to).unwrap();
        }
        greedy
    });
    thread::spawn(move || {
        for _ in 0..2000 {
            server.echo().unwrap();
        }
        returned.send(server).unwrap();
    });
    let server = has_returned.recv_timeout(LONG).unwrap();
    let (bytes, errors) = server.done();
    assert!(bytes > 0 && errors > 0, "{bytes} bytes, {errors} errors");
    assert_eq!(bytes / 4 + errors, 2000);
    drop(sender.join().unwrap());
    fs::remove_file(greedy_path).unwrap();
}

#[test]
fn a_datagram_that_may_be_cut_is_lost_and_a_smaller_one_is_whole() {
    let server_path = path("large");
    let mut server = Server::at(&unix(&server_path));
    let (client, client_path) = bound_client("sends-large");
    for size in [SCRATCH_BYTES + 1, SCRATCH_BYTES, SCRATCH_BYTES - 1] {
        let large: Vec<u8> = (0..size).map(|at| at as u8).collect();
        client.send_to(&large, &server_path).unwrap();
        server.echo().unwrap();
    }
    let mut buffer = vec![0; 2 * SCRATCH_BYTES];
    assert_eq!(client.recv(&mut buffer).unwrap(), SCRATCH_BYTES - 1);
    assert!((0..SCRATCH_BYTES - 1).all(|at| buffer[at] == at as u8));
    assert_eq!(server.done(), (SCRATCH_BYTES as u64 - 1, 2));
    fs::remove_file(client_path).unwrap();
}

#[test]
fn the_end_lets_what_has_arrived_be_echoed() {
    let mut server = Server::at(&"127.0.0.1:0".parse().unwrap());
    let Address::Tcp(to) = server.socket.local_addr().unwrap() else { panic!("not UDP") };
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    for _ in 0..3 {
        client.send_to(b"hello", to).unwrap();
    }
    ends_after_three(&mut server);
    assert_eq!(client.recv(&mut [0; 64]).unwrap(), 5);

    let server_path = path("ending");
    let mut server = Server::at(&unix(&server_path));
    let (client, client_path) = bound_client("last");
    for _ in 0..3 {
        client.send_to(b"hello", &server_path).unwrap();
    }
    ends_after_three(&mut server);
    assert_eq!(client.recv(&mut [0; 64]).unwrap(), 5);
    fs::remove_file(client_path).unwrap();
}

fn ends_after_three(server: &mut Server) {
    server.socket.end();
    for _ in 0..3 {
        server.echo().unwrap();
    }
    assert_eq!(server.echo().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    server.socket.set_nonblocking().unwrap();
    assert_eq!(server.echo().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(server.done(), (15, 0));
}

#[test]
fn the_end_wakes_a_thread_that_waits_for_a_datagram() {
    let unix = unix(&path("waiting"));
    for addr in ["127.0.0.1:0".parse().unwrap(), unix] {
        let socket = DatagramSocket::bind(&addr).unwrap();
        let (returned, has_returned) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let received = socket.receive(&mut [0; 64]).map(|(received, _)| received);
                returned.send(received.map_err(|error| error.kind())).unwrap();
            });
            assert!(has_returned.recv_timeout(A_MOMENT).is_err(), "it did not wait");
            socket.end();
            let received = has_returned.recv_timeout(LONG).unwrap();
            assert_eq!(received, Err(ErrorKind::UnexpectedEof), "{addr}");
        });
    }
}

#[test]
fn a_nonblocking_socket_without_a_datagram_would_block() {
    for addr in ["127.0.0.1:0".parse().unwrap(), unix(&path("empty"))] {
        let mut server = Server::at(&addr);
        server.socket.set_nonblocking().unwrap();
        assert_eq!(server.echo().unwrap_err().kind(), ErrorKind::WouldBlock, "{addr}");
    }
}

#[test]
fn the_file_of_a_datagram_socket_is_removed_with_it() {
    let path = path("removed");
    let socket = DatagramSocket::bind(&unix(&path)).unwrap();
    assert!(path.exists());
    drop(socket);
    assert!(!path.exists());
}

#[test]
fn a_datagram_socket_that_was_left_behind_is_replaced() {
    let path = path("stale");
    drop(UnixDatagram::bind(&path).unwrap());
    assert!(path.exists());
    let _socket = DatagramSocket::bind(&unix(&path)).unwrap();
    UnixDatagram::unbound().unwrap().connect(&path).unwrap();
}

#[test]
fn a_socket_that_is_in_use_is_left_alone_whatever_its_type() {
    let path = path("in-use");
    let other = UnixDatagram::bind(&path).unwrap();
    let error = DatagramSocket::bind(&unix(&path)).unwrap_err().to_string();
    assert!(error.contains("choose another --addr"), "{error}");
    UnixDatagram::unbound().unwrap().connect(&path).unwrap();
    drop(other);
    fs::remove_file(&path).unwrap();

    let _listener = UnixListener::bind(&path).unwrap();
    assert!(DatagramSocket::bind(&unix(&path)).is_err());
    assert!(path.exists());
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let path = path("file");
    fs::write(&path, "precious").unwrap();
    assert!(DatagramSocket::bind(&unix(&path)).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
}
