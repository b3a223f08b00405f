//! Options that contradict each other.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::process::Command;
use std::time::Duration;

use server_process::process::{Ended, Process};

const LIMIT: Duration = Duration::from_secs(10);

/// Runs the pool with options that it refuses. The bad address makes it end if it accepts them.
fn run(options: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadpool"));
    command.args(["--addr", "unix:/no/such/directory/echo"]).args(options.split(' '));
    Process::run_to_end(&mut command, LIMIT).unwrap()
}

#[test]
fn a_queue_without_connections_to_queue_is_one_clear_line_and_exit_status_2() {
    let refused = run("--queue 8 --hand-off readiness");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("--queue needs --hand-off connection"), "{}", refused.stderr);
    // The combination that makes sense gets as far as the address.
    let accepted = run("--queue 8 --hand-off connection");
    assert_eq!(accepted.status.code(), Some(1), "{accepted:?}");
    assert!(accepted.stderr.contains("/no/such/directory"), "{}", accepted.stderr);
}
