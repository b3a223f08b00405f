//! What is this server's own: a kernel that refuses it, and stocks of buffers that are too small.
#![allow(clippy::unwrap_used)] // In a test they are the report.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use server_process::catalogue;
use server_process::process::Process;
use server_process::seccomp;

const LIMIT: Duration = Duration::from_secs(10);

fn server(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uring-completion"));
    command.args(["--addr", "127.0.0.1:0"]).args(options);
    command
}

/// The binary, as cargo built it.
const SERVER: &str = env!("CARGO_BIN_EXE_uring-completion");

#[test]
fn a_kernel_that_refuses_it_is_one_clear_line_and_exit_status_1() {
    let refusals = [
        (Errno::EPERM, "kernel.io_uring_disabled"),
        (Errno::ENOSYS, "Linux 6.0"),
        (Errno::EINVAL, "too old"),
        (Errno::ENOMEM, "ulimit -l"),
    ];
    for (errno, hint) in refusals {
        let mut command = server(&[]);
        seccomp::refuse(&mut command, libc::SYS_io_uring_setup, errno);
        let ended = Process::run_to_end(&mut command, LIMIT).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{errno}: {ended:?}");
        assert_eq!(ended.stdout, "", "{errno}");
        assert_eq!(ended.stderr.lines().count(), 1, "{errno}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("error: io_uring is not available"), "{}", ended.stderr);
        assert!(ended.stderr.contains(hint), "{errno}: {}", ended.stderr);
    }
}

#[test]
fn the_catalogue_knows_when_the_kernel_refuses_it() {
    let catalogued = catalogue::of_package("uring-completion").next().unwrap();
    let mut command = Command::new(SERVER);
    seccomp::refuse(&mut command, libc::SYS_io_uring_setup, Errno::EPERM);
    let why = catalogued.unavailable(&mut command).unwrap();
    assert!(why.contains("io_uring is not available: it is forbidden here"), "{why}");
}

#[test]
fn many_clients_are_served_from_few_buffers_and_short_queues() {
    let catalogued = catalogue::of_package("uring-completion").next().unwrap();
    if let Some(why) = catalogued.unavailable(&mut Command::new(SERVER)) {
        eprintln!("skipped: {why}");
        return;
    }
    for stocks in [["1", "16", "1", "1"], ["2", "4096", "2", "1"], ["4", "1", "1024", "1"]] {
        let [buffers, size, entries, bulk] = stocks;
        let options = [
            "--buffers",
            buffers,
            "--buffer-size",
            size,
            "--entries",
            entries,
            "--bulk-buffers",
            bulk,
        ];
        let process = Process::start(&mut server(&options)).unwrap();
        let mut clients: Vec<_> = (0..200).map(|_| client(process.addr())).collect();
        let message: Vec<u8> = (0..10_000_u32).map(|i| (i % 241) as u8).collect();
        for length in [1, 100, message.len()] {
            for client in &mut clients {
                client.write_all(&message[..length]).unwrap();
            }
            for client in &mut clients {
                let mut answer = vec![0; length];
                client
                    .read_exact(&mut answer)
                    .unwrap_or_else(|error| panic!("{stocks:?}: {error}"));
                assert!(answer == message[..length], "{stocks:?}");
            }
        }
        drop(clients);
        assert!(process.stop(LIMIT).unwrap().is_success());
    }
}

fn client(addr: impl ToSocketAddrs) -> TcpStream {
    let client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client
}
