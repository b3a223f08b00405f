//! What is this server's own: a queue that overflows, late signals, and what no signal tells.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use server_process::process::Process;
use socket2::SockRef;

/// How long to wait for what must happen.
const LIMIT: Duration = Duration::from_secs(20);

/// Both system calls that take signals.
const TAKES: [&str; 2] = ["sigtimedwait", "signalfd"];

fn server(take: &str, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signal-driven"));
    command.args(["--addr", "127.0.0.1:0", "--take", take]).args(options);
    command
}

fn client(process: &Process) -> TcpStream {
    let client = TcpStream::connect(process.addr()).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.set_write_timeout(Some(LIMIT)).unwrap();
    client
}

fn exchange(mut client: &TcpStream, message: &[u8]) {
    client.write_all(message).unwrap();
    expect(client, message);
}

fn expect(mut client: &TcpStream, message: &[u8]) {
    let mut answer = vec![0; message.len()];
    client.read_exact(&mut answer).unwrap();
    assert!(answer == message, "{answer:?}");
}

fn expect_end(mut client: &TcpStream) {
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

/// Stops the server, and waits until it has stopped: what clients do now is queued.
fn freeze(process: &Process) {
    process.signal(Signal::SIGSTOP).unwrap();
    let stat = format!("/proc/{}/stat", process.pid());
    wait_until("it has stopped", || fs::read_to_string(&stat).unwrap().contains(") T "));
}

/// How many descriptors it has open.
fn descriptors(process: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap().count()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn thaw(process: &Process) {
    process.signal(Signal::SIGCONT).unwrap();
}

/// Ends the server, and returns what it said.
fn stop(process: Process) -> String {
    let ended = process.stop(LIMIT).unwrap();
    assert!(ended.is_success(), "{ended:?}");
    ended.stderr
}

#[test]
fn an_overflow_of_the_queue_loses_nothing() {
    const CLIENTS: usize = 500;
    for (take, queue) in [(TAKES[0], 8), (TAKES[0], 0), (TAKES[1], 8), (TAKES[1], 0)] {
        let mut command = server(take, &[]);
        let limit = move || Ok(setrlimit(Resource::RLIMIT_SIGPENDING, queue, queue)?);
        // SAFETY: setrlimit(2) is async-signal-safe, and the closure does nothing else.
        unsafe { command.pre_exec(limit) };
        let process = Process::start(&mut command).unwrap();
        freeze(&process);
        let clients: Vec<_> = (0..CLIENTS).map(|_| client(&process)).collect();
        let message = |i: usize| format!("message {i}").into_bytes();
        for (i, mut client) in clients.iter().enumerate() {
            client.write_all(&message(i)).unwrap();
        }
        thaw(&process);
        for (i, client) in clients.iter().enumerate() {
            expect(client, &message(i));
        }
        // They are connected now: the messages, and then the ends, come all at once.
        freeze(&process);
        for (i, mut client) in clients.iter().enumerate() {
            client.write_all(&message(i)).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
        thaw(&process);
        for (i, client) in clients.iter().enumerate() {
            expect(client, &message(i));
            expect_end(client);
        }
        let said = stop(process);
        let totals = said.lines().last().unwrap();
        assert!(totals.starts_with(&format!("connections {CLIENTS}, ")), "{take} {queue}: {said}");
        assert!(totals.contains("errors 0, overflows of the signal queue "), "{said}");
    }
}

/// The first client's signals are queued before and behind the one of the listener. So the server
/// closes the first client, accepts the second one, which gets the same descriptor, and only then
/// takes what was queued for the first: bytes, and a reset.
#[test]
fn a_late_signal_does_not_harm_the_next_owner_of_the_descriptor() {
    for take in TAKES {
        let process = Process::start(&mut server(take, &["--verbose"])).unwrap();
        let mut first = client(&process);
        exchange(&first, b"hello");
        freeze(&process);
        for _ in 0..2 {
            first.write_all(b"early").unwrap();
        }
        let second = client(&process);
        for _ in 0..20 {
            first.write_all(b"late").unwrap();
        }
        SockRef::from(&first).set_linger(Some(Duration::ZERO)).unwrap();
        drop(first);
        thaw(&process);
        for _ in 0..100 {
            exchange(&second, b"mine alone");
        }
        second.shutdown(Shutdown::Write).unwrap();
        expect_end(&second);
        let said = stop(process);
        let connected = said.lines().filter(|line| line.ends_with(" connected"));
        let descriptors: Vec<_> = connected.map(|line| line.split(':').next().unwrap()).collect();
        assert!(descriptors.len() == 2 && descriptors[0] == descriptors[1], "{said}");
        assert!(said.contains("connections 2, bytes echoed 1005, errors 1\n"), "{said}");
    }
}

/// A short read ends a turn: the end of the stream behind it must not be missed.
#[test]
fn the_end_of_the_stream_is_found_behind_the_last_bytes() {
    for take in TAKES {
        let process = Process::start(&mut server(take, &[])).unwrap();
        for in_one_segment in [false, true] {
            for pieces in [1, 3] {
                let client = client(&process);
                exchange(&client, b"hello");
                freeze(&process);
                for _ in 0..pieces {
                    let flags = if in_one_segment { libc::MSG_MORE } else { 0 };
                    SockRef::from(&client).send_with_flags(b"last", flags).unwrap();
                }
                client.shutdown(Shutdown::Write).unwrap();
                thaw(&process);
                expect(&client, &b"last".repeat(pieces));
                expect_end(&client);
            }
        }
        stop(process);
    }
}

/// All clients compute when the stop comes, which takes 20 times longer than `--drain` allows.
#[test]
fn a_drain_does_not_wait_for_clients_that_compute() {
    const CLIENTS: u32 = 200;
    const WORK: Duration = Duration::from_millis(50);
    for take in TAKES {
        let options = ["--work", "50ms", "--drain", "500ms"];
        let mut process = Process::start(&mut server(take, &options)).unwrap();
        let before = descriptors(&process);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| client(&process)).collect();
        wait_until("all are accepted", || descriptors(&process) == before + clients.len());
        freeze(&process);
        clients.iter_mut().for_each(|client| client.write_all(b"compute").unwrap());
        thaw(&process);
        expect(&clients[0], b"compute");
        process.signal(Signal::SIGTERM).unwrap();
        let ended = process.wait(CLIENTS * WORK / 2).unwrap();
        assert!(ended.is_some_and(|ended| ended.is_success()), "{take}: it drains for too long");
    }
}

/// The server's own shutdown of the stream sends no signal.
#[test]
fn an_idle_client_is_closed() {
    for take in TAKES {
        let process = Process::start(&mut server(take, &["--idle-timeout", "100ms"])).unwrap();
        let before = descriptors(&process);
        let clients = [client(&process), client(&process)];
        exchange(&clients[0], b"hello");
        clients.iter().for_each(expect_end);
        wait_until("both are closed", || descriptors(&process) == before);
        stop(process);
    }
}
