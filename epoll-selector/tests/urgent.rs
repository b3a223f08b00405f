//! A short read does not mean that the socket is empty: a read stops at urgent data (tcp(7)).
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use server_process::process::Process;
use socket2::SockRef;

/// Long enough for bytes to arrive on loopback.
const A_MOMENT: Duration = Duration::from_millis(50);

#[test]
fn bytes_behind_urgent_data_are_read_in_the_same_event() {
    for selector in ["mio", "polling", "poll"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_epoll-selector"));
        let server =
            Process::start(command.args(["--addr", "127.0.0.1:0", "--selector", selector]));
        let server = server.unwrap();
        let mut client = TcpStream::connect(server.addr()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.write_all(b"first").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        // The server sleeps, so that all arrives as one event.
        server.signal(Signal::SIGSTOP).unwrap();
        thread::sleep(A_MOMENT);
        client.write_all(b"aaaaa").unwrap();
        SockRef::from(&client).send_out_of_band(b"!").unwrap();
        client.write_all(b"bbbbb").unwrap();
        thread::sleep(A_MOMENT);
        server.signal(Signal::SIGCONT).unwrap();
        let mut answer = [0; 10];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"aaaaabbbbb", "{selector}");
        server.stop(Duration::from_secs(10)).unwrap();
    }
}
