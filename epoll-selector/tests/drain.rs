//! A stop ends the server within `--drain`, also while many clients compute.
#![allow(clippy::unwrap_used, clippy::panic)] // In a test a failed unwrap is the report.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use server_process::process::Process;

/// Clients that each have a message waiting: the turn that serves them all takes 20 s.
const CLIENTS: usize = 200;

/// The drain and one client's work are 0.3 s; the rest is for a busy machine.
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn sigterm_in_the_middle_of_a_turn_ends_within_the_drain_and_one_clients_work() {
    for selector in ["mio", "polling", "poll"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_epoll-selector"));
        let options = ["--addr", "127.0.0.1:0", "--work", "100ms", "--drain", "200ms"];
        command.args(options).args(["--selector", selector]);
        let mut server = Process::start(&mut command).unwrap();
        let mut clients: Vec<_> =
            (0..CLIENTS).map(|_| TcpStream::connect(server.addr()).unwrap()).collect();
        for client in &mut clients {
            client.write_all(b"compute").unwrap();
        }
        clients[0].read_exact(&mut [0; 7]).unwrap(); // The turn has begun.
        let start = Instant::now();
        server.signal(Signal::SIGTERM).unwrap();
        let ended = server.wait(LIMIT).unwrap();
        let ended = ended.unwrap_or_else(|| panic!("{selector}: it runs after {LIMIT:?}"));
        assert!(ended.status.success(), "{selector}: {ended:?}");
        assert!(start.elapsed() >= Duration::from_millis(200), "{selector}: it did not drain");
    }
}
