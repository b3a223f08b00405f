//! What `check` says of wrong servers: one diagnosis for one cause, at the end, and the right exit status.
#![allow(clippy::unwrap_used)] // A failed unwrap is the report.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The program with one mistake: see `examples/wrong`.
fn wrong() -> String {
    let target = PathBuf::from(env!("CARGO_BIN_EXE_check"));
    let wrong = target.with_file_name("examples").join("wrong");
    assert!(wrong.is_file(), "build it: cargo build -p conformance --example wrong");
    wrong.display().to_string()
}

fn check(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_check")).args(arguments).output().unwrap()
}

/// Checks a server with one mistake. Returns the output, and the exit status of check.
fn check_fault(options: &str, fault: &str) -> (String, Option<i32>) {
    let wrong = wrong();
    let mut arguments: Vec<&str> = options.split_whitespace().collect();
    arguments.extend(["--contract", "--", &wrong, "--fault", fault]);
    let output = check(&arguments);
    assert!(output.stderr.is_empty(), "{output:?}");
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

/// The text after the last case has run.
fn summary(text: &str) -> &str {
    text.split_once("\n\n").unwrap().1
}

#[test]
fn when_the_basic_case_fails_the_others_are_skipped_in_one_line() {
    let (text, status) = check_fault("--timeout 1s", "never-answers");
    assert_eq!(status, Some(1));
    assert!(text.contains("1. one_byte"), "{text}");
    assert!(text.contains("cases skipped: one_byte fails"), "{text}");
    assert!(text.contains("0 passed, 1 failed"), "{text}");
    assert!(text.lines().count() < 25, "{text}");
    // A filter that leaves the basic case out does not hide its failure.
    let (text, status) = check_fault("--timeout 1s --filter half_close", "never-answers");
    assert_eq!(status, Some(1));
    assert!(text.contains("FAIL one_byte") && text.contains("3 cases skipped"), "{text}");
}

#[test]
fn a_server_that_serves_one_client_at_a_time_fails_one_case_and_reads_how_to_declare_it() {
    let (text, status) = check_fault("--filter bytes", "serves-one-at-a-time");
    assert_eq!(status, Some(1));
    assert!(summary(&text).contains("1. two_clients_at_once"), "{text}");
    assert!(text.contains("check --concurrency 1"), "{text}");
    assert!(text.contains("1 failed") && text.contains("1 case not applicable"), "{text}");
    let (text, status) = check_fault("--filter bytes --concurrency 1", "serves-one-at-a-time");
    assert_eq!(status, Some(0), "{text}");
}

#[test]
fn the_last_words_of_a_server_are_the_one_diagnosis_of_all_its_failures() {
    let (text, status) = check_fault("--filter reset_ --filter two_thousand", "ends-on-reset");
    assert_eq!(status, Some(1));
    let summary = summary(&text);
    assert!(summary.contains(", 1 cause"), "{text}");
    assert_eq!(summary.matches("The server ended (exit status: 1)").count(), 1, "{text}");
    for case in ["reset_in_mid_message", "two_thousand_connections_leak_nothing"] {
        assert!(summary.contains(case), "{text}");
    }
}

#[test]
fn an_uncaught_error_of_a_server_that_runs_on_is_the_diagnosis() {
    let (text, status) = check_fault("--filter two_thousand", "panics-on-reset");
    assert_eq!(status, Some(1));
    assert!(text.contains("The server reported an uncaught error:"), "{text}");
    // The words of the server have their own lines.
    let panicked =
        |line: &str| line.trim_start().starts_with("thread") && line.contains("panicked");
    assert!(text.lines().any(panicked), "{text}");
    assert!(text.lines().any(|line| line.trim() == "the client has left"), "{text}");
}

#[test]
fn a_pipe_gets_no_colours_and_ended_readers_are_no_error() {
    let (text, _) = check_fault("--filter one_byte", "none");
    assert!(text.contains("pass one_byte") && !text.contains('\x1b'), "{text:?}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = Command::new(env!("CARGO_BIN_EXE_check"));
    child.arg("--list").stdout(writer).stderr(Stdio::piped());
    let output = child.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(1), 0), "{output:?}");
}

#[test]
fn json_has_every_case_under_its_name() {
    let (text, status) = check_fault("--json --timeout 1s --filter half_close", "never-answers");
    assert_eq!(status, Some(1));
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["failed"], &report["skipped"]), (&1.into(), &3.into()), "{report}");
    let cases = report["cases"].as_array().unwrap();
    assert_eq!(cases[0]["name"], "one_byte");
    assert_eq!(cases[0]["outcome"], "fail");
    assert!(cases[0]["hint"].is_string() && cases[0]["cause"].is_null(), "{report}");
    assert_eq!(cases[1]["why"], "one_byte fails");
}

#[test]
fn bad_arguments_exit_with_2_and_an_unreachable_server_with_1() {
    let refused = [
        ("", "nothing to check"),
        ("--server no-such-server", "no server is called no-such-server"),
        ("--filter no_such_case --addr 127.0.0.1:1", "no case has no_such_case"),
        ("-- python3 server.py", "{port}"),
        ("--unix -- server {port}", "--contract"),
        ("--udp --addr unix:/tmp/none", "UDP has no paths"),
    ];
    for (arguments, advice) in refused {
        let output = check(&arguments.split_whitespace().collect::<Vec<_>>());
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {complaint}");
        assert!(complaint.contains(advice), "{arguments}: {complaint}");
    }
    let output = check(&["--", "/no/such/program", "{port}"]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("cannot start /no/such/program"), "{complaint}");
}
