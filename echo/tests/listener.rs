//! Where a server listens, what it leaves alone, and when it does not accept.
#![allow(clippy::unwrap_used, clippy::panic)] // In a test a failure is the report.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use echo::{Accepted, Address, Options, listen};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    options: Options,
}

fn options(addr: &str) -> Options {
    Args::parse_from(["test", "--addr", addr]).options
}

/// A path of its own for each test, in the directory for temporary files.
fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("echo-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

fn at(path: &std::path::Path) -> String {
    format!("unix:{}", path.display())
}

#[test]
fn addresses_are_written_as_they_are_read() {
    for text in ["127.0.0.1:7000", "[::1]:0", "unix:/run/echo"] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
    }
    for text in ["", "7000", ":7000", "127.0.0.1", "127.0.0.1:70000", "unix:"] {
        assert!(text.parse::<Address>().is_err(), "{text:?}");
    }
}

#[test]
fn a_host_name_is_resolved() {
    let Address::Tcp(addr) = "localhost:7000".parse().unwrap() else { panic!("not TCP") };
    assert!(addr.ip().is_loopback() && addr.port() == 7000, "{addr}");
}

#[test]
fn a_unix_socket_is_removed_with_its_listener() {
    let path = path("removed");
    let listener = listen(&options(&at(&path)), 1).unwrap();
    UnixStream::connect(&path).unwrap();
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_that_was_left_behind_is_replaced() {
    let path = path("stale");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _listener = listen(&options(&at(&path)), 1).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_unix_socket_that_is_in_use_is_left_alone() {
    let path = path("in-use");
    let _other = UnixListener::bind(&path).unwrap();
    let error = listen(&options(&at(&path)), 1).unwrap_err().to_string();
    assert!(error.contains("choose another --addr"), "{error}");
    UnixStream::connect(&path).unwrap();
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let path = path("file");
    fs::write(&path, "precious").unwrap();
    assert!(listen(&options(&at(&path)), 1).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
}

#[test]
fn nobody_is_accepted_while_the_server_is_full_or_pauses() {
    let path = path("full");
    let mut listener = listen(&options(&at(&path)), 2).unwrap();
    listener.set_nonblocking().unwrap();
    let _clients = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
    assert!(matches!(listener.accept(2).unwrap(), Accepted::Full));
    assert!(matches!(listener.accept(1).unwrap(), Accepted::Client(_)), "one place is free");
    listener.pause(1);
    assert!(matches!(listener.accept(1).unwrap(), Accepted::Full), "paused");
    assert!(listener.pause_left().is_some_and(|pause| pause <= echo::ACCEPT_PAUSE));
    assert!(matches!(listener.accept(0).unwrap(), Accepted::Client(_)), "a client has left");
    assert!(matches!(listener.accept(0).unwrap(), Accepted::Nobody));
    listener.pause(0);
    std::thread::sleep(echo::ACCEPT_PAUSE + Duration::from_millis(10));
    assert!(listener.is_open(0), "a pause ends by itself");
}
