//! Something is missing: the request waits, the server does not spin, and it is said once.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use server_process::process::{Ended, Process};
use server_process::seccomp;

use crate::common::{Client, DATAGRAMS, LONG, STREAMS};
use crate::server;

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("without_descriptors_the_loop_does_not_spin_and_the_listener_stays_open", descriptors),
    ("failed_binds_leak_no_descriptor", failed_binds),
    ("without_threads_a_request_waits_and_it_is_said_once", threads),
    ("without_processes_a_request_waits_and_it_is_said_once", processes),
];

/// Long enough for several tries.
const A_WHILE: Duration = echo::ACCEPT_PAUSE.saturating_mul(5);

fn said(ended: &Ended, what: &str) -> usize {
    ended.stderr.lines().filter(|line| line.contains(what)).count()
}

/// The CPU time that a process has used.
fn cpu_time(process: &Process) -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |field: usize| fields[field - 3].parse::<u32>().unwrap();
    TICK * (ticks(14) + ticks(15)) // utime and stime (proc_pid_stat(5)).
}

/// A loop that spins would use all of the time.
fn sleeps_for_a_while(server: &Process) {
    let before = cpu_time(server);
    thread::sleep(A_WHILE);
    let used = cpu_time(server) - before;
    assert!(used <= A_WHILE / 10, "{used:?} of CPU time in {A_WHILE:?}");
}

/// CPython's loop tries 100 times in 0.2 s, and `asyncore` closes its listener.
fn descriptors() {
    for kind in STREAMS {
        let (server, address) = server::start(kind, "few-descriptors", "2");
        let served = [Client::request(kind, &address), Client::request(kind, &address)];
        for client in &served {
            assert_eq!(client.datagram().unwrap(), b"begun");
        }
        let waiting = Client::request(kind, &address);
        sleeps_for_a_while(&server);
        waiting.socket.set_nonblocking(true).unwrap();
        assert_eq!(waiting.datagram(), None, "{kind:?}: there was a descriptor");
        waiting.socket.set_nonblocking(false).unwrap();
        drop(served);
        assert_eq!(waiting.datagram().unwrap(), b"begun");
        drop(waiting);
        let ended = server.stop(LONG).unwrap();
        assert!(ended.is_success(), "{ended:?}");
        assert_eq!(said(&ended, "accepting pauses with 2 clients"), 1, "{}", ended.stderr);
    }
}

fn failed_binds() {
    for kind in STREAMS.into_iter().chain(DATAGRAMS) {
        let mut command = server::command(kind, "failed-binds", "");
        let ended = Process::run_to_end(&mut command, LONG).unwrap();
        assert!(ended.is_success(), "{kind:?} {ended:?}");
    }
}

/// Limits the address space of a server that runs: no memory is left for a stack, or there is
/// again.
fn limit_memory(server: &Process, bytes: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    let (pid, none) = (server.pid().as_raw(), std::ptr::null_mut());
    // SAFETY: the limit outlives the call.
    let result = unsafe { libc::prlimit(pid, libc::RLIMIT_AS, &raw const limit, none) };
    Errno::result(result).unwrap();
}

fn threads() {
    for kind in STREAMS.into_iter().chain(DATAGRAMS) {
        let (server, address) = server::start(kind, "threads", "");
        // As much as it has, and a little for the heap: less than a stack.
        let statm = fs::read_to_string(format!("/proc/{}/statm", server.pid())).unwrap();
        let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        limit_memory(&server, pages * 4096 + 128 * 1024);
        let waiting = Client::request(kind, &address);
        assert_eq!(waiting.datagram().unwrap(), b"v", "{kind:?}");
        sleeps_for_a_while(&server);
        waiting.socket.set_nonblocking(true).unwrap();
        assert_eq!(waiting.datagram(), None, "{kind:?}: there was memory");
        waiting.socket.set_nonblocking(false).unwrap();
        limit_memory(&server, libc::RLIM_INFINITY);
        assert_eq!(waiting.datagram().unwrap()[0], b's', "{kind:?}");
        let ended = server.stop(LONG).unwrap();
        assert!(ended.is_success(), "{ended:?}");
        assert_eq!(said(&ended, "a request waits to be served"), 1, "{}", ended.stderr);
    }
}

fn processes() {
    for kind in STREAMS.into_iter().chain(DATAGRAMS) {
        let mut command = server::command(kind, "life", "0");
        // As RLIMIT_NPROC does for those who are not root.
        seccomp::refuse(&mut command, libc::SYS_clone, Errno::EAGAIN);
        let server = Process::start(&mut command).unwrap();
        let waiting = Client::request(kind, &server::address(&server));
        assert_eq!(waiting.datagram().unwrap(), b"v", "{kind:?}");
        sleeps_for_a_while(&server);
        let ended = server.stop(LONG).unwrap();
        assert!(ended.is_success(), "{ended:?}");
        assert_eq!(said(&ended, "a request waits to be served"), 1, "{}", ended.stderr);
    }
}
