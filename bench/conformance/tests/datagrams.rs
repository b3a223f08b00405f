//! The test of the cases about datagrams: a small wrong server fails the cases that are meant for its
//! mistake, and no others.
#![allow(clippy::unwrap_used, clippy::panic)] // A failed unwrap is the report.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use conformance::{Access, Outcome, Subject, cases};
use server_process::address::{Address, Transport};

/// The datagrams that a server sends for one datagram, each with its receiver.
type Answers = Vec<(Vec<u8>, SocketAddr)>;

/// Runs all cases on a server that sends these answers. Returns the names of the cases that fail.
fn failing(
    mut answers: impl FnMut(&[u8], SocketAddr) -> Answers + Send + 'static,
) -> BTreeSet<&'static str> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let addr = socket.local_addr().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let server = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while !stopped.load(Ordering::Relaxed) {
            let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
            for (answer, to) in answers(&buffer[..length], client) {
                let _ = socket.send_to(&answer, to); // The client may have left.
            }
        }
    });
    let mut subject = Subject::new("wrong", Access::Address(Address::Udp(addr)), 1);
    subject.timeout = Duration::from_millis(500);
    let fails = |case: &&conformance::Case| matches!(case.run(&subject), Outcome::Fail(_));
    let failing = cases(Transport::Udp).map(|(_, case)| case).filter(fails).map(|case| case.name);
    let failing = failing.collect();
    stop.store(true, Ordering::Relaxed);
    server.join().unwrap();
    failing
}

#[test]
fn a_server_that_keeps_the_contract_fails_nothing() {
    assert!(failing(|bytes, client| vec![(bytes.to_vec(), client)]).is_empty());
}

#[test]
fn a_server_that_takes_an_empty_datagram_for_an_end_fails_its_case() {
    let failing = failing(|bytes, client| match bytes {
        [] => vec![],
        _ => vec![(bytes.to_vec(), client)],
    });
    assert_eq!(failing, ["datagram_of_no_bytes"].into());
}

#[test]
fn a_server_with_a_small_buffer_fails_the_case_about_large_datagrams() {
    let failing = failing(|bytes, client| vec![(bytes[..bytes.len().min(1472)].to_vec(), client)]);
    assert_eq!(failing, ["datagram_of_the_largest_size"].into());
}

#[test]
fn a_server_that_merges_datagrams_fails_the_case_about_boundaries() {
    let mut kept = Vec::new();
    let failing = failing(move |bytes, client| {
        // The datagrams of a burst have several sizes, this one included. No other case sends this size.
        if bytes.len() == 38 {
            kept = bytes.to_vec();
            return vec![];
        }
        let mut all = std::mem::take(&mut kept);
        all.extend(bytes);
        vec![(all, client)]
    });
    assert_eq!(failing, ["datagrams_keep_their_boundaries"].into());
}

#[test]
fn a_server_that_answers_the_previous_sender_fails_the_case_with_several() {
    let mut last: Option<SocketAddr> = None;
    let failing = failing(move |bytes, client| {
        let to = last.replace(client).unwrap_or(client);
        vec![(bytes.to_vec(), to)]
    });
    assert!(failing.contains("a_hundred_senders_get_their_own_back"), "{failing:?}");
}

#[test]
fn a_server_that_answers_twice_fails() {
    let failing = failing(|bytes, client| vec![(bytes.to_vec(), client), (bytes.to_vec(), client)]);
    assert!(failing.contains("datagram_of_one_byte"), "{failing:?}");
}

#[test]
fn check_udp_says_pass_and_fail_by_its_exit_status() {
    let check = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_check")).args(arguments).output().unwrap()
    };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    let echo = thread::spawn(move || {
        let mut buffer = [0; 64];
        let (length, client) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(&buffer[..length], client).unwrap();
    });
    let only = ["--udp", "--filter", "one_byte", "--timeout", "2s", "--addr", &addr];
    let output = check(&only);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    echo.join().unwrap();
    let output = check(&only); // The server has ended.
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(check(&["--udp", "--addr", "unix:/tmp/none"]).status.code(), Some(2));
}
