//! The search for the highest rate that keeps a promise.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::{json, loadgen};
use crate::server::{Flaw, Server};

/// A server that works on one message at a time, 2 ms each: 500 messages per second at most.
fn server_of_500_per_second() -> Server {
    let at_work = Mutex::new(());
    Server::with_flaw(move |_, _| {
        let _turn = at_work.lock().unwrap();
        thread::sleep(Duration::from_millis(2));
        Flaw::None
    })
}

fn steps(report: &Value) -> &Vec<Value> {
    report["find_max"]["steps"].as_array().unwrap()
}

#[test]
fn the_found_rate_is_below_the_capacity_and_its_run_keeps_the_promise() {
    let server = server_of_500_per_second();
    let addr = server.addr.to_string();
    let output = loadgen(&[&addr, "-c", "8", "--find-max", "p75<200ms", "-d", "400ms", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    let search = &report["find_max"];
    assert_eq!(search["objective"]["percentile"], 75.0);
    assert_eq!(search["objective"]["below_ns"], 200_000_000);
    let rate = search["rate"].as_f64().unwrap();
    assert!(rate <= 600.0, "{rate} messages/s");
    assert_eq!(report["load"]["rate"]["per_second"], rate);
    assert!(report["latency"]["response"]["p75_ns"].as_u64().unwrap() < 200_000_000);
    let last = steps(&report).last().unwrap();
    assert_eq!(last["rate"], rate);
    assert_eq!(last["broken"], Value::Array(Vec::new()));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.lines().count(), 1 + steps(&report).len(), "a line for each run: {text}");
}

#[test]
fn a_promise_that_no_rate_keeps_is_reported_with_all_runs() {
    let server = server_of_500_per_second();
    let addr = server.addr.to_string();
    let output = loadgen(&[&addr, "-c", "2", "--find-max", "p50<1us", "-d", "50ms", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = json(&output);
    assert_eq!(report["find_max"]["rate"], Value::Null);
    assert_eq!(report["find_max"]["failure"], "no rate keeps the promise");
    assert!(steps(&report).len() >= 9);
    let invalid = report["invalid"].as_array().unwrap().iter();
    let reasons: Vec<&str> = invalid.map(|reason| reason.as_str().unwrap()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("p50 < 1us found no rate")), "{reasons:?}");
}

#[test]
fn pauses_of_the_server_in_early_runs_do_not_lower_the_result() {
    // The server pauses for 200 ms, as under SIGSTOP, eight times in the first seconds. In a run of
    // 400 ms, half of the messages are then due in a pause.
    let began = Instant::now();
    let server = Server::with_flaw(move |_, _| {
        let since = began.elapsed().as_millis() as u64;
        match since % 500 {
            within if since < 4000 && within < 200 => {
                Flaw::Delay(Duration::from_millis(200 - within))
            }
            _ => Flaw::Delay(Duration::from_millis(10)),
        }
    });
    // 10 ms for each message on each of 4 connections: 400 messages per second at most.
    let addr = server.addr.to_string();
    let output = loadgen(&[&addr, "-c", "4", "--find-max", "p75<100ms", "-d", "400ms", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    let rate = report["find_max"]["rate"].as_f64().unwrap();
    let bad = steps(&report).iter().filter(|step| !step["broken"].as_array().unwrap().is_empty());
    assert!(bad.count() > 0, "no run failed: {report}");
    assert!((120.0..440.0).contains(&rate), "{rate} of 400 messages/s: {report}");
}

#[test]
fn a_signal_ends_the_search_and_reports_it() {
    let server = server_of_500_per_second();
    let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([&server.addr.to_string(), "--find-max", "p50<1s", "-d", "10s", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_secs(3));
    let began = Instant::now();
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(1), "no rate was found: {output:?}");
    let report = json(&output);
    assert_eq!(report["result"]["interrupted"], true);
    assert_eq!(report["find_max"]["failure"], "the search was interrupted");
}
