//! No thread and no process to be had: clients wait, and it is said once.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use server_process::process::{Ended, Process};
use server_process::seccomp;

const LIMIT: Duration = Duration::from_secs(10);

/// Long enough for several tries.
const A_WHILE: Duration = echo::ACCEPT_PAUSE.saturating_mul(5);

fn server(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blocking"));
    command.args(["--addr", "127.0.0.1:0"]).args(options);
    command
}

/// Limits the address space of a server that runs: none is left for another stack, or there is again.
fn limit_memory(server: &Process, bytes: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    let (pid, none) = (server.pid().as_raw(), std::ptr::null_mut());
    // SAFETY: the limit outlives the call.
    let result = unsafe { libc::prlimit(pid, libc::RLIMIT_AS, &raw const limit, none) };
    Errno::result(result).unwrap();
}

fn client(server: &Process) -> TcpStream {
    let client = TcpStream::connect(server.addr()).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client
}

fn said(ended: &Ended, what: &str) -> usize {
    ended.stderr.lines().filter(|line| line.contains(what)).count()
}

#[test]
fn without_threads_a_client_waits_and_it_is_said_once() {
    let server = Process::start(&mut server(&[])).unwrap();
    let mut served = client(&server);
    served.write_all(b"hello").unwrap();
    served.read_exact(&mut [0; 5]).unwrap();
    // As much as it has, and a little for the heap: less than a stack.
    let statm = fs::read_to_string(format!("/proc/{}/statm", server.pid())).unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    limit_memory(&server, pages * 4096 + 32 * 1024);
    let mut waiting = client(&server);
    waiting.write_all(b"hello").unwrap();
    thread::sleep(A_WHILE);
    limit_memory(&server, libc::RLIM_INFINITY);
    waiting.read_exact(&mut [0; 5]).unwrap();
    let ended = server.stop(LIMIT).unwrap();
    assert!(ended.is_success(), "{ended:?}");
    assert_eq!(said(&ended, "cannot start a thread"), 1, "{}", ended.stderr);
}

#[test]
fn without_processes_it_is_said_once() {
    for options in
        [&["--per-client", "process"][..], &["--per-client", "process", "--prefork", "3"]]
    {
        let mut command = server(options);
        // As RLIMIT_NPROC does for those who are not root.
        seccomp::refuse(&mut command, libc::SYS_clone, Errno::EAGAIN);
        let server = Process::start(&mut command).unwrap();
        let _waiting = client(&server);
        thread::sleep(A_WHILE);
        let ended = server.stop(LIMIT).unwrap();
        assert!(ended.is_success(), "{ended:?}");
        assert_eq!(said(&ended, "cannot start a process"), 1, "{}", ended.stderr);
    }
}
