//! No process is left when a signal ends `check` in the middle of a run.
#![allow(clippy::unwrap_used)] // A failed unwrap is the report.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use server_process::signals;

/// The longest wait in this test.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {TIMEOUT:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs. A process that has ended and was not waited for does not run.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

#[test]
fn the_children_of_the_server_end_with_check_whatever_ends_it() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{signal}.pid"));
        let _ = fs::remove_file(&file);
        // The server never listens, so check waits for it. The port is a part of the time to sleep.
        let server = format!("sleep 1000 {{port}} & echo $! >'{}'; wait", file.display());
        let mut check = Command::new(env!("CARGO_BIN_EXE_check"));
        check.args(["--", "sh", "-c", &server]).stdout(Stdio::null()).stderr(Stdio::null());
        signals::reset(&mut check); // The test may run in the background of a script.
        let mut check = check.spawn().unwrap();
        let grandchild = || fs::read_to_string(&file).unwrap_or_default().trim().to_owned();
        wait_until("the server starts", || !grandchild().is_empty());
        assert!(runs(&grandchild()));
        kill(Pid::from_raw(check.id().cast_signed()), signal).unwrap();
        check.wait().unwrap();
        wait_until("its child ends", || !runs(&grandchild()));
    }
}
