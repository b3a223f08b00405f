//! `--udp` with a Unix-domain socket. The conformance suite has the cases over UDP.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use server_process::process::Process;

const LIMIT: Duration = Duration::from_secs(10);

/// A path of its own for each socket, in the directory for temporary files.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("blocking-{}-{name}", std::process::id()))
}

fn server(path: &Path) -> Process {
    let addr = format!("unix:{}", path.display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_blocking"));
    Process::start(command.args(["--udp", "--addr", &addr])).unwrap()
}

fn client(path: &Path) -> UnixDatagram {
    let client = UnixDatagram::bind(path).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client
}

#[test]
fn unix_datagrams_come_back_and_the_file_goes_with_the_server() {
    let (server_path, client_path) = (path("server"), path("client"));
    let server = server(&server_path);
    let client = client(&client_path);
    // Nobody can answer this sender. The server counts that, and serves the next one.
    UnixDatagram::unbound().unwrap().send_to(b"lost", &server_path).unwrap();
    for text in [&b"hello"[..], b""] {
        client.send_to(text, &server_path).unwrap();
        let mut buffer = [0; 64];
        let received = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..received], text);
    }
    let ended = server.stop(LIMIT).unwrap();
    assert!(ended.is_success(), "{ended:?}");
    assert_eq!(ended.stdout, format!("listening on unix:{}\n", server_path.display()));
    assert!(ended.stderr.ends_with("bytes echoed 5, errors 1\n"), "{}", ended.stderr);
    assert!(!server_path.exists());
    fs::remove_file(client_path).unwrap();
}

#[test]
fn sigterm_echoes_the_unix_datagrams_that_have_arrived() {
    let (server_path, client_path) = (path("draining"), path("pending"));
    let server = server(&server_path);
    let client = client(&client_path);
    server.signal(Signal::SIGSTOP).unwrap();
    for _ in 0..5 {
        client.send_to(b"hello", &server_path).unwrap();
    }
    let ended = server.stop(LIMIT).unwrap(); // Continues it, too.
    assert!(ended.is_success(), "{ended:?}");
    for _ in 0..5 {
        assert_eq!(client.recv(&mut [0; 64]).unwrap(), 5);
    }
    fs::remove_file(client_path).unwrap();
}
