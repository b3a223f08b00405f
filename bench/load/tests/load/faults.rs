//! Every fault is counted, once, under its own name.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use loadgen::{Fault, Plan, Session, Slice};

use crate::TIMEOUT;
use crate::server::{Flaw, Server};

/// Runs 20 messages of 64 B on each connection, with each way to drive connections. Each connection
/// must end with exactly this fault.
fn expect(server: &Server, expected: Fault) {
    let base = Plan { timeout: TIMEOUT, ..Plan::new(server.addr) };
    for plan in [
        base.clone(),
        Plan { connections: 3, ..base.clone() },
        Plan { connections: 3, threads: 2, ..base.clone() },
    ] {
        let mut session = Session::open(&plan).unwrap();
        let sample = session.run(&Slice::of_messages(20 * plan.connections as u64)).unwrap();
        assert_eq!(sample.faults.count(expected), plan.connections as u64, "{}", sample.faults);
        assert_eq!(sample.faults.total(), plan.connections as u64, "{}", sample.faults);
        let first = session.first_fault().unwrap();
        assert!(first.starts_with(expected.name()), "{first}");
    }
}

/// A server that echoes ten messages, and has the flaw in the next one.
fn breaks_the_eleventh(flaw: impl Fn(&mut Vec<u8>) -> Flaw + Send + Sync + 'static) -> Server {
    Server::with_flaw(move |echoed, bytes| if echoed == 640 { flaw(bytes) } else { Flaw::None })
}

#[test]
fn a_corrupted_bit_is_a_mismatch() {
    let server = breaks_the_eleventh(|bytes| {
        bytes[63] ^= 0x10;
        Flaw::None
    });
    expect(&server, Fault::Mismatch);
}

#[test]
fn swapped_bytes_are_a_mismatch() {
    let server = breaks_the_eleventh(|bytes| {
        let (front, back) = bytes.split_at_mut(32);
        front.swap_with_slice(back);
        Flaw::None
    });
    expect(&server, Fault::Mismatch);
}

#[test]
fn a_byte_lost_in_the_middle_is_a_mismatch() {
    let server = breaks_the_eleventh(|bytes| {
        bytes.remove(20);
        Flaw::None
    });
    expect(&server, Fault::Mismatch);
}

#[test]
fn a_message_sent_back_twice_is_a_surplus() {
    let server = breaks_the_eleventh(|bytes| {
        bytes.extend_from_within(..);
        Flaw::None
    });
    expect(&server, Fault::Surplus);
}

#[test]
fn one_byte_too_many_is_a_surplus() {
    let server = breaks_the_eleventh(|bytes| {
        bytes.push(0);
        Flaw::None
    });
    expect(&server, Fault::Surplus);
}

#[test]
fn a_lost_last_byte_is_a_timeout() {
    let server = breaks_the_eleventh(|bytes| {
        bytes.pop();
        Flaw::None
    });
    expect(&server, Fault::Timeout);
}

#[test]
fn no_answer_is_a_timeout() {
    expect(&breaks_the_eleventh(|_| Flaw::Silence), Fault::Timeout);
}

#[test]
fn a_close_instead_of_an_answer_is_an_early_close() {
    expect(&breaks_the_eleventh(|_| Flaw::Close), Fault::EarlyClose);
}

#[test]
fn a_close_behind_half_an_answer_is_an_early_close() {
    let server = breaks_the_eleventh(|bytes| {
        bytes.truncate(32);
        Flaw::LastWords
    });
    expect(&server, Fault::EarlyClose);
}

#[test]
fn a_reset_instead_of_an_answer_is_a_reset() {
    expect(&breaks_the_eleventh(|_| Flaw::Reset), Fault::Reset);
}

#[test]
fn bytes_of_another_connection_are_a_mismatch() {
    // Each client is sent what the client before it sent.
    let last: Mutex<Vec<u8>> = Mutex::new(vec![0; 64]);
    let server = Server::with_flaw(move |_, bytes| {
        std::mem::swap(bytes, &mut last.lock().unwrap());
        Flaw::None
    });
    expect(&server, Fault::Mismatch);
}

