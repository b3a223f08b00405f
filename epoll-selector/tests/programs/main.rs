//! The programs in `examples/`, each with a real client, and with peers that mean harm.
#![allow(clippy::unwrap_used, clippy::panic)] // In a test a failed unwrap is the report.

mod batch;
mod chat;
mod command;
mod crawl;
mod forward;
mod hostile;
mod http;
mod mixed;
mod offload;
mod upper;
mod websocket;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use server_process::process::Process;

/// Far longer than anything here takes: a wait this long is a failure, not a slow machine.
const LONG: Duration = Duration::from_secs(20);

/// An example's binary: cargo builds it beside the tests.
fn example(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let target: PathBuf = tests.ancestors().nth(2).unwrap().join("examples");
    Command::new(target.join(name))
}

/// A server on a free port.
fn serve(name: &str, args: &[&str]) -> Process {
    Process::start(example(name).args(["--addr", "127.0.0.1:0"]).args(args)).unwrap()
}

fn connect(server: &Process) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends `bytes`, ends the stream, and returns all that comes back.
fn exchange(server: &Process, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(server);
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// Runs a client program with this standard input.
fn run(command: &mut Command, stdin: &str) -> Output {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A peer that reads and writes lines.
struct Lines(BufReader<TcpStream>);

impl Lines {
    fn connect(server: &Process) -> Lines {
        Lines(BufReader::new(connect(server)))
    }

    fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line; empty at the end of the stream.
    fn next(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Reads lines until one contains `text`.
    fn until(&mut self, text: &str) -> String {
        loop {
            let line = self.next();
            assert!(!line.is_empty(), "the stream ended before {text:?}");
            if line.contains(text) {
                return line;
            }
        }
    }
}

/// Stops a server politely: it must end well.
fn stop(server: Process) -> String {
    let ended = server.stop(LONG).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
    ended.stderr
}
