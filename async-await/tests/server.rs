//! What is this server's own: tasks that compute, and the memory of tasks that wait.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use server_process::process::Process;

const LIMIT: Duration = Duration::from_secs(60);

const FORMS: [&[&str]; 4] = [
    &["--buffer", "task"],
    &["--buffer", "task", "--threads", "4"],
    &["--buffer", "shared"],
    &["--buffer", "shared", "--threads", "4"],
];

fn start(options: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_async-await"));
    Process::start(command.args(["--addr", "127.0.0.1:0"]).args(options)).unwrap()
}

fn connect(process: &Process) -> TcpStream {
    let client = TcpStream::connect(process.addr()).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client
}

#[test]
fn a_drain_ends_in_time_though_many_tasks_compute() {
    const CLIENTS: usize = 40;
    for form in FORMS {
        // A turn of all clients takes 4 seconds of CPU time, and each client has many reads ahead.
        let process = start(&[form, &["--work", "100ms", "--drain", "200ms"]].concat());
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(&process)).collect();
        thread::sleep(Duration::from_millis(200)); // All are accepted, and all tasks wait.
        for client in &mut clients {
            client.set_nonblocking(true).unwrap();
            while client.write(&[7; 64 * 1024]).is_ok() {}
        }
        thread::sleep(Duration::from_millis(200)); // The first of many turns has begun.
        let asked = Instant::now();
        let ended = process.stop(LIMIT).unwrap();
        let took = asked.elapsed();
        assert!(ended.is_success(), "{form:?}: {}", ended.stderr);
        assert!(took < Duration::from_secs(3), "{form:?}: the drain took {took:?}");
        drop(clients);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_silent_client_costs_little_memory_without_a_buffer_of_its_own() {
    const CLIENTS: u64 = 800;
    let process = start(&["--buffer", "shared"]);
    let served = |_| {
        let mut client = connect(&process);
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        client
    };
    // RssAnon is memory of the process's own (proc(5)).
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        1024 * line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
    };
    let first: Vec<_> = (0..50).map(served).collect();
    let before = memory();
    let clients: Vec<_> = (0..CLIENTS).map(served).collect();
    let each = (memory() - before) / CLIENTS;
    // The allocator takes memory by pages and by doubling its tables.
    assert!(each <= 512 + 256, "{each} bytes");
    drop((first, clients));
}
