//! `loadgen`: exit status, messages, JSON.

use std::process::{Command, Output};

use serde_json::Value;

use crate::server::{Flaw, Server};

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen")).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_good_run_exits_0_and_reports_with_units() {
    let server = Server::echo();
    let output = loadgen(&[&server.addr.to_string(), "-c", "3", "-n", "300"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "a bar belongs on a terminal: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["300 in all", "/s in all", "/s per connection", "p99.9", "µs", "faults", "none"] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn json_has_a_schema_the_environment_and_what_was_asked() {
    let server = Server::echo();
    let addr = server.addr.to_string();
    let output =
        loadgen(&["--addr", &addr, "-n", "100", "-s", "10", "--json", "--percentiles", "50,75"]);
    let report = json(&output);
    assert_eq!(report["schema"], "loadgen/1");
    assert!(report["environment"]["kernel"].is_string());
    assert_eq!(report["load"]["address"], addr);
    assert_eq!(report["load"]["message_bytes"], 10);
    assert_eq!(report["result"]["messages"], 100);
    assert_eq!(report["result"]["bytes"], 1000);
    assert_eq!(report["latency"]["response"]["percentiles"][1]["percentile"], 75.0);
    assert_eq!(report["latency"]["service"], Value::Null);
    assert_eq!(report["invalid"], Value::Array(Vec::new()));
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
    assert_eq!(output.status.code(), Some(0), "nobody looked: {output:?}");
}

#[test]
fn what_cannot_work_is_refused_with_what_to_do() {
    let closed = Server::echo().addr.to_string(); // Dropped at once: nobody listens there.
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
        (vec![&open, "-c", "10000000"], "client side runs out of descriptors"),
        (vec![&open, "--churn", "--depth", "2"], "a depth of 1"),
        (vec![&open, "--pin", "1023"], "cannot pin"),
        (vec![&open, "--source", "::1"], "the server's IP version"),
        (vec![&closes], "closes it again"),
    ] {
        let output = loadgen(&arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    let output = loadgen(&["nonsense"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
