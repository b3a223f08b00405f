//! Nothing is left when a tool is ended in the middle: no process.

// A failed unwrap is the report.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs; one that has ended and was not waited for does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

#[test]
fn the_servers_children_end_with_the_tool_whatever_ends_that() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{signal}.pid"));
        let _ = fs::remove_file(&file);
        // It never listens: the tool waits for it. The number of the port is slept on top.
        let server = format!("sleep 1000 {{port}} & echo $! >'{}'; wait", file.display());
        let mut check = Command::new(env!("CARGO_BIN_EXE_check"))
            .args(["--", "sh", "-c", &server])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let grandchild = || fs::read_to_string(&file).unwrap_or_default().trim().to_owned();
        wait_until("the server starts", || !grandchild().is_empty());
        assert!(runs(&grandchild()));
        kill(Pid::from_raw(check.id().cast_signed()), signal).unwrap();
        check.wait().unwrap();
        wait_until("its child ends", || !runs(&grandchild()));
    }
}
