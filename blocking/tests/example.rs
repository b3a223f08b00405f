//! The program `examples/socketserver.rs`, with real clients.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use nix::sys::signal::Signal;
use server_process::process::Process;

const LIMIT: Duration = Duration::from_secs(10);

/// Cargo builds the examples of a package with its tests, beside their folder.
fn example(options: &[&str]) -> Command {
    let test = env::current_exe().unwrap();
    let path = test.parent().and_then(|folder| folder.parent()).unwrap().join("examples");
    let mut command = Command::new(path.join("socketserver"));
    command.args(options);
    command
}

fn start(options: &[&str]) -> Process {
    Process::start(&mut example(options)).unwrap()
}

fn stop(server: Process) {
    let ended = server.stop(LIMIT).unwrap();
    assert!(ended.is_success() && !ended.left_children, "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
}

fn path(name: &str) -> PathBuf {
    env::temp_dir().join(format!("socketserver-example-{}-{name}", std::process::id()))
}

#[test]
fn lines_come_back_in_upper_case_whoever_serves_them() {
    for per_request in ["none", "thread", "process"] {
        let server = start(&["--addr", "127.0.0.1:0", "--per-request", per_request]);
        let mut client = TcpStream::connect(server.addr()).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.write_all(b"hello\n").unwrap();
        client.read_exact(&mut [0; 6]).unwrap(); // Before more is sent.
        client.write_all(b"two\nthe end").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "TWO\nTHE END", "{per_request}");
        stop(server);

        let server_path = path("stream");
        let addr = format!("unix:{}", server_path.display());
        let server = start(&["--addr", &addr, "--per-request", per_request]);
        let mut client = UnixStream::connect(&server_path).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.write_all(b"hello\n").unwrap();
        let mut line = [0; 6];
        client.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"HELLO\n", "{per_request}");
        drop(client);
        stop(server);
        assert!(!server_path.exists());
    }
}

#[test]
fn datagrams_come_back_in_upper_case_whoever_serves_them() {
    for per_request in ["none", "thread", "process"] {
        let server = start(&["--udp", "--addr", "127.0.0.1:0", "--per-request", per_request]);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.send_to(b"hello", server.addr()).unwrap();
        let mut answer = [0; 64];
        assert_eq!(client.recv(&mut answer).unwrap(), 5);
        assert_eq!(&answer[..5], b"HELLO", "{per_request}");
        stop(server);

        let (server_path, client_path) = (path("datagrams"), path("client"));
        let addr = format!("unix:{}", server_path.display());
        let server = start(&["--udp", "--addr", &addr, "--per-request", per_request]);
        let client = UnixDatagram::bind(&client_path).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.send_to(b"hello", &server_path).unwrap();
        assert_eq!(client.recv(&mut answer).unwrap(), 5);
        assert_eq!(&answer[..5], b"HELLO", "{per_request}");
        stop(server);
        assert!(!server_path.exists());
        fs::remove_file(client_path).unwrap();
    }
}

/// With one request at a time, the second client would otherwise wait for ever.
#[test]
fn a_silent_client_is_closed_after_the_timeout() {
    let server = start(&["--addr", "127.0.0.1:0", "--per-request", "none", "--timeout", "50ms"]);
    let clients = [(); 2].map(|()| TcpStream::connect(server.addr()).unwrap());
    for mut client in clients {
        client.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    }
    assert!(server.stop(LIMIT).unwrap().is_success());
}

#[test]
fn at_most_as_many_are_served_as_the_option_says() {
    let server = start(&["--addr", "127.0.0.1:0", "--at-most", "1"]);
    let mut clients = [(); 2].map(|()| TcpStream::connect(server.addr()).unwrap());
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        client.write_all(b"hello\n").unwrap();
    }
    let [mut served, mut waiting] = clients;
    served.read_exact(&mut [0; 6]).unwrap();
    assert!(waiting.read(&mut [0; 6]).is_err());
    drop(served);
    waiting.set_read_timeout(Some(LIMIT)).unwrap();
    waiting.read_exact(&mut [0; 6]).unwrap();
    drop(waiting);
    stop(server);
}

#[test]
fn a_refusal_is_one_clear_line() {
    let server = start(&["--addr", "127.0.0.1:0"]);
    let taken = server.addr().to_string();
    let ended = Process::run_to_end(&mut example(&["--addr", &taken]), LIMIT).unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("choose another --addr"), "{}", ended.stderr);
    stop(server);
}

/// The first signal waits for the client in service, and the second one does not.
#[test]
fn a_second_signal_ends_the_server_at_once() {
    let options = ["--addr", "127.0.0.1:0", "--per-request", "none", "--timeout", "0s"];
    let mut server = start(&options);
    let mut client = TcpStream::connect(server.addr()).unwrap();
    client.write_all(b"hello\n").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();
    server.signal(Signal::SIGTERM).unwrap();
    assert!(server.wait(Duration::from_millis(100)).unwrap().is_none(), "it did not wait");
    server.signal(Signal::SIGTERM).unwrap();
    let ended = server.wait(LIMIT).unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(128 + 15), "{ended:?}");
}
