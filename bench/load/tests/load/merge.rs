//! `loadgen --start-at` and `loadgen merge`: several clients at the same time.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::cli::{json, loadgen, stderr};
use crate::server::{Flaw, Server};

/// A directory for the logs of one test.
struct Logs(PathBuf);

impl Logs {
    fn new(name: &str) -> Logs {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Logs(dir)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

/// Starts `loadgen`.
fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs two clients that start together in 3 s. Returns their results and that time.
fn run_together(server: &Server, logs: [&str; 2], more: &[&str]) -> ([Output; 2], SystemTime) {
    let at = SystemTime::now() + Duration::from_secs(3);
    let since = at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64().to_string();
    let addr = server.addr.to_string();
    let clients = logs.map(|log| {
        let base = [&addr, "-d", "2s", "--warmup", "0s", "--start-at", &since, "--log", log];
        start(&[&base[..], more].concat())
    });
    (clients.map(|client| client.wait_with_output().unwrap()), at)
}

#[test]
fn two_clients_start_together_and_their_logs_are_added_up() {
    let server = Server::echo();
    let dir = Logs::new("together");
    let (first, second, hgrm) = (dir.file("1"), dir.file("2"), dir.file("hgrm"));
    let (outputs, at) = run_together(&server, [&first, &second], &["--json", "-c", "2"]);
    let mut messages = 0;
    for output in &outputs {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report = json(output);
        messages += report["result"]["messages"].as_u64().unwrap();
        let started = report["result"]["started"].as_str().unwrap();
        let started = humantime::parse_rfc3339(started).unwrap() + Duration::from_millis(1);
        let late = started.duration_since(at).expect("a client started before the time");
        assert!(late < Duration::from_secs(1), "{late:?}");
    }
    let merged = loadgen(&["merge", &first, &second, "--json", "--hgrm", &hgrm]);
    assert_eq!(merged.status.code(), Some(0), "{merged:?}");
    let sum = json(&merged);
    assert_eq!(sum["schema"], "loadgen-merge/2");
    assert_eq!(sum["result"]["messages"], messages);
    assert!(sum["result"]["common_seconds"].as_f64().unwrap() > 1.0);
    let rate = |client: &Value| client["messages_per_second"].as_f64().unwrap();
    let rates = rate(&sum["clients"][0]) + rate(&sum["clients"][1]);
    assert!((rate(&sum["result"]) - rates).abs() < 1.0, "{sum}");
    let count = sum["latency"]["response"]["count"].as_u64().unwrap();
    assert!(count >= messages, "the drain is in the distribution");
    let text = fs::read_to_string(&hgrm).unwrap();
    assert!(text.contains(&format!("Total count    = {count:>12}]")), "{text}");
    let text = loadgen(&["merge", &first, &second]).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("all clients ran in"), "{text}");
    assert!(!text.contains("INVALID"), "{text}");
}

#[test]
fn a_client_that_connects_too_late_does_not_start() {
    let server = Server::echo();
    let at = SystemTime::now() + Duration::from_secs(2);
    let since = at.duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
    let addr = server.addr.to_string();
    let output = loadgen(&[&addr, "-c", "31", "--connect-rate", "10", "--start-at", &since]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("after --start-at: give a later time"), "{output:?}");
}

#[test]
fn random_clients_with_one_seed_are_reported() {
    let server = Server::echo();
    let dir = Logs::new("seeds");
    let (first, second) = (dir.file("1"), dir.file("2"));
    for (more, warned) in [(vec!["-R", "200", "--seed", "7"], true), (vec!["-R", "200"], false)] {
        run_together(&server, [&first, &second], &more);
        let sum = json(&loadgen(&["merge", &first, &second, "--json"]));
        let warnings = sum["warnings"].as_array().unwrap();
        let seeds = warnings.iter().any(|warning| warning["name"] == "seed");
        assert_eq!(seeds, warned, "{sum}");
    }
}

#[test]
fn clients_that_ran_one_after_the_other_have_no_common_rate() {
    let server = Server::echo();
    let dir = Logs::new("apart");
    let logs = [dir.file("1"), dir.file("2")];
    for log in &logs {
        assert!(loadgen(&[&server.addr.to_string(), "-d", "300ms", "--log", log]).status.success());
    }
    let merged = loadgen(&["merge", &logs[0], &logs[1], "--json"]);
    assert_eq!(merged.status.code(), Some(1), "{merged:?}");
    let sum = json(&merged);
    assert_eq!(sum["result"]["messages_per_second"], Value::Null);
    assert_eq!(sum["result"]["common_seconds"], 0.0);
    let reason = sum["invalid"][0].as_str().unwrap();
    assert!(reason.contains("did not run at the same time"), "{reason}");
    let text = String::from_utf8(loadgen(&["merge", &logs[0], &logs[1]]).stdout).unwrap();
    assert!(text.contains("rate unavailable") && text.contains("INVALID"), "{text}");
    // One client alone is no contradiction.
    assert_eq!(loadgen(&["merge", &logs[0]]).status.code(), Some(0));
}

#[test]
fn what_was_wrong_with_a_client_is_wrong_with_the_sum() {
    let server = Server::with_flaw(|_, _| Flaw::Delay(Duration::from_millis(20)));
    let dir = Logs::new("invalid");
    let log = dir.file("1");
    let run = loadgen(&[&server.addr.to_string(), "-d", "300ms", "-R", "5000", "--log", &log]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let merged = loadgen(&["merge", &log, "--json"]);
    assert_eq!(merged.status.code(), Some(1), "{merged:?}");
    let sum = json(&merged);
    let reason = sum["invalid"][0].as_str().unwrap();
    assert!(reason.starts_with(&log) && reason.contains("of the due messages"), "{reason}");
    assert_eq!(sum["clients"][0]["invalid"].as_array().unwrap().len(), 1);
}

#[test]
fn merge_refuses_logs_that_do_not_fit() {
    let server = Server::echo();
    let addr = server.addr.to_string();
    let dir = Logs::new("refused");
    let file = |name| dir.file(name);
    let (closed, open, csv, cut) = (file("closed"), file("open"), file("csv"), file("cut"));
    assert!(loadgen(&[&addr, "-n", "20", "--log", &closed, "--csv", &csv]).status.success());
    loadgen(&[&addr, "-n", "20", "-R", "1000", "--log", &open]); // Its rate does not matter.
    let whole = fs::read(&closed).unwrap();
    fs::write(&cut, &whole[..whole.len() - 20]).unwrap();
    let merged = loadgen(&["merge", &closed]);
    let text = String::from_utf8(merged.stdout).unwrap();
    assert!(text.contains(&format!("{closed}: 20 messages in ")), "{text}");
    for (logs, expected) in [
        ([&closed, &closed], "are the same log"),
        ([&closed, &open], "is of an open loop"),
        ([&closed, &csv], "not a whole log that `loadgen --log` wrote"),
        ([&closed, &cut], "not a whole log that `loadgen --log` wrote"),
    ] {
        let output = loadgen(&["merge", logs[0], logs[1]]);
        assert_eq!(output.status.code(), Some(2), "{logs:?}: {output:?}");
        assert!(stderr(&output).contains(expected), "{logs:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}
