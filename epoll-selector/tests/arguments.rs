//! Options that each mean something, and nothing together.
#![allow(clippy::unwrap_used)] // In a test a failed unwrap is the report.

use std::process::Command;
use std::time::Duration;

use server_process::process::Process;

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_bad_combination_is_one_clear_line_and_exit_status_2() {
    let refused = [
        ("--addr 127.0.0.1:0 --trigger level", "--selector polling"),
        ("--addr 127.0.0.1:0 --trigger oneshot", "--selector polling"),
        ("--addr 127.0.0.1:0 --selector polling --trigger oneshot --accept exclusive", "edge"),
        ("--addr 127.0.0.1:0 --selector poll --trigger edge", "leave --trigger out"),
        ("--addr 127.0.0.1:0 --selector poll --trigger oneshot", "leave --trigger out"),
        ("--addr 127.0.0.1:0 --selector poll --accept exclusive", "--selector mio or polling"),
        ("--addr unix:/nowhere --accept reuseport", "HOST:PORT"),
    ];
    for (options, advice) in refused {
        let mut command = Command::new(env!("CARGO_BIN_EXE_epoll-selector"));
        let ended = Process::run_to_end(command.args(options.split(' ')), LIMIT).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{options}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{options}: {}", ended.stderr);
        assert!(ended.stderr.contains(advice), "{options}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{options}");
    }
}
