//! UDP: lost, late, repeated and wrong datagrams are counted under their own names, and clients go on.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use loadgen::{Address, Fault, Plan, Rate, Sample, Session, Slice, probe};

use crate::TIMEOUT;

/// A server on a thread. `answers` gets the number of a datagram and its bytes, and returns the
/// datagrams to send back.
struct Server {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(mut answers: impl FnMut(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (addr, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut buffer, mut number) = (vec![0; 64 * 1024], 0);
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
                for answer in answers(number, &buffer[..length]) {
                    socket.send_to(&answer, client).unwrap();
                }
                number += 1;
            }
        });
        Server { addr, stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

fn plan(server: &Server) -> Plan {
    Plan { timeout: TIMEOUT, ..Plan::new(Address::Udp(server.addr)) }
}

/// Sends this number of messages from one client.
fn run(server: &Server, messages: u64) -> Sample {
    Session::open(&plan(server)).unwrap().run(&Slice::of_messages(messages)).unwrap()
}

fn faults(sample: &Sample) -> Vec<(Fault, u64)> {
    sample.faults.iter().collect()
}

#[test]
fn every_datagram_comes_back_whatever_the_size_and_the_threads() {
    let server = Server::start(|_, bytes| vec![bytes.to_vec()]);
    for (connections, threads, size) in [(1, 1, 64), (5, 2, 1), (3, 1, 65_507)] {
        let plan = Plan { connections, threads, size, ..plan(&server) };
        let sample = Session::open(&plan).unwrap().run(&Slice::of_messages(60)).unwrap();
        assert_eq!((sample.messages, faults(&sample)), (60, vec![]), "{size} B");
        assert_eq!(sample.bytes, 60 * size as u64);
    }
}

#[test]
fn each_lost_datagram_is_counted_and_the_client_goes_on() {
    let server = Server::start(|number, bytes| match number {
        3 | 4 | 9 => vec![],
        _ => vec![bytes.to_vec()],
    });
    let sample = run(&server, 20);
    assert_eq!((sample.messages, faults(&sample)), (17, vec![(Fault::Lost, 3)]));
}

#[test]
fn a_late_answer_is_no_answer_to_another_message() {
    let mut kept = Vec::new();
    let server = Server::start(move |number, bytes| match number {
        3 => {
            kept = bytes.to_vec();
            vec![]
        }
        5 => vec![kept.clone(), bytes.to_vec()],
        _ => vec![bytes.to_vec()],
    });
    let sample = run(&server, 20);
    assert_eq!((sample.messages, faults(&sample)), (19, vec![(Fault::Lost, 1)]));
}

#[test]
fn an_answer_that_comes_twice_is_a_surplus_and_no_answer() {
    let server = Server::start(|number, bytes| vec![bytes.to_vec(); 1 + usize::from(number == 3)]);
    let sample = run(&server, 20);
    assert_eq!((sample.messages, faults(&sample)), (20, vec![(Fault::Surplus, 1)]));
}

#[test]
fn what_is_wrong_is_a_mismatch_and_not_lost_as_well() {
    let wrongs: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes[63] ^= 0x10, // corrupted
        |bytes| bytes.truncate(63),
        |bytes| bytes.push(0),
        |bytes| bytes.clear(),
    ];
    for wrong in wrongs {
        let server = Server::start(move |number, bytes| {
            let mut bytes = bytes.to_vec();
            if number == 3 {
                wrong(&mut bytes);
            }
            vec![bytes]
        });
        let sample = run(&server, 20);
        assert_eq!((sample.messages, faults(&sample)), (19, vec![(Fault::Mismatch, 1)]));
    }
}

#[test]
fn a_message_of_another_client_is_a_mismatch() {
    let mut before = Vec::new();
    let server = Server::start(move |_, bytes| {
        vec![std::mem::replace(&mut before, bytes.to_vec())] // Always the previous one.
    });
    let plan = Plan { connections: 2, ..plan(&server) };
    let sample = Session::open(&plan).unwrap().run(&Slice::of_messages(20)).unwrap();
    assert_eq!(sample.messages, 0);
    assert!(sample.faults.count(Fault::Mismatch) > 0, "{}", sample.faults);
}

#[test]
fn nobody_there_is_refused_and_a_few_losses_do_not_fail_the_probe() {
    let gone = Server::start(|_, _| vec![]).addr; // Dropped at once: no server is there.
    let plan_of = |addr| Plan { timeout: TIMEOUT, ..Plan::new(Address::Udp(addr)) };
    let message = probe(&plan_of(gone)).unwrap_err().to_string();
    assert!(message.contains("start the server first"), "{message}");
    let lossy = Server::start(|number, bytes| vec![bytes.to_vec(); usize::from(number > 1)]);
    probe(&plan_of(lossy.addr)).unwrap();
    let silent = Server::start(|_, _| vec![]);
    let message = probe(&plan_of(silent.addr)).unwrap_err().to_string();
    assert!(message.contains("sends nothing back"), "{message}");
}

#[test]
fn what_only_a_stream_has_is_refused() {
    let server = Server::start(|_, bytes| vec![bytes.to_vec()]);
    let base = plan(&server);
    for wrong in [
        Plan { churn: true, ..base.clone() },
        Plan { half_close: true, ..base.clone() },
        Plan { depth: 2, ..base.clone() },
        Plan { fragment: Some(7), ..base.clone() },
        Plan { idle: 1, ..base.clone() },
        Plan { slow_readers: 1, ..base.clone() },
        Plan { size: 65_508, ..base.clone() },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
    let mut session = Session::open(&base).unwrap();
    let rate = Rate { per_second: 10.0, arrivals: loadgen::Arrivals::Uniform, spin: false };
    assert!(session.run(&Slice::of_messages(1).at_rate(rate)).is_err());
}
