//! `loadgen`: exit status, messages, JSON.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::server::{Flaw, Server};

pub(crate) fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen")).args(arguments).output().unwrap()
}

/// The largest number that fits into 64 bits.
const MOST: &str = "18446744073709551615";

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_good_run_exits_0_and_reports_with_units() {
    let server = Server::echo();
    let output = loadgen(&[&server.addr.to_string(), "-c", "3", "-n", "300"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "no progress bar without a terminal: {output:?}");
    assert!(!output.stdout.contains(&0x1b), "no colours without a terminal: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["300 in all", "/s in all", "/s per connection", "p99.9", "µs", "faults", "none"] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn json_has_a_schema_the_environment_and_what_was_asked() {
    let server = Server::echo();
    let addr = server.addr.to_string();
    let arguments = ["-n", "0.1k", "-s", "10B", "--json", "--percentiles", "50,75"];
    let output = loadgen(&[&["--addr", &addr][..], &arguments].concat());
    let report = json(&output);
    assert_eq!(report["schema"], "loadgen/2");
    assert!(report["environment"]["kernel"].is_string());
    let time = report["environment"]["time"].as_str().unwrap();
    let age = SystemTime::now().duration_since(humantime::parse_rfc3339(time).unwrap()).unwrap();
    assert!(age < Duration::from_secs(600), "{time}");
    assert_eq!(report["load"]["address"], addr);
    assert_eq!(report["load"]["message_bytes"], 10);
    assert_eq!(report["result"]["messages"], 100);
    assert_eq!(report["result"]["bytes"], 1000);
    assert!(report["latency"]["response"]["p75_ns"].as_u64().unwrap() > 0);
    assert!(report["latency"]["response"]["p75_beyond"].as_u64().unwrap() <= 25);
    assert_eq!(report["latency"]["service"], Value::Null);
    assert_eq!(report["result"]["due"], Value::Null, "nothing is due in a closed loop");
    assert_eq!(report["invalid"], Value::Array(Vec::new()));
    assert_eq!(report["server"]["location"], "here", "the server is a thread of this test");
    assert_eq!(report["server"]["pids"][0], std::process::id());
    let client = report["client"]["cpu_ns_per_message"].as_f64().unwrap();
    let server = report["server"]["cpu_ns_per_message"].as_f64().unwrap();
    let both = report["server"]["with_client_cpu_ns_per_message"].as_f64().unwrap();
    assert!(client > 0.0 && server > 0.0 && (both - client - server).abs() < 1.0, "{report}");
    assert!(report["machine"]["others_cores"].is_number());
}

#[test]
fn a_fault_is_named_and_exits_1() {
    let server = Server::with_flaw(|echoed, bytes| {
        bytes[5] ^= u8::from(echoed == 640);
        Flaw::None
    });
    let addr = server.addr.to_string();
    let output = loadgen(&[&addr, "-n", "100", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = json(&output);
    assert_eq!(report["faults"]["mismatch"], 1);
    assert_eq!(report["result"]["messages"], 10);
    let first = report["first_fault"].as_str().unwrap();
    assert!(first.contains("message 10, byte 5"), "{first}");
    let output = loadgen(&[&addr, "-n", "100", "--no-verify"]);
    assert_eq!(output.status.code(), Some(0), "the byte is not checked: {output:?}");
}

#[test]
fn a_load_that_cannot_work_is_refused_with_advice() {
    let closed = Server::echo().addr.to_string(); // Dropped at once: no server listens there.
    let server = Server::echo();
    let open = server.addr.to_string();
    let closes = Server::start(|_, _| {});
    let closes = closes.addr.to_string();
    for (arguments, expected) in [
        (vec![closed.as_str()], "start the server first"),
        (vec![&open, "-c", "0"], "give at least 1"),
        (vec![&open, "-s", "0"], "give a size of at least 1"),
        (vec![&open, "--depth", "0"], "give at least 1"),
        (vec![&open, "-t", "2"], "each thread needs a connection"),
        (vec![&open, "-c", "1025", "-t", "1025"], "1024 threads at most"),
        (vec![&open, "-R", "1.1G"], "1 000 000 000 messages per second at most"),
        (vec![&open, "-c", "10000000"], "client side runs out of descriptors"),
        (vec![&open, "--churn", "--depth", "2"], "a depth of 1"),
        (vec![&open, "--pin", "1023"], "cannot pin"),
        (vec![&open, "--source", "::1"], "the server's IP version"),
        (vec![&open, "-R", "0"], "a rate of 0 never sends"),
        (vec![&open, "-R", "0.000000000001"], "never sends"),
        (vec![&open, "-n", "0"], "measure nothing"),
        (vec![&open, "--fragment", "0"], "give at least 1"),
        (vec![&open, "--connect-rate", "0"], "give more than 0"),
        (vec![&open, "--csv", "/dev/null", "--interval", "1ms"], "give 10ms or more"),
        (vec![&open, "-c", MOST, "--idle", MOST], "client side runs out of"),
        (vec![&open, "--slow-readers", MOST], "client side runs out of"),
        (vec![&open, "-s", MOST], "1 GiB at most"),
        (vec![&open, "--depth", MOST], "fewer connections or less depth"),
        (vec![&open, "--timeout", "9999999999y"], "a year at most"),
        (vec![&open, "--warmup", "9999999999y"], "a year at most"),
        (vec![&open, "-d", "9999999999y"], "a year at most"),
        (vec![&open, "--connect-rate", "0.000000000001", "-c", "2"], "less than one in a year"),
        (vec![&open, "-d", "9h", "--csv", "/nonexistent/file"], "cannot write"),
        (vec![&open, "-d", "9h", "--log", "/"], "cannot write"),
        (vec![&open, "--timeout", "0s"], "a timeout of 0"),
        (vec![&open, "-n", "1", "--csv", "/nonexistent/file"], "cannot write"),
        (vec!["merge", "/nonexistent/file"], "cannot read"),
        (vec![&open, "--fragment", "64"], "cuts nothing"),
        (vec![&open, "--churn", "--slow-readers", "1"], "no slow readers"),
        (vec![&open, "--churn", "--connect-rate", "9"], "--connect-rate has no effect"),
        (vec![&open, "--pin", "0", "--pin", "1"], "more --pin than threads"),
        (vec![&open, "--seed", "1", "--no-verify"], "--seed has no effect"),
        (vec![&open, "-R", "fast"], "give for example 200, 20k or 1.5M"),
        (vec![&open, "-s", "1K"], "give for example 64, 1k (1000 bytes)"),
        (vec![&open, "--server-pid", "2147483647"], "no server process 2147483647"),
        (vec![&closes], "closes it again"),
        (vec!["--udp", "unix:/nonexistent/socket"], "UDP has no paths"),
        (vec!["--udp", &open, "-s", "65508"], "65507 bytes at most"),
    ] {
        let output = loadgen(&arguments);
        // The command line is right, but the server or the file system is not.
        let world = ["start the server", "closes it", "cannot write"];
        let status = if world.iter().any(|text| expected.contains(text)) { 1 } else { 2 };
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    for arguments in [
        vec!["nonsense"],
        vec![&open, "--find-max", "fast"],
        vec![&open, "-R", "1", "--churn"],
        vec![&open, "--percentiles", "101"],
        vec![&open, "--udp", "--churn"],
        vec![&open, "--udp", "--half-close"],
        vec![&open, "--udp", "--depth", "2"],
        vec![&open, "--udp", "--idle", "1"],
        vec![&open, "--udp", "-R", "1"],
        // Options without an effect.
        vec![&open, "--spin"],
        vec![&open, "--arrivals", "poisson"],
        vec![&open, "--interval", "1s"],
        vec![&open, "--interval", "1s", "--hgrm", "/dev/null"],
    ] {
        let output = loadgen(&arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

#[test]
fn the_death_of_the_server_ends_the_run_at_once() {
    let dead = Instant::now() + Duration::from_millis(500);
    let server = Server::with_flaw(move |_, _| match Instant::now() < dead {
        true => Flaw::None,
        false => Flaw::Close,
    });
    let began = Instant::now();
    let output = loadgen(&[&server.addr.to_string(), "-c", "3", "-d", "60s"]);
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("early close: 3"), "{text}");
    assert!(text.contains("The server closed them: it died"), "{text}");
}

#[test]
fn a_signal_ends_the_run_early_and_the_run_is_reported_as_interrupted() {
    let echoed = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&echoed);
    let server = Server::with_flaw(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        Flaw::None
    });
    let addr = server.addr.to_string();
    let base = [addr.as_str(), "-c", "2", "-d", "60s", "--warmup", "0s"];
    for (signal, arguments) in [(Signal::SIGINT, vec!["--json"]), (Signal::SIGTERM, vec![])] {
        let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(base)
            .args(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let began = Instant::now();
        echoed.store(0, Ordering::Relaxed);
        while echoed.load(Ordering::Relaxed) < 100 && began.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(10));
        }
        let began = Instant::now();
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(output.status.code(), Some(128 + signal as i32), "{output:?}");
        if arguments.is_empty() {
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("INTERRUPTED  a signal ended the run early"), "{text}");
        } else {
            let report = json(&output);
            assert_eq!(report["result"]["interrupted"], true);
            assert!(report["result"]["messages"].as_u64().unwrap() > 0);
            assert!(report["result"]["seconds"].as_f64().unwrap() < 30.0);
        }
    }
}

#[test]
fn a_run_without_an_answer_reports_no_times() {
    // Each run has three connections: two of the probe, and one of the load, which is not answered.
    let server = Server::start(|number, mut stream| {
        let mut bytes = [0; 64];
        while stream.read_exact(&mut bytes).is_ok() {
            if number % 3 < 2 {
                stream.write_all(&bytes).unwrap();
            }
        }
    });
    let addr = server.addr.to_string();
    let arguments = [&addr, "-n", "5", "--timeout", "300ms", "--json"];
    let report = json(&loadgen(&arguments));
    assert_eq!(report["latency"]["response"], Value::Null);
    assert_eq!(report["client"]["cpu_ns_per_message"], Value::Null);
    let text = String::from_utf8(loadgen(&arguments[..5]).stdout).unwrap();
    assert!(text.contains("unavailable: no message came back"), "{text}");
}

#[test]
fn the_readme_names_options_that_exist() {
    let help = loadgen(&["--help"]).stdout;
    let help = String::from_utf8(help).unwrap();
    let readme = include_str!("../../README.md");
    let foreign = ["--path", "--nonall", "--tag"]; // Those of cargo and of parallel.
    let words = readme.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let is_option = |word: &&str| {
        word.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c.is_alphabetic()))
    };
    let options: Vec<&str> = words.filter(is_option).filter(|it| !foreign.contains(it)).collect();
    assert!(options.len() > 20, "{options:?}");
    for option in options {
        assert!(help.split_whitespace().any(|word| word == option), "{option}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let server = Server::echo();
    for arguments in [vec!["-n", "10"], vec!["-n", "10", "--json"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .arg(server.addr.to_string())
            .args(arguments)
            .stdout(full)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains("cannot write to stdout"), "{output:?}");
    }
    let output = loadgen(&[&server.addr.to_string(), "-n", "10", "--log", "/dev/full"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("cannot write /dev/full"), "{output:?}");
}

#[test]
fn colours_follow_the_environment() {
    let server = Server::echo();
    let run = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.args([&server.addr.to_string(), "-n", "10"]).env(name, "1");
        command.output().unwrap().stdout.contains(&0x1b)
    };
    assert!(run("CLICOLOR_FORCE"));
    assert!(!run("NO_COLOR"));
}

#[test]
fn the_files_are_written_though_the_reader_of_stdout_has_left() {
    let server = Server::echo();
    let csv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nobody-reads.csv");
    let _ = fs::remove_file(&csv);
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([&server.addr.to_string(), "-n", "10", "--csv", &csv.to_string_lossy()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(fs::read_to_string(&csv).unwrap().lines().count(), 2);
}

#[test]
fn a_signal_while_connections_are_opened_ends_the_process() {
    let server = Server::echo();
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([&server.addr.to_string(), "-c", "60", "--connect-rate", "1"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_secs(1));
    let began = Instant::now();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_rate_that_is_not_achieved_makes_the_run_invalid() {
    let server = Server::with_flaw(|_, _| Flaw::Delay(Duration::from_millis(20)));
    let addr = server.addr.to_string();
    let output = loadgen(&[&addr, "-R", "1000", "-d", "300ms", "--warmup", "0s", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = json(&output);
    assert!(report["result"]["achieved_ratio"].as_f64().unwrap() < 0.5);
    assert!(report["result"]["unsent"].as_u64().unwrap() > 100);
    assert!(report["latency"]["service"]["count"].as_u64().unwrap() > 0);
    assert_eq!(report["latency"]["response"]["count"], report["result"]["due"]);
    assert!(report["invalid"][0].as_str().unwrap().contains("due messages came back in time"));
}

#[test]
fn a_generator_that_is_kept_from_sending_says_that_it_is_late() {
    let server = Server::echo();
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([&server.addr.to_string(), "-c", "4", "-R", "500", "-d", "1s", "--warmup", "0s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    while child.try_wait().unwrap().is_none() {
        kill(pid, Signal::SIGSTOP).unwrap();
        thread::sleep(Duration::from_millis(60));
        kill(pid, Signal::SIGCONT).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(text.contains("LATE         the generator sent late"), "{text}");
}