#[test]
fn a_greeting_is_a_server_that_spoke_first() {
    let server = Server::start(|_, mut stream: TcpStream| {
        let _ = stream.write_all(b"220 ready\r\n");
        let _ = stream.read(&mut [0; 64]);
    });
    let error = loadgen::probe(&Plan::new(server.addr)).unwrap_err().to_string();
    assert!(error.contains("speaks before the client does"), "{error}");
    for connections in [1, 3] {
        let plan = Plan { connections, ..Plan::new(server.addr) };
        let mut session = Session::open(&plan).unwrap();
        thread::sleep(TIMEOUT);
        let faults = session.run(&Slice::of_messages(10)).unwrap().faults;
        assert_eq!(faults.count(Fault::SpokeFirst), connections as u64, "{faults}");
    }
}

#[test]
fn a_byte_that_comes_between_two_runs_is_a_surplus() {
    let server = Server::start(|_, mut stream| {
        let mut bytes = [0; 5 * 64];
        while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {
            thread::sleep(TIMEOUT / 3);
            let _ = stream.write_all(b"!");
        }
    });
    for connections in [1, 3] {
        let plan = Plan { connections, size: 5 * 64, ..Plan::new(server.addr) };
        let mut session = Session::open(&plan).unwrap();
        let messages = Slice::of_messages(connections as u64);
        assert_eq!(session.run(&messages).unwrap().faults.total(), 0);
        thread::sleep(TIMEOUT);
        let faults = session.run(&messages).unwrap().faults;
        assert_eq!(faults.count(Fault::Surplus), connections as u64, "{faults}");
    }
}

#[test]
fn idle_connections_that_are_closed_are_early_closes() {
    // Closes the first three clients after a while, and echoes for the fourth.
    let server = Server::start(|number, mut stream| {
        if number < 3 {
            thread::sleep(Duration::from_millis(50));
            return;
        }
        let mut bytes = [0; 64];
        while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
    });
    let plan = Plan { idle: 3, ..Plan::new(server.addr) };
    let mut session = Session::open(&plan).unwrap();
    thread::sleep(Duration::from_millis(500));
    let sample = session.run(&Slice::of_messages(5)).unwrap();
    assert_eq!(sample.messages, 5);
    assert_eq!(sample.faults.count(Fault::EarlyClose), 3, "{}", sample.faults);
    assert_eq!(sample.faults.total(), 3, "{}", sample.faults);
}

#[test]
fn a_server_that_does_not_close_its_side_is_told() {
    let server = Server::start(|_, mut stream| {
        let mut bytes = [0; 64];
        while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
        thread::sleep(10 * TIMEOUT);
    });
    for connections in [1, 3] {
        let plan =
            Plan { connections, half_close: true, timeout: TIMEOUT, ..Plan::new(server.addr) };
        let mut session = Session::open(&plan).unwrap();
        assert_eq!(session.run(&Slice::of_messages(10)).unwrap().faults.total(), 0);
        let faults = session.close().unwrap();
        assert_eq!(faults.count(Fault::NotClosed), connections as u64, "{faults}");
    }
}

#[test]
fn churn_counts_what_goes_wrong_on_its_short_connections() {
    for expected in [Fault::Mismatch, Fault::EarlyClose, Fault::Reset, Fault::Timeout] {
        let server = Server::with_flaw(move |_, bytes| {
            bytes[0] ^= u8::from(expected == Fault::Mismatch);
            match expected {
                Fault::EarlyClose => Flaw::Close,
                Fault::Reset => Flaw::Reset,
                Fault::Timeout => Flaw::Silence,
                _ => Flaw::None,
            }
        });
        let plan = Plan { connections: 2, churn: true, timeout: TIMEOUT, ..Plan::new(server.addr) };
        let sample = Session::open(&plan).unwrap().run(&Slice::of_messages(10)).unwrap();
        assert_eq!(sample.faults.count(expected), 2, "{}", sample.faults);
        assert_eq!((sample.faults.total(), sample.messages), (2, 0), "{}", sample.faults);
    }
}
